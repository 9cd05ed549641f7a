"""Python that TensorRT calls: its messages and the progress of a build. Nothing may be raised through its C++."""

import collections
import logging
import threading
import weakref
from collections.abc import Callable
from typing import Any

log = logging.getLogger("featune.tensorrt")


class Callbacks:
    """What Python code that TensorRT calls has raised and said. As a context it raises that at its end.

    An exception may not pass through TensorRT's C++: Ctrl-C during a build arrives in the logger or the monitor.
    errors: the last messages of errors.
    """

    def __init__(self) -> None:
        self.raised: BaseException | None = None
        self.errors: collections.deque[str] = collections.deque(maxlen=3)

    def guarded(self, call: Callable[..., Any], *arguments: Any) -> Any:
        """The call's answer, None where it raises."""
        try:
            return call(*arguments)
        except BaseException as error:  # KeyboardInterrupt above all
            self.raised = self.raised or error
            return None

    def __enter__(self) -> "Callbacks":
        self.errors.clear()  # those of earlier calls
        _listening.append((threading.get_ident(), self))
        return self

    def __exit__(self, *_: object) -> None:
        _listening.remove((threading.get_ident(), self))
        found, self.raised = self.raised, None
        if found is not None:
            raise found


_listening: list[tuple[int, Callbacks]] = []  # (thread, callbacks) of the contexts entered, the innermost last


def _listeners() -> list[Callbacks]:
    """Whom a message concerns: the innermost of this thread; of a thread of TensorRT's own, everybody who waits."""
    here = threading.get_ident()
    own = [callbacks for thread, callbacks in _listening if thread == here]
    return own[-1:] or [callbacks for _, callbacks in _listening]


_loggers: "weakref.WeakKeyDictionary[Any, Any]" = weakref.WeakKeyDictionary()


def logger_of(trt: Any) -> Any:
    """TensorRT's messages in Python's log, and errors to the callbacks that listen; its own logger prints on stdout.

    One for each library: TensorRT keeps the first logger of a process and ignores all later ones.
    """
    if trt not in _loggers:
        _loggers[trt] = _logger(trt)
    return _loggers[trt]


def _logger(trt: Any) -> Any:
    levels = {
        trt.ILogger.INTERNAL_ERROR: logging.CRITICAL, trt.ILogger.ERROR: logging.ERROR,
        trt.ILogger.WARNING: logging.WARNING, trt.ILogger.INFO: logging.INFO,
    }  # fmt: skip

    def told(severity: Any, message: str) -> None:
        level = levels.get(severity, logging.DEBUG)
        if level >= logging.ERROR:
            for each in _listeners():
                each.errors.append(message.strip())
        log.log(level, "%s", message)

    class Logger(trt.ILogger):
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            (_listeners() or [Callbacks()])[-1].guarded(told, severity, message)

    return Logger()


def monitor_of(trt: Any, progress: Callable[[str, int, int], bool], callbacks: Callbacks) -> Any:
    """Tells `progress` each step, and stops the build once it or another callback has raised, or it says so."""
    steps: dict[str, int] = {}

    class Monitor(trt.IProgressMonitor):
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str, num_steps: int) -> None:
            callbacks.guarded(steps.__setitem__, phase_name, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            going = callbacks.guarded(progress, phase_name, step, steps.get(phase_name, 0))
            return bool(going) and callbacks.raised is None

        def phase_finish(self, phase_name: str) -> None:
            callbacks.guarded(steps.pop, phase_name, None)

    return Monitor()
