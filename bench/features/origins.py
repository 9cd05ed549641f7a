"""What a file of features is of: paths, labels and classes, and the data sets that asked for it.

Rows are named by the images' bytes alone, so one file may be of several data sets: the same images under other names
or labels. The paths and labels of each lie once beside the rows, in `<content>.items.json`, and
`<key>.<content>.data.json` says under which name a data set asked for the key, and when last.
"""

import contextlib
import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, nearest
from featune.engine.features import FeatureKey
from featune.engine.store import read_json, write_json, write_text

from ..data import Data

ITEMS = re.compile(r"([0-9a-f]{16})\.items\.json")
ASKED = re.compile(r"([0-9a-f]{16})\.([0-9a-f]{16})\.data\.json")


@dataclasses.dataclass(frozen=True)
class Origin:
    """A data set that asked for a key. content: names its paths, labels and classes. asked: when last, in UTC."""

    data: str
    content: str
    asked: str

    def __str__(self) -> str:
        return f"{self.data} ({self.content}), asked for at {self.asked[:19]}Z"


def note_origin(root: Path, keys: Iterable[FeatureKey], data: Data) -> str:
    """Record next to the rows, made already or not, which data set they belong to; gives the content's name.

    A store that cannot be written keeps the records that it has.
    """
    items = data.items
    record = {"root": str(Path(items.root).absolute()), "paths": items.paths, "labels": items.labels}
    # On one line: an indented one takes Python's own encoder, 5 s and half a gigabyte for ImageNet.
    text = json.dumps(record | {"classes": data.classes}, ensure_ascii=False)
    content = hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()[:16]
    with contextlib.suppress(BadInput):
        for key in keys:
            asked = {"data": data.name, "asked": datetime.now(UTC).isoformat()}
            write_json(root / f"{key.name}.{content}.data.json", asked)
        if not (root / f"{content}.items.json").exists():
            write_text(root / f"{content}.items.json", text)
    return content


def origins_of(root: Path, key: str) -> list[Origin]:
    """The data sets that asked for the key, the last one first."""
    found = []
    for path in root.glob(f"{key}.*.data.json"):
        known, record = ASKED.fullmatch(path.name), read_json(path)
        if known and isinstance(record, dict) and {"data", "asked"} <= record.keys():
            found.append(Origin(str(record["data"]), known[2], str(record["asked"])))
    return sorted(found, key=lambda each: each.asked, reverse=True)


def origin_of(root: Path, key: str, chosen: str | None = None) -> Origin:
    """The data set that asked for the key last, or the one of that name or content.

    Raises BadInput where nothing is known of it, or no such data set asked for it.
    """
    found = origins_of(root, key)
    if not found:
        raise BadInput(
            f"{key}: no paths and labels are stored with it; run the `featune extract` or `featune probe` that made it "
            "again: it stores them and does not compute the rows again"
        )
    if chosen is None:
        return found[0]
    alike = [each for each in found if chosen in (each.data, each.content)]
    if not alike:
        names = [each.data for each in found]
        raise BadInput(f"{key}: no data set {chosen!r} asked for it{nearest(chosen, names)}; {listed(found)}")
    return alike[0]


def listed(found: Iterable[Origin]) -> str:
    return "known are " + "; ".join(map(str, found))


def items_of_origin(root: Path, origin: Origin) -> dict[str, Any]:
    """The record with root, paths, labels and classes. Raises BadInput where it is gone."""
    file = root / f"{origin.content}.items.json"
    record = read_json(file)
    if not isinstance(record, dict):
        raise BadInput(f"{file} is damaged or missing; extract {origin.data} again, the rows are not computed again")
    return record


def forget(root: Path, key: str) -> int:
    """Remove the records of a key, and paths and labels that no other key uses; gives the bytes that are freed."""
    gone = [path for path in root.glob(f"{key}.*.data.json") if ASKED.fullmatch(path.name)]
    contents = {path.name.split(".")[1] for path in gone}
    others = (path for path in root.glob("*.data.json") if path not in gone)
    kept = {known[2] for path in others if (known := ASKED.fullmatch(path.name))}
    # What is noted goes last, so that a removal that was killed can be done again.
    return sum(_removed(root / f"{content}.items.json") for content in contents - kept) + sum(map(_removed, gone))


def _removed(path: Path) -> int:
    size = path.stat().st_size if path.exists() else 0
    path.unlink(missing_ok=True)
    return size
