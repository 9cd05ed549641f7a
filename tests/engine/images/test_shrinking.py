"""Large images are made as small as the crops of a training allow, once, when they are decoded."""

import io
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featune.engine.errors import BadImages
from featune.engine.images import Augmentation, Shrinking, address, image_of, read_image, train_view
from featune.engine.images.views import _random_crop
from featune.engine.models import View

USUAL = ((0.35, 1.0), (3 / 4, 4 / 3))
TO_64 = Shrinking(64, 73, *USUAL)


def photograph(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("flower.jpg")).convert(mode).resize(size)


def file_of(image: Image.Image, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, **options)  # type: ignore[arg-type]
    return buffer.getvalue()


def values(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


def test_the_size_is_the_smallest_at_which_the_smallest_crop_has_the_side() -> None:
    """4000 x 3000: the narrowest crop is sqrt(0.35 x 3/4 x 12e6) = 1774.8 wide, and 224 / 1774.8 = 0.12621."""
    assert Shrinking(224, 256, *USUAL).size(4000, 3000) == (505, 379)
    assert Shrinking(224, 256, *USUAL).size(3000, 4000) == (379, 505)


def test_crops_of_the_whole_area_leave_what_the_eval_view_needs() -> None:
    assert Shrinking(224, 256, (1.0, 1.0), (1.0, 1.0)).size(4000, 3000) == (342, 256)


@pytest.mark.parametrize("size", [(505, 379), (379, 505), (600, 256), (9000, 224), (40, 30), (224, 224), (1, 1)])
def test_an_image_that_crops_can_use_in_full_stays_as_it_is(size: tuple[int, int]) -> None:
    assert Shrinking(224, 256, *USUAL).size(*size) is None


@pytest.mark.parametrize("scale", [(0.08, 1.0), (0.35, 1.0), (0.9, 1.0)])
@pytest.mark.parametrize("ratio", [(3 / 4, 4 / 3), (1.0, 1.0), (0.2, 0.9)])
@pytest.mark.parametrize("size", [(4032, 3024), (1000, 1000), (900, 4000), (5000, 300)])
def test_no_crop_of_a_shrunk_image_is_smaller_than_the_side(
    size: tuple[int, int], scale: tuple[float, float], ratio: tuple[float, float]
) -> None:
    shrunk = Shrinking(64, 0, scale, ratio).size(*size)
    assert shrunk is not None
    drawn, rng = Augmentation(scale=scale, ratio=ratio), np.random.default_rng(0)
    smallest = min(min(_random_crop(*shrunk, drawn, rng)[2:]) for _ in range(400))
    assert 64 - 1e-9 <= smallest < 64 * 1.5


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_an_image_of_few_pixels_keeps_its_bits(kind: str) -> None:
    data = file_of(photograph((140, 105)), format=kind)
    assert np.array_equal(values(image_of(data, "x", 3, TO_64)), values(image_of(data, "x")))


@pytest.mark.parametrize("mode", ["RGB", "L"])
@pytest.mark.parametrize("options", [{}, {"progressive": True}, {"subsampling": 0}], ids=str)
@pytest.mark.parametrize("size", [(640, 427), (1201, 801)])  # the first is decoded whole, the second at a quarter
def test_a_jpeg_that_is_decoded_in_part_looks_as_one_resized_whole(
    mode: str, options: dict[str, object], size: tuple[int, int]
) -> None:
    data = file_of(photograph(size, mode), format="JPEG", quality=95, **options)
    found, whole = image_of(data, "x", len(mode), TO_64), image_of(data, "x", len(mode))
    assert found.size == TO_64.size(*size)
    expected = values(whole.resize(found.size, Image.Resampling.LANCZOS))
    assert np.abs(values(found) - expected).mean() < 1.5
    assert abs((values(found) - expected).mean()) < 0.3


@pytest.mark.parametrize("mode", ["CMYK", "P", "LA", "I;16"])
def test_what_cannot_be_decoded_in_part_is_decoded_whole_and_resized(mode: str) -> None:
    image = photograph((640, 427), "RGB" if mode in ("CMYK", "P") else "L")
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) * 257)
    data = file_of(image.convert(mode), format="JPEG" if mode == "CMYK" else "PNG")
    size = TO_64.size(640, 427)
    assert size is not None
    expected = image_of(data, "x").resize(size, Image.Resampling.LANCZOS, reducing_gap=3.0)
    assert np.array_equal(values(image_of(data, "x", 3, TO_64)), values(expected))


@pytest.mark.parametrize("channels", [2, 4])
def test_a_channel_in_the_place_of_alpha_is_data_like_the_others(channels: int) -> None:
    bands = [photograph((640, 427), "L").rotate(90 * turn) for turn in range(channels)]
    found = image_of(file_of(Image.merge({2: "LA", 4: "RGBA"}[channels], bands), format="PNG"), "x", channels, TO_64)
    for band, alone in zip(found.split(), bands, strict=True):
        single = image_of(file_of(alone, format="PNG"), "x", 1, TO_64)
        assert np.array_equal(values(band), values(single))


def test_a_tiff_that_is_turned_when_it_is_loaded_has_the_size_of_the_turned_one() -> None:
    exif = Image.Exif()
    exif[274] = 6  # a quarter turn
    data = file_of(photograph((640, 427)), format="TIFF", exif=exif)
    whole = image_of(data, "x")
    assert image_of(data, "x", 3, TO_64).size == TO_64.size(*whole.size)


@pytest.mark.parametrize("kind", ["JPEG", "PNG"])
def test_a_damaged_image_is_refused_as_it_is_whole(kind: str) -> None:
    data = file_of(photograph((1280, 854)), format=kind)
    said = []
    for shrinking in (None, TO_64):
        with pytest.raises(BadImages) as found:
            image_of(data[: len(data) // 2], "cut", 3, shrinking)
        said.append(str(found.value))
    assert said[0] == said[1]


def test_an_image_in_a_range_of_bytes_is_shrunk_too(tmp_path: Path) -> None:
    data = file_of(photograph((640, 427)), format="JPEG")
    (tmp_path / "shard.tar").write_bytes(b"before" + data + b"after")
    found = read_image(address(tmp_path / "shard.tar", 6, len(data)), 3, TO_64)
    assert np.array_equal(values(found), values(image_of(data, "x", 3, TO_64)))


def test_the_crops_of_a_shrunk_image_show_what_those_of_the_whole_do() -> None:
    data, view = file_of(photograph((1200, 800)), format="JPEG", quality=95), View(64, interpolation="bicubic")
    whole, shrunk = image_of(data, "x"), image_of(data, "x", 3, TO_64)
    drawn = Augmentation(scale=(0.35, 1.0))
    for seed in range(5):
        crops = [train_view(image, view, drawn, np.random.default_rng(seed)).astype(int) for image in (whole, shrunk)]
        assert math.sqrt(np.square(crops[0] - crops[1]).mean()) < 3
