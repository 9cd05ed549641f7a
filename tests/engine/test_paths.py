import os
from pathlib import Path

import pytest

from featune.bench.study import read_study
from featune.engine.errors import BadInput
from featune.engine.paths import as_name, check_name, inside, is_below, refuse_devices

WRONG = ["", " ", ".", "..", "../victim", "a/b", "/etc", "a\\b", "a\0b", "x" * 256, "ü" * 128, "\ud800"]


@pytest.mark.parametrize("name", WRONG)
def test_a_name_that_would_leave_its_folder_or_fit_no_file_is_refused(name: str) -> None:
    with pytest.raises(BadInput, match=r"the task's name .* give it another `name`"):
        check_name("the task's name", name)


@pytest.mark.parametrize("name", ["a", "...", ".hidden", "x" * 255, "ü" * 127, "a b", "-rf", "\udcff"])
def test_other_names_are_left_as_they_are(name: str) -> None:
    assert check_name("the task's name", name) == name


@pytest.mark.parametrize("address", ["../x", "a/../../x", "/etc/passwd", "a//b", "a/./b", "", "a/\0", f"a/{'x' * 256}"])
def test_an_address_that_leads_outside_is_refused(address: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="the shard"):
        inside(tmp_path, address, "the shard")


def test_an_address_inside_is_a_path_below(tmp_path: Path) -> None:
    assert inside(tmp_path, "host:80/a/b.tar", "the address") == tmp_path / "host:80" / "a" / "b.tar"


@pytest.mark.parametrize("text", ["../../x", "a/b:c", "..", "", "ü" * 300, "x" * 300, "\ud800"])
def test_any_text_becomes_part_of_a_files_name(text: str) -> None:
    name = as_name(text)
    assert check_name("the name", name)
    assert len(name.encode()) <= 100
    assert name[0] != "."


def test_a_link_out_of_a_folder_is_not_below_it(tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "link").symlink_to(tmp_path)
    assert is_below(tmp_path / "own" / "new", [tmp_path / "own"])
    assert not is_below(tmp_path / "own" / "link" / "new", [tmp_path / "own"])


def test_what_has_no_end_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", Path("/dev/zero")):
        with pytest.raises(BadInput, match="a pipe, socket or device found, a file expected"):
            refuse_devices(path)
    refuse_devices(tmp_path)
    refuse_devices(tmp_path / "absent")


@pytest.mark.parametrize("key", ["csv", "parquet"])
def test_a_study_file_that_names_a_device_is_refused_at_once(key: str, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(f"name: x\nmodels: [resnet18]\ntasks: [{{{key}: /dev/zero}}]\n")
    with pytest.raises(BadInput, match="a pipe, socket or device found"):
        read_study(tmp_path / "study.yaml")
    with pytest.raises(BadInput, match="a pipe, socket or device found"):
        read_study(Path("/dev/zero"))
