"""A cache that keeps a size by itself, and what a prune does not take from under a process."""

import contextlib
import errno
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.testing
from cache_items import DAY, GRAPH, NOW, PACK, PLAN, names, prune, put

from featune.bench.cache import Pruned, keep_limit, limit_kept, limit_of, looks_paused
from featune.bench.cli.app import app
from featune.engine.errors import BadInput
from featune.engine.store import locked, note_use


def look(cache: Path, most: int, now: float = NOW) -> Any:
    return keep_limit(cache, most, clock=lambda: now)


@pytest.fixture
def aged(cache: Path) -> Path:
    """The same cache on the clock of the machine."""
    for path in cache.rglob("*"):
        os.utime(path, (path.stat().st_mtime - NOW + time.time(),) * 2)
    return cache


def test_an_item_that_is_used_while_the_prune_waits_for_its_lock_stays(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    @contextlib.contextmanager
    def used_first(path: Path) -> Iterator[bool]:
        if path.name == GRAPH:
            os.utime(path, (NOW, NOW))
        yield True

    monkeypatch.setattr("featune.bench.cache.pruning.locked_if_free", used_first)
    assert prune(cache, most=0).kept == {"used or changed meanwhile": 300}
    assert names(cache) == {GRAPH}


def test_a_folder_that_is_closed_to_this_user_does_not_end_the_prune(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    unlink = Path.unlink

    def refused(path: Path, missing_ok: bool = False) -> None:
        if path.name == GRAPH:
            raise PermissionError(13, "Permission denied", str(path))
        unlink(path, missing_ok)

    monkeypatch.setattr(Path, "unlink", refused)
    assert prune(cache, most=0).kept == {"in a folder that cannot be written": 300}
    assert names(cache) == {GRAPH}


@pytest.mark.parametrize("mapped", [False, True])
def test_what_a_process_of_this_machine_has_open_or_mapped_stays(cache: Path, mapped: bool) -> None:
    path = cache / "plans" / PLAN
    with open(path, "rb") as file:
        held = np.memmap(file, mode="r")
        if mapped:
            file.close()
        for dry in (True, False):
            found = prune(cache, most=0, recent_too=True, dry=dry)
            assert found.kept == {"open in a process of this machine": 1000}
        del held
    assert prune(cache, most=0).kept == {}


def test_a_limit_takes_what_a_prune_to_that_size_takes_but_what_a_run_finds_once(cache: Path) -> None:
    """A study finds its packed images when it begins; after a day without a read its own look removed them."""
    put(cache / "tuned" / f"{'e' * 16}.safetensors", 7, 40)
    found = look(cache, 1310)
    assert (found.removed, found.left) == (1, 1032)
    assert found.kept == {"packed images and tuned bodies, which `featune cache prune` alone removes": 27}
    assert names(cache) == {PLAN, PACK, f"{'e' * 16}.safetensors"}
    assert prune(cache, most=0, kinds=["data", "tuned"]).removed == 2
    assert names(cache) == {PLAN}


def test_the_next_look_comes_after_a_hundred_times_the_seconds_of_the_last_one(cache: Path) -> None:
    assert look(cache, 10**6).removed == 0
    record = cache / f"limit-{os.getuid()}.json"
    record.write_text(json.dumps({"looked": NOW, "seconds": 2.0}))
    assert look(cache, 1310, NOW + 199) is None
    assert names(cache) == {GRAPH, PLAN, PACK}
    assert look(cache, 1400, NOW + 201) is not None
    record.write_text("{}")
    assert look(cache, 10**6) is not None
    assert look(cache, 10**6, NOW - DAY) is not None  # a clock that was set back


def test_one_process_looks_at_a_time(cache: Path) -> None:
    with locked(cache / f"limit-{os.getuid()}.json"):
        assert look(cache, 0) is None
    assert names(cache) == {GRAPH, PLAN, PACK}


def test_a_limit_leaves_another_users_items_and_what_was_used_of_late(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    put(cache / "plans" / PLAN, 1000, 0.5)
    assert look(cache, 0).kept["used in the last 25 hours"] == 1000
    real = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: real + 1)
    assert look(cache, 0).kept == {"of other users": 1020}
    assert names(cache) == {PLAN, PACK}


def test_a_cache_that_cannot_be_written_keeps_what_it_has_without_a_word(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    def refused(*arguments: Any, **options: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    assert look(cache, 0) is None
    assert names(cache) == {GRAPH, PLAN, PACK}


def refusing(number: int) -> Callable[..., Any]:
    def refuse(*arguments: Any, **options: Any) -> Any:
        raise OSError(number, os.strerror(number))

    return refuse


def test_a_record_that_cannot_be_read_ends_no_command(aged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featune.bench.cache.limits.read_json", refusing(errno.EACCES))
    with limit_kept(aged, 0):
        pass
    assert names(aged) == {GRAPH, PLAN, PACK}


def test_a_look_says_what_it_removed_where_its_record_cannot_be_written(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featune.bench.cache.limits.write_json", refusing(errno.EIO))
    assert look(cache, 1310).removed == 1
    assert names(cache) == {PLAN, PACK}


@pytest.mark.parametrize("error", [BrokenPipeError(), ValueError("I/O operation on closed file")])
def test_a_stderr_that_is_closed_ends_neither_the_work_nor_the_looks(
    aged: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr("featune.bench.cache.limits.keep_limit", lambda cache, most: Pruned(1, 1, 0, 1, {}))
    twice, said = threading.Event(), list[Pruned]()

    def told(found: Pruned) -> None:
        said.append(found)
        if len(said) == 2:
            twice.set()
        raise error

    with limit_kept(aged, 0, told, every=0.01):
        assert twice.wait(30)
    assert len(said) >= 3


def test_looks_pause_by_what_they_took_where_no_record_can_be_written(
    aged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once, twice = threading.Event(), threading.Event()

    def slow(cache: Path, most: int) -> None:
        (twice if once.is_set() else once).set()
        time.sleep(0.02)  # the next one is due in two seconds

    monkeypatch.setattr("featune.bench.cache.limits.keep_limit", slow)
    with limit_kept(aged, 0, every=0.001):
        assert once.wait(30)
        assert not twice.wait(0.2)


def test_no_look_is_taken_while_something_is_timed(aged: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looked = threading.Event()
    monkeypatch.setattr("featune.bench.cache.limits.keep_limit", lambda cache, most: looked.set())
    with limit_kept(aged, 0, every=0.001):
        with looks_paused():
            looked.clear()
            assert not looked.wait(0.1)
        assert looked.wait(30)


def test_a_cache_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    assert look(tmp_path / "none", 0) is None
    assert not (tmp_path / "none").exists()


def test_the_limit_is_kept_while_a_block_runs_and_at_its_end(aged: Path) -> None:
    looked, found = threading.Event(), list[Pruned]()
    with limit_kept(aged, 1310, lambda each: (found.append(each), looked.set()), every=0.01):
        assert looked.wait(30)
        assert GRAPH not in names(aged)
    assert found[0].removed == 1
    assert names(aged) == {PLAN, PACK}
    assert not [each for each in threading.enumerate() if each.name == "cache limit"]


def test_a_block_that_is_timed_is_looked_after_at_its_end(aged: Path) -> None:
    with limit_kept(aged, 1310, every=None):
        assert not [each for each in threading.enumerate() if each.name == "cache limit"]
        assert GRAPH in names(aged)
    assert GRAPH not in names(aged)


def test_no_limit_looks_at_nothing(cache: Path) -> None:
    with limit_kept(cache, limit_of({})):
        pass
    assert not list(cache.glob("limit*"))
    assert limit_of({"FEATUNE_CACHE_LIMIT": "200GB"}) == 200 * 10**9
    with pytest.raises(BadInput, match="FEATUNE_CACHE_LIMIT: a size of 'lots' found"):
        limit_of({"FEATUNE_CACHE_LIMIT": "lots"})


@pytest.fixture
def featune(aged: Path) -> Callable[..., Any]:
    def run(*words: str, limit: str = "1030") -> Any:
        given = {"FEATUNE_CACHE_LIMIT": limit, "FEATUNE_CACHE_DIR": str(aged)}
        return typer.testing.CliRunner().invoke(app, list(words), env=given)

    return run


def test_commands_keep_the_limit_of_the_environment_and_those_of_the_cache_obey(
    aged: Path, featune: Callable[..., Any]
) -> None:
    assert "1.3 kB of 1.0 kB that are allowed" in featune("cache", "du").stdout
    assert "2 items would be removed" in featune("cache", "prune", "--dry-run").stdout
    assert names(aged) == {GRAPH, PLAN, PACK}
    done = featune("tasks")
    assert "removed 1 items, 300 B" in done.stderr
    assert names(aged) == {PLAN, PACK}
    refused = featune("tasks", limit="lots")
    assert (refused.exit_code, "50GB" in refused.stderr) == (2, True)


@pytest.mark.parametrize(
    ("words", "code"), [("tasks --help", 0), ("tasks --none", 2), ("study --help", 0), ("study run --help", 0)]
)
def test_help_and_refused_options_remove_nothing(
    aged: Path, featune: Callable[..., Any], words: str, code: int
) -> None:  # fmt: skip
    assert featune(*words.split()).exit_code == code
    assert names(aged) == {GRAPH, PLAN, PACK}
    assert not list(aged.glob("limit*"))


@pytest.mark.parametrize(("words", "every"), [("choose", None), ("throughput", None), ("study run", 60.0)])
def test_commands_that_time_models_themselves_are_looked_after_at_their_end(
    featune: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, words: str, every: float | None
) -> None:
    asked = []

    def kept(cache: Path, most: int, told: object, every: float | None) -> Any:
        asked.append(every)
        return limit_kept(cache, None)

    monkeypatch.setattr("featune.bench.cache.limit_kept", kept, raising=False)
    featune(*words.split(), "--help")
    assert set(asked) == {every}


def test_a_noted_use_is_a_time_of_reading_that_noatime_would_not_write(tmp_path: Path) -> None:
    path = put(tmp_path / "a", 1, 10)
    os.utime(path, (1000.0, 500.0))
    note_use(path)
    state = path.stat()
    assert (abs(state.st_atime - time.time()) < 60, state.st_mtime) == (True, 500.0)
    recent = time.time() - 60
    os.utime(path, (recent, 500.0))
    note_use(path)  # once an hour at most
    assert path.stat().st_atime == pytest.approx(recent, abs=1e-3)
    note_use(tmp_path / "none")
