from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from timm.data import create_transform

from featune.engine.errors import BadImages, BadInput
from featune.engine.images import eval_view, fast_view, image_of, limit_pixels, pixels_of, read_image
from featune.engine.images.decoding import pixel_limit
from featune.engine.models import View, spec_from_entry, with_channels


def photograph() -> Image.Image:
    from sklearn.datasets import load_sample_image

    return Image.fromarray(load_sample_image("flower.jpg")).resize((500, 333))


@pytest.mark.parametrize("share", [0.001, 0.1, 0.5, 0.95])
def test_a_truncated_jpeg_is_refused(share: float, tmp_path: Path) -> None:
    photograph().save(tmp_path / "whole.jpg")
    whole = (tmp_path / "whole.jpg").read_bytes()
    with pytest.raises(BadImages):
        image_of(whole[: int(share * len(whole))], "cut.jpg")


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("crop_pct", [0.875, 1.0, 1.3])
def test_the_fast_view_is_within_one_grey_level_of_the_exact_one_and_rarely_two_in_bicubic(
    interpolation: str, crop_pct: float
) -> None:
    view = View(side=224, crop_pct=crop_pct, interpolation=interpolation)
    fast = fast_view(view)
    assert fast is not None
    for size in ((500, 333), (333, 500), (640, 427), (230, 231), (90, 90), (256, 256), (1200, 60)):
        image = photograph().resize(size)
        exact = eval_view(view)(image).astype(int)
        difference = np.abs(fast(pixels_of(image)).astype(int) - exact)
        assert difference.max() <= (1 if interpolation == "bilinear" else 2)
        assert (difference > 1).mean() < 1e-4
        assert difference.mean() < 0.02


@pytest.mark.parametrize("mode", ["center", "squash", "border"])
@pytest.mark.parametrize("mean", [(0.5, 0.5, 0.5), (0.485, 0.456, 0.406)])
def test_the_eval_view_of_each_crop_mode_is_timms_own_with_the_models_mean(
    mode: str, mean: tuple[float, float, float]
) -> None:
    entry = {"architecture": "test_vit", "pretrained": False, "crop_mode": mode, "mean": mean, "crop_pct": 0.9}
    spec = spec_from_entry(entry)
    timms = create_transform(
        (3, 160, 160),
        interpolation=spec.view.interpolation,
        crop_pct=0.9,
        crop_mode=mode,
        mean=mean,
        use_prefetcher=True,
    )
    for size in ((500, 333), (90, 300)):
        image = photograph().resize(size)
        np.testing.assert_array_equal(eval_view(spec.view)(image), timms(image))


def test_a_border_is_padded_with_each_channels_own_mean() -> None:
    entry = {"architecture": "test_vit", "pretrained": False, "crop_mode": "border", "mean": (0.2, 0.5, 0.8)}
    view = spec_from_entry(entry).view
    assert view.fill == (51, 128, 204)
    stained = with_channels(spec_from_entry(entry), 4).view
    assert stained.fill == (128, 128, 128, 128)
    square = eval_view(stained)(Image.new("RGBA", (400, 100), (1, 2, 3, 4)))
    assert square.shape == (4, 160, 160)
    assert (square[:, 0] == 128).all()
    assert square[:, 80, 80].tolist() == [1, 2, 3, 4]


def test_views_that_only_the_exact_way_makes_have_no_fast_one() -> None:
    assert fast_view(View(side=32, interpolation="lanczos")) is None
    assert fast_view(View(side=32, crop_mode="squash")) is None


def test_a_decompression_bomb_is_refused_by_a_limit_that_can_be_raised(tmp_path: Path) -> None:
    photograph().save(tmp_path / "large.jpg")
    photograph().save(tmp_path / "large.png")
    before = pixel_limit()
    assert before is not None
    try:
        limit_pixels(10_000)
        for name in ("large.jpg", "large.png"):
            with pytest.raises(BadImages, match="more pixels than the limit of 10,000"):
                read_image(tmp_path / name)
        limit_pixels(400_000)
        assert read_image(tmp_path / "large.png").size == (500, 333)
        with pytest.raises(BadInput, match="at least 2"):
            limit_pixels(0)
    finally:
        limit_pixels(before)


@pytest.mark.parametrize("suffix", ["webp", "tiff", "bmp", "gif", "png"])
def test_every_format_is_read(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"image.{suffix}"
    photograph().save(
        path, **({"save_all": True, "append_images": [Image.new("RGB", (500, 333))]} if suffix == "gif" else {})
    )
    image = read_image(path)
    assert (image.mode, image.size) == ("RGB", (500, 333))
    assert np.asarray(image).mean() > 30  # the first frame, not the black one


@pytest.mark.parametrize("size", [(1, 1001), (2002, 2)])
def test_a_line_that_would_fill_the_memory_once_scaled_is_refused(size: tuple[int, int], tmp_path: Path) -> None:
    Image.new("RGB", size).save(tmp_path / "line.png")
    with pytest.raises(BadImages, match=f"{size[0]} x {size[1]} pixels, too long"):
        read_image(tmp_path / "line.png")
    Image.new("RGB", (2, 2000)).save(tmp_path / "line.png")
    assert read_image(tmp_path / "line.png").size == (2, 2000)
