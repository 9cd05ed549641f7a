"""The page of one training: its number, its curves, its confusion matrix and its most confident mistakes."""

import base64
import html
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.images import Labelled, read_image

from .mistakes import Judged

WIDTH, HEIGHT, LEFT, BELOW = 420, 200, 48, 24  # pixels of a chart and of its margins
SHOWN = 24  # mistakes with their picture
MOST_CLASSES = 40  # of a confusion matrix on the page; the CSV has any number
THUMBNAIL = 96
STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 980px; margin: 2em auto; padding: 0 1em; color: #222 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums } td, th { padding: 2px 8px; text-align: right }
th { font-weight: 600 } .charts, .mistakes { display: flex; flex-wrap: wrap; gap: 16px }
figure { margin: 0; width: 150px; font-size: 12px; overflow-wrap: anywhere } svg text { font-size: 11px; fill: #555 }
.facts td { text-align: left } .scroll { overflow-x: auto }
"""


def page_html(
    title: str,
    facts: Mapping[str, str],
    log: Sequence[Mapping[str, Any]],
    judged: Judged | None,
    items: Labelled | None,
) -> str:
    """A self-contained page. log: the lines of log.jsonl. judged: of the test images, which `items` are."""
    rows = "".join(f"<tr><td>{_text(key)}</td><td>{_text(value)}</td></tr>" for key, value in facts.items())
    parts = [f"<h1>{_text(title)}</h1><table class='facts'>{rows}</table>", f"<div class='charts'>{charts(log)}</div>"]
    if judged is not None:
        parts += [_confusion(judged), _mistakes(judged, items)]
    return (
        f"<!doctype html><html lang='en'><meta charset='utf-8'><title>{_text(title)}</title><style>{STYLE}</style>"
        f"<body>{''.join(parts)}</body></html>\n"
    )


def charts(log: Sequence[Mapping[str, Any]]) -> str:
    wanted = {"loss": "loss", "val": "value on val", "lr": "learning rate", "grad_norm": "norm of the gradient"}
    found = []
    for key, name in wanted.items():
        points = [(line["step"], line[key]) for line in log if line.get(key) is not None]
        if points:
            found.append(_chart(name, np.array(points, dtype=np.float64)))
    return "".join(found)


def _chart(name: str, points: NDArray[np.float64]) -> str:
    """points: [n, 2], step and value; those that are not finite are left out."""
    points = points[np.isfinite(points).all(axis=1)]
    if not len(points):
        return ""
    if len(points) > 500:  # a screen has no more
        points = points[np.unique(np.linspace(0, len(points) - 1, 500).astype(np.int64))]
    low, high = points.min(axis=0), points.max(axis=0)
    span = np.where(high > low, high - low, 1.0)
    x = LEFT + (points[:, 0] - low[0]) / span[0] * (WIDTH - LEFT - 8)
    y = HEIGHT - BELOW - (points[:, 1] - low[1]) / span[1] * (HEIGHT - BELOW - 24)
    line = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return (
        f"<svg width='{WIDTH}' height='{HEIGHT}' role='img' aria-label='{_text(name)} by step'>"
        f"<text x='{LEFT}' y='14'>{_text(name)}</text>"
        f"<text x='{LEFT - 4}' y='30' text-anchor='end'>{high[1]:.3g}</text>"
        f"<text x='{LEFT - 4}' y='{HEIGHT - BELOW}' text-anchor='end'>{low[1]:.3g}</text>"
        f"<text x='{LEFT}' y='{HEIGHT - 6}'>step {low[0]:.0f}</text>"
        f"<text x='{WIDTH - 8}' y='{HEIGHT - 6}' text-anchor='end'>{high[0]:.0f}</text>"
        f"<path d='M{LEFT},20V{HEIGHT - BELOW}H{WIDTH - 8}' fill='none' stroke='#bbb'/>"
        f"<polyline points='{line}' fill='none' stroke='#1f5fa8' stroke-width='1.5'/></svg>"
    )


def _confusion(judged: Judged) -> str:
    head = "<h2>Confusion of the test images</h2>"
    pairs = "".join(
        f"<tr><td>{_text(truth)}</td><td>{_text(told)}</td><td>{count}</td></tr>"
        for truth, told, count in judged.confused()
    )
    most = f"<table><tr><th>truth</th><th>told</th><th>images</th></tr>{pairs}</table>" if pairs else "<p>None.</p>"
    if len(judged.classes) > MOST_CLASSES:
        return f"{head}<p>{len(judged.classes)} classes: the whole is in confusion.csv. Confused most:</p>{most}"
    largest = max(1, int(judged.confusion.max()))
    names = "".join(f"<th>{_text(name)}</th>" for name in judged.classes)
    lines = []
    for name, row in zip(judged.classes, judged.confusion.tolist(), strict=True):
        cells = "".join(
            f"<td style='background:rgba(31,95,168,{0.8 * count / largest:.2f})'>{count or ''}</td>" for count in row
        )
        lines.append(f"<tr><th>{_text(name)}</th>{cells}</tr>")
    table = f"<div class='scroll'><table><tr><th>truth \\ told</th>{names}</tr>{''.join(lines)}</table></div>"
    return f"{head}{table}<p>Confused most:</p>{most}"


def _mistakes(judged: Judged, items: Labelled | None) -> str:
    if not judged.mistakes:
        return "<h2>Mistakes</h2><p>None on the test images.</p>"
    place = {path: at for at, path in enumerate(items.paths)} if items is not None else {}
    figures = []
    for each in judged.mistakes[:SHOWN]:
        picture = ""
        if items is not None:
            picture = f"<img alt='' src='data:image/jpeg;base64,{_thumbnail(items, place[each.path])}'>"
        figures.append(
            f"<figure>{picture}<figcaption>{_text(each.path)}<br>{_text(each.truth)}, told {_text(each.told)} at "
            f"{100 * each.confidence:.0f} %</figcaption></figure>"
        )
    return (
        f"<h2>Most confident mistakes</h2><p>{len(judged.mistakes)} in all, in mistakes.csv.</p>"
        f"<div class='mistakes'>{''.join(figures)}</div>"
    )


def _thumbnail(items: Labelled, index: int) -> str:
    image = read_image(items.file(index), items.channels)
    image = image.convert("RGB")
    image.thumbnail((THUMBNAIL, THUMBNAIL))
    made = io.BytesIO()
    image.save(made, "JPEG", quality=80)
    return base64.b64encode(made.getvalue()).decode()


def _text(value: object) -> str:
    return html.escape(str(value).encode("utf-8", "replace").decode("utf-8"), quote=True)
