"""Generated images by name: `generated/digits`, `generated/digits:1` of another seed."""

import functools
from collections.abc import Callable
from pathlib import Path

from featune.engine.errors import BadInput, nearest
from featune.engine.store import cache_dir, locked

from .images import TARGETS, Drawn, fractal_families, write_images

NAMES: dict[str, Callable[[int], Drawn]] = {"fractal-families": fractal_families, **TARGETS}


def generated_folder(text: str) -> Path:
    """The folder of `digits` or `digits:1`, the seed being 0 where none is given; drawn once, into the cache.

    It holds `<split>/<class>/<number>.png`. Raises BadInput for a name that is none of NAMES, or a seed that is none.
    """
    name, _, seed = text.partition(":")
    if name not in NAMES:
        raise BadInput(f"no generated images named {name!r}{nearest(name, NAMES)}; one of {', '.join(NAMES)}")
    if seed and not (seed.isascii() and seed.isdigit() and int(seed) < 2**32):
        raise BadInput(f"generated/{text}: seed {seed!r} found, a whole number from 0 expected; leave it out for 0")
    number = int(seed or 0)
    folder = cache_dir() / "generated" / f"{name}-{number}"
    with locked(folder):
        return write_images(folder, {"made": f"{name} 1", "seed": number}, functools.partial(NAMES[name], number))


def splits_of(text: str) -> list[str]:
    """The names of its splits."""
    folder = generated_folder(text)
    return [split for split in ("train", "val", "test") if (folder / split).is_dir()]
