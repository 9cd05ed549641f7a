"""A user's table of images, CSV or Parquet: columns in, labelled images out."""

import csv
import dataclasses
import functools
import math
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, TextIO

from featune.engine.errors import BadInput, Missing
from featune.engine.images import Labelled
from featune.engine.paths import refuse_devices

from .class_names import class_order

Table = dict[str, list[str]]
PARQUET = (".parquet", ".pq")
CLASS = "label:"  # a column of 0 and 1 for the class whose name follows
MARKS = {"1": 1, "0": 0, "": 0, "-1": -1, "true": 1, "false": 0}


def read_table(file: Path) -> Table:
    """The columns of a CSV or Parquet file as text, in their order; a list of labels is joined by `|`.

    Raises BadInput for a file that cannot be read or has no rows, and Missing for Parquet without pyarrow.
    """
    refuse_devices(file)
    try:
        table = _parquet_columns(file) if file.suffix.lower() in PARQUET else _csv_columns(file)
    except OSError as error:
        reason = error.strerror or error
        raise BadInput(f"{file}: {reason}; give a CSV with the columns path and label") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{file}: not text in UTF-8 ({error.reason}); save it as a CSV in UTF-8") from error
    except csv.Error as error:
        raise BadInput(f"{file}: not a CSV ({error}); save it as a CSV in UTF-8") from error
    if table and not any(table.values()):
        raise BadInput(f"{file}: a header ({', '.join(table)[:80]}) and no rows; give a row for each image")
    return table


def paths_of(file: Path, table: Table) -> tuple[str, ...]:
    """The column path. Raises BadInput where there is none or a line lacks one."""
    if "path" not in table:
        raise BadInput(
            f"{file}: no column path; found {', '.join(table) or 'nothing'}{_in_other_case(table, ('path',))}"
        )
    absent = [number for number, path in enumerate(table["path"], 2) if not path]
    if absent:
        raise BadInput(f"{file}: no path in line {', '.join(map(str, absent[:5]))}; remove the lines or name a file")
    return tuple(table["path"])


def items_of_table(file: Path, table: Table) -> tuple[Labelled, tuple[str, ...], bool]:
    """(images, class names, whether an image may have several labels); paths are seen from the file's folder."""
    marked = [column for column in table if column.startswith(CLASS)]
    needed = ("path",) if marked else ("path", "label")
    absent = [column for column in needed if column not in table]
    if absent:
        raise BadInput(
            f"{file}: no column {' and '.join(absent)}; found {', '.join(table) or 'nothing'}"
            f"{_in_other_case(table, absent)}"
        )
    more: dict[str, Any] = {}
    if marked:
        labels, more["ignore"] = _of_marks(file, table, marked)
        classes = tuple(column.removeprefix(CLASS) for column in marked)
    else:
        labels, classes = _of_names(file, table["label"])
    if "group" in table:
        more["groups"] = tuple(table["group"])
    if "weight" in table:
        more["weights"] = tuple(_weights(file, table["weight"]))
    return Labelled(str(file.parent.absolute()), paths_of(file, table), labels, **more), classes, bool(marked)


def one_spelling(items: Labelled) -> Labelled:
    """The items with each file under the first of its spellings (`a.png`, `./a.png`), so that it is one image."""
    first: dict[str, str] = {}
    paths = tuple(first.setdefault(_plain(items.root, path), path) for path in items.paths)
    return items if paths == items.paths else dataclasses.replace(items, paths=paths)


def _plain(root: str, path: str) -> str:
    """A file's one absolute path; links are followed where `..` makes that necessary."""
    whole = os.path.join(root, path)
    return os.path.realpath(whole) if ".." in path.split("/") else os.path.normpath(whole)


def _in_other_case(table: Table, absent: Iterable[str]) -> str:
    """What to rename where a column that is needed is there in capitals."""
    wrong = [f"{column} to {name}" for name in absent for column in table if column.lower() == name]
    if wrong:
        return f"; rename {' and '.join(wrong)}"
    return "; expected a header as first line, its columns separated by comma, semicolon or tab"


def _of_names(file: Path, column: list[str]) -> tuple[tuple[tuple[int, ...], ...], tuple[str, ...]]:
    """Labels by name, several separated by `|`; classes are numbered in the order of their names."""
    unlabelled = [number for number, text in enumerate(column, 2) if not text.strip("| ")]
    if unlabelled:
        raise BadInput(f"{file}: no label in line {', '.join(map(str, unlabelled[:5]))}; label every image")
    named = {text: tuple(filter(None, map(str.strip, text.split("|")))) for text in set(column)}
    classes = class_order(name for names in named.values() for name in names)
    number = {name: i for i, name in enumerate(classes)}
    numbered = {text: tuple(sorted({number[name] for name in names})) for text, names in named.items()}
    return tuple(numbered[text] for text in column), classes


def _of_marks(
    file: Path, table: Table, columns: list[str]
) -> tuple[tuple[tuple[int, ...], ...], tuple[tuple[int, ...], ...]]:
    """(labels, ignored) of columns of 1, 0 and -1; floats as spreadsheets write them are understood."""
    for column in columns:
        wrong = sorted({text for text in table[column] if _mark(text) not in MARKS})
        if wrong:
            raise BadInput(f"{file}: {column} is {', '.join(map(repr, wrong[:5]))}; expected 1, 0, or -1 to ignore")
    marks = list(zip(*([MARKS[_mark(text)] for text in table[column]] for column in columns), strict=True))
    picked = functools.cache(lambda row, wanted: tuple(i for i, mark in enumerate(row) if mark == wanted))
    ignored = tuple(picked(row, -1) for row in marks)
    return tuple(picked(row, 1) for row in marks), ignored if any(ignored) else ()


def _mark(text: str) -> str:
    return text.removesuffix(".0").lower()


def _weights(file: Path, column: list[str]) -> list[float]:
    found = []
    for line, text in enumerate(column, 2):
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not (math.isfinite(value) and value >= 0):
            raise BadInput(f"{file}: weight {text!r} in line {line}; expected a number from 0 up")
        found.append(value)
    return found


def _csv_columns(file: Path) -> Table:
    """Short lines are filled with nothing, empty ones skipped. Equal texts share their memory.

    The separator is the comma, semicolon or tab of the header, as spreadsheets of many countries write; space around it
    is no part of a value, but of a path only space before it is left out.
    """
    same: dict[str, str] = {}
    with open(file, newline="", encoding="utf-8-sig") as text:
        skipped, separator = _before_header(text)
        lines = csv.reader(text, delimiter=separator, skipinitialspace=True)
        header = [name.strip() for name in next(lines, [])]
        columns: list[list[str]] = [[] for _ in header]
        for line in lines:
            if not line:
                continue
            if len(line) > len(columns):
                remedy = f"put a value that holds {separator!r} in double quotes"
                if len(header) == 1:
                    remedy = f"{header[0]!r} is taken for the header, begin the file with one such as path,label"
                raise BadInput(
                    f"{file}, line {skipped + lines.line_num}: {len(header)} values expected, {len(line)} found: "
                    f"{separator.join(line)[:80]!r}; {remedy}"
                )
            for number, column in enumerate(columns):
                value = line[number] if number < len(line) else ""
                column.append(value if header[number] == "path" else same.setdefault(value.strip(), value.strip()))
    twice = sorted({name for name in header if header.count(name) > 1})
    if twice:
        raise BadInput(f"{file}: column {twice[0]!r} is there {header.count(twice[0])} times; rename or remove one")
    return dict(zip(header, columns, strict=True))


def _before_header(text: TextIO) -> tuple[int, str]:
    """(lines before the header, which are skipped, the separator); the text goes on with the header.

    Skipped are empty lines, comments that begin with `# `, and Excel's `sep=;`, which names the separator.
    """
    skipped, given = 0, ""
    while True:
        place = text.tell()
        line = text.readline()
        named = re.fullmatch(r'"?sep=([,;\t|:])"?', line.strip("\r\n"), re.IGNORECASE)
        if not line or not (named or not line.strip() or line.startswith("# ")):
            break
        given = named[1] if named else given
        skipped += 1
    text.seek(place)
    return skipped, given or _separator(line)


def _separator(header: str) -> str:
    """The mark that cuts a column path out of the header, else the one that it has most of, else the comma."""
    cut = {mark: next(csv.reader([header], delimiter=mark, skipinitialspace=True), []) for mark in ",;\t"}
    return max(cut, key=lambda mark: ("path" in [name.strip() for name in cut[mark]], len(cut[mark])))


def _parquet_columns(file: Path) -> Table:
    try:
        import pyarrow.parquet
    except ImportError as error:
        raise Missing(
            f"pyarrow is not installed, which reads {file}; pip install 'featune[parquet]', or save the table as CSV"
        ) from error
    try:
        table = pyarrow.parquet.read_table(file)
    except pyarrow.ArrowInvalid as error:
        raise BadInput(f"{file}: not a Parquet file ({error}); give a CSV or Parquet table") from error
    return {name: [_text(value) for value in table.column(name).to_pylist()] for name in table.column_names}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, (list, tuple)):
        return "|".join(map(str, value))
    return str(int(value)) if isinstance(value, bool) else str(value)
