"""Encoded bytes to pixels of 1 to 4 channels, by Pillow.

Its JPEG decoder is libjpeg-turbo and runs outside Python's lock.
"""

import functools
import io
import os
from typing import Literal, get_args

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import BadImages, BadInput
from .addresses import encoded
from .png_chunks import SIGNATURE as PNG
from .png_chunks import pixels_alone
from .shrinking import Shrinking, shrunk

Decoder = Literal["fast", "exact"]
DECODERS = get_args(Decoder)
Path = str | os.PathLike[str]
LONGEST = 1000  # times the short side: a line of 1 x 60,000 pixels would become one of 256 x 15 million
# Pillow's names of the formats that are opened; docs/data.md lists them with their suffixes. Of its others some run
# programs (EPS: Ghostscript) or read what no image data set is made of; they are refused whatever a file is called.
FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "DIB", "GIF", "AVIF", "JPEG2000", "PPM")
# How files of these formats begin, to name the one that cannot be read.
BEGINNINGS = {
    "JPEG": (b"\xff\xd8\xff",), "PNG": (PNG,), "TIFF": (b"II*\0", b"MM\0*"), "GIF": (b"GIF8",), "BMP": (b"BM",),
    "JPEG2000": (b"\0\0\0\x0cjP", b"\xff\x4f\xff\x51"), "PPM": (b"P5", b"P6", b"Pf", b"PF"),
}  # fmt: skip
SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N")
BITS, PHOTOMETRIC, SAMPLE_FORMAT = 258, 262, 339  # tags of TIFF
WHITE_IS_ZERO, UNSIGNED = 0, (1, 4)
# Pillow's mode for images of so many channels. Any file can be seen in grey or in RGB; the others are data of more
# channels in the places of grey and alpha or of RGB and alpha, and only a file in that mode has them.
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read_image(path: Path, channels: int = 3, shrinking: Shrinking | None = None) -> Image.Image:
    """The first frame of a file, or of a range of bytes in one: in grey, as it is in LA, in RGB, or as it is in RGBA.

    EXIF orientation is not applied and alpha is dropped from RGB and grey, as in timm and torchvision; with 2 or 4
    channels the last one is data like the others. shrinking: makes large ones smaller. Raises BadImages with the
    reason for what is missing, empty, truncated, no image, or not of the channels asked for.
    """
    return image_of(read_bytes(path), path, channels, shrinking)


def check_channels(channels: int) -> None:
    if channels not in MODES:
        raise BadInput(f"{channels} channels asked for; expected 1 (grey), 2 (LA), 3 (RGB) or 4 (RGBA)")


def read_bytes(path: Path) -> bytes:
    """The encoded image. Raises BadImages where it cannot be read."""
    try:
        return encoded(path)
    except FileNotFoundError as error:
        raise BadImages([(str(path), "no such file")]) from error
    except OSError as error:
        raise BadImages([(str(path), f"cannot be read: {error.strerror or error}")]) from error


def image_of(data: bytes, path: Path, channels: int = 3, shrinking: Shrinking | None = None) -> Image.Image:
    """The first frame of an encoded image, as `read_image`; `path` is for the error, BadImages."""
    mode = MODES[channels]
    try:
        try:
            return _decoded(data, path, mode, shrinking)
        except (Image.DecompressionBombError, BadImages):
            raise
        except Exception:
            bare = pixels_alone(data)
            if bare is None:
                raise
            # What is wrong may lie in a PNG's metadata, which is of no use here.
            return _decoded(bare, path, mode, shrinking)
    except UnidentifiedImageError as error:
        raise BadImages([(str(path), _unidentified(data))]) from error
    except Image.DecompressionBombError as error:
        reason = f"more pixels than the limit of {pixel_limit():,}; if it is what it should be, raise --max-pixels"
        raise BadImages([(str(path), reason)]) from error
    except BadImages:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise BadImages([(str(path), f"{type(error).__name__}: {error}")]) from error


def _decoded(data: bytes, path: Path, mode: str, shrinking: Shrinking | None) -> Image.Image:
    """The first frame in a mode; raises what Pillow raises."""
    with Image.open(io.BytesIO(data), formats=readable_formats()) as image:
        if max(image.size) > LONGEST * min(image.size):
            reason = f"{image.width} x {image.height} pixels, too long to be scaled by its short side"
            raise BadImages([(str(path), reason)])
        if mode in ("LA", "RGBA") and image.mode != mode:
            raise BadImages([(str(path), f"mode {image.mode} found, {mode} expected for {len(mode)} channels")])
        if reason := _without_range(image):
            raise BadImages([(str(path), reason)])
        return shrunk(image, lambda opened: _loaded(opened, mode), shrinking) if shrinking else _loaded(image, mode)


def _loaded(image: Image.Image, mode: str) -> Image.Image:
    """An opened image's pixels in a mode."""
    if image.mode in (*SIXTEEN_BIT, "I"):
        # Pillow would clip 16-bit grey to 255 instead of scaling it.
        return Image.fromarray(_eight_bits(image)).convert(mode)
    if image.mode == "P" and "transparency" in image.info:
        return image.convert("RGBA").convert(mode)
    if image.mode == mode:
        image.load()
        return image  # `convert` would copy it
    return image.convert(mode)


def _tags(image: Image.Image, tag: int) -> tuple[int, ...]:
    """A TIFF's numbers under a tag; none of other formats."""
    found = getattr(image, "tag_v2", {}).get(tag, ())
    return tuple(found) if isinstance(found, tuple) else (found,)


def _without_range(image: Image.Image) -> str:
    """Why grey levels cannot be told from an image's numbers: floats, 32 bits and signed ones have no known range."""
    signed = any(form not in UNSIGNED for form in _tags(image, SAMPLE_FORMAT))
    if image.mode in SIXTEEN_BIT or (image.mode == "I" and image.format in ("PPM", "PNG")):  # 0 to 65,535 in all these
        wrong = signed
    else:
        wrong = signed or image.mode in ("I", "F")
    if not wrong:
        return ""
    return (
        f"mode {image.mode} with numbers of 32 bits, signed or floating, whose range for black to white nobody can "
        "tell; expected unsigned numbers of 8 or 16 bits, save it so"
    )


def _eight_bits(image: Image.Image) -> np.ndarray:
    """Grey of 16 bits, or of 12, to uint8 by its high bits."""
    bits = max(_tags(image, BITS), default=16)
    levels = np.asarray(image).astype(np.uint32) >> (bits - 8 if 8 < bits < 16 else 8)
    if WHITE_IS_ZERO in _tags(image, PHOTOMETRIC):  # Pillow inverts it at 8 bits only
        levels = 255 - levels
    return levels.clip(0, 255).astype(np.uint8)


@functools.cache
def readable_formats() -> tuple[str, ...]:
    """Those of FORMATS that the Pillow that is installed knows."""
    Image.init()
    return tuple(name for name in FORMATS if name in Image.OPEN)


def _unidentified(data: bytes) -> str:
    if not data:
        return "empty file"
    kind = next((kind for kind, starts in BEGINNINGS.items() if data.startswith(starts)), None)
    if kind is None:
        return "not an image of a known format"
    try:
        Image.OPEN[kind][0](io.BytesIO(data), "").close()
        reason = "damaged"
    except Exception as error:  # as above
        reason = str(error) or type(error).__name__
    return f"a {kind} that cannot be read: {reason}"


def check_decoder(name: str) -> Decoder:
    if name not in DECODERS:
        raise BadInput(f"no decoder named {name!r}; one of {', '.join(DECODERS)}")
    return name  # type: ignore[return-value]


def pixel_limit() -> int | None:
    """Pixels beyond which an image is refused as a decompression bomb; None for no limit."""
    return None if Image.MAX_IMAGE_PIXELS is None else 2 * Image.MAX_IMAGE_PIXELS


def limit_pixels(most: int) -> None:
    """Raise or lower Pillow's limit for this process, 178,956,970 pixels unless set; Pillow warns from half of it."""
    if most < 2:
        raise BadInput(f"a limit of {most} pixels found, at least 2 expected")
    Image.MAX_IMAGE_PIXELS = most // 2
