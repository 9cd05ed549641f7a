"""Encoded bytes to pixels of 1 to 4 channels, by Pillow.

Its JPEG decoder is libjpeg-turbo and runs outside Python's lock.
"""

import io
import os
from typing import Literal, get_args

import numpy as np
from PIL import Image, UnidentifiedImageError

from ..errors import BadImages, BadInput
from .addresses import encoded

Decoder = Literal["fast", "exact"]
DECODERS = get_args(Decoder)
Path = str | os.PathLike[str]
LONGEST = 1000  # times the short side: a line of 1 x 60,000 pixels would become one of 256 x 15 million
SIXTEEN_BIT = ("I;16", "I;16B", "I;16L", "I;16N", "I")
# Pillow's mode for images of so many channels. Any file can be seen in grey or in RGB; the others are data of more
# channels in the places of grey and alpha or of RGB and alpha, and only a file in that mode has them.
MODES = {1: "L", 2: "LA", 3: "RGB", 4: "RGBA"}


def read_image(path: Path, channels: int = 3) -> Image.Image:
    """The first frame of a file, or of a range of bytes in one: in grey, as it is in LA, in RGB, or as it is in RGBA.

    EXIF orientation is not applied and alpha is dropped from RGB and grey, as in timm and torchvision; with 2 or 4
    channels the last one is data like the others. Raises BadImages with the reason for what is missing, empty,
    truncated, no image, or not of the channels asked for.
    """
    return image_of(read_bytes(path), path, channels)


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


def image_of(data: bytes, path: Path, channels: int = 3) -> Image.Image:
    """The first frame of an encoded image, as `read_image`; `path` is for the error, BadImages."""
    mode = MODES[channels]
    try:
        with Image.open(io.BytesIO(data)) as image:
            if max(image.size) > LONGEST * min(image.size):
                reason = f"{image.width} x {image.height} pixels, too long to be scaled by its short side"
                raise BadImages([(str(path), reason)])
            if channels in (2, 4) and image.mode != mode:
                raise BadImages([(str(path), f"mode {image.mode} found, {mode} expected for {channels} channels")])
            if image.mode in SIXTEEN_BIT:
                # Pillow would clip 16-bit grey to 255 instead of scaling it.
                return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert(mode)
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert(mode)
            if image.mode == mode:
                image.load()
                return image  # `convert` would copy it
            return image.convert(mode)
    except UnidentifiedImageError as error:
        reason = "not an image of a known format" if data else "empty file"
        raise BadImages([(str(path), reason)]) from error
    except Image.DecompressionBombError as error:
        reason = f"more pixels than the limit of {pixel_limit():,}; if it is what it should be, raise --max-pixels"
        raise BadImages([(str(path), reason)]) from error
    except BadImages:
        raise
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise BadImages([(str(path), f"{type(error).__name__}: {error}")]) from error


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
