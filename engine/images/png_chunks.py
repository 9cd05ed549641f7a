"""PNG files without what is not needed for their pixels: text, colour profiles, times, and damage in these."""

import struct
import zlib

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CRITICAL = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
NEEDED = (b"tRNS",)  # ancillary by its name, but part of a palette's colours


def pixels_alone(data: bytes) -> bytes | None:
    """The PNG with its critical chunks and transparency alone, or None where nothing can be left out.

    Ancillary chunks are left out unread, be they too large for Pillow's limits or damaged, as libpng leaves out damaged
    ones. None for what is no PNG, or has no end.
    """
    if not data.startswith(SIGNATURE):
        return None
    kept, at, ended = [SIGNATURE], len(SIGNATURE), False
    while at + 12 <= len(data) and not ended:
        (size,) = struct.unpack_from(">I", data, at)
        name, end = data[at + 4 : at + 8], at + 12 + size
        if end > len(data) or not name.isalpha() or (name not in CRITICAL and name.upper() in CRITICAL):
            return None
        if name[:1].isupper() or (name in NEEDED and _is_whole(data, at, size)):
            kept.append(data[at:end])
        at, ended = end, name == b"IEND"
    bare = b"".join(kept)
    return bare if ended and len(bare) < len(data) else None


def _is_whole(data: bytes, at: int, size: int) -> bool:
    return struct.unpack_from(">I", data, at + 8 + size)[0] == zlib.crc32(data[at + 4 : at + 8 + size])
