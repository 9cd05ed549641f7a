"""Schedulers announce the end of a job by a signal: work then stops as it does at Ctrl-C, with all saved."""

import contextlib
import importlib
import signal
import threading
from collections.abc import Iterable, Iterator
from types import FrameType

SIGNALS = (signal.SIGTERM, signal.SIGUSR1)


@contextlib.contextmanager
def stopping_on_signals(imports: Iterable[str] = ()) -> Iterator[None]:
    """SIGTERM and SIGUSR1 are one KeyboardInterrupt in the block, those that follow are nothing.

    A scheduler sends one a while before the limit and another at the limit, which must not cut the saving short.
    imports: modules that are imported before the block, and not cut short: some end the process where they are. In
    another thread than the main one, where Python takes no signals, the block is as without.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[int] = []

    def remember(number: int, frame: FrameType | None) -> None:
        came.append(number)

    def stop(number: int, frame: FrameType | None) -> None:
        for each in SIGNALS:
            signal.signal(each, signal.SIG_IGN)
        raise KeyboardInterrupt

    before = {each: signal.signal(each, remember) for each in SIGNALS}
    try:
        for name in imports:
            importlib.import_module(name)
        for each in SIGNALS:
            signal.signal(each, stop)
        if came:
            stop(came[0], None)
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
