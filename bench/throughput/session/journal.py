"""A run's results as lines of JSON, each written at once, so that a killed run goes on with what is missing."""

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from featune.engine.store import plain, unwritable


class Journal:
    """A file of lines `{"kind": ..., "key": ..., ...}`. Of a kind and key the last line counts.

    kinds: build, search, group and peak are whole results, each named by the digest of all that it depends on; block
    lines are the raw samples as they come, for whoever looks at a run that was killed.
    """

    def __init__(self, path: Path):
        self.path = path
        self._known = {(line["kind"], line["key"]): line for line in self.lines() if "key" in line}

    def lines(self) -> Iterator[dict[str, Any]]:
        """Every line that is whole; the last one of a killed run may not be."""
        try:
            text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            return
        for line in text.splitlines():
            try:
                value = json.loads(line)
            except ValueError:
                continue
            if isinstance(value, dict) and "kind" in value:
                yield value

    def find(self, kind: str, key: str) -> dict[str, Any] | None:
        found = self._known.get((kind, key))
        return found["value"] if found else None

    def add(self, kind: str, key: str, value: Mapping[str, Any]) -> None:
        """Append one line and see it on the disk."""
        line = {"kind": kind, "key": key, "value": plain(value)}
        if kind != "block":
            self._known[kind, key] = line
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            start = "" if self._ends_well() else "\n"
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(start + json.dumps(line, separators=(",", ":")) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise unwritable(self.path, error) from error

    def _ends_well(self) -> bool:
        """Whether the file's last line is whole, so that another one may follow it."""
        try:
            with open(self.path, "rb") as file:
                file.seek(-1, os.SEEK_END)
                return file.read(1) == b"\n"
        except OSError:
            return True
