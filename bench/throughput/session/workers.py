"""Workers as processes: started, asked one thing at a time, and outlived where they die."""

import contextlib
import multiprocessing
import os
import signal
import traceback
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Protocol

from featune.engine.errors import FeatuneError, first_line

from .. import Configuration, Refused, WorkerDied

PATIENCE = 3600.0  # seconds for one answer; a compiler or TensorRT may take minutes
GRACE = 10.0  # seconds that a worker has to end
LAST_WORDS = 300  # letters of what a dead worker wrote last


class Served(Protocol):
    """What a worker does; each public method is a request, its keyword arguments and its value plain."""

    def close(self) -> None: ...


Make = Callable[[Configuration, Path], Served]


class ProcessWorker:
    """A process of its own that answers the requests of one configuration; it ends with its parent.

    make: makes what it serves, in the process; a function of a module. cache: the folder of artefacts. log: takes what
    the process writes, which libraries do at will.
    """

    def __init__(self, configuration: Configuration, make: Make, cache: Path, log: Path):
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=_serve, args=(theirs, configuration, make, cache, log), daemon=True)
        with _threads_of(configuration.setup.threads):
            self.process.start()
        theirs.close()

    def ask(self, request: str, **options: Any) -> Any:
        """The answer. Raises WorkerDied where the process is gone, Refused with the reason where the request failed."""
        try:
            self.connection.send((request, options))
            if not self.connection.poll(PATIENCE):
                self.close()
                raise WorkerDied(f"no answer to {request} within {PATIENCE:.0f} s; it was ended")
            good, answer = self.connection.recv()
        except (EOFError, ConnectionError) as error:
            raise WorkerDied(self._obituary()) from error
        if not good:
            raise Refused(answer)
        return answer

    def open(self, most: float) -> Mapping[str, Any]:
        return self.ask("open", most=most)

    def block(self, seconds: float, calls: int) -> Mapping[str, Any]:
        return self.ask("block", seconds=seconds, calls=calls)

    def memory(self) -> Mapping[str, Any]:
        return self.ask("memory")

    def close(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.connection.close()
        self.process.join(GRACE)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()

    def _obituary(self) -> str:
        self.process.join(GRACE)
        code = self.process.exitcode
        if code is not None and code < 0:
            name = signal.Signals(-code).name
            cause = " (as the kernel does where memory runs out)" if -code == signal.SIGKILL else ""
            said = f"its process was ended by {name}{cause}"
        else:
            said = f"its process ended with exit code {code}"
        with contextlib.suppress(OSError):
            words = self.log.read_text(errors="replace").strip()[-LAST_WORDS:].strip()
            said += f"; it wrote last: {words}" if words else ""
        return said


@contextlib.contextmanager
def _threads_of(threads: int) -> Iterator[None]:
    """OpenMP and the like read the environment once, when they are loaded: before a process can say it."""
    before = os.environ.get("OMP_NUM_THREADS")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    try:
        yield
    finally:
        if before is None:
            del os.environ["OMP_NUM_THREADS"]
        else:
            os.environ["OMP_NUM_THREADS"] = before


def _serve(connection: Connection, configuration: Configuration, make: Make, cache: Path, log: Path) -> None:
    """The process: answers until the other end is closed, which the parent's death does too."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides
    # Not the user's, where a compilation of before would pass for a short one.
    os.environ["TORCHINDUCTOR_CACHE_DIR"] = str((cache / "inductor").resolve())
    with open(log, "wb") as file:
        for descriptor in (1, 2):
            os.dup2(file.fileno(), descriptor)
    served: Served | None = None
    try:
        while True:
            request, options = connection.recv()
            try:
                served = served or make(configuration, cache)
                answer = True, getattr(served, request)(**options)
            except FeatuneError as error:
                answer = False, str(error)
            except MemoryError:
                answer = False, "out of memory"
            except Exception as error:  # a library's; the row says what it was
                traceback.print_exc()
                answer = False, f"{type(error).__name__}: {first_line(error)}"
            connection.send(answer)
    except (EOFError, ConnectionError):
        pass
    finally:
        if served is not None:
            served.close()
