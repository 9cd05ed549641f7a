"""The report's HTML page: `report.html.j2` filled with the document and the drawings."""

from collections.abc import Mapping, Sequence
from typing import Any

from .figures import Figure
from .pages import drawings, page

LARGE = 1000  # lines of all tasks' tables, from which on a browser is spared what is far below


def page_html(document: Mapping[str, Any], drawn: Sequence[tuple[Figure, Sequence[str]]], files: Sequence[str]) -> str:
    """The page. drawn: the figures, each with the SVG of its panels. files: what lies beside the page."""
    tables = {table["task"]: f"table-{at}" for at, table in enumerate(document["tables"], 1)}
    pictures = drawings(drawn, tables)
    first = next((one for one in pictures if one["name"] == "choice"), None)
    values = {
        **document,
        "first": first,
        "figures": [one for one in pictures if one is not first],
        "files": files,
        "large": sum(len(table["lines"]) for table in document["tables"]) > LARGE,
        "places": {line["model"]: at for at, line in enumerate(document["models"]["lines"])},
    }
    return page("featune.bench.report", "report.html.j2", **values)
