"""Progress on stderr: a bar where a person watches, a line now and then where a log is kept, silence on request."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO

Advance = Callable[[int, int], None]  # done, in all


class Progress(Protocol):
    """Shows one stage at a time. `say` prints a remark between them."""

    def stage(self, title: str) -> contextlib.AbstractContextManager[Advance]: ...

    def say(self, text: str) -> None: ...


class Silent:
    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        yield lambda done, total: None

    def say(self, text: str) -> None:
        return


class Lines:
    """For logs: the stage's end with its time, and a line with rate and time left every `every` seconds."""

    def __init__(self, stream: TextIO, every: float = 10.0, clock: Callable[[], float] = time.monotonic):
        self.stream, self.every, self.clock = stream, every, clock

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        began = shown = self.clock()

        def advance(done: int, total: int) -> None:
            nonlocal shown
            now = self.clock()
            if now - shown >= self.every and done:
                shown = now
                rate = done / (now - began)
                self.say(f"{title}: {done}/{total}, {rate:.2g}/s, {(total - done) / rate:.0f} s left")

        yield advance
        self.say(f"{title}: done in {self.clock() - began:.0f} s")

    def say(self, text: str) -> None:
        print(text, file=self.stream, flush=True)


class Bar:
    """For terminals: rich's bar with count, rate and time left."""

    def __init__(self, stream: TextIO):
        from rich.console import Console

        self.console = Console(file=stream)

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )
        from rich.progress import Progress as RichProgress

        columns = (
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn(),
        )  # fmt: skip
        with RichProgress(*columns, console=self.console) as bar:
            task = bar.add_task(title, total=None, rate="")
            began = time.monotonic()

            def advance(done: int, total: int) -> None:
                rate = done / max(time.monotonic() - began, 1e-9)
                bar.update(task, completed=done, total=total, rate=f"{rate:.2g}/s")

            yield advance
            bar.update(task, total=bar.tasks[0].total or 1, completed=bar.tasks[0].total or 1)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)


def progress_for(quiet: bool, stream: TextIO | None = None) -> Progress:
    stream = stream or sys.stderr
    if quiet:
        return Silent()
    return Bar(stream) if stream.isatty() else Lines(stream)
