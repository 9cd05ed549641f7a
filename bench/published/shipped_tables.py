"""The tables that ship, by name; a table of several regimes has a name for each of them too."""

import functools
from pathlib import Path

from featune.engine.errors import BadInput, nearest

from .importing import Published, read_published

FOLDER = Path(__file__).parent
# Name -> (file, regime, or all of them where none is named).
NAMES: dict[str, tuple[str, str]] = {
    "sfda2022": ("sfda2022", ""),
    "tmlr2024": ("tmlr2024", ""),
    "tmlr2024-finetuned": ("tmlr2024", "finetune"),
    "tmlr2024-frozen": ("tmlr2024", "probe"),
    "salman2020": ("salman2020", ""),
    "salman2020-full": ("salman2020", "finetune"),
    "salman2020-frozen": ("salman2020", "probe"),
    "simclr2020": ("simclr2020", ""),
    "simclr2020-linear": ("simclr2020", "probe"),
    "simclr2020-finetuned": ("simclr2020", "finetune"),
    "simclr2020-scratch": ("simclr2020", "scratch"),
}


def library_names() -> list[str]:
    return list(NAMES)


def library() -> list[Published]:
    """Every table that ships, whole."""
    return [published(name) for name, (file, _) in NAMES.items() if name == file]


@functools.cache
def published(name: str, folder: Path = Path()) -> Published:
    """A table by its name, or the table of a CSV file, whose path is seen from `folder`.

    Raises BadInput with the nearest name where there is none.
    """
    if name.lower().endswith((".csv", ".txt")):
        return read_published(folder / name)
    if name not in NAMES:
        raise BadInput(f"no published table named {name!r:.80}{nearest(name, NAMES)}; one of {', '.join(NAMES)}, or a "
                       "CSV file")  # fmt: skip
    file, regime = NAMES[name]
    table = read_published(FOLDER / f"{file}.csv", name)
    return table.only(regime) if regime else table
