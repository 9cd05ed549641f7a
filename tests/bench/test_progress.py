import io
import threading

import pytest

from featune.bench.progress import Bar, Lines, Silent, progress_for


def clock(*moments: float) -> object:
    return iter(moments).__next__


def test_a_log_gets_a_line_with_rate_and_time_left_now_and_then() -> None:
    stream = io.StringIO()
    lines = Lines(stream, every=10, clock=clock(0, 5, 20, 25, 40))  # type: ignore[arg-type]
    with lines.stage("cells") as advance:
        advance(1, 8)  # at 5 s: too soon
        advance(4, 8)  # at 20 s: 0.2/s, 4 left
        advance(5, 8)  # at 25 s: too soon after the last
    assert stream.getvalue() == "cells: 4/8, 0.2/s, 20 s left\ncells: done in 40 s\n"


def test_quiet_says_nothing_and_a_pipe_gets_lines() -> None:
    assert isinstance(progress_for(quiet=True), Silent)
    assert isinstance(progress_for(quiet=False, stream=io.StringIO()), Lines)


def test_a_terminal_gets_a_bar() -> None:
    stream = io.StringIO()
    bar = Bar(stream)
    with bar.stage("cells") as advance:
        advance(2, 4)
    bar.say("[not markup]")
    assert "cells" in stream.getvalue()
    assert "[not markup]" in stream.getvalue()


def test_progress_goes_to_the_stderr_of_its_call(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    progress_for(quiet=False).say("here")
    assert stream.getvalue() == "here\n"


def test_a_stage_that_knows_better_says_what_is_left_itself() -> None:
    stream = io.StringIO()
    with Lines(stream, every=10, clock=clock(0, 20, 40)).stage("cells") as advance:  # type: ignore[arg-type]
        advance(1, 8, "running a b; about 3 min left")
    assert stream.getvalue() == "cells: 1/8, running a b; about 3 min left\ncells: done in 40 s\n"


def test_a_log_hears_of_a_stage_that_takes_long() -> None:
    stream, said = io.StringIO(), threading.Event()
    lines = Lines(stream, silence=0.001)
    lines.say = lambda text: (stream.write(f"{text}\n"), said.set())  # type: ignore[assignment]
    with lines.stage("export"):
        assert said.wait(60)
    assert stream.getvalue().startswith("export, at work for ")
    assert stream.getvalue().splitlines()[-1].startswith("export: done in")
