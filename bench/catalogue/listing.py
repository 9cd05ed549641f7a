"""The catalogue as people and programs read it: a table, JSON, and the Markdown of docs/tasks.md."""

import dataclasses
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from .entries import Entry

if TYPE_CHECKING:
    from rich.table import Table


def tasks_json(entries: Iterable[Entry]) -> list[dict[str, Any]]:
    """Every fact of every entry, and whether `--download` can fetch it."""
    return [dataclasses.asdict(entry) | {"download": bool(entry.archives)} for entry in entries]


def tasks_table(entries: Iterable[Entry]) -> "Table":
    """Name, title, classes, images, metric, variants and how to get it, for the terminal."""
    from rich.table import Table

    table = Table(caption="`featune tasks --json` has splits, variants, licences, sources and the steps to get each")
    for name in ("task", "data set", "classes", "images", "metric", "get it", "variants"):
        table.add_column(name, justify="right" if name == "classes" else "left", overflow="fold")
    collection = ""
    for entry in entries:
        if entry.collection != collection and collection:
            table.add_section()
        collection = entry.collection
        table.add_row(
            entry.name, entry.title, f"{entry.classes:,}", counts_text(entry), entry.metric, way(entry),
            ", ".join(entry.variants),
        )  # fmt: skip
    return table


def tasks_markdown(entries: Iterable[Entry]) -> str:
    """One table per collection, and below it the splits, variants, steps and sources of each entry."""
    lines: list[str] = []
    by_collection: dict[str, list[Entry]] = {}
    for entry in entries:
        by_collection.setdefault(entry.collection, []).append(entry)
    for collection, members in by_collection.items():
        lines += [f"## {collection}", "", "| task | data set | classes | images | metric | get it | licence |"]
        lines += ["|---|---|---:|---|---|---|---|"]
        for entry in members:
            cells = (f"`{entry.name}`", entry.title, f"{entry.classes:,}", counts_text(entry), f"`{entry.metric}`",
                     way(entry), entry.licence)  # fmt: skip
            lines.append("| " + " | ".join(cells) + " |")
        lines.append("")
        for entry in members:
            lines += [f"### {entry.name}", "", f"{entry.splits[:1].upper()}{entry.splits[1:]}.", ""]
            lines += [f"- variant `{name}`: {text}" for name, text in entry.variants.items()]
            lines += ["", "```", *entry.steps, "```", "", f"Sources: {'; '.join(entry.sources)}.", ""]
    return "\n".join(lines).replace("\n\n\n", "\n\n").rstrip() + "\n"


def counts_text(entry: Entry) -> str:
    return ", ".join(f"{key} {count:,}" for key, count in entry.counts.items())


def way(entry: Entry) -> str:
    """How the files come: by --download, by Kaggle's client, or by hand."""
    if entry.archives:
        return "`--download`" + (" and by hand" if len(entry.steps) > 1 else "")
    return "Kaggle" if any("kaggle " in step for step in entry.steps) else "by hand"
