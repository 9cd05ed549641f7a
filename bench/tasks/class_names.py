"""The order of classes: numbers by value, other names as text; and whether it is one of grades."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Sequence
from decimal import Decimal

from featune.engine.errors import BadInput

NUMBER = re.compile(r"[+-]?\d{1,40}(\.\d{1,40})?", re.ASCII)
WITHIN = re.compile(r"\d{1,40}(\.\d{1,40})?", re.ASCII)


def class_order(names: Iterable[str]) -> tuple[str, ...]:
    """The different names in order: 2 before 10 where all are numbers, else as text.

    Raises BadInput for names that are one but for their Unicode form, as file systems write `é` in one sign or in two.
    """
    found = sorted(set(names))
    _require_one_form(found)
    if all(map(NUMBER.fullmatch, found)):
        found.sort(key=lambda name: (Decimal(name), name))
    return tuple(found)


def is_order_of_grades(classes: Sequence[str]) -> bool:
    """Whether classes rise from the lowest grade to the highest, as far as their names tell.

    They do as numbers, with a number in each that rises (`0-none`, `stage 2`), as single letters, where there are two
    at most, and where the order is not the one of `class_order`, since somebody stated it.
    """
    if len(classes) < 3 or tuple(classes) != class_order(classes):
        return True
    if all(map(NUMBER.fullmatch, classes)):
        values = [Decimal(name) for name in classes]
    elif all(len(name) == 1 and name.isalpha() for name in classes):
        return True
    else:
        within = [WITHIN.search(name) for name in classes]
        values = [Decimal(one[0]) for one in within if one]
    return len(values) == len(classes) and all(a < b for a, b in itertools.pairwise(values))


def _require_one_form(names: Iterable[str]) -> None:
    forms: dict[str, str] = {}
    for name in names:
        other = forms.setdefault(unicodedata.normalize("NFC", name), name)
        if other != name:
            raise BadInput(
                f"class {unicodedata.normalize('NFC', name)!r} is spelt in two Unicode forms ({other!a} and {name!a}"
                "); expected one, rename to the composed form (NFC) everywhere"
            )
