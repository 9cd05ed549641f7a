"""What slow work came to."""

from pathlib import Path

from featune.bench.choose.journal import Journal


def test_a_piece_is_made_once_and_its_seconds_are_remembered(tmp_path: Path) -> None:
    times = iter([1.0, 4.5])
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
