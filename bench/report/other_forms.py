"""The report in other forms: Markdown to paste into an issue or a README, and Parquet of the rows."""

import dataclasses
import importlib.util
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featune.engine.store import written_whole

from ..results import Cell, Row, printable, row_order

FACTS = ("train_top1", "majority_test", "majority_train", "learning_rate")

BILL = {
    "what": "what is bought", "points": "points", "minutes": "minutes", "minutes_per_point": "minutes a point",
    "kwh": "kWh", "kwh_per_point": "kWh a point", "rate": "images/s", "rate_per_point": "images/s a point",
}  # fmt: skip


def markdown(document: Mapping[str, Any]) -> str:
    """The answer, the models, the bill, the correlations, the failures and how it was made."""
    answer, models = document["answer"], document["models"]
    parts = [f"# {_plain(document['title'])}", f"**{_plain(answer['take'])}** {_plain(answer['expect'])}".strip()]
    parts += [_plain(" ".join(answer["sentences"])), *map(_plain, answer["trouble"])]
    if document["faster"]:
        parts.append("Where more speed is needed:\n\n" + _list(document["faster"]))
    parts += [f"## Did {_plain(document['source'])} accuracy matter here?", _plain(answer["lead"])]
    parts.append(_list(f"{name}: {text}" for name, text in answer["regimes"]))
    parts += [_plain(answer["close"]), *(f"> {_plain(note)}" for note in document["notes"])]
    if models["lines"]:
        heads = ["model", document["source"], *models["regimes"], "rank", "images/s"]
        lines = [
            [line["model"], line["texts"]["source"], *(_with_interval(cell) for cell in line["cells"]),
             line["texts"]["rank"], line["texts"]["rate"]]
            for line in models["lines"]
        ]  # fmt: skip
        parts += ["## Every model", _table(heads, lines)]
    if document["bill"]:
        energy = document["bill_energy"]
        shown = [name for name in BILL if energy["told"] or not name.startswith("kwh")]
        heads = [BILL[name].replace("kWh", energy["unit"]) for name in shown]
        lines = [[line["text"][name] for name in shown] for line in document["bill"]]
        parts += ["## The bill", _table(heads, lines), _plain(energy["said"])]
    if document["correlation_table"]:
        names = ("regime", "task", "r", "interval", "p", "without", "slope", "models", "tasks")
        heads = ["regime", "task", "r", "95 % interval", "p", "r without one model", "slope", "models", "tasks"]
        lines = [[str(one[name]) for name in names] for one in document["correlation_table"]]
        parts += [f"## How transfer follows {_plain(document['source'])} accuracy", _table(heads, lines)]
    if document["closer"]:
        parts += ["## A closer look", _list(document["closer"])]
    if document["failures"]:
        lines = [
            [str(one[name]) for name in ("model", "task", "regime", "seed", "error")] for one in document["failures"]
        ]
        parts += ["## Failed cells", _table(["model", "task", "regime", "seed", "error"], lines)]
    facts = [*document["made"], *document["recipes"], *document["environment"]]
    parts += ["## How this was made", _list(f"{name}: {value}" for name, value in facts)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _with_interval(cell: Mapping[str, Any]) -> str:
    return f"{cell['text']} ({cell['interval']})" if cell["interval"] else str(cell["text"])


def _list(texts: Any) -> str:
    return "\n".join(f"- {_plain(text)}" for text in texts)


def _table(heads: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    rows = [heads, ["---"] * len(heads), *lines]
    return "\n".join("| " + " | ".join(_cell(text) for text in row) + " |" for row in rows)


def _cell(text: str) -> str:
    return text if text == "---" else _plain(text).replace("|", "\\|")


def _plain(text: str) -> str:
    """On one line, with what Markdown and HTML would take for their own escaped; names are user data."""
    one = " ".join(printable(text).split())
    return re.sub(r"([\\`*_\[\]<>#])", r"\\\1", one)


def write_parquet(path: Path, rows: Sequence[Row]) -> bool:
    """The rows as `results.csv` has them, with types; False where pyarrow is not installed."""
    if not importlib.util.find_spec("pyarrow"):
        path.unlink(missing_ok=True)
        return False
    import pyarrow
    from pyarrow import parquet

    names = (
        "metric",
        "value",
        "low",
        "high",
        "n",
        "seconds",
        "kwh",
        "error",
        "source",
        "family",
        "source_top1",
        "source_n",
    )
    ordered = sorted(rows, key=row_order)
    cells = [each.name for each in dataclasses.fields(Cell)]
    columns: dict[str, list[Any]] = {name: [getattr(row.cell, name) for row in ordered] for name in cells}
    columns |= {name: [getattr(row, name) for row in ordered] for name in names}
    columns |= {name: [row.details.get(name) for row in ordered] for name in FACTS}
    texts = {"task", "model", "regime", "inputs", "metric", "error", "source", "family"}
    kinds = {name: pyarrow.string() if name in texts else pyarrow.int64() if name in ("seed", "n", "source_n")
             else pyarrow.float64() for name in columns}  # fmt: skip
    arrays = {
        name: pyarrow.array(
            [None if value is None else printable(value) if name in texts else value for value in values], kinds[name]
        )
        for name, values in columns.items()
    }
    with written_whole(path) as temporary:
        parquet.write_table(pyarrow.table(arrays), temporary)
    return True
