"""Fetch a public data set's archives, with progress, resume and hash, and unpack them as torchvision does."""

import hashlib
import http.client
import os
import re
import shutil
import tarfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from email.message import Message
from pathlib import Path

from featune.engine.errors import BadInput, Missing
from featune.engine.paths import check_name
from featune.engine.store import read_json, write_json

from ..progress import Progress
from .entries import Archive, Entry, how_to_get

CHUNK = 1 << 20
TIMEOUT = 60.0  # seconds without a byte


def download(facts: Entry, raw: Path, progress: Progress) -> None:
    """Bring the data set's archives to `raw` and unpack them there. Raises Missing where that cannot be done.

    What is there whole is kept, what is there in part is continued.
    """
    if not facts.archives:
        raise Missing(f"{facts.name} cannot be downloaded for you; {how_to_get(facts)}")
    if not _work(facts, raw).exists() and _is_unpacked(facts, raw):
        return
    for archive in facts.archives:
        with progress.stage(archive.name) as advance:
            fetch(archive, raw / archive.folder, advance)
    with progress.stage(f"unpacking {facts.name}"):
        unpack(facts, raw)


def fetch(archive: Archive, folder: Path, advance: Callable[[int, int], None]) -> Path:
    """The archive in `folder`, checked by its hash. A killed fetch goes on from its `.part` file.

    It goes on only with the same version of the file: `.part.json` keeps what the server called it (ETag or
    Last-Modified). Where there is neither that nor a hash, it begins anew.
    """
    target = folder / check_name("the file's name", archive.name)
    part = target.with_name(f"{target.name}.part")
    try:
        if target.exists() and _is_whole(target, archive):
            return target
        folder.mkdir(parents=True, exist_ok=True)
        _receive(archive, part, advance)
    except (urllib.error.URLError, http.client.HTTPException, TimeoutError, ConnectionError) as error:
        reason = getattr(error, "reason", None) or error
        raise Missing(
            f"{archive.url} cannot be fetched ({reason}); check the network and run the same command again, "
            f"or put the file into {folder} yourself"
        ) from error
    except OSError as error:
        raise BadInput(f"{part}: cannot be written ({error.strerror}); make room or choose another --raw") from error
    if not _is_whole(part, archive):
        part.unlink()
        _note(part).unlink(missing_ok=True)
        raise BadInput(f"{archive.url}: md5 {archive.md5} expected, another found; run the same command again")
    part.replace(target)
    _note(part).unlink(missing_ok=True)
    return target


def _receive(archive: Archive, part: Path, advance: Callable[[int, int], None]) -> None:
    """Append to `part` what it lacks; from its start where the server cannot continue the same version."""
    note = _note(part)
    have = part.stat().st_size if part.exists() else 0
    kept = read_json(note) if have else None
    version = str(kept.get("version") or "") if isinstance(kept, dict) else ""
    if not version and archive.md5 is None:
        have = 0  # of which version the part is, nobody knows
    headers = {"User-Agent": "featune"}
    if have:
        headers |= {"Range": f"bytes={have}-"} | ({"If-Range": version} if version else {})
    try:
        answer = urllib.request.urlopen(urllib.request.Request(archive.url, headers=headers), timeout=TIMEOUT)
    except urllib.error.HTTPError as error:
        if error.code != 416 or not have:
            raise
        if _last_number(error.headers.get("Content-Range")) in (have, None):  # nothing is left to fetch
            return
        part.unlink()  # it is longer than the file
        _receive(archive, part, advance)
        return
    with answer:
        found = _version(answer.headers)
        continued = answer.status == 206 and _begins(answer.headers.get("Content-Range")) in (have, None)
        if answer.status == 206 and not have and not continued:
            raise ConnectionError("the server sent the middle of the file, its whole was asked for")
        if answer.status == 206 and (not continued or (version and found and found != version)):
            part.unlink(missing_ok=True)  # the server goes on with another version, or elsewhere
            _receive(archive, part, advance)
            return
        if not continued:
            part.unlink(missing_ok=True)  # before the note of another version stands beside it
            write_json(note, {"version": found})
        with open(part, "ab" if continued else "wb") as file:
            done = have if continued else 0
            total = done + int(answer.headers.get("Content-Length") or 0)
            while chunk := answer.read(CHUNK):
                file.write(chunk)
                done += len(chunk)
                advance(done, max(total, done))
    if done < total:
        raise ConnectionError(f"{done} of {total} bytes came")


def _note(part: Path) -> Path:
    return part.with_name(f"{part.name}.json")


def _version(headers: Message) -> str:
    """What names this version of a file to its server: a strong ETag, or else when it was changed."""
    tag = headers.get("ETag") or ""
    return tag if tag and not tag.startswith("W/") else headers.get("Last-Modified") or ""


def _begins(content_range: str | None) -> int | None:
    """The first byte of `bytes 1000-1999/2000`."""
    found = re.match(r"bytes (\d+)-", content_range or "")
    return int(found[1]) if found else None


def _last_number(content_range: str | None) -> int | None:
    """The size of the file in `bytes */2000`."""
    found = re.search(r"/(\d+)$", content_range or "")
    return int(found[1]) if found else None


def _is_whole(path: Path, archive: Archive) -> bool:
    if archive.md5 is None:
        return True
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == archive.md5


def _is_unpacked(facts: Entry, raw: Path) -> bool:
    """Whether torchvision finds what it looks for; whether all of it is there, the counts say."""
    import torchvision.datasets

    try:
        for part in facts.parts:
            getattr(torchvision.datasets, facts.torchvision)(str(raw), download=False, **part)
    except (RuntimeError, OSError):
        return False
    return True


def unpack(facts: Entry, raw: Path) -> None:
    """Let torchvision's own class unpack the archives into its layout, which the loaders read.

    It does so in a folder beside, whose content is moved to `raw` when all of it is there: torchvision takes a folder
    that a killed unpacking left for a whole one.
    """
    import torchvision.datasets

    work = _work(facts, raw)
    shutil.rmtree(work, ignore_errors=True)
    for archive in facts.archives:
        (work / archive.folder).mkdir(parents=True, exist_ok=True)
        (work / archive.folder / archive.name).symlink_to((raw / archive.folder / archive.name).absolute())
    kind = getattr(torchvision.datasets, facts.torchvision)
    for part in facts.parts:
        try:
            kind(str(work), download=True, **part)
        except (RuntimeError, OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, zlib.error) as error:
            raise Missing(
                f"{facts.name} could not be unpacked ({error}); remove its archives from {raw} and run "
                f"the same command again, or {how_to_get(facts)}"
            ) from error
    _merge(work, raw)


def _work(facts: Entry, raw: Path) -> Path:
    """Where archives are unpacked; its presence says that they were not to the end."""
    return raw / f".{facts.name}.unpacking"


def _merge(source: Path, target: Path) -> None:
    """Move what a folder holds into another, which may hold other things."""
    target.mkdir(exist_ok=True)
    for child in source.iterdir():
        there = target / child.name
        if child.is_symlink():
            child.unlink()  # an archive, or a file that needed no unpacking: it is there
        elif child.is_dir() and there.is_dir():
            _merge(child, there)
        else:
            os.replace(child, there)
    source.rmdir()
