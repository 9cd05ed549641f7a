"""Images of a source task that a target has too: of the same bytes, or of perceptual hashes that are near."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from featune.engine.images import Labelled, read_image
from featune.engine.machine import processors
from featune.engine.store import cache_dir, digest, locked, written_whole

USUAL = 6  # bits of 63 in which a scaled or compressed copy may differ
SAME_BYTES = -1  # of `near`: no hash, only the bytes
BITS = 63
SIDE, KEPT = 32, 8  # pixels of the small image, frequencies that are kept of each axis
DECODED = 4096  # small images of 8 kB in memory at a time
AT_ONCE = 4_000_000  # pairs of hashes compared at a time
HASHES = 1  # of the rules here, raised when they change, so that what was remembered before is found again


def near_images(source: Labelled, targets: Sequence[Labelled], near: int) -> list[int]:
    """The indices of source images that a target has too.

    near: the most bits of `perceptual_hashes` in which two images may differ and still be one; SAME_BYTES for files of
    the same bytes alone. Files of the same bytes are always found.
    """
    theirs = {digest for items in targets for digest in items.file_digests()} - {"unreadable"}
    found = {index for index, digest in enumerate(source.file_digests()) if digest in theirs}
    if near >= 0 and targets:
        wanted = np.unique(np.concatenate([known_hashes(items) for items in targets]))
        found |= set(_within(known_hashes(source), wanted, near).tolist())
    return sorted(found)


def known_hashes(items: Labelled) -> NDArray[np.uint64]:
    """`perceptual_hashes`, remembered in the cache by the images' bytes: each image is decoded once."""
    file = cache_dir() / "near" / f"{digest([HASHES, items.content_digest, items.channels])}.npy"
    with locked(file):
        if file.exists():
            known: NDArray[np.uint64] = np.load(file)
            return known
        found = perceptual_hashes(items)
        with written_whole(file) as temporary:
            np.save(temporary, found)
        return found


def perceptual_hashes(items: Labelled) -> NDArray[np.uint64]:
    """A hash [n] of 63 bits each, which scaling, compression and small changes of brightness leave nearly as it is.

    A grey image of 32 x 32 pixels, its cosine transform, of which the 8 x 8 lowest frequencies but the mean: each is a
    bit, whether it lies above their median. Turned and mirrored images have other hashes, and so do crops. Source:
    Zauner 2010, Implementation and Benchmarking of Perceptual Image Hash Functions (the DCT hash).
    """
    files = [(items.file(index), items.channels) for index in range(len(items))]
    with ThreadPoolExecutor(processors()) as pool:
        found = [
            hashes_of(np.stack([*pool.map(lambda file: _small(*file), files[at : at + DECODED])]))
            for at in range(0, len(files), DECODED)
        ]
    return np.concatenate(found) if found else np.empty(0, dtype=np.uint64)


def hashes_of(small: NDArray[np.float64]) -> NDArray[np.uint64]:
    """The hash [n] of grey images [n, 32, 32]."""
    from scipy.fft import dctn

    low = dctn(small, type=2, axes=(1, 2))[:, :KEPT, :KEPT].reshape(len(small), -1)[:, 1:]
    bits = (low > np.median(low, axis=1, keepdims=True)).astype(np.uint64)
    hashes: NDArray[np.uint64] = (bits << np.arange(BITS, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    return hashes


def _small(path: Path, channels: int) -> NDArray[np.float64]:
    grey = read_image(path, channels).convert("L").resize((SIDE, SIDE), Image.Resampling.BICUBIC)
    return np.asarray(grey, dtype=np.float64)


def _within(hashes: NDArray[np.uint64], wanted: NDArray[np.uint64], near: int) -> NDArray[np.int64]:
    """The indices of hashes that differ from one of the wanted in at most so many bits."""
    rows = max(1, AT_ONCE // max(1, len(wanted)))
    found = [
        at + np.flatnonzero((np.bitwise_count(hashes[at : at + rows, None] ^ wanted) <= near).any(axis=1))
        for at in range(0, len(hashes), rows)
    ]
    return np.concatenate(found) if found else np.empty(0, dtype=np.int64)
