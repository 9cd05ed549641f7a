import dataclasses
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from featune.engine.errors import BadImages, BadInput
from featune.engine.images import (
    IMAGE_SUFFIXES,
    Augmentation,
    Labelled,
    batches,
    eval_view,
    image_files,
    read_image,
    train_view,
)
from featune.engine.models import View

VIEW = View(side=32, crop_pct=0.875, interpolation="bicubic")


def test_the_eval_view_is_timms_own_before_normalisation(items: Labelled) -> None:
    from timm.data import create_transform

    transform = create_transform((3, 32, 32), crop_pct=0.875, interpolation="bicubic", mean=(0, 0, 0), std=(1, 1, 1))
    image = read_image(items.file(0))
    ours = torch.from_numpy(eval_view(VIEW)(image).astype(np.float32)) / 255
    assert torch.equal(ours, transform(image))


@pytest.mark.parametrize("size", [1, 3, 11, 64])
@pytest.mark.parametrize("workers", [1, 4])
def test_batches_keep_the_order_for_any_size_and_any_workers(items: Labelled, size: int, workers: int) -> None:
    expected = np.stack([eval_view(VIEW)(read_image(items.file(i))) for i in range(len(items))])
    found = list(batches(items, VIEW, size, workers=workers))
    assert [len(batch) for batch in found[:-1]] == [size] * (len(found) - 1)
    assert np.array_equal(torch.cat(found).numpy(), expected)


def test_batches_can_start_in_the_middle(items: Labelled) -> None:
    whole = torch.cat(list(batches(items, VIEW, 4)))
    assert torch.equal(torch.cat(list(batches(items, VIEW, 4, start=5))), whole[5:])


def test_every_bad_file_is_listed_with_its_reason(items: Labelled, tmp_path: Path) -> None:
    root = Path(items.root)
    (root / "00.png").write_bytes(b"")
    (root / "04.png").write_text("a text file with an image's name")
    whole = (root / "07.png").read_bytes()
    (root / "07.png").write_bytes(whole[: len(whole) // 2])
    (root / "09.png").unlink()
    with pytest.raises(BadImages) as caught:
        list(batches(items, VIEW, 3))
    reasons = {Path(path).name: reason for path, reason in caught.value.problems}
    assert sorted(reasons) == ["00.png", "04.png", "07.png", "09.png"]
    assert reasons["00.png"] == "empty file"
    assert reasons["04.png"] == "not an image of a known format"
    assert "truncated" in reasons["07.png"]
    assert reasons["09.png"] == "no such file"


def test_sixteen_bit_grey_is_scaled_and_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 4), 0x8000, dtype=np.uint16)).save(tmp_path / "deep.png")
    assert np.asarray(read_image(tmp_path / "deep.png")).max() == 0x80


def test_other_colour_spaces_become_rgb(tmp_path: Path) -> None:
    square = Image.new("RGB", (8, 8), (200, 30, 90))
    square.convert("CMYK").save(tmp_path / "cmyk.jpg")
    square.convert("P").save(tmp_path / "palette.png")
    square.convert("RGBA").save(tmp_path / "alpha.png")
    square.convert("L").save(tmp_path / "grey.png")
    for path in tmp_path.iterdir():
        image = read_image(path)
        assert (image.mode, image.size) == ("RGB", (8, 8))
    assert np.abs(np.asarray(read_image(tmp_path / "cmyk.jpg")).astype(int) - (200, 30, 90)).max() < 12


def test_exif_orientation_is_not_applied_as_in_timm(tmp_path: Path) -> None:
    image = Image.new("RGB", (10, 20))
    exif = image.getexif()
    exif[0x0112] = 6
    image.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").size == (10, 20)


def test_a_train_view_depends_on_its_seed_alone(items: Labelled) -> None:
    image = read_image(items.file(3))
    views = [train_view(image, VIEW, Augmentation(), np.random.default_rng(seed)) for seed in (5, 5, 6)]
    assert np.array_equal(views[0], views[1])
    assert not np.array_equal(views[0], views[2])
    assert views[0].shape == (3, 32, 32)


def test_crops_keep_within_the_share_asked_for() -> None:
    """An image whose pixels say where they are: the spread of a crop's values is its share of each side."""
    ramp = np.linspace(0, 255, 200)
    image = Image.fromarray(np.stack(np.broadcast_arrays(ramp[:, None], ramp, 0), 2).astype(np.uint8))
    augmentation = Augmentation(scale=(0.25, 0.5), hflip=0.0)
    for seed in range(50):
        pixels = train_view(image, VIEW, augmentation, np.random.default_rng(seed)).astype(float)
        share = np.ptp(pixels[0]) / 255 * np.ptp(pixels[1]) / 255
        assert 0.2 < share < 0.56


def test_the_content_digest_knows_bytes_and_order_but_not_names_or_labels(items: Labelled) -> None:
    relabelled = dataclasses.replace(items, labels=tuple((0,) for _ in items.labels))
    assert relabelled.content_digest == items.content_digest
    assert items.take(range(len(items))[::-1]).content_digest != items.content_digest
    moved = dataclasses.replace(items, paths=("renamed.png", *items.paths[1:]))
    os.rename(items.file(0), moved.file(0))
    assert moved.content_digest == items.content_digest
    write = moved.file(0).read_bytes()
    moved.file(0).write_bytes(write + b"\0")
    assert dataclasses.replace(moved).content_digest != items.content_digest


def test_a_sum_of_items_names_files_of_both(items: Labelled, tmp_path: Path) -> None:
    other = Labelled(str(tmp_path), ("items/00.png",), ((2,),))
    both = items + other
    assert len(both) == 12
    assert both.file(11).samefile(items.file(0))
    assert both.labels[11] == (2,)


def test_truth_has_a_column_for_each_class_where_several_hold() -> None:
    items = Labelled("", ("a", "b"), ((0, 2), ()))
    assert items.truth(3, multilabel=True).tolist() == [[True, False, True], [False, False, False]]


def test_paths_without_labels_are_refused() -> None:
    with pytest.raises(BadInput, match="2 paths and 1 labels"):
        Labelled("", ("a", "b"), ((0,),))


def test_image_files_are_listed_in_the_order_of_paths(tmp_path: Path) -> None:
    names = ["b/1.jpg", "b-2/1.JPG", "b/c/1.png", "a.jpg", "b.jpg", ".hidden.jpg", "b/notes.txt", "b/d.jpg/1.webp"]
    for name in names:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"")
    expected = sorted(
        path.relative_to(tmp_path)
        for path in tmp_path.rglob("*")
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")
    )
    assert image_files(tmp_path) == [path.as_posix() for path in expected]
    assert "b/d.jpg" in image_files(tmp_path)  # a folder, that a pass reports


def test_a_folder_that_cannot_be_listed_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "closed").mkdir()
    real = os.scandir

    def scandir(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(BadInput, match="closed: cannot be listed: Permission denied"):
        image_files(tmp_path)
