"""Removing what was not used for long, until the cache has a size; nothing that is at work, or another user's."""

import contextlib
import dataclasses
import os
import re
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.store import check_writable, locked_if_free, remove_stale

from .items import KINDS, Item, contents, used_since

HOURS_AT_WORK = 25  # mounts with relatime, as most are, write a time of reading down once in 24 hours
RECENT = HOURS_AT_WORK * 3600.0  # seconds
OPEN = "open in a process of this machine"
# Kinds whose files a process finds once, when it begins, and reads until it ends; all else it makes again.
HELD = ("data", "tuned")
BY_HAND = "packed images and tuned bodies, which `featune cache prune` alone removes"
SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kMGT]?)(i?)B?", re.ASCII)
AGE = re.compile(r"(\d+(?:\.\d+)?)\s*([hdw])", re.ASCII)
POWERS, HOURS = {"": 0, "k": 1, "M": 2, "G": 3, "T": 4}, {"h": 1.0, "d": 24.0, "w": 168.0}


def parsed_size(text: str) -> int:
    """Bytes of `50GB`, `1.5TB`, `800MiB` or `1000`. Raises BadInput for others."""
    found = SIZE.fullmatch(text.strip().replace("K", "k"))
    if not found:
        raise BadInput(f"a size of {text!r:.40} found, one such as 50GB, 800MB or 1.5TB expected")
    return int(float(found[1]) * (1024 if found[3] else 1000) ** POWERS[found[2]])


def parsed_age(text: str) -> float:
    """Seconds of `12h`, `30d` or `8w`. Raises BadInput for others."""
    found = AGE.fullmatch(text.strip())
    if not found:
        raise BadInput(f"an age of {text!r:.40} found, one such as 12h, 30d or 8w expected")
    return float(found[1]) * HOURS[found[2]] * 3600


@dataclasses.dataclass(frozen=True)
class Pruned:
    """removed: items. freed: bytes of these and of `stale` files, which killed writes left. left: bytes afterwards.

    kept: reasons why items stayed that should have gone, and their bytes.
    """

    removed: int
    freed: int
    stale: int
    left: int
    kept: dict[str, int]


def pruned(
    cache: Path, *, most: int | None = None, older: float | None = None, kinds: Iterable[str] = tuple(KINDS),
    recent_too: bool = False, held_too: bool = True, dry: bool = False,
    clock: Callable[[], float] = time.time,
) -> Pruned:  # fmt: skip
    """Remove items of the kinds, those first that were not used for longest.

    most: bytes that the cache may have, older: seconds; at least one is expected. What was used in the last 25 hours
    stays unless `recent_too`, HELD kinds unless `held_too`. What another process has locked stays, what one of this
    machine has open, and what other users own. dry: nothing is removed.
    Raises BadInput where the cache cannot be written, and for kinds that are none.
    """
    wanted = set(kinds)
    if unknown := wanted - set(KINDS):
        raise BadInput(f"no kind {sorted(unknown)[0]!r} in a cache; one of {', '.join(KINDS)}")
    if most is None and older is None:
        raise BadInput("nothing says what may go; give --max-size or --older-than")
    if not dry:
        check_writable(cache / "prune")
    stale = (0, 0) if dry else remove_stale(cache)
    items, now = contents(cache), clock()
    left, removed, freed, kept = sum(item.bytes for item in items), 0, stale[1], dict[str, int]()
    opened: set[str] | None = None  # looked for when something may go: it takes a tenth of a second
    for item in sorted((item for item in items if item.kind in wanted), key=lambda item: item.used):
        too_old = older is not None and now - item.used > older
        if not too_old and (most is None or left <= most):
            continue
        reason = _stays(item, now, recent_too, held_too)
        if not reason:
            opened = _opened_here(cache) if opened is None else opened
            reason = OPEN if opened.intersection(map(os.path.realpath, item.paths)) else ""
        reason = reason or ("" if dry else _removed(cache, item))
        if reason:
            kept[reason] = kept.get(reason, 0) + item.bytes
        else:
            left, removed, freed = left - item.bytes, removed + 1, freed + item.bytes
    return Pruned(removed, freed, stale[0], left, kept)


def _stays(item: Item, now: float, recent_too: bool, held_too: bool) -> str:
    if item.uid != os.getuid():
        return "of other users"
    if item.kind in HELD and not held_too:
        return BY_HAND
    return f"used in the last {HOURS_AT_WORK} hours" if now - item.used < RECENT and not recent_too else ""


def _opened_here(cache: Path) -> set[str]:
    """Files of the cache that processes of this machine have open or mapped, as far as this user may see it."""
    place, found = os.path.realpath(cache) + os.sep, set()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another user's, or gone
            for name in os.listdir(process / "fd"):
                with contextlib.suppress(OSError):
                    found.add(os.readlink(process / "fd" / name))
            # address permissions offset device inode path
            lines = (process / "maps").read_text(errors="surrogateescape").splitlines()
            found |= {parts[5] for line in lines if len(parts := line.split(maxsplit=5)) == 6}
    return {path for path in found if path.startswith(place)}


def _removed(cache: Path, item: Item) -> str:
    """Remove an item; why it stayed, or nothing. In a shared cache one folder may be closed to this user."""
    try:
        return _removed_if_free(cache, item)
    except (BadInput, OSError):  # of its lock, or of the file
        return "in a folder that cannot be written"


def _removed_if_free(cache: Path, item: Item) -> str:
    """Remove an item under the lock that its makers hold; why it stayed, or nothing."""
    path = cache / item.kind / item.name
    with locked_if_free(path) as free:
        if not free:
            return "in use by another process"
        if used_since(item):
            return "used or changed meanwhile"
        if item.kind == "features":
            from ..features import remove_held

            remove_held(path.parent, item.name)
            return ""
        for part in item.paths:
            part.unlink(missing_ok=True)
            part.with_name(f"{part.name}.lock").unlink(missing_ok=True)
        if path.is_dir():
            with contextlib.suppress(OSError):  # what came meanwhile is another's
                path.rmdir()
        path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
    return ""
