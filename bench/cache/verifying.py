"""Whether the bytes of what lies in the cache are those that were written."""

import dataclasses
import sqlite3
from collections.abc import Callable
from pathlib import Path

from featune.engine.errors import BadInput, FeatuneError, first_line
from featune.engine.store import read_json
from featune.export.backends import read_plan
from featune.export.gate import require_passing

from ..features import damaged_keys
from .items import RECORDS, Item, contents


@dataclasses.dataclass(frozen=True)
class Damage:
    """An item that is not whole, and why. Such a file is not used: it is made again when it is asked for."""

    kind: str
    name: str
    reason: str


def damaged_items(
    cache: Path, advance: Callable[[int, int], None] = lambda done, total: None
) -> tuple[int, list[Damage]]:
    """(how many items were checked, those that are damaged). Reads every byte and changes nothing."""
    items = contents(cache)
    found = []
    for done, item in enumerate(items, 1):
        if reason := _reason(cache, item):
            found.append(Damage(item.kind, item.name, reason))
        advance(done, len(items))
    return len(items), found


def _reason(cache: Path, item: Item) -> str:
    """What is wrong with an item, or nothing; what has no digest is judged by whether it can be read."""
    path = cache / item.kind / item.name
    try:
        if item.kind == "features":
            return "its bytes are not those that were written" if damaged_keys(path.parent, [item.name]) else ""
        if item.kind == "graphs" and path.suffix == ".onnx":
            require_passing(path)
        elif item.kind == "plans" and path.suffix == ".plan":
            read_plan(path)
        elif item.kind == "tuned":
            _read_safetensors(path)
        elif item.kind == RECORDS:
            return _unreadable_record(cache / item.name)
    except FeatuneError as error:
        return first_line(error).removeprefix(f"{path} ")
    except FileNotFoundError:  # removed meanwhile
        return ""
    except OSError as error:
        return error.strerror or first_line(error)
    return ""


def _read_safetensors(path: Path) -> None:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as held:
            held.keys()
    except SafetensorError as error:
        raise BadInput(f"not a file of weights: {first_line(error)}") from error


def _unreadable_record(path: Path) -> str:
    if path.suffix == ".json" and path.exists() and read_json(path) is None:
        return "is no JSON"
    if path.suffix == ".sqlite":
        try:
            connection = sqlite3.connect(f"file:{path.absolute()}?mode=ro", uri=True)
            try:
                said = connection.execute("pragma quick_check(1)").fetchone()[0]
            finally:
                connection.close()
        except sqlite3.Error as error:
            return first_line(error)
        return "" if said == "ok" else str(said)
    return ""
