"""The panel of a heat map: a row per model, a column per task, the darker the better."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from .marks import Array, Panel, about
from .style import INK, WIDTH
from .text_labels import shortened, text_width

ROW, NAMES, MOST_HEAD = 18.0, 138.0, 110.0  # px: of a row, of the names' column, of the tasks' names at most
FAINTEST = 0.06  # of the colour


def heat_panel(
    name: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, int | None]],
    columns: Sequence[str],
    ranks: Array,
    colour: str,
) -> Panel:
    """ranks: [rows, columns], 1 the best, NaN for none. rows: (text, the model's place).

    Numbers stand in the cells where they have room.
    """
    texts = [shortened(text, MOST_HEAD) for text in columns]
    head = max(text_width(text) for text in texts) + 8
    wide = (WIDTH - NAMES - 6) / len(columns)

    def draw(axes: Any) -> None:
        from matplotlib.collections import PolyCollection
        from matplotlib.colors import to_rgb
        from matplotlib.transforms import ScaledTranslation

        axes.set_xlim(0, len(columns))
        axes.set_ylim(len(rows), 0)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.grid(False)
        for spine in axes.spines.values():
            spine.set_visible(False)
        last = max(2.0, float(np.nanmax(ranks)))
        for at, (text, place) in enumerate(rows):
            here = [column for column in range(len(columns)) if not np.isnan(ranks[at, column])]
            boxes = [[(c, at), (c + 1, at), (c + 1, at + 1), (c, at + 1)] for c in here]
            shades = [FAINTEST + (1 - FAINTEST) * 0.5 * (1 - (ranks[at, c] - 1) / (last - 1)) ** 1.5 for c in here]
            colours = [(*to_rgb(colour), round(shade, 2)) for shade in shades]
            axes.add_collection(PolyCollection(boxes, facecolors=colours, edgecolors="white", linewidths=0.8,
                                               gid=about([place]), clip_on=False))  # fmt: skip
            axes.text(-4 / wide, at + 0.5, shortened(text, NAMES - 8), ha="right", va="center", color=INK)
            for column in here:
                number = f"{ranks[at, column]:.0f}"
                if text_width(number) + 2 <= wide:
                    axes.text(column + 0.5, at + 0.5, number, ha="center", va="center", color=INK)
        lift = ScaledTranslation(0, 5 / 72, axes.figure.dpi_scale_trans)
        for column, text in enumerate(texts):
            axes.text(column + 0.5, 0, text, rotation=90, ha="center", va="bottom", transform=axes.transData + lift)
        above = ScaledTranslation((3 - NAMES) / 72, (head + 8) / 72, axes.figure.dpi_scale_trans)
        axes.text(0, 1, shortened(title, WIDTH - 8, bold=True), transform=axes.transAxes + above, va="baseline",
                  fontsize=12, fontweight="bold")  # fmt: skip

    height = ROW * len(rows) + head + 30
    return Panel(name, description, height, draw, left=NAMES, right=6, top=head + 26, bottom=4)
