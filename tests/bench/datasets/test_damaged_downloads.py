"""Lists of official downloads that were cut off, changed by an editor or replaced by an error page."""

import io
import random
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from make_layouts import LAYOUTS, cifar10, hpa, pets, voc2007
from PIL import Image

from featune.bench.datasets import prepare_official
from featune.bench.datasets.list_files import fields_of, rows_of
from featune.bench.progress import Lines
from featune.engine.errors import BadImages, BadInput

LISTS = (".csv", ".txt", ".json", ".mat", ".meta", "")
MOST = 5  # lists of a layout that are damaged; VOC has sixty


def damages(data: bytes, rng: random.Random) -> Iterator[tuple[str, bytes]]:
    yield "empty", b""
    yield "half", data[: len(data) // 2]
    yield "windows line ends", data.replace(b"\n", b"\r\n")
    yield "byte order mark", b"\xef\xbb\xbf" + data
    yield "another encoding", data + "é\n".encode("latin-1")
    yield "error page", b"<html><body>404 not found</body></html>"
    yield "zeros", data[:20] + b"\0" * 10 + data[30:]
    yield "numbers too large", re.sub(rb"\b\d\b", b"77", data)
    yield "numbers below zero", re.sub(rb"\b\d\b", b"-5", data)
    lines = data.split(b"\n")
    if len(lines) > 3:
        at = rng.randrange(1, len(lines) - 1)
        for name, new in (("line gone", []), ("line twice", [lines[at]] * 2), ("strange line", [b"a,b c\td,e 9 -3"])):
            yield name, b"\n".join([*lines[:at], *new, *lines[at + 1 :]])
        yield "strange header", b"\n".join([b"junk", *lines[1:]])


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_damaged_list_is_refused_with_nothing_written_or_changes_nothing(name: str, tmp_path: Path) -> None:
    counts, out, rng = LAYOUTS[name](tmp_path / "raw"), tmp_path / "out", random.Random(0)
    whole = prepare_official(name, tmp_path / "raw", out, counts=counts, decode=False)
    lists = sorted(file for file in (tmp_path / "raw").rglob("*") if file.is_file() and file.suffix in LISTS)
    for file in rng.sample(lists, min(MOST, len(lists))):
        data = file.read_bytes()
        for damage, new in damages(data, rng):
            shutil.rmtree(out)
            file.write_bytes(new)
            found = digest_or_refusal(name, tmp_path / "raw", out, counts)
            assert found == whole.digest or "get it as follows" in found, f"{file.name}: {damage}"
            assert out.exists() == (found == whole.digest), f"{file.name}: {damage}"
            out.mkdir(exist_ok=True)
        file.write_bytes(data)


def digest_or_refusal(name: str, raw: Path, out: Path, counts: dict[str, int]) -> str:
    try:
        return prepare_official(name, raw, out, counts=counts, decode=False).digest
    except BadInput as error:
        return str(error)


def test_a_class_of_voc_whose_list_lacks_an_image_is_refused(tmp_path: Path) -> None:
    counts = voc2007(tmp_path)
    file = tmp_path / "VOCdevkit" / "VOC2007" / "ImageSets" / "Main" / "dog_test.txt"
    file.write_text("\n".join(file.read_text().splitlines()[:-1]))
    with pytest.raises(BadInput, match=r"dog_test\.txt: a line for each of 7 images expected, 6 found, differing in"):
        prepare_official("voc2007", tmp_path, tmp_path / "out", counts=counts)


def test_a_fault_is_named_by_its_line(tmp_path: Path) -> None:
    file = tmp_path / "list.csv"
    file.write_text("id,label\na,1\nb\n")
    with pytest.raises(BadInput, match=r"list\.csv, line 3: 2 values with id, label expected, 'b' found"):
        rows_of(file, "id", "label")
    with pytest.raises(BadInput, match=r"list\.csv, line 1: 2 fields expected, 'id,label' found"):
        fields_of(file, 2)


def test_a_download_that_was_unpacked_one_folder_too_deep_is_found(tmp_path: Path) -> None:
    counts = pets(tmp_path / "raw" / "mine")
    with pytest.raises(BadInput, match=r"annotations is in .*/raw/mine/oxford-iiit-pet: give --raw"):
        prepare_official("pets", tmp_path / "raw", tmp_path / "out", counts=counts)
    with pytest.raises(BadInput, match=r"annotations is in .*/mine/oxford-iiit-pet: give --raw"):
        prepare_official("pets", tmp_path / "raw" / "mine" / "oxford-iiit-pet" / "images", tmp_path, counts=counts)
    made = prepare_official("pets", tmp_path / "raw/mine/oxford-iiit-pet", tmp_path / "out", counts=counts)
    assert made.counts["test"] == 12


def test_no_copy_is_written_of_a_download_of_another_size(tmp_path: Path) -> None:
    counts = cifar10(tmp_path / "raw")
    with pytest.raises(BadInput, match="test: 7 expected, 6 found"):
        prepare_official("cifar10", tmp_path / "raw", tmp_path / "out", counts={**counts, "test": 7})
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named_before_the_work(tmp_path: Path) -> None:
    counts = hpa(tmp_path / "raw")
    (tmp_path / "out").write_text("a file where a folder should be")
    with pytest.raises(BadInput, match=r"cannot write .*/out/hpa: Not a directory; choose another --out"):
        prepare_official("hpa", tmp_path / "raw", tmp_path / "out", counts=counts)


def test_a_full_disk_leaves_no_part_of_a_copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = hpa(tmp_path / "raw")
    save = Image.Image.save

    def full(image: Image.Image, path: Path, **more: object) -> None:
        save(image, path, **more)  # type: ignore[arg-type]
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Image.Image, "save", full)
    with pytest.raises(BadInput, match=r"cannot write .*: No space left on device; make room or choose another --out"):
        prepare_official("hpa", tmp_path / "raw", tmp_path / "out", counts=counts)
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_copies_show_progress_and_name_every_broken_source(tmp_path: Path) -> None:
    stream = io.StringIO()
    progress = Lines(stream, every=0)
    counts = hpa(tmp_path / "raw")
    for name in ("train-1_red", "val-0_blue"):
        (tmp_path / "raw" / "hpa" / "train" / f"{name}.png").write_bytes(b"no image")
    with pytest.raises(BadImages, match=r"2 files(.|\n)*train-1_red\.png(.|\n)*val-0_blue\.png"):
        prepare_official("hpa", tmp_path / "raw", tmp_path / "out", counts=counts, progress=progress)
    hpa(tmp_path / "raw")
    prepare_official("hpa", tmp_path / "raw", tmp_path / "out", counts=counts, progress=progress)
    for title in ("writing images: 15/15", "hashing hpa: 15/15", "decoding hpa: 15/15"):
        assert title in stream.getvalue()


def test_a_merged_image_that_is_cut_off_or_lacks_yellow_is_named(tmp_path: Path) -> None:
    counts = hpa(tmp_path / "raw", merged=True)
    folder = tmp_path / "raw" / "hpa" / "rgby" / "train"
    (folder / "val-0.png").write_bytes((folder / "val-0.png").read_bytes()[:60])
    with Image.open(folder / "val-1.png") as image:
        image.convert("RGB").save(folder / "val-1.png")
    with pytest.raises(BadImages, match=r"val-1\.png: mode RGB found, RGBA expected") as caught:
        prepare_official("hpa", tmp_path / "raw", tmp_path / "out", counts=counts)
    assert {Path(path).name for path, _ in caught.value.problems} == {"val-0.png", "val-1.png"}
