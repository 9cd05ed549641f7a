"""What `featune extract` and `featune features` refuse, or ignore, with a sentence and never a traceback."""

import json
import shutil
from pathlib import Path

import pytest
from make_layouts import table
from typer.testing import CliRunner, Result

from featune.bench.cli.app import app
from tests.conftest import COLOURS, unpacked, write_image

MODEL = "test_vit"  # 0.4 million weights, 160 x 160 pixels


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Six JPEG files in three class folders."""
    for number, (name, colour) in enumerate(COLOURS.items()):
        for i in range(2):
            write_image(tmp_path / "photographs" / name / f"{i}.jpg", colour, 10 * number + i, (60, 50))
    return tmp_path / "photographs"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def test_options_that_a_file_of_export_contradicts_are_refused(photographs: Path, tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    assert run("export", MODEL, "--untrained", "--data", photographs, "--out", graph).exit_code == 0
    for option, words in {
        ("--backend", "nosuch"): "its backend is onnxruntime, --backend nosuch asked for; leave --backend out",
        ("--backend", "torch"): "its backend is onnxruntime, --backend torch asked for",
        ("--precision", "int8"): "its precision is fp32, --precision int8 asked for",
        ("--checkpoint", "nofile.pth"): "has its own weights, --checkpoint given; leave --checkpoint out",
        ("--untrained",): "has its own weights, --untrained given",
    }.items():
        result = run("extract", graph, photographs, "-q", *option)
        assert result.exit_code == 2
        assert words in result.stderr
    result = run("extract", graph, photographs, "-q", "--precision", "fp32", "--backend", "onnxruntime")
    assert result.exit_code == 0, result.output


def test_an_out_that_cannot_be_written_is_refused_before_the_work(
    photographs: Path, tmp_path: Path, cache: Path
) -> None:
    (tmp_path / "rows.npz").mkdir()
    (tmp_path / "file").write_text("")
    for out, words in {"rows.npz": "Is a directory", "file/rows.npz": "file/rows.npz"}.items():
        result = run("extract", MODEL, photographs, "--untrained", "-q", "--out", tmp_path / out)
        assert result.exit_code == 2
        assert words in result.stderr
        assert "choose another --out" in result.stderr
    assert not cache.exists()


def test_a_store_that_is_a_file_and_a_device_of_another_name_are_refused(photographs: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    extract = ("extract", MODEL, photographs, "--untrained", "-q")
    for arguments, words in (
        ((*extract, "--store", tmp_path / "file"), "cannot write"),
        ((*extract, "--device", "foo"), "no device named 'foo'"),
        (("probe", MODEL, photographs, "--untrained", "-q", "--device", "foo"), "no device named 'foo'"),
    ):
        result = run(*arguments)
        assert result.exit_code == 2
        assert words in result.stderr


def test_a_store_with_files_of_others_is_listed_verified_and_left_alone(tmp_path: Path) -> None:
    store = tmp_path / "store"
    store.mkdir()
    (store / "notes.json").write_text("[]")
    (store / ("0" * 16 + ".json")).write_text("{}")
    listed = run("features", "list", "--store", store, "--json")
    assert (listed.exit_code, json.loads(listed.stdout)) == (0, [])
    assert "0 of 0 files are whole" in run("features", "verify", "--store", store).stdout
    assert run("features", "remove", "notes", "--store", store).exit_code == 2
    assert run("features", "remove", "--all", "--store", store).exit_code == 0
    assert (store / "notes.json").exists()


def test_one_good_image_is_enough_where_bad_ones_are_skipped(photographs: Path) -> None:
    for file in sorted(photographs.glob("*/*.jpg"))[1:]:
        file.write_bytes(b"")
    result = run("extract", MODEL, photographs, "--untrained", "-q", "--on-error", "skip")
    assert result.exit_code == 0, result.output
    assert "1 x 64" in result.stdout


def test_notes_are_in_the_json_too(photographs: Path) -> None:
    rows = [(f"blue/{i}.jpg", "blue", split) for i, split in enumerate(("train", "TRAIN"))]
    table(photographs / "t.csv", ("path", "label", "split"), rows)
    arguments = ("extract", MODEL, photographs / "t.csv", "--untrained", "-q", "--split", "train", "--json")
    (made,) = json.loads(run(*arguments).stdout)
    assert made["rows"] == 2
    assert made["notes"] == [f"{photographs / 't.csv'}: split train is the lines of train, TRAIN"]


def test_an_export_says_whose_labels_it_has_and_another_data_sets_can_be_chosen(
    photographs: Path, tmp_path: Path
) -> None:
    extract = ("extract", MODEL, "--untrained", "-q", "--json")
    (made,) = json.loads(run(*extract, photographs).stdout)
    other = tmp_path / "other"
    for at, file in enumerate(sorted(photographs.glob("*/*.jpg"))):  # the same images in another two classes
        (other / "ab"[at > 1]).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, other / "ab"[at > 1] / f"{at}.jpg")
    (again,) = json.loads(run(*extract, other).stdout)
    assert (again["key"], again["pass"]["images"]) == (made["key"], 0)
    last = run("features", "export", made["key"], "--out", tmp_path / "rows.npz")
    assert last.stdout.strip() == str(tmp_path / "rows.npz")
    assert f"paths and labels of {other}" in last.stderr
    assert f"the same images are {photographs}" in last.stderr
    assert unpacked(tmp_path / "rows.npz")["classes"].tolist() == ["a", "b"]
    run("features", "export", made["key"], "--out", tmp_path / "rows.npz", "--data", photographs)
    held = unpacked(tmp_path / "rows.npz")
    assert held["classes"].tolist() == ["blue", "green", "red"]
    assert held["path"][0] == str(photographs / "blue" / "0.jpg")


def test_rows_that_a_probe_made_are_exported_with_its_tasks_labels(
    photographs: Path, tmp_path: Path, cache: Path
) -> None:
    for number, (name, colour) in enumerate(COLOURS.items()):
        for i in range(2, 6):
            write_image(photographs / name / f"{i}.jpg", colour, 10 * number + i, (60, 50))
    probe = run("probe", MODEL, photographs, "--untrained", "-q", "--regime", "means", "--backend", "torch")
    assert probe.exit_code == 0, probe.output
    listed = json.loads(run("features", "list", "--json").stdout)
    assert {entry["data"] for entry in listed} == {f"photographs/{split}" for split in ("train", "val", "test")}
    found: list[str] = []
    for entry in listed:
        assert run("features", "export", entry["key"], "--out", tmp_path / "rows.npz").exit_code == 0
        held = unpacked(tmp_path / "rows.npz")
        classes = [Path(path).parent.name for path in held["path"]]
        assert [str(held["classes"][int(label)]) for label in held["label"]] == classes
        found += held["path"].tolist()
    assert sorted(found) == sorted(map(str, photographs.glob("*/*.jpg")))
