"""The digests of many files, each read once and again only when it has changed, as git does with its index."""

import contextlib
import os
import re
import sqlite3
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from ..machine import processors
from ..store import cache_dir
from .addresses import bytes_digest, file_of

SHA256 = re.compile(r"[0-9a-f]{64}")
UNREADABLE = "unreadable"  # the pass over the images reports it with its reason
# A file written within this time of its reading may have been written again with the same times on it.
SETTLED_NS = 2_000_000_000
State = tuple[int, int, int, int]  # size, modified, changed, inode
READERS = 16  # a slow disk answers many at once; where files are in memory, more readers than processors take turns
SHARE = 16  # files that a reader takes at a time; one by one, handing them over takes as long as reading them
AT_ONCE = 4096  # files; what is known of all of a million would take a gigabyte
INTEGER = 2**63 - 1  # the largest that SQLite holds; some file systems number their inodes beyond it


def content_digests(addresses: Sequence[str]) -> list[str]:
    """SHA-256 of each file's bytes, "unreadable" where there are none.

    What was read before is remembered with the file's size, times and inode in `fingerprints.sqlite` of the cache;
    any write to a file changes its ctime, which no program can set back.
    """
    found = [UNREADABLE] * len(addresses)
    order = sorted(range(len(addresses)), key=addresses.__getitem__)  # neighbours in the table, too
    with _memory() as memory:
        for at in range(0, len(order), AT_ONCE):
            places = order[at : at + AT_ONCE]
            for place, sha256 in zip(places, _digests([addresses[i] for i in places], memory), strict=True):
                found[place] = sha256
    return found


def _digests(addresses: Sequence[str], memory: sqlite3.Connection | None) -> list[str]:
    found = [_state(address) for address in addresses]
    known = _remembered(memory, addresses)
    wanted = [i for i, state in enumerate(found) if state is not None and known.get(addresses[i], ())[1:] != state]
    read = dict(zip(wanted, _all_read([addresses[i] for i in wanted]), strict=True))
    now = time.time_ns()
    settled = [
        (addresses[i], read[i], *state)
        for i in wanted
        if (state := found[i]) and read[i] != UNREADABLE and now - max(state[1], state[2]) > SETTLED_NS
    ]
    _remember(memory, settled)
    return [UNREADABLE if state is None else read.get(i) or known[addresses[i]][0] for i, state in enumerate(found)]


def _all_read(addresses: Sequence[str]) -> list[str]:
    """Each file's digest. The first few say whether the others are worth waiting for with many readers at once."""
    began, worked = time.perf_counter(), time.thread_time()
    found = [_read(address) for address in addresses[:SHARE]]
    waits = time.thread_time() - worked < (time.perf_counter() - began) / 2
    shares = [addresses[at : at + SHARE] for at in range(SHARE, len(addresses), SHARE)]
    with ThreadPoolExecutor(READERS if waits else processors()) as pool:
        return found + [each for share in pool.map(lambda share: [*map(_read, share)], shares) for each in share]


def _state(address: str) -> State | None:
    try:
        status = os.stat(file_of(address))
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino & INTEGER


def _read(address: str) -> str:
    try:
        return bytes_digest(address)
    except OSError:
        return UNREADABLE


@contextlib.contextmanager
def _memory() -> Iterator[sqlite3.Connection | None]:
    """The table of what was read, or None where it cannot be kept: then every file is read."""
    path = Path(cache_dir(), "fingerprints.sqlite")
    connection = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        connection = sqlite3.connect(path, timeout=60)
        connection.execute(
            "create table if not exists files "
            "(address text primary key, sha256 text, size int, modified int, changed int, inode int) without rowid"
        )
    except (OSError, sqlite3.Error):
        connection = None
    try:
        yield connection
    finally:
        if connection is not None:
            connection.close()


def _remembered(
    memory: sqlite3.Connection | None, addresses: Sequence[str]
) -> dict[str, tuple[str, int, int, int, int]]:
    if memory is None or not addresses:
        return {}
    wanted = set(addresses)
    try:
        rows = memory.execute("select * from files where address between ? and ?", (min(wanted), max(wanted)))
        return {row[0]: row[1:] for row in rows if row[0] in wanted and SHA256.fullmatch(str(row[1]))}
    except (sqlite3.Error, UnicodeError):  # a name that is no UTF-8
        return {}


def _remember(memory: sqlite3.Connection | None, rows: Sequence[tuple[str | int, ...]]) -> None:
    if memory is None or not rows:
        return
    with contextlib.suppress(sqlite3.Error, UnicodeError), memory:
        memory.executemany("insert or replace into files values (?, ?, ?, ?, ?, ?)", rows)
