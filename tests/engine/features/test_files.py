"""A file of rows in the making, ended at every step at which it touches the disk. As a script it is the process."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featune.engine.errors import BadInput
from featune.engine.features import open_stored
from featune.engine.features.files import Part
from featune.engine.store import file_digest

ROWS = np.arange(60, dtype=np.float32).reshape(12, 5)
IMAGES, BAD = 13, 4  # number 4 has no row
STEPS = ("fsync", "replace", "unlink", "truncate")


def make(path: Path) -> None:
    """The file, from where the last process came to, in batches of seven images, each of them made safe."""
    part = Part(path, save_seconds=-1)
    while part.done < IMAGES:
        stop = min(part.done + 7, IMAGES)
        images = range(part.done, stop)
        rows = ROWS[[i - (i > BAD) for i in images if i != BAD]]
        part.append(stop, rows, [(BAD, "no image")] if BAD in images else [])
    part.save()
    part.finish({"skipped": [[index, "04.png", why] for index, why in part.bad]})


def check(path: Path) -> None:
    stored = open_stored(path)
    assert stored is not None
    assert np.array_equal(stored.rows, ROWS)
    assert stored.kept.tolist() == [i for i in range(IMAGES) if i != BAD]
    assert {file.suffix for file in path.parent.iterdir()} <= {".npy", ".json"}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("step", ["append", "save", "finish", "rewind"])
def test_a_disk_that_is_full_is_bad_input_at_every_step_and_the_rows_that_were_safe_stay(
    step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    part = Part(tmp_path / "key", save_seconds=60)
    part.append(7, ROWS[:7], [])
    part.save()
    part.file.close()
    part.file = open("/dev/full", "r+b")  # noqa: SIM115, each write to it fails as on a full disk
    if step == "rewind":
        monkeypatch.setattr(part, "_cut", lambda: part.file.write(bytes(1 << 20)))
    steps: dict[str, Callable[[], object]] = {
        "append": lambda: part.append(7 + 9_000, np.zeros((9_000, 5), np.float32), []),
        "save": lambda: (part.append(8, ROWS[7:8], []), part.save()),
        "finish": lambda: part.finish({"skipped": []}),
        "rewind": lambda: part.rewind(3),
    }
    with pytest.raises(BadInput, match=r"cannot write .*key: No space left on device; make room and run again"):
        steps[step]()
    part.close()  # writes what is held back, and is refused again
    again = Part(tmp_path / "key", save_seconds=60)
    assert (again.done, again.rows) == (7, 7)
    again.close()


def test_a_file_is_the_same_whichever_step_of_its_making_was_the_last_of_a_process(tmp_path: Path) -> None:
    make(tmp_path / "whole" / "key")
    check(tmp_path / "whole" / "key")
    expected = file_digest(tmp_path / "whole" / "key.npy")
    for last in range(100):
        path = tmp_path / f"{last}" / "key"
        process = subprocess.run(
            [sys.executable, __file__, str(path), str(last)], env=os.environ | {"PYTHONPATH": HOME}
        )
        found = open_stored(path)
        assert found is None or np.array_equal(found.rows, ROWS)
        if found is None:
            make(path)
        assert file_digest(path.with_suffix(".npy")) == expected
        if process.returncode == 0:
            break
        assert process.returncode == 9
    assert last > 10  # two safe points and the end, each of several steps
    check(path)


def test_a_count_left_by_an_earlier_file_does_not_vouch_for_new_rows(tmp_path: Path) -> None:
    path = tmp_path / "key"
    part = Part(path, save_seconds=-1)
    part.append(5, ROWS[:4], [(BAD, "no image")])
    part.close()
    path.with_suffix(".part").unlink()
    part = Part(path, save_seconds=60)
    part.append(6, ROWS[:6], [])  # it can be read by now
    part.close()
    part = Part(path, save_seconds=60)
    part.close()
    assert part.done == 0


def test_a_part_goes_back_to_an_image_and_forgets_the_later_ones(tmp_path: Path) -> None:
    part = Part(tmp_path / "key", save_seconds=-1)
    part.append(8, ROWS[:6], [(1, "cut"), (BAD, "no image")])
    part.rewind(BAD)
    part.close()
    part = Part(tmp_path / "key", save_seconds=60)
    assert (part.done, part.rows, part.bad) == (4, 3, [(1, "cut")])
    part.append(IMAGES, ROWS[3:12], [])
    part.finish({"skipped": [[1, "01.png", "cut"]]})
    stored = open_stored(tmp_path / "key")
    assert stored is not None
    assert np.array_equal(stored.rows, ROWS)


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full on this system")
def test_a_full_disk_is_an_error_that_says_so_and_what_was_safe_stays(tmp_path: Path) -> None:
    part = Part(tmp_path / "key", save_seconds=-1)
    part.append(4, ROWS[:4], [])
    with open("/dev/full", "wb", buffering=0) as full:
        disk, part.file = part.file, full  # type: ignore[assignment]
        with pytest.raises(BadInput, match="No space left on device; make room"):
            part.append(8, ROWS[4:8], [])
    disk.close()
    again = Part(tmp_path / "key", save_seconds=60)
    again.close()
    assert again.done == 4


HOME = str(Path(__file__).parents[3])

if __name__ == "__main__":
    left = int(sys.argv[2])

    def watched(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*given: Any, **more: Any) -> Any:
            global left
            if left == 0:
                os._exit(9)
            left -= 1
            return real(*given, **more)

        return call

    for name in STEPS:
        setattr(os, name, watched(getattr(os, name)))
    make(Path(sys.argv[1]))


def killed_after_seven(path: Path) -> None:
    part = Part(path, save_seconds=60)
    part.append(7, ROWS[[0, 1, 2, 3, 4, 5]], [(BAD, "no image")])
    part.save()
    part.close()


def test_a_flipped_byte_of_rows_in_the_making_is_not_resumed(tmp_path: Path) -> None:
    killed_after_seven(tmp_path / "key")
    data = bytearray((tmp_path / "key.part").read_bytes())
    data[-3] ^= 1
    (tmp_path / "key.part").write_bytes(data)
    part = Part(tmp_path / "key", save_seconds=60)
    part.close()
    assert part.done == 0
    make(tmp_path / "key")
    check(tmp_path / "key")


DAMAGED: list[dict[str, Any] | str] = [
    {"done": 10**9}, {"done": -7}, {"done": "7"}, {"rows": 7}, {"width": 4}, {"width": -5}, {"dtype": "|O"},
    {"bad": [[BAD, "a"], [BAD, "b"]]}, {"bad": [["4", "a"]]}, {"bad": 5}, {"sha256": None}, {"sha256": "0" * 64},
    "{}", "[]", "[" * 100_000, "5", "",
]  # fmt: skip


@pytest.mark.parametrize("change", DAMAGED, ids=lambda change: str(change)[:30])
def test_a_damaged_record_of_rows_in_the_making_is_not_believed(change: dict[str, Any] | str, tmp_path: Path) -> None:
    killed_after_seven(tmp_path / "key")
    record = tmp_path / "key.part.json"
    record.write_text(change if isinstance(change, str) else json.dumps({**json.loads(record.read_text()), **change}))
    make(tmp_path / "key")
    check(tmp_path / "key")


WRONG: list[dict[str, Any] | str] = [
    {"images": 14}, {"images": "13"}, {"skipped": []}, {"skipped": [[99, "04.png", "why"]]}, {"skipped": None},
    {"skipped": [[4, "04.png"]]}, {"skipped": [[4, 4, 4]]}, {"sha256": None}, "{}", "[]", "[" * 100_000,
]  # fmt: skip


@pytest.mark.parametrize("change", WRONG, ids=lambda change: str(change)[:30])
def test_a_record_that_says_other_things_than_its_rows_is_as_none(change: dict[str, Any] | str, tmp_path: Path) -> None:
    make(tmp_path / "key")
    record = tmp_path / "key.json"
    record.write_text(change if isinstance(change, str) else json.dumps({**json.loads(record.read_text()), **change}))
    assert open_stored(tmp_path / "key") is None


def test_a_record_that_vouches_for_what_is_no_array_is_as_none(tmp_path: Path) -> None:
    make(tmp_path / "key")
    (tmp_path / "key.npy").write_bytes(b"no array")
    record = tmp_path / "key.json"
    said = {**json.loads(record.read_text()), "sha256": file_digest(tmp_path / "key.npy")}
    record.write_text(json.dumps(said))
    assert open_stored(tmp_path / "key") is None
