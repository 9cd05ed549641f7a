"""SIGINT while a step runs, and where a training's time goes."""

import contextlib
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

from torch import Tensor


@contextlib.contextmanager
def finishing_steps() -> Iterator[Callable[[], bool]]:
    """Whether SIGINT came; the second one interrupts at once. Only the main thread is asked."""
    came: list[int] = []
    if threading.current_thread() is not threading.main_thread():
        yield lambda: False
        return
    before = signal.getsignal(signal.SIGINT)

    def note(number: int, frame: Any) -> None:
        if came:
            raise KeyboardInterrupt
        came.append(number)

    signal.signal(signal.SIGINT, note)
    try:
        yield lambda: bool(came)
    finally:
        signal.signal(signal.SIGINT, before)


class Clock:
    """Where a training's time goes: all of it, and what it waited for images. before: what earlier processes spent.

    compiles: the first step of a phase, and the first at each new size of images, is no part of the rate: the time
    of torch.compile is in it.
    """

    def __init__(self, before: Mapping[str, float] = MappingProxyType({}), compiles: bool = False) -> None:
        self.before, self.compiles = before, compiles
        self.start = self.last_save = time.monotonic()
        self.waited = self.aside = self.first = self.compiling = 0.0
        self.steps = self.compiled = 0
        self.compile_began: float | None = None  # of the step in progress, where it compiles; moved on by what is aside

    def watching(self, images: Iterator[Tensor]) -> Iterator[Tensor]:
        """The images. What is waited for the first of them, before any is made ahead, is no part of the steps."""
        is_first, shapes = True, set[tuple[int, ...]]()
        while True:
            asked = time.monotonic()
            batch = next(images, None)
            spent = time.monotonic() - asked
            if batch is None:
                return
            if self.steps == 0:
                self.first = time.monotonic() - self.start
            elif is_first:
                self.aside += spent
            else:
                self.waited += spent
            is_first = False
            self.steps += 1
            compiles = self.compiles and tuple(batch.shape) not in shapes
            shapes.add(tuple(batch.shape))
            self.compile_began = time.monotonic() if compiles else None
            try:
                yield batch
            finally:  # the loop may end with this step
                if compiles:
                    self.compiling += self._compiling_now()
                    self.compiled, self.compile_began = self.compiled + 1, None

    def _compiling_now(self) -> float:
        return 0.0 if self.compile_began is None else time.monotonic() - self.compile_began

    @contextlib.contextmanager
    def stopped(self) -> Iterator[None]:
        asked = time.monotonic()
        yield
        if self.steps:  # before the first one it is part of the wait for a first batch
            spent = time.monotonic() - asked
            self.aside += spent
            if self.compile_began is not None:
                self.compile_began += spent

    def since_save(self) -> float:
        return time.monotonic() - self.last_save

    def saved(self) -> None:
        self.last_save = time.monotonic()

    def spent(self) -> dict[str, float]:
        """By all processes so far. busy: seconds of steps, without what was done aside and the wait for a first batch.

        compiling: seconds of the steps that compile, the one in progress too, which are neither in `busy` nor in
        `steps`. What a killed process did after its last checkpoint is done again, and counted once.
        """
        whole, compiling = time.monotonic() - self.start, self.compiling + self._compiling_now()
        busy = max(whole - self.first - self.aside - compiling, 0.0)
        steps = self.steps - self.compiled - (self.compile_began is not None)
        own = {"seconds": whole, "busy": busy, "waited": self.waited, "steps": float(steps)}
        if self.compiles:
            own["compiling"] = compiling
        return {name: self.before.get(name, 0.0) + value for name, value in own.items()}


def account_of(spent: Mapping[str, float], size: int) -> dict[str, Any]:
    """headspace: the time of the steps, over what it would be with their images always there.

    compile_seconds: of a compiled training; its rate is of the other steps, None where there are none.
    """
    busy = max(spent["busy"], 1e-9)
    only_compiled = "compiling" in spent and not spent["steps"]
    return {
        "seconds": spent["seconds"],
        "images_per_second": None if only_compiled else spent["steps"] * size / busy,
        "headspace": None if only_compiled else busy / max(busy - spent["waited"], 1e-9),
        **({"compile_seconds": spent["compiling"]} if "compiling" in spent else {}),
    }
