"""What slow work came to."""

import threading
from pathlib import Path

from featune.bench.choose.journal import Journal


def test_a_piece_is_made_once_and_its_seconds_are_remembered(tmp_path: Path) -> None:
    times = iter([1.0, 4.5, 4.5])
    made = Journal(tmp_path, clock=lambda: next(times)).once("open a/b.c", ["x", 1], lambda: {"ms": 2})
    assert made == {"ms": 2}

    def never() -> None:
        raise AssertionError

    again = Journal(tmp_path)
    assert again.once("open a/b.c", ["x", 1], never) == {"ms": 2}
    assert (again.seconds, again.took("open a/b.c", ["x", 1])) == (3.5, 3.5)
    assert again.stages() == {"open": 3.5}


def test_other_inputs_are_another_piece_and_a_damaged_file_is_made_anew(tmp_path: Path) -> None:
    journal = Journal(tmp_path)
    assert [journal.once("piece", [at], lambda at=at: at) for at in (1, 2)] == [1, 2]  # type: ignore[misc]
    for path in tmp_path.glob("*.json"):
        path.write_text("{")
    assert Journal(tmp_path).once("piece", [1], lambda: 3) == 3


def test_what_a_killed_process_had_spent_on_a_piece_is_read_by_the_next_one(tmp_path: Path) -> None:
    """What is left of a process that was killed is what it wrote while it worked."""
    from featune.bench.choose import journal as module

    module.EVERY, usual = 0.01, module.EVERY
    now, wrote = [0.0], threading.Event()
    try:
        killed = Journal(tmp_path, clock=lambda: now[0])
        with killed.spending("pass train"):
            now[0] = 40.0
            while not any("40" in path.read_text() for path in tmp_path.glob("spent/[!.]*.json")):
                wrote.wait(0.01)
            left = {path: path.read_bytes() for path in tmp_path.glob("spent/[!.]*.json")}
    finally:
        module.EVERY = usual
    assert not list(tmp_path.glob("spent/[!.]*.json")), "where the piece ended nothing is left of it"
    for path, held in left.items():
        path.write_bytes(held)
    with Journal(tmp_path, clock=lambda: 0.0).spending("pass train") as spent:
        assert spent() == 40.0
