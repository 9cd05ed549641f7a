"""Models that a study file names together: by a pattern of timm's names, or in a list file."""

import functools
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, nearest
from featune.engine.paths import refuse_devices

from .faults import Faults

TEMPLATE = Path(__file__).with_name("mine.yaml")  # what `featune study init` writes
MOST_BYTES = 1_000_000
MOST = 1_000


def with_all_models(given: Any, folder: Path, faults: Faults) -> Any:
    """The file's `models` with patterns and lists written out; whatever is no list is left to be refused.

    `convnext_*.fb_in1k`: every pre-trained timm model that matches, in timm's order. `{list: models.txt}`: one name or
    pattern a line, # for remarks. A model that was named before is not named again by a pattern.
    """
    if not isinstance(given, list):
        return given
    found: list[Any] = []
    for at, each in enumerate(given):
        if isinstance(each, dict) and set(each) == {"list"}:
            names = faults.attempt(f"models[{at}].list", functools.partial(_listed, each["list"], folder)) or []
            for name in names:
                found += _matching(at, name, found, faults)
        elif isinstance(each, str):
            found += _matching(at, each, found, faults)
        else:
            found.append(each)
    if len(found) > MOST:
        faults.problems.append(f"models: {len(found):,} found when patterns are written out; expected at most {MOST:,}")
    return found


def _matching(at: int, name: str, before: list[Any], faults: Faults) -> list[str]:
    """The models of a pattern that were not named before; a plain name as it is."""
    if not any(mark in name for mark in "*?["):
        return [name]
    names = faults.attempt(f"models[{at}]", functools.partial(_timm_models, name)) or []
    return [one for one in names if one not in before]


def _timm_models(pattern: str) -> list[str]:
    import timm

    names = timm.list_models(pattern, pretrained=True)
    if not names:
        stem = pattern.partition("*")[0].partition(".")[0]
        raise BadInput(f"no pre-trained timm model matches {pattern!r:.200}{nearest(stem, timm.list_models())}; "
                       "`featune models PATTERN` lists them")  # fmt: skip
    return [str(name) for name in names]


def _listed(given: Any, folder: Path) -> list[str]:
    if not isinstance(given, str) or not given or "\0" in given:
        raise BadInput(f"expected the path of a text file, found {given!r:.80}")
    path = folder / given
    refuse_devices(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path}: {path.stat().st_size:,} bytes found, at most {MOST_BYTES:,} expected of a list")
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}); give a text file with one model a line") from error
    names = [line.partition("#")[0].strip() for line in lines]
    if not any(names):
        raise BadInput(f"{path}: no model found; expected one name a line")
    return [name for name in names if name]
