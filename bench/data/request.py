"""What a data string asks for and what it gives: images by address, and labels where the source has them."""

import dataclasses
import numbers
import pickle
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.images import Labelled
from featune.engine.paths import refuse_devices

from ..tasks import class_order

ALL = "all"
MOST_NUMBERS = 100_000  # class numbers below it are labels as they are, with a class for each number, used or not
Labels = tuple[tuple[int, ...], ...]


@dataclasses.dataclass(frozen=True)
class Request:
    """A data string and timm's options for it.

    text: see bench/data/data_strings.py. split: a split's name; a source that has splits needs one, `all` joins them.
    input_key, target_key: the columns, fields or extensions of image and label; several target keys separated by
    commas are fields of 0 and 1, one per class; an empty target_key leaves the labels out. class_map: a text file
    of class names in order, or a pickled {name: number}. limit: the first so many images. root: where named
    sources lie or are downloaded to; each has its own default. download: fetch what is not there. channels: as
    which the images are read, by default as a prepared task says, else 3.
    """

    text: str
    split: str | None = None
    input_key: str | None = None
    target_key: str | None = None
    class_map: Path | None = None
    limit: int | None = None
    root: Path | None = None
    download: bool = False
    channels: int | None = None

    @property
    def name(self) -> str:
        return f"{self.text}/{self.split}" if self.split else self.text

    @property
    def rest(self) -> str:
        """The text after its prefix."""
        return self.text.partition("/")[2]

    @property
    def folder(self) -> Path:
        return self.root or Path("data")

    @property
    def target_fields(self) -> tuple[str, ...]:
        """The fields of 0 and 1 that the target key names, if it names several."""
        key = self.target_key or ""
        return tuple(part.strip() for part in key.split(",") if part.strip()) if "," in key else ()


@dataclasses.dataclass(frozen=True)
class Data:
    """Images and, where the source has them, classes.

    name: the string with its split. items: labels are empty for an image without any, all of them where
    `classes` is empty. notes: what the user should know, such as images left out.
    """

    name: str
    items: Labelled
    classes: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


def unlabelled(root: Path | str, paths: Iterable[str]) -> Labelled:
    paths = tuple(paths)
    return Labelled(str(root), paths, ((),) * len(paths))


def numbered(
    source: str, targets: Iterable[Any], classes: Sequence[str] | None = None
) -> tuple[Labels, tuple[str, ...]]:
    """(labels, class names) of targets as data sets have them: a number or a name each, or several in a list.

    None and negative numbers are no label. Numbers without `classes` are their own names, up to the highest, so that
    they mean the same in every split; where they reach MOST_NUMBERS, as a catalogue's do, those that occur are numbered
    anew. Names are numbered in the order of classes. Raises BadInput for what is neither, or a number without a class.
    """
    rows = [tuple(target) if _is_list(target) else (target,) for target in targets]
    seen = {value for row in rows for value in row} - {None}
    wrong = [value for value in seen if not isinstance(value, str) and not isinstance(value, numbers.Integral)]
    if wrong or len({isinstance(value, str) for value in seen}) > 1:
        shown = ", ".join(map(repr, list(wrong or seen)[:3]))
        raise BadInput(f"{source}: the target is {shown}; expected class numbers or class names, choose a --target-key")
    if any(isinstance(value, str) for value in seen):
        names = tuple(classes or class_order(seen))
        number = {name: at for at, name in enumerate(names)} | {None: -1}
    elif classes or max(seen, default=-1) < MOST_NUMBERS:
        names = tuple(classes or map(str, range(1 + max(seen, default=-1))))
        number = {value: int(value) for value in seen} | {None: -1}
    else:
        used = sorted(value for value in seen if value >= 0)
        names = tuple(map(str, used))
        number = dict.fromkeys(seen, -1) | {value: at for at, value in enumerate(used)} | {None: -1}
    lost = [value for value in seen if value not in number or number[value] >= len(names)]
    if lost:
        raise BadInput(f"{source}: class {lost[0]!r} found, {len(names)} classes known; choose another --target-key")
    kept: dict[tuple[Any, ...], tuple[int, ...]] = {}  # equal rows share their memory
    for row in rows:
        if row not in kept:
            kept[row] = tuple(sorted({number[value] for value in row if number[value] >= 0}))
    return tuple(kept[row] for row in rows), names


def marked(request: Request, row: Sequence[Any]) -> list[int]:
    """The places of the ones in a row of 0 and 1, the fields of which the target key names."""
    wrong = [at for at, value in enumerate(row) if value not in (0, 1)]
    if wrong:
        raise BadInput(
            f"{request.text}: {request.target_fields[wrong[0]]} is {row[wrong[0]]!r}; expected 0 or 1 where several "
            "target keys are given"
        )
    return [at for at, value in enumerate(row) if value]


def with_class_map(data: Data, file: Path) -> Data:
    """The data with its classes numbered by the map, by name or by number; images of no class in it are left out."""
    number = _read_class_map(file)
    if not data.classes:
        raise BadInput(f"{data.name}: a class map is given, no labels found; leave it out or name the --target-key")
    if twice := next((name for name in data.classes if data.classes.count(name) > 1), None):
        raise BadInput(
            f"{file}: names of classes map to numbers, and {data.name} has two classes {twice}; leave the class map out"
        )
    by_text = {str(key): at for key, at in number.items()}
    new = [
        number.get(_composed(name), number.get(at, by_text.get(_composed(name))))
        for at, name in enumerate(data.classes)
    ]
    names: dict[int, str] = {}
    for key, place in number.items():
        names[place] = f"{names[place]} / {key}" if place in names else str(key)
    classes = tuple(names.get(at, str(at)) for at in range(1 + max(names, default=-1)))
    rows = [tuple(sorted({at for label in row if (at := new[label]) is not None})) for row in data.items.labels]
    kept = [at for at, (row, was) in enumerate(zip(rows, data.items.labels, strict=True)) if row or not was]
    if not any(rows):
        raise BadInput(
            f"{file}: none of the classes of {data.name} ({', '.join(data.classes[:3])}, ...) is in it; give its names"
        )
    items = dataclasses.replace(data.items, labels=tuple(rows), ignore=()).take(kept)
    left_out = len(rows) - len(kept)
    note = (f"{left_out} images of classes that {file} lacks are left out",) if left_out else ()
    return dataclasses.replace(data, items=items, classes=classes, notes=data.notes + note)


def _read_class_map(file: Path) -> dict[str | int, int]:
    """{name or number: number} of a class map, checked; names in composed Unicode."""
    refuse_devices(file)
    try:
        return _map_of_lines(file) if file.suffix.lower() == ".txt" else _map_of_pickle(file)
    except (OSError, ValueError, EOFError, AssertionError, pickle.UnpicklingError) as error:
        raise BadInput(
            f"{file}: {error}; expected a .txt of class names in order, in UTF-8, or a .pkl of name to number"
        ) from error


def _map_of_lines(file: Path) -> dict[str | int, int]:
    names = [_composed(line.strip()) for line in file.read_text(encoding="utf-8-sig").rstrip().splitlines()]
    if "" in names:
        raise BadInput(f"{file}, line {names.index('') + 1}: a class name expected, nothing found; remove the line")
    twice = sorted(name for name in set(names) if names.count(name) > 1)
    if twice:
        lines = " and ".join(str(at) for at, name in enumerate(names, 1) if name == twice[0])
        raise BadInput(f"{file}: class {twice[0]} in lines {lines}; expected each name once, remove or rename one")
    return {name: at for at, name in enumerate(names)}


def _map_of_pickle(file: Path) -> dict[str | int, int]:
    from timm.data.readers.class_map import load_class_map

    found = {}
    for key, at in load_class_map(str(file)).items():
        if not (isinstance(key, (str, int)) and isinstance(at, int) and not isinstance(at, bool)):
            raise BadInput(f"{file}: {key!r} to {at!r} found; expected names or numbers to whole numbers, save it so")
        if not 0 <= at < MOST_NUMBERS:
            raise BadInput(f"{file}: {key!r} to {at}; expected numbers from 0 to {MOST_NUMBERS - 1}, number them anew")
        found[_composed(key) if isinstance(key, str) else key] = at
    return found


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _is_list(value: Any) -> bool:
    return isinstance(value, (list, tuple)) or getattr(value, "ndim", 0) > 0
