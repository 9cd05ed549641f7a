"""Progress on stderr: a bar where a person watches, a line now and then where a log is kept, silence on request."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Protocol, TextIO


class Advance(Protocol):
    """Called with how many are done, and how many there are. about: what is going on and what time is left, where the
    stage knows better than by the rate so far.
    """

    def __call__(self, done: int, total: int, /, about: str | None = None) -> None: ...


class Progress(Protocol):
    """Shows one stage at a time. `say` prints a remark between them."""

    def stage(self, title: str) -> contextlib.AbstractContextManager[Advance]: ...

    def say(self, text: str) -> None: ...


def _nothing(done: int, total: int, /, about: str | None = None) -> None:
    return


class Silent:
    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        yield _nothing

    def say(self, text: str) -> None:
        return


class Lines:
    """For logs: the stage's end with its time, and a line with rate and time left every `every` seconds.

    Where nothing is done for `silence` seconds, a line says that the stage goes on, and since when.
    """

    def __init__(
        self,
        stream: TextIO,
        every: float = 10.0,
        clock: Callable[[], float] = time.monotonic,
        silence: float = 30.0,
    ):
        self.stream, self.every, self.clock, self.silence = stream, every, clock, silence

    @contextlib.contextmanager
    def stage(self, title: str) -> Iterator[Advance]:
        began = shown = self.clock()
        last, heard, ended = title, threading.Event(), threading.Event()

        def advance(done: int, total: int, /, about: str | None = None) -> None:
            nonlocal shown, last
            now = self.clock()
            last = f"{title}: {done}/{total}" + (f", {about}" if about else "")
            if now - shown >= self.every and (done or about):
                shown = now
                rate = done / (now - began)
                left = about or f"{rate:.2g}/s, {(total - done) / rate:.0f} s left"
                heard.set()
                self.say(f"{title}: {done}/{total}, {left}")

        def go_on() -> None:
            since = time.monotonic()
            while not ended.wait(self.silence):
                if not heard.is_set():
                    self.say(f"{last}, at work for {time.monotonic() - since:.0f} s")
                heard.clear()

        beat = threading.Thread(target=go_on, daemon=True)
        beat.start()
        try:
            yield advance
        finally:
            ended.set()
            beat.join()
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

            def advance(done: int, total: int, /, about: str | None = None) -> None:
                rate = done / max(time.monotonic() - began, 1e-9)
                bar.update(task, completed=done, total=total, rate=about or f"{rate:.2g}/s")

            yield advance
            bar.update(task, total=bar.tasks[0].total or 1, completed=bar.tasks[0].total or 1)

    def say(self, text: str) -> None:
        self.console.print(text, highlight=False, markup=False)


def progress_for(quiet: bool, stream: TextIO | None = None) -> Progress:
    stream = stream or sys.stderr
    if quiet:
        return Silent()
    return Bar(stream) if stream.isatty() else Lines(stream)
