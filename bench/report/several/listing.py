"""An index of the reports that lie in a folder: what each one says first, and where it is."""

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from featune.engine.errors import BadInput
from featune.engine.store import read_json, write_json, write_text

from ..pages import page

PAGE, NUMBERS = "index.html", "index.json"
DEEPEST = 4  # folders below the one that is asked for
KINDS = {"report.json": "study", "choose.json": "choose", "compare.json": "comparison"}
PAGES = {"compare.json": "compare.html"}


def index_of(folder: Path) -> list[dict[str, Any]]:
    """A line for each report below the folder, the latest first: its kind, its page, its title and its first words."""
    found = []
    for name, kind in KINDS.items():
        for depth in range(DEEPEST + 1):
            for path in folder.glob("/".join([*"*" * depth, name])):
                at = path.with_name(PAGES.get(name, "report.html"))
                known = read_json(path)
                if isinstance(known, dict) and at.exists() and (line := _line(kind, known)):
                    when = time.strftime("%Y-%m-%d %H:%M", time.gmtime(path.stat().st_mtime))
                    found.append(line | {"kind": kind, "path": at.relative_to(folder).as_posix(), "when": when})
    return sorted(found, key=lambda line: (line["when"], line["path"]), reverse=True)


def _line(kind: str, known: Mapping[str, Any]) -> dict[str, Any] | None:
    """None for a file that is not ours, or of an earlier version without such words."""
    try:
        if kind == "study":
            answer, made = known["answer"], dict(map(tuple, known["made"]))
            return {
                "title": known["title"],
                "said": f"{answer['take']} {answer['expect']}",
                "size": made.get("Cells", ""),
            }
        if kind == "choose":
            title = f"Which backbone for {known['data']['name']}"
            said = [each for each in known["sentences"][:3] if not each.startswith("One image")]
            return {"title": title, "said": " ".join(said), "size": f"{known['compared']} candidates to the end"}
        names = " and ".join(one["name"] for one in known["studies"])
        return {"title": names, "said": " ".join(one["said"][0] for one in known["comparisons"]), "size": ""}
    except (KeyError, TypeError, IndexError, ValueError):
        return None


def write_index(folder: Path) -> tuple[Path, Sequence[Mapping[str, Any]]]:
    """The path of index.html, and its lines. Raises BadInput where no report lies below the folder."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give one with reports, such as runs")
    lines = index_of(folder)
    if not lines:
        raise BadInput(
            f"{folder}: no report found in it; run `featune study report`, `featune choose` or `featune demo`"
        )
    shown = [line | {"href": quote(line["path"])} for line in lines]
    write_text(folder / PAGE, page("featune.bench.report.several", "index.html.j2", title=folder.name, lines=shown))
    write_json(folder / NUMBERS, lines)
    return folder / PAGE, lines
