"""A report's figures as files beside the page."""

from collections.abc import Collection, Sequence
from pathlib import Path

from featune.engine.store import write_text

from .marks import Figure
from .rendering import draw, figure_svg


def draw_all(folder: Path, drawn: Sequence[Figure], names: Collection[str]) -> list[tuple[Figure, list[str]]]:
    """Each figure with its panels as SVG, its files <name>.png and .svg written.

    names: of every figure that such a report may have; files of those that it has not are an earlier report's, and
    are removed.
    """
    for name in set(names) - {one.name for one in drawn}:
        for kind in ("png", "svg"):
            (folder / f"{name}.{kind}").unlink(missing_ok=True)
    found = []
    for one in drawn:
        panels = draw(folder / f"{one.name}.png", one.panels, one.keys)
        write_text(folder / f"{one.name}.svg", figure_svg(one.panels, panels, one.keys))
        found.append((one, panels))
    return found
