"""WebDataset's samples in tar shards, read in place."""

import collections
import dataclasses
import itertools
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, Missing
from featune.engine.images import (
    IMAGE_SUFFIXES,
    address,
    encoded,
    is_hidden,
    is_image_name,
)
from featune.engine.paths import inside, is_there

from ..catalogue import Archive, fetch
from ..progress import Progress
from ..tasks import CALLED, SYNONYMS
from .files import chosen_splits
from .request import ALL, Data, Request, marked, numbered, unlabelled
from .tar_members import members

Sample = dict[str, str]  # the address of each of a sample's files, by extension
USUAL = [name for names in CALLED.values() for name in names]  # words that name a split
INFO = ("_info.json", "info.json")
RANGE = re.compile(r"\{(-?\d+)\.\.(-?\d+)")
MOST_SHARDS, DIGITS = 100_000, 12


def read_wds(request: Request, progress: Progress) -> Data:
    """`wds/PATTERN`: shards by brace expansion, or a folder of shards with --split.

    A split is one that the folder's _info.json names, a pattern of shards, or a word in the shards' names.
    The target is the sample's `cls`; a target key names another extension, or a field of its `json`.
    """
    base, shards = _shards(request, progress)
    keys = (request.input_key or ";".join(suffix[1:] for suffix in IMAGE_SUFFIXES)).split(";")
    images, targets, without = [], [], 0
    dotted: list[str] = []
    beside: collections.Counter[str] = collections.Counter()  # what samples without an image hold
    with progress.stage(f"listing {request.text}") as advance:
        for number, shard in enumerate(shards, 1):
            for sample in samples(base, shard):
                image = next((sample[key] for key in keys if key in sample), None)
                lost = [] if request.input_key else _dotted(sample, image is None)
                dotted += lost
                if image is None:
                    without += not lost
                    beside.update([] if lost else sample)
                    continue
                images.append(image)
                targets.append(_target(request, base, sample))
                if len(images) == request.limit:
                    break
            advance(number, len(shards))
            if len(images) == request.limit:
                break
    words = " or ".join(keys) if request.input_key else "an image"
    rule = (
        f"{len(dotted)} images whose names have a dot before the suffix (as *.{dotted[0]}), of one sample each, since "
        "WebDataset cuts names at their first dot"
        if dotted
        else ""
    )
    if not images:
        found = rule or f"{without} samples, none with {words}, with {', '.join(sorted(beside)[:5]) or 'nothing'}"
        remedy = "rename them, give the tar without wds/, or name the --input-key" if dotted else "name the --input-key"
        raise BadInput(f"{request.text}: {found}; expected images of the suffixes in docs/data.md, {remedy}")
    notes = [f"left out are {rule}; rename them, or give the tar without wds/"] if dotted else []
    if without:
        notes.append(f"{without} samples without {words} are left out, with {', '.join(sorted(beside)[:5])}")
    notes += _of_no_split(request, base) + _splits_inside(request, base, shards)
    labels, classes = numbered(request.text, targets, request.target_fields or None)
    return Data(request.name, dataclasses.replace(unlabelled(base, images), labels=labels), classes, tuple(notes))


def _dotted(sample: Sample, alone: bool) -> list[str]:
    """The extensions of images such as `0001.png`, cut too early from `photo.0001.png`.

    Beside an image (alone is False), `seg.png` is a mask, and a number is still an image that was lost.
    """
    images = [name for name in sample if "." in name and is_image_name(f"image.{name}")]
    return [name for name in images if alone or name.partition(".")[0].isdigit()]


def _of_no_split(request: Request, base: Path) -> list[str]:
    """A note on shards whose names have no word of a split, where a split is taken by its word."""
    if request.split in (None, ALL) or ".tar" in str(request.split) or _info_splits(base):
        return []
    wordless = [name for name in _tars(base) if not _words(name.removesuffix(".tar"))]
    wordless = [name for name in wordless if not _word(str(request.split)).search(name.removesuffix(".tar"))]
    if not wordless:
        return []
    return [f"{len(wordless)} shards whose names have no word of a split are left out: {', '.join(wordless[:3])}"]


def _splits_inside(request: Request, base: Path, shards: Sequence[str]) -> list[str]:
    """A note on samples in folders that are called as splits, which WebDataset's names have no place for."""
    if request.split not in (None, ALL):
        return []
    names = [one.name for shard in (shards[0], shards[-1]) for one in members(base / shard)]
    folders = {part for name in names for part in name.split("/")[:-1]}
    called = sorted(name for name in folders if name.lower() in SYNONYMS)
    if len(called) < 2:
        return []
    return [
        f"the folders {' and '.join(called)} in the shards are not taken as splits; give tars without wds/ for that"
    ]


def samples(base: Path, shard: str) -> Iterator[Sample]:
    """The samples of a shard: files side by side whose names are equal up to the first dot."""
    try:
        from webdataset.tariterators import base_plus_ext
    except ImportError as error:
        raise Missing("webdataset is not installed, which wds/ needs; pip install 'featune[data]'") from error
    key, sample = None, Sample()
    for member in members(base / shard):
        name, extension = base_plus_ext(member.name)
        if name is None or is_hidden(member.name):
            continue
        if sample and name != key:
            yield sample
            sample = {}
        key = name
        sample[extension.lower()] = address(shard, member.offset, member.size)
    if sample:
        yield sample


def _shards(request: Request, progress: Progress) -> tuple[Path, list[str]]:
    """(folder, the shards' paths seen from it)."""
    if re.match(r"https?://", request.rest):
        return _fetched(request, progress)
    if re.match(r"(pipe:|\w+://)", request.rest):
        raise BadInput(f"{request.text}: shards are read in place; copy them to this machine and give their path")
    base = (request.root or Path()).absolute()
    if is_there(base / request.rest) and (base / request.rest).is_dir():
        base = base / request.rest
        found = _of_folder(request, base)
    elif request.split:
        raise BadInput(f"{request.text}: split {request.split!r} asked for of a pattern; give the folder of the shards")
    else:
        found = _expanded(request.rest)
    absent = [shard for shard in found if not (is_there(base / shard) and (base / shard).is_file())]
    if absent or not found:
        raise BadInput(
            f"{request.text}: {len(found)} shards expected under {base}, {len(found) - len(absent)} found"
            f"{f', {absent[0]} is not there' if absent else ''}; check the pattern"
        )
    return base, found


def wds_splits(request: Request, progress: Progress) -> list[str]:
    """The splits that a folder's info names, or the usual words in its shards' names; none of a pattern."""
    folder = (request.root or Path()).absolute() / request.rest
    if not is_there(folder) or not folder.is_dir():
        return []
    if named := list(_info_splits(folder)):
        return named
    of_shard = {name: _words(name.removesuffix(".tar")) for name in _tars(folder)}
    several = next((name for name, words in of_shard.items() if len(words) > 1), None)
    if several:
        raise BadInput(
            f"{request.text}: {several} would be of {' and '.join(of_shard[several])}; rename the shards, or say "
            "which are which in _info.json"
        )
    return [word for word in USUAL if [word] in of_shard.values()]


def _tars(folder: Path) -> list[str]:
    """The names of a folder's tars, without hidden ones such as macOS leaves."""
    return sorted(path.name for path in folder.glob("*.tar") if not is_hidden(path.name))


def _words(stem: str) -> list[str]:
    return [word for word in USUAL if _word(word).search(stem)]


def _info_splits(folder: Path) -> dict[str, Any]:
    return next((info["splits"] for name in INFO if (info := _read_info(folder / name))), {})


def _word(split: str) -> re.Pattern[str]:
    """The split's name as a word of a shard's."""
    return re.compile(rf"(^|[-_. ]){re.escape(split)}([-_. ]|$)", re.IGNORECASE)


def _of_folder(request: Request, folder: Path) -> list[str]:
    there = _tars(folder)
    splits = _info_splits(folder)
    if request.split and (".tar" in request.split or ".." in request.split):
        return _expanded(request.split.partition("|")[0])  # timm's `pattern|number of samples`
    if splits:
        return [shard for split in chosen_splits(request, splits) for shard in _filenames(folder, splits[split])]
    word = _word(request.split or "")
    found = [name for name in there if request.split in (None, ALL) or word.search(name)]
    if not found:
        raise BadInput(f"{request.text}: no shard of split {request.split!r} found; {len(there)} shards are there")
    return found


def _filenames(folder: Path, split: Any) -> list[str]:
    """The shards that the folder's info names for a split, none of them outside the folder."""
    names = split.get("filenames") if isinstance(split, dict) else None
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise BadInput(f"{folder}: a split of {' or '.join(INFO)} has no list `filenames`; give each split one")
    for name in names:
        inside(folder, name, "the shard")
    return names


def _read_info(path: Path) -> dict[str, Any] | None:
    try:
        info = json.loads(path.read_text(encoding="utf-8"))
        return info if isinstance(info.get("splits"), dict) else None
    except FileNotFoundError:
        return None
    except (ValueError, AttributeError, RecursionError) as error:
        raise BadInput(f"{path}: {error}; expected a JSON object with the splits") from error


def _expanded(pattern: str) -> list[str]:
    """The shards of a pattern as WebDataset expands it. Raises BadInput for more of them than anyone has."""
    try:
        from braceexpand import braceexpand
        from webdataset.shardlists import envsubst
    except ImportError as error:
        raise Missing("webdataset is not installed, which wds/ needs; pip install 'featune[data]'") from error
    ranges = RANGE.findall(pattern)
    too_many = any(
        max(len(first), len(last)) > DIGITS or abs(int(last) - int(first)) >= MOST_SHARDS for first, last in ranges
    )
    try:
        lazy = itertools.chain.from_iterable(braceexpand(envsubst(part)) for part in pattern.split("::"))
        found = [] if too_many else list(itertools.islice(lazy, MOST_SHARDS + 1))
    except (ValueError, RecursionError, AssertionError) as error:  # braces, or a variable WDS_NAME that is not set
        raise BadInput(f"wds/{pattern[:200]}: {error}; check the pattern's braces") from error
    if too_many or len(found) > MOST_SHARDS:
        raise BadInput(f"wds/{pattern[:200]}: more than {MOST_SHARDS:,} shards found; check the pattern's ranges")
    return found


def _fetched(request: Request, progress: Progress) -> tuple[Path, list[str]]:
    """The shards of a web address, kept whole under root/wds/<host and folder>.

    Raises BadInput, before anything is fetched, for an address whose parts are no names of folders.
    """
    base = request.folder.absolute() / "wds"
    archives = [Archive(url, None) for url in _expanded(request.rest)]
    files = [inside(base, archive.url.partition("://")[2], "the address") for archive in archives]
    found = []
    for archive, file in zip(archives, files, strict=True):
        if not file.exists() and not request.download:
            raise Missing(f"{file}: no such file; give --download to fetch {archive.url}")
        with progress.stage(archive.name) as advance:
            found.append(fetch(archive, file.parent, advance).relative_to(base).as_posix())
    return base, found


def _target(request: Request, base: Path, sample: Sample) -> Any:
    key = request.target_key
    if key == "" or (key is None and "cls" not in sample):
        return None
    if key is None or key in sample:
        text = encoded(base / sample[key or "cls"]).decode("utf-8", "replace").strip()
        return int(text) if re.fullmatch(r"-?\d+", text) else text
    if "json" not in sample:
        raise BadInput(f"{request.text}: no json with a field {key} in a sample of {', '.join(sorted(sample))}")
    try:
        fields = json.loads(encoded(base / sample["json"]))
    except (ValueError, RecursionError) as error:
        raise BadInput(f"{base / sample['json']}: not JSON ({error}); pack the shard again") from error
    if not isinstance(fields, dict):
        raise BadInput(f"{base / sample['json']}: an object with {key} expected; pack the shard again")
    wanted: Sequence[str] = request.target_fields or (key,)
    absent = [name for name in wanted if name not in fields]
    if absent:
        raise BadInput(f"{request.text}: no field {absent[0]} in a sample's json; found {', '.join(sorted(fields))}")
    if request.target_fields:
        return marked(request, [fields[name] for name in wanted])
    return fields[key]
