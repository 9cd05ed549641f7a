"""The options that say which squares a model sees and how it is made, by timm's names, as parts of a model's entry."""

import ast
import shlex
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

from featune.engine.errors import BadInput, nearest


class ViewOptions(TypedDict, total=False):
    """As timm's scripts call them. img_size: pixels. mean, std: of each channel, or one for all; images are 0 to 1.

    model_kwargs: of the model's constructor or factory. tap: the layer whose output is the feature, of a factory.
    """

    img_size: int | None
    mean: float | Sequence[float] | None
    std: float | Sequence[float] | None
    crop_pct: float | None
    crop_mode: str | None
    interpolation: str | None
    in_chans: int | None
    model_kwargs: Mapping[str, Any] | None
    tap: str | None


IN_ENTRY = {"img_size": "side", "model_kwargs": "kwargs"}  # the others have one name everywhere
NAMES = tuple(ViewOptions.__annotations__)


def entry_of(options: Mapping[str, Any], view: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The parts of an entry (`spec_from_entry`) that options or a `view` give, which may use the entry's names too.

    Raises BadInput for a name that is none, and for one that is given twice.
    """
    found: dict[str, Any] = {}
    known = {*NAMES, *(IN_ENTRY.get(name, name) for name in NAMES)}
    for name, value in [*(view or {}).items(), *options.items()]:
        if name not in known:
            raise BadInput(f"no option {name!r}{nearest(name, known)}; one of {', '.join(sorted(known))}")
        if value is None:
            continue
        if (key := IN_ENTRY.get(name, name)) in found:
            raise BadInput(f"{name} {value!r} and {key} {found[key]!r} found; give it once")
        found[key] = value
    return found


def refuse_options(name: object, given: Mapping[str, Any], why: str) -> None:
    """Raises BadInput where a view is given for what has its own."""
    if names := [key for key, value in given.items() if value is not None]:
        raise BadInput(f"{name}: {why}, {', '.join(names)} given; leave {'it' if len(names) == 1 else 'them'} out")


def parsed_numbers(option: str, text: str | None) -> tuple[float, ...] | None:
    """`0.5` or `0.485,0.456,0.406`, with commas or spaces."""
    if text is None:
        return None
    try:
        return tuple(float(each) for each in text.replace(",", " ").split()) or None
    except ValueError:
        raise BadInput(f"{option} {text!r} found; numbers expected, such as 0.5 or 0.485,0.456,0.406") from None


def parsed_kwargs(texts: Sequence[str] | None) -> dict[str, Any] | None:
    """`width=8 name=wide` as Python values where they are such, else as text, like timm's `--model-kwargs`."""
    found: dict[str, Any] = {}
    for text in texts or ():
        for part in shlex.split(text):
            name, equals, value = part.partition("=")
            if not equals or not name.isidentifier():
                raise BadInput(f"--model-kwargs {part!r} found; NAME=VALUE expected, such as img_size=128")
            if name in found:
                raise BadInput(f"--model-kwargs {name} is given twice; give it once")
            try:
                found[name] = ast.literal_eval(value)
            except (ValueError, SyntaxError):
                found[name] = value
    return found or None
