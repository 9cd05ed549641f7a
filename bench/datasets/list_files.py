"""Lists of official downloads, each fault named by its file and line: lines, tables, JSON, MATLAB's files."""

import csv
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput

AGAIN = "the download is partial or another version; fetch it again"
SHOWN = 60  # characters of a line that an error repeats


def need(*paths: Path) -> Path:
    """The first of the paths that exists."""
    for path in paths:
        if path.exists():
            return path
    raise BadInput(f"{' or '.join(map(str, paths))}: no such file; the download is partial, fetch and unpack it again")


def text_of(path: Path) -> str:
    """A text in UTF-8, without the mark that some editors put at its start."""
    try:
        return need(path).read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path}: text in UTF-8 expected, byte {error.start} is none; {AGAIN}") from error
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; {AGAIN}") from error


def lines_of(path: Path) -> list[str]:
    """The lines that say something, without the space around them."""
    return [line.strip() for line in text_of(path).splitlines() if line.strip()]


def fields_of(path: Path, count: int, separator: str | None = None, comment: str = "#") -> list[list[str]]:
    """The lines of a list, cut into so many fields, of which the last may hold the separator (space unless given)."""
    found = []
    for number, line in enumerate(text_of(path).splitlines(), 1):
        if line.strip() and not line.startswith(comment):
            fields = [field.strip() for field in line.strip().split(separator, count - 1)]
            if len(fields) != count:
                raise BadInput(f"{path}, line {number}: {count} fields expected, {line[:SHOWN]!r} found; {AGAIN}")
            found.append(fields)
    return found


def rows_of(path: Path, *columns: str, delimiter: str = ",") -> list[dict[str, str]]:
    """The lines of a table by name, each with a value in these columns."""
    lines = csv.DictReader(io.StringIO(text_of(path), newline=""), delimiter=delimiter)
    try:
        rows = list(lines)
    except csv.Error as error:
        raise BadInput(f"{path}, line {lines.line_num}: {error}; {AGAIN}") from error
    header = [str(name) for name in lines.fieldnames or ()]
    if not set(columns) <= set(header):
        found = ", ".join(header)[:SHOWN] or "nothing"
        raise BadInput(f"{path}: columns {', '.join(columns)} expected, {found} found; {AGAIN}")
    if not rows:
        raise BadInput(f"{path}: lines below the header expected, none found; {AGAIN}")
    for number, row in enumerate(rows, 2):
        if not all(row[column] for column in columns) or None in row:
            found = ", ".join(value for value in row.values() if isinstance(value, str))
            raise BadInput(
                f"{path}, line {number}: {len(header)} values with {', '.join(columns)} expected, "
                f"{found[:SHOWN]!r} found; {AGAIN}"
            )
    return rows


def json_of(path: Path) -> Any:
    try:
        return json.loads(text_of(path))
    except ValueError as error:
        raise BadInput(f"{path}: not JSON ({error}); {AGAIN}") from error


def mat(path: Path, *names: str) -> dict[str, Any]:
    """MATLAB's variables, these among them, without dimensions of length one."""
    from scipy.io import loadmat

    try:
        found = loadmat(str(need(path)), squeeze_me=True)
    except Exception as error:  # scipy raises IndexError, KeyError, OSError, zlib.error, ... for what is no such file
        raise BadInput(f"{path}: not a whole MATLAB file ({error}); {AGAIN}") from error
    absent = [name for name in names if name not in found]
    if absent:
        raise BadInput(f"{path}: variable {absent[0]} expected, {', '.join(found) or 'nothing'} found; {AGAIN}")
    return found


def whole(text: Any, path: Path) -> int:
    """The whole number that stands in the file as this text."""
    try:
        return int(text)
    except (TypeError, ValueError):
        raise BadInput(f"{path}: a whole number expected, {str(text)[:SHOWN]!r} found; {AGAIN}") from None


def numbering(classes: Sequence[str], where: Path) -> Callable[[str, Path], int]:
    """A function from a class's name, and the file that it stands in, to its number in the order of `classes`."""
    numbers = {name: number for number, name in enumerate(classes)}

    def number(name: str, path: Path) -> int:
        if name not in numbers:
            raise BadInput(f"{path}: class {name[:SHOWN]} found, which {where.name} lacks; {AGAIN}")
        return numbers[name]

    return number
