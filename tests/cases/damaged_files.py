"""Files that are no whole images, by kind: each function makes one from a seed, at a path without its suffix.

DAMAGED are refused with a reason, each of them. SILENT are mostly decoded without complaint: their pixels are wrong,
and their formats have nothing by which a decoder could tell.
"""

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Make = Callable[[Path, np.random.Generator], Path]
FORMATS = ("jpg", "png", "gif", "webp", "bmp", "tif")


def picture(rng: np.random.Generator) -> Image.Image:
    """A few smooth blotches with noise, 64 x 48 or about."""
    size = int(rng.integers(48, 80)), int(rng.integers(40, 64))
    blotches = Image.fromarray(rng.integers(0, 256, (4, 5, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    noise = rng.normal(0, 8, (size[1], size[0], 3))
    return Image.fromarray((np.asarray(blotches) + noise).clip(0, 255).astype(np.uint8))


def encoded(image: Image.Image, suffix: str, **options: Any) -> bytes:
    held = io.BytesIO()
    image.save(held, {"jpg": "JPEG", "tif": "TIFF"}.get(suffix, suffix.upper()), **options)
    return held.getvalue()


def good(path: Path, rng: np.random.Generator, suffix: str) -> Path:
    return _written(path, suffix, encoded(picture(rng), suffix))


def _written(path: Path, suffix: str, data: bytes) -> Path:
    path = path.with_name(f"{path.name}.{suffix}")
    path.write_bytes(data)
    return path


def _cut(suffix: str, low: float = 0.3, high: float = 0.9, mode: str = "RGB", **options: Any) -> Make:
    def make(path: Path, rng: np.random.Generator) -> Path:
        whole = encoded(picture(rng).convert(mode), suffix, **options)
        return _written(path, suffix, whole[: int(len(whole) * rng.uniform(low, high))])

    return make


def _of_bytes(suffix: str, change: Callable[[bytearray, np.random.Generator], bytes | bytearray]) -> Make:
    """A whole image of the format with its bytes changed."""
    return lambda path, rng: _written(path, suffix, bytes(change(bytearray(encoded(picture(rng), suffix)), rng)))


def _grey16_cut(path: Path, rng: np.random.Generator) -> Path:
    whole = encoded(Image.fromarray(rng.integers(0, 2**16, (48, 64), dtype=np.uint16)), "png")
    return _written(path, "png", whole[: int(len(whole) * rng.uniform(0.3, 0.9))])


def _zip(path: Path, rng: np.random.Generator) -> Path:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w") as archive:
        archive.writestr("picture.png", encoded(picture(rng), "png"))
    return _written(path, "png", held.getvalue())


def _inverted(data: bytearray, start: int, stop: int) -> bytearray:
    data[start:stop] = bytes(255 - byte for byte in data[start:stop])
    return data


def _chunk(data: bytes, kind: bytes) -> tuple[int, int]:
    """(start of its body, its length) of a PNG's first chunk of a kind."""
    at = data.index(kind)
    return at + 4, struct.unpack(">I", data[at - 4 : at])[0]


def _header_crc(data: bytearray, rng: np.random.Generator) -> bytearray:
    start, length = _chunk(data, b"IHDR")
    return _inverted(data, start + length, start + length + 1)


def _bad_zlib(data: bytearray, rng: np.random.Generator) -> bytearray:
    start, length = _chunk(data, b"IDAT")
    middle = start + length // 2
    return _inverted(data, middle, middle + 20)


def _bomb(data: bytearray, rng: np.random.Generator) -> bytearray:
    """A header of 50,000 x 50,000 pixels, its check sum in order."""
    start, length = _chunk(data, b"IHDR")
    data[start : start + 8] = struct.pack(">II", 50_000, 50_000)
    data[start + length : start + length + 4] = struct.pack(">I", zlib.crc32(data[start - 4 : start + length]))
    return data


def _folder(path: Path, rng: np.random.Generator) -> Path:
    path = path.with_name(f"{path.name}.jpg")
    path.mkdir()
    return path


def _link(target: str) -> Make:
    def make(path: Path, rng: np.random.Generator) -> Path:
        path = path.with_name(f"{path.name}.jpg")
        path.symlink_to(target.format(name=path.name))
        return path

    return make


def _pipe(path: Path, rng: np.random.Generator) -> Path:
    path = path.with_name(f"{path.name}.jpg")
    os.mkfifo(path)
    return path


def _line(path: Path, rng: np.random.Generator) -> Path:
    return _written(path, "png", encoded(Image.new("RGB", (1, int(rng.integers(1100, 60_000)))), "png"))


def _forbidden(path: Path, rng: np.random.Generator) -> Path:
    path = good(path, rng, "jpg")
    path.chmod(0)
    return path


def _text(suffix: str, words: str) -> Make:
    return lambda path, rng: _written(path, suffix, (words * int(rng.integers(1, 50))).encode())


def _flipped(low: float) -> Callable[[bytearray, np.random.Generator], bytearray]:
    def change(data: bytearray, rng: np.random.Generator) -> bytearray:
        at = int(len(data) * rng.uniform(low, 0.95))
        return _inverted(data, at, at + 1)

    return change


def _zero_tail(data: bytearray, rng: np.random.Generator) -> bytearray:
    start = int(len(data) * rng.uniform(0.85, 0.95))
    return data[:start] + bytes(len(data) - start)


def _data_crc(data: bytearray, rng: np.random.Generator) -> bytearray:
    start, length = _chunk(data, b"IDAT")
    return _inverted(data, start + length, start + length + 4)


DAMAGED: dict[str, Make] = {
    "JPEG cut in its data": _cut("jpg", 0.75, 0.95),
    "JPEG cut in its header": _cut("jpg", 0.0, 0.3),
    "JPEG, CMYK, cut": _cut("jpg", 0.6, 0.9, "CMYK"),
    "JPEG, progressive, cut": _cut("jpg", 0.4, 0.9, progressive=True),
    "JPEG with a tail of zeros": _of_bytes("jpg", _zero_tail),
    "JPEG with an inverted header": _of_bytes("jpg", lambda data, rng: _inverted(data, 2, 24)),
    "JPEG with a wrong magic number": _of_bytes("jpg", lambda data, rng: b"XXXX" + data[4:]),
    "PNG cut": _cut("png"),
    "PNG of 16 bits, cut": _grey16_cut,
    "PNG whose header fails its check sum": _of_bytes("png", _header_crc),
    "PNG with a broken zlib stream": _of_bytes("png", _bad_zlib),
    "PNG that declares 50,000 x 50,000 pixels": _of_bytes("png", _bomb),
    "PNG of 1 x some thousand pixels": _line,
    "GIF cut": _cut("gif"),
    "WebP cut": _cut("webp"),
    "TIFF cut": _cut("tif"),
    "TIFF, LZW, cut": _cut("tif", compression="tiff_lzw"),
    "BMP cut": _cut("bmp"),
    "empty file": lambda path, rng: _written(path, "jpg", b""),
    "zeros": lambda path, rng: _written(path, "jpg", bytes(int(rng.integers(1, 5000)))),
    "random bytes": lambda path, rng: _written(path, "jpg", rng.bytes(int(rng.integers(100, 5000)))),
    "text": _text("jpg", "This is no image.\n"),
    "HTML": _text("jpg", "<!DOCTYPE html><html><body>403 Forbidden</body></html>\n"),
    "zip named .png": _zip,
    "folder named .jpg": _folder,
    "broken link": _link("nowhere.jpg"),
    "link to itself": _link("{name}"),
    "pipe": _pipe,
}
if os.name == "posix" and os.geteuid():  # root reads them all the same
    DAMAGED["file that may not be read"] = _forbidden

SILENT: dict[str, Make] = {
    "JPEG with a flipped byte in its data": _of_bytes("jpg", _flipped(0.75)),
    "PNG whose data fail their check sum": _of_bytes("png", _data_crc),
    "GIF with a flipped byte in its data": _of_bytes("gif", _flipped(0.9)),
    "WebP with a flipped byte in its data": _of_bytes("webp", _flipped(0.5)),
    "BMP with a flipped byte in its data": _of_bytes("bmp", _flipped(0.5)),
    "TIFF with a flipped byte in its data": _of_bytes("tif", _flipped(0.5)),
}
