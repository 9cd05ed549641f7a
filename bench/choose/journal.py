"""What slow work came to, and how long it took: a file for each piece, named by its inputs."""

import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from featune.engine.paths import as_name
from featune.engine.store import digest, plain, read_json, write_json


class Journal:
    """seconds: of all pieces asked for so far, in whichever process they were done.

    Decisions are made from these seconds, not from a running clock, so that a run that was killed decides as before.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.perf_counter):
        self.folder, self.clock = folder, clock
        self.pieces: dict[str, float] = {}

    def once(self, name: str, inputs: object, make: Callable[[], Any]) -> Any:
        """What `make` gives, in JSON's types; made where no file of these inputs is there."""
        path = self._path(name, inputs)
        known = read_json(path)
        if not isinstance(known, dict) or not {"seconds", "value"} <= known.keys():
            began = self.clock()
            value = plain(make())
            known = {"seconds": self.clock() - began, "value": value}
            write_json(path, known)
        self.pieces[path.stem] = known["seconds"]
        return known["value"]

    def took(self, name: str, inputs: object) -> float:
        """Seconds of a piece that was asked for."""
        return self.pieces[self._path(name, inputs).stem]

    def note(self, name: str, inputs: object, seconds: float) -> None:
        """Seconds of work that is done anew by each process; those of the first one count."""
        path = self._path(name, inputs)
        known = read_json(path)
        if not isinstance(known, dict) or "seconds" not in known:
            known = {"seconds": seconds, "value": None}
            write_json(path, known)
        self.pieces[path.stem] = known["seconds"]

    def forget(self, name: str, inputs: object) -> None:
        """So that it is made anew by the next run, as what failed may not fail again; its seconds count."""
        self._path(name, inputs).unlink(missing_ok=True)

    def add(self, name: str, seconds: float) -> None:
        """Seconds of work that keeps its own files."""
        self.pieces[name] = seconds

    def stages(self) -> dict[str, float]:
        """Seconds of the pieces by the first word of their names."""
        found: dict[str, float] = {}
        for name, seconds in self.pieces.items():
            stage = name.partition(" ")[0].partition("-")[0].partition("_")[0]
            found[stage] = found.get(stage, 0.0) + seconds
        return found

    @property
    def seconds(self) -> float:
        return math.fsum(self.pieces.values())

    def _path(self, name: str, inputs: object) -> Path:
        return self.folder / f"{as_name(name)}-{digest(inputs)}.json"
