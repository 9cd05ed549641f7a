"""Which formats are opened, and how grey levels of more than 8 bits are read."""

import io
import struct
import subprocess
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from featune.engine.errors import BadImages
from featune.engine.images import IMAGE_SUFFIXES, image_of
from featune.engine.images.decoding import FORMATS

RAMP = np.linspace(0, 1, 64)[None].repeat(8, 0)
GREY16 = Image.fromarray((RAMP * 65535).astype(np.uint16))
NOISE = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 48, 3), dtype=np.uint8))


def encoded(image: Image.Image, form: str, **options: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, form, **options)
    return held.getvalue()


def tiff(pixels: np.ndarray, bits: int, sample_format: int, photometric: int = 1, width: int = 64) -> bytes:
    """A grey TIFF of any kind of numbers, one strip of raw pixels."""
    raw = pixels.tobytes()
    tags = {256: width, 257: len(pixels), 258: bits, 259: 1, 262: photometric, 273: 8, 277: 1, 278: len(pixels),
            279: len(raw), 339: sample_format}  # fmt: skip
    entries = b"".join(struct.pack("<HHIHH", tag, 3, 1, value, 0) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<I", 8 + len(raw)) + raw + struct.pack("<H", len(tags)) + entries + bytes(4)


def levels(data: bytes) -> np.ndarray:
    return np.asarray(image_of(data, "grey"))[0, :, 0].astype(int)


def twelve_bits() -> bytes:
    pairs = (RAMP * 4095).astype(np.uint16).reshape(8, 32, 2)
    first, second = pairs[..., 0], pairs[..., 1]
    packed = np.stack([first >> 4, (first & 15) << 4 | second >> 8, second & 255], axis=-1).astype(np.uint8)
    return tiff(packed.reshape(8, 96), 12, 1)


def test_unsigned_grey_of_more_than_8_bits_is_scaled_whatever_holds_it() -> None:
    sixteen = (RAMP * 65535).astype(np.uint16)
    for data in (
        encoded(GREY16, "TIFF"), encoded(GREY16, "PNG"), encoded(GREY16, "JPEG2000", irreversible=False),
        b"P5 64 8 65535\n" + sixteen.astype(">u2").tobytes(), twelve_bits(),
        b"P5 64 8 4095\n" + (RAMP * 4095).astype(">u2").tobytes(), tiff(sixteen, 16, 1),
    ):  # fmt: skip
        np.testing.assert_allclose(levels(data), RAMP[0] * 255, atol=1.1)


@pytest.mark.parametrize(("kind", "bits"), [(np.uint8, 8), (np.uint16, 16)])
def test_where_white_is_zero_the_levels_are_inverted(kind: Any, bits: int) -> None:
    pixels = (RAMP * (2**bits - 1)).astype(kind)
    np.testing.assert_allclose(levels(tiff(pixels, bits, 1, photometric=0)), 255 - RAMP[0] * 255, atol=1.1)


@pytest.mark.parametrize(
    ("name", "data", "mode"),
    [
        ("floats of 0 to 1", encoded(Image.fromarray(RAMP.astype(np.float32)), "TIFF"), "F"),
        ("floats of 0 to 1,000", encoded(Image.fromarray((RAMP * 1000).astype(np.float32)), "TIFF"), "F"),
        ("integers of 32 bits", encoded(Image.fromarray((RAMP * 100_000).astype(np.int32)), "TIFF"), "I"),
        ("signed integers of 16 bits", encoded(Image.fromarray((RAMP * 6e4 - 3e4).astype(np.int16)), "TIFF"), "I"),
        ("signed integers of 8 bits", tiff((RAMP * 255 - 128).astype(np.int8), 8, 2), "L"),
        ("a float map", b"Pf\n64 8\n-1.0\n" + RAMP.astype(np.float32).tobytes(), "F"),
    ],
)
def test_numbers_without_a_known_range_are_refused_by_their_mode(name: str, data: bytes, mode: str) -> None:
    with pytest.raises(BadImages, match=f"mode {mode} with numbers .* expected unsigned numbers of 8 or 16 bits"):
        image_of(data, name)


def test_a_kind_of_tiff_that_pillow_does_not_know_is_named() -> None:
    with pytest.raises(BadImages, match="a TIFF that cannot be read: unknown pixel mode"):
        image_of(tiff(RAMP.astype(np.float16), 16, 3), "half.tif")


def with_text(image: Image.Image, **more: Any) -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_text("comment", "a history of edits " * 120_000, zip=True)
    return encoded(image, "PNG", pnginfo=text, **more)


def with_chunk(name: bytes, body: bytes, *, whole: bool = True, last: bool = False) -> bytes:
    """A PNG with one more chunk, before its pixels or after; whole: its check sum is right."""
    png = encoded(NOISE, "PNG")
    at = png.index(b"IEND" if last else b"IDAT") - 4
    check = zlib.crc32(name + body) ^ (not whole)
    return png[:at] + struct.pack(">I", len(body)) + name + body + struct.pack(">I", check) + png[at:]


def international_text() -> bytes:
    text = PngImagePlugin.PngInfo()
    text.add_itxt("XML:com.adobe.xmp", "<x/>" * 600_000, zip=True)
    return encoded(NOISE, "PNG", pnginfo=text)


@pytest.mark.parametrize(
    "data",
    [
        with_text(NOISE), international_text(), encoded(NOISE, "PNG", icc_profile=bytes(2_000_000)),
        with_chunk(b"zTXt", b"key\0\0" + zlib.compress(bytes(3_000_000)), last=True),
        encoded(NOISE, "TIFF", icc_profile=bytes(2_000_000)),
        encoded(NOISE, "WEBP", lossless=True, icc_profile=bytes(2_000_000), xmp=bytes(2_000_000)),
        *(with_chunk(name, b"abcd", whole=False) for name in (b"tEXt", b"gAMA", b"tIME", b"eXIf", b"iCCP", b"prVt")),
        *(with_chunk(name, b"a") for name in (b"pHYs", b"cHRM", b"zTXt")),
    ],
)  # fmt: skip
def test_metadata_large_or_damaged_do_not_keep_the_pixels_from_being_read(data: bytes) -> None:
    np.testing.assert_array_equal(np.asarray(image_of(data, "image")), np.asarray(NOISE))


def test_a_palette_with_large_metadata_keeps_its_colours_and_channels() -> None:
    palette = NOISE.convert("P")
    found = image_of(with_text(palette, transparency=bytes([0, 128, 255])), "palette.png")
    np.testing.assert_array_equal(np.asarray(found), np.asarray(palette.convert("RGB")))
    stained = Image.merge("RGBA", [*NOISE.split(), NOISE.getchannel(0)])
    np.testing.assert_array_equal(np.asarray(image_of(with_text(stained), "4.png", 4)), np.asarray(stained))


def test_damage_where_the_pixels_are_is_refused_by_its_place() -> None:
    png = encoded(NOISE, "PNG")
    for broken, reason in ((png.replace(b"IDAT", b"iDAT"), "iDAT"), (png[:29] + b"zzzz" + png[33:], "IHDR")):
        with pytest.raises(BadImages, match=f"a PNG that cannot be read: .*{reason}"):
            image_of(broken, "broken.png")


def test_formats_that_the_list_lacks_are_refused_and_no_program_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*command: object, **options: object) -> None:
        raise AssertionError(f"{command} was run")

    for name in ("call", "check_call", "Popen", "run"):
        monkeypatch.setattr(subprocess, name, refuse)
    for form in ("EPS", "TGA", "ICO", "PCX", "SGI", "DDS"):
        with pytest.raises(BadImages, match="not an image of a known format"):
            image_of(encoded(NOISE, form), "photo.jpg")


@pytest.mark.parametrize(
    ("suffix", "form"),
    [(".jfif", "JPEG"), (".jpe", "JPEG"), (".avif", "AVIF"), (".ppm", "PPM"), (".jp2", "JPEG2000"), (".dib", "DIB")],
)
def test_every_suffix_in_the_list_is_of_a_format_that_is_opened(suffix: str, form: str) -> None:
    assert suffix in IMAGE_SUFFIXES
    assert image_of(encoded(NOISE, form), f"image{suffix}").size == NOISE.size


def test_the_docs_list_every_format_and_suffix() -> None:
    page = (Path(__file__).parents[3] / "docs" / "data.md").read_text(encoding="utf-8")
    known = Image.registered_extensions()
    assert {known[suffix] for suffix in IMAGE_SUFFIXES} <= set(FORMATS)
    assert not [word for word in (*(f"`{suffix}`" for suffix in IMAGE_SUFFIXES), *FORMATS) if word not in page]


def test_the_content_tells_the_format_and_not_the_name() -> None:
    red = Image.new("RGB", (40, 30), (220, 30, 40))
    burst = {"save_all": True, "append_images": [Image.new("RGB", (40, 30))], "quality": 95}
    for data in (
        *(encoded(red, form) for form in ("GIF", "PNG", "BMP", "WEBP", "TIFF", "PPM", "AVIF")),
        encoded(red.convert("CMYK"), "JPEG", quality=95), encoded(red, "JPEG", progressive=True, quality=95),
        encoded(red, "MPO", **burst), encoded(red.convert("P"), "PNG", transparency=bytes([0, 128, 255])),
        encoded(red.convert("RGBA"), "PNG"),
    ):  # fmt: skip
        pixels = np.asarray(image_of(data, "photo.jpg")).reshape(-1, 3).astype(int)
        assert np.abs(pixels - (220, 30, 40)).max() < 45
