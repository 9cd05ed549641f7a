"""Faults of a study file in words: the path of the key, what was found, what is expected, what to do."""

import dataclasses
import errno
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from featune.engine.errors import BadInput, Missing, nearest

Made = TypeVar("Made")
Model = TypeVar("Model", bound=BaseModel)
Place = tuple[str | int, ...]
LONGEST = 80  # characters of a found value that are shown
KINDS = {
    "int_type": "a whole number", "int_from_float": "a whole number", "int_parsing": "a whole number",
    "float_type": "a number", "finite_number": "a finite number", "bool_type": "true or false", "string_type": "text",
    "is_instance_of": "text",
    "list_type": "a list", "dict_type": "keys and values", "model_type": "keys and values",
}  # fmt: skip
BOUNDS = {
    "greater_than": ("gt", "a number above"), "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "a number below"), "less_than_equal": ("le", "at most"),
}  # fmt: skip


@dataclasses.dataclass
class Faults:
    """All that is wrong with a file, collected so that it is told together.

    problems: of the file. absent: what this machine lacks, which is no fault of the file.
    """

    path: Path
    problems: list[str] = dataclasses.field(default_factory=list)
    absent: list[str] = dataclasses.field(default_factory=list)

    def attempt(self, where: str, make: Callable[[], Made]) -> Made | None:
        """What `make` gives; its error is kept, and None given."""
        try:
            return make()
        except BadInput as error:
            self.problems.append(f"{where}: {error}")
        except Missing as error:
            self.absent.append(f"{where}: {error}")
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            self.problems.append(f"{where}: a name of more than 255 bytes found, which no file can have")
        return None

    def read(self, kind: type[Model], value: dict[Any, Any], place: Place, instead: Mapping[str, Any]) -> Model | None:
        """The entry that a value is; its faulty keys are noted and left out, for the others may have faults too.

        instead: of required keys that are faulty or missing. None where the rest alone is no entry.
        """
        try:
            return kind.model_validate(value)
        except ValidationError as error:
            found = error.errors()
        self.problems += [said(problem, place, kind) for problem in found]
        wrong = {problem["loc"][0] for problem in found if problem["loc"]}
        try:
            return kind.model_validate({**instead, **{key: each for key, each in value.items() if key not in wrong}})
        except ValidationError:
            return None

    def refuse(self) -> None:
        """Raises BadInput where the file has faults, with all that was found; Missing where the machine alone has."""
        found = [*self.problems, *self.absent]
        count = f"{len(found)} problem{'s' if len(found) > 1 else ''}"
        if found:
            error = BadInput if self.problems else Missing
            raise error(f"{self.path}: {count}\n" + "\n".join(f"  {problem}" for problem in found))


def where(place: Sequence[str | int]) -> str:
    """`models[1].kwargs.depth`."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")


def said(problem: Any, before: Place, kind: type[BaseModel]) -> str:
    """One of pydantic's findings in our words; before: where the value stands that was read as `kind`."""
    place = (*before, *problem["loc"])
    return f"{where(place)}: {_words(problem, kind)}".removeprefix(": ")


def _words(problem: Any, kind: type[BaseModel]) -> str:
    what, value, context = problem["type"], problem["input"], problem.get("ctx", {})
    if what == "extra_forbidden":
        return unknown_key(str(problem["loc"][-1]), keys_of(_nested(kind, problem["loc"][:-1])))
    if what == "missing":
        return "is missing"
    if what == "invalid_key":
        return f"expected a key of text, found {shown(problem['loc'][-1])}; put it in quotes"
    if what == "literal_error":
        known = list(_listed(context["expected"]))
        return f"expected one of {', '.join(known)}, found {shown(value)}{near(value, known)}"
    if what in BOUNDS:
        name, words = BOUNDS[what]
        bound = context[name]
        return f"expected {words} {bound:{',' if isinstance(bound, int) else 'g'}}, found {shown(value)}"
    if what in ("too_short", "too_long"):
        most, count = ("at most", context["max_length"]) if what == "too_long" else ("at least", context["min_length"])
        return f"expected {most} {count:,} of them, found {context['actual_length']:,}"
    if what in ("string_too_short", "string_too_long"):
        return f"expected {'text' if what == 'string_too_short' else 'shorter text'}, found {shown(value)}"
    if what == "value_error":
        return str(context["error"])
    if what in KINDS:
        return expected(KINDS[what], value)
    return f"{problem['msg']}, found {shown(value)}"


def expected(kind: str, value: Any) -> str:
    """What is wrong with a value of another type, with what would mend it."""
    remedy = ""
    if kind == "text":
        remedy = "; put it in quotes"
    elif isinstance(value, str) and kind in ("a whole number", "a number", "a finite number", "true or false"):
        remedy = f"; write {'true or false' if kind == 'true or false' else 'digits'} without quotes"
    elif kind == "a list" and not isinstance(value, (dict, type(None))):
        remedy = f"; write [{shown(value).strip(chr(39))}]"
    return f"expected {kind}, found {shown(value)}{remedy}"


def unknown_key(key: str, known: Iterable[str]) -> str:
    known = sorted(known)
    return f"unknown key{nearest(key, known) or '; one of ' + ', '.join(known)}"


def keys_of(kind: type[BaseModel]) -> set[str]:
    """The keys that an entry may have, by each of their names."""
    found: set[str] = set()
    for name, field in kind.model_fields.items():
        found |= {name, *map(str, getattr(field.validation_alias, "choices", ()))}
    return found


def shown(value: Any) -> str:
    """A found value, cut where it is long."""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]}..."


def near(value: Any, known: Iterable[str]) -> str:
    return nearest(value, known) if isinstance(value, str) else ""


def _listed(text: str) -> Iterable[str]:
    """pydantic's "'a', 'b' or 'c'" as words."""
    return text.replace(" or ", ", ").replace("'", "").split(", ")


def _nested(kind: type[BaseModel], place: Place) -> type[BaseModel]:
    """The model that stands at a place inside another, such as a recipe's augmentation."""
    for part in place:
        inner = [kind.model_fields[part].annotation] if part in kind.model_fields else []
        options = [option for each in inner for option in (each, *getattr(each, "__args__", ()))]
        kind = next((each for each in options if isinstance(each, type) and issubclass(each, BaseModel)), kind)
    return kind
