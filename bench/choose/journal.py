"""What slow work came to, and how long it took: a file for each piece, named by its inputs."""

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from featune.engine.paths import as_name
from featune.engine.store import digest, plain, read_json, write_json

EVERY = 1.0  # seconds, of which a kill loses the last


class Journal:
    """seconds: of all pieces asked for so far, in whichever process they were done, those of killed processes too.

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
            with self.spending(path.stem) as spent:
                value = plain(make())
                known = {"seconds": spent(), "value": value}
                write_json(path, known)
        self.pieces[path.stem] = known["seconds"]
        return known["value"]

    @contextlib.contextmanager
    def spending(self, name: str) -> Iterator[Callable[[], float]]:
        """The seconds of this work so far, those of processes that were killed in it among them.

        They are written down every second while it goes on, and forgotten where it ends.
        """
        path = self._spent(name, "going")
        known = read_json(path)
        before = float(known["seconds"]) if isinstance(known, dict) and "seconds" in known else 0.0
        began, ended = self.clock(), threading.Event()

        def spent() -> float:
            return before + self.clock() - began

        def note() -> None:
            while not ended.wait(EVERY):
                write_json(path, {"seconds": spent()})

        watch = threading.Thread(target=note, daemon=True)
        watch.start()
        try:
            yield spent
        except BaseException:  # stopped, not killed: the next run goes on from here
            ended.set()
            watch.join()
            write_json(path, {"seconds": spent()})
            raise
        ended.set()
        watch.join()
        path.unlink(missing_ok=True)

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

    def watched(self, name: str, work: Callable[[], float]) -> float:
        """What work gives that keeps its own files; its seconds are written down where it ends, for `add`."""
        with self.spending(name) as spent:
            value = work()
            write_json(self._spent(name, "ended"), {"seconds": spent()})
        return value

    def add(self, name: str, seconds: float) -> float:
        """The seconds of work that keeps its own files: those that were watched, or else those given."""
        known = read_json(self._spent(name, "ended"))
        if isinstance(known, dict) and "seconds" in known:
            seconds = max(seconds, float(known["seconds"]))
        self.pieces[name] = seconds
        return seconds

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

    def _spent(self, name: str, state: str) -> Path:
        return self.folder / "spent" / f"{as_name(name)}.{state}.json"

    def _path(self, name: str, inputs: object) -> Path:
        return self.folder / f"{as_name(name)}-{digest(inputs)}.json"
