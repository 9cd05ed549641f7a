"""A hierarchy of classes, and coarser labels by collapsing it from the leaves or by climbing from every class."""

import csv
import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, nearest
from featune.engine.paths import refuse_devices

LEAF_TO_ROOT, ROOT_TO_LEAF = "leaf-to-root", "root-to-leaf"
DIRECTIONS = (LEAF_TO_ROOT, ROOT_TO_LEAF)


@dataclasses.dataclass(frozen=True)
class Hierarchy:
    """A tree of names. parents: {child: parent} of every name but the root."""

    parents: Mapping[str, str]

    def path(self, name: str) -> tuple[str, ...]:
        """The name, its parent, and so on to the root."""
        found = [name]
        while (above := self.parents.get(found[-1])) is not None:
            found.append(above)
        return tuple(found)

    def below(self, name: str, classes: Sequence[str]) -> list[str]:
        """The classes that are the name, or lie below it."""
        return [one for one in classes if name in self.path(one)]


def read_hierarchy(file: Path, classes: Sequence[str] = ()) -> Hierarchy:
    """The tree of a CSV with the columns child and parent, or of a JSON object of child to parent.

    classes: that must be in it; it may hold others. Raises BadInput for a child of two parents, a cycle, a name that
    does not lead to the one root, and a class that is not in the tree.
    """
    pairs = _json_pairs(file) if file.suffix.lower() == ".json" else _csv_pairs(file)
    parents: dict[str, str] = {}
    for child, parent in pairs:
        if parents.setdefault(child, parent) != parent:
            raise BadInput(
                f"{file}: {child} has the parents {parents[child]} and {parent}, one expected; keep one of them (Huh "
                "et al. 2016 take WordNet's first)"
            )
    if not parents:
        raise BadInput(f"{file}: no pair found; expected a line child,parent for each name but the root")
    _check_tree(file, parents)
    known = {*parents, *parents.values()}
    unknown = [name for name in classes if name not in known]
    if unknown:
        raise BadInput(
            f"{file}: class {unknown[0]!r} is not in it{nearest(unknown[0], known)}, {len(unknown)} of "
            f"{len(classes)} classes are not; add a line child,parent for each"
        )
    return Hierarchy(parents)


def _check_tree(file: Path, parents: Mapping[str, str]) -> None:
    """Every name must lead to one and the same root."""
    ends: dict[str, str] = {}
    for name in parents:
        way: dict[str, None] = {}
        at = name
        while at in parents and at not in ends:
            if at in way:
                circle = [*list(way)[list(way).index(at) :], at]
                raise BadInput(f"{file}: a cycle {' -> '.join(circle[:6])} found, a tree expected; remove one of them")
            way[at] = None
            at = parents[at]
        ends |= dict.fromkeys(way, ends.get(at, at))
    roots = sorted(set(ends.values()))
    if len(roots) > 1:
        first = next(name for name, end in ends.items() if end == roots[0])
        raise BadInput(
            f"{file}: {len(roots)} roots found ({', '.join(roots[:5])}), one expected; {first} is an orphan of the "
            "others: add a line that gives all roots but one a parent"
        )


def _csv_pairs(file: Path) -> list[tuple[str, str]]:
    refuse_devices(file)
    try:
        with open(file, newline="", encoding="utf-8-sig") as text:
            lines = list(csv.reader(line for line in text if line.strip() and not line.startswith("#")))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{file} cannot be read ({error}); give a CSV with the columns child and parent") from error
    header = [name.strip().lower() for name in lines[0]] if lines else []
    if header[:2] != ["child", "parent"]:
        found = ",".join(header) or "nothing"
        raise BadInput(f"{file}: {found} found as first line, child,parent expected; begin the file with it")
    wrong = next((number for number, line in enumerate(lines, 1) if len(line) != 2 or not all(map(str.strip, line))), 0)
    if wrong:
        raise BadInput(f"{file}: two names expected in each line, {lines[wrong - 1]} found; mend the line")
    return [(child.strip(), parent.strip()) for child, parent in lines[1:]]


def _json_pairs(file: Path) -> list[tuple[str, str]]:
    refuse_devices(file)
    try:
        pairs: Any = json.loads(file.read_text(encoding="utf-8-sig"), object_pairs_hook=list)
    except (OSError, ValueError, RecursionError) as error:
        raise BadInput(f"{file} cannot be read ({error}); give a JSON object of child to parent") from error
    if not isinstance(pairs, list) or not all(
        isinstance(pair, (tuple, list)) and len(pair) == 2 and all(isinstance(name, str) and name for name in pair)
        for pair in pairs
    ):
        raise BadInput(f"{file}: one object of names expected, child to parent, something else found; mend the file")
    return [(child, parent) for child, parent in pairs]


def coarse_labels(hierarchy: Hierarchy, classes: Sequence[str], direction: str, count: int) -> dict[str, str]:
    """{class: coarse class} of the collapse that leaves `count` coarse classes.

    Raises BadInput for a count that no round of the collapse has, with those that there are.
    """
    rounds = collapses(hierarchy, classes, direction)
    for found in rounds:
        if len(set(found.values())) == count:
            return found
    counts = list(dict.fromkeys(len(set(found.values())) for found in rounds))
    raise BadInput(
        f"coarse {direction}: {count} classes asked for; the hierarchy gives {', '.join(map(str, counts)) or 'none'}; "
        "choose one of them"
    )


def collapses(hierarchy: Hierarchy, classes: Sequence[str], direction: str) -> list[dict[str, str]]:
    """{class: coarse class} after each round, the finest first, those of one class last.

    leaf-to-root: the classes that lie deepest move to their parents, round by round, so that round k leaves no class
    deeper than the deepest less k. root-to-leaf: all classes move to their parents, and a parent that lies below
    another one is merged into it; as many rounds as the class nearest to the root allows. Depth is the number of steps
    to the root. Source: the label sets `down_up` and `up_down` that Huh et al. 2016 released.
    """
    if direction not in DIRECTIONS:
        raise BadInput(f"coarse {direction!r} found{nearest(direction, DIRECTIONS)}; one of {' and '.join(DIRECTIONS)}")
    paths = {name: hierarchy.path(name) for name in classes}
    if direction == LEAF_TO_ROOT:
        deepest = max(map(len, paths.values())) - 1
        return [
            {name: path[max(0, len(path) - 1 - depth)] for name, path in paths.items()}
            for depth in range(deepest - 1, -1, -1)
        ]
    found = []
    current = {name: name for name in classes}
    for _ in range(min(map(len, paths.values())) - 1):
        if any(one not in hierarchy.parents for one in current.values()):
            break  # at the root
        moved = {name: hierarchy.parents[one] for name, one in current.items()}
        there = set(moved.values())
        topmost = {one: [above for above in hierarchy.path(one) if above in there][-1] for one in there}
        current = {name: topmost[one] for name, one in moved.items()}
        found.append(current)
    return found
