import contextlib
import dataclasses
import errno
import multiprocessing
import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from featune.engine.errors import BadImages, BadInput, nearest
from featune.engine.store import (
    _umask,
    cache_dir,
    check_writable,
    digest,
    file_digest,
    locked,
    locked_if_free,
    made_beside,
    read_json,
    remove_stale,
    stale_files,
    write_json,
    write_text,
    written_whole,
)


@dataclasses.dataclass(frozen=True)
class Point:
    x: float
    where: Path


def test_equal_values_have_equal_names_whatever_their_order() -> None:
    assert digest({"a": 1, "b": (1, 2)}) == digest({"b": [1, 2], "a": 1})
    assert digest(Point(1.0, Path("p"))) == digest({"x": 1.0, "where": "p"})


@pytest.mark.parametrize("other", [{"a": 2}, {"a": "1"}, {"a": True}, {"a": [1]}, {"b": 1}, {"a": 1, "b": None}])
def test_different_values_have_different_names(other: object) -> None:
    assert digest({"a": 1}) != digest(other)


def test_a_value_without_a_plain_form_is_refused() -> None:
    with pytest.raises(TypeError, match="no place in a digest"):
        digest({"a": object()})


def test_a_block_that_fails_leaves_the_old_file_and_no_temporary(tmp_path: Path) -> None:
    path = tmp_path / "sub" / "value.json"
    write_json(path, {"old": 1})
    with pytest.raises(RuntimeError), written_whole(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert read_json(path) == {"old": 1}
    assert [p.name for p in path.parent.iterdir()] == ["value.json"]


def test_a_file_is_readable_by_others_as_the_umask_says(tmp_path: Path) -> None:
    write_json(tmp_path / "value.json", 1)
    umask = os.umask(0)
    os.umask(umask)
    assert (tmp_path / "value.json").stat().st_mode & 0o777 == 0o666 & ~umask


def test_two_threads_that_ask_for_the_umask_leave_it_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    mask, both = [0o22], threading.Barrier(2)

    def umask(new: int) -> int:
        old, mask[0] = mask[0], new
        if new == 0:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(0.2)  # until the other one has set it to 0 too, if it can
        return old

    monkeypatch.setattr("os.umask", umask)
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(_umask())) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (found, mask) == ([0o22, 0o22], [0o22])


def test_a_folder_that_cannot_be_written_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="choose another --out"):
        write_json(tmp_path / "file" / "value.json", 1)


@pytest.mark.parametrize(
    ("number", "remedy"), [(errno.ENOSPC, "make room and run again"), (errno.EROFS, "choose another --out")]
)
def test_a_disk_that_refuses_is_bad_input_with_its_reason(number: int, remedy: str, tmp_path: Path) -> None:
    said = f"cannot write .*/value.json: {os.strerror(number)}; {remedy}"
    with pytest.raises(BadInput, match=said), written_whole(tmp_path / "value.json"):
        raise OSError(number, os.strerror(number))
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_another_file_is_not_said_to_be_of_the_one_that_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), written_whole(tmp_path / "value.json"):
        (tmp_path / "source").read_bytes()


def test_a_folder_in_the_place_of_a_file_is_bad_input_before_and_after_the_work(tmp_path: Path) -> None:
    (tmp_path / "rows.npz").mkdir()
    for write in (check_writable, lambda path: write_json(path, 1)):
        with pytest.raises(BadInput, match=r"cannot write .*/rows.npz: Is a directory; choose another --out"):
            write(tmp_path / "rows.npz")


def test_what_cannot_be_written_is_known_before_the_work(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "rows.npz", tmp_path / "file" / "sub" / "rows.npz", tmp_path / ("x" * 300)):
        with pytest.raises(BadInput, match=r"cannot write .*; choose another --out"):
            check_writable(path)
    check_writable(tmp_path / "new" / "rows.npz")
    check_writable(tmp_path / "file")
    assert list((tmp_path / "new").iterdir()) == []


def test_a_lock_that_cannot_be_made_is_bad_input(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file" / "key", tmp_path / "file" / "sub" / "key"):
        with pytest.raises(BadInput, match=r"cannot write .*; choose another --out"), locked(path):
            pass


def test_a_damaged_json_file_reads_as_absent(tmp_path: Path) -> None:
    (tmp_path / "value.json").write_text('{"a": ')
    assert read_json(tmp_path / "value.json") is None
    assert read_json(tmp_path / "nothing.json") is None


def _add_one(path: Path, times: int) -> None:
    for _ in range(times):
        with locked(path):
            write_json(path, (read_json(path) or 0) + 1)


def test_a_lock_lets_one_process_in_at_a_time(tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_add_one, args=(tmp_path / "count", 25)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert read_json(tmp_path / "count") == 50


def test_a_files_digest_is_sha256_of_its_bytes(tmp_path: Path) -> None:
    (tmp_path / "abc").write_bytes(b"abc")
    assert file_digest(tmp_path / "abc").startswith("ba7816bf8f01cfea")


def test_the_cache_lies_where_the_environment_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.delenv("FEATUNE_CACHE_DIR", raising=False)
    assert cache_dir() == Path("/x/featune")
    monkeypatch.setenv("FEATUNE_CACHE_DIR", "/y")
    assert cache_dir() == Path("/y")


def test_bad_images_are_all_listed() -> None:
    error = BadImages([("a.jpg", "empty file"), ("b.jpg", "truncated")])
    assert "2 files" in str(error)
    assert "a.jpg: empty file" in str(error)
    assert "b.jpg: truncated" in str(error)


def test_a_misspelt_word_is_answered_with_the_nearest() -> None:
    assert nearest("tensort", ["torch", "tensorrt", "onnxruntime"]) == "; nearest: tensorrt, torch"
    assert nearest("zzz", ["torch"]) == ""


LONG = "import os, sys\nfrom featune.engine.store import written_whole\nwith written_whole(sys.argv[1]): os._exit(9)\n"


def test_what_a_killed_write_leaves_is_removed_by_the_next_run_and_what_is_being_written_is_not(tmp_path: Path) -> None:
    for name in ("a.json", "deep/b.npy"):
        subprocess.run([sys.executable, "-c", LONG, str(tmp_path / name)], check=False)
    old, young, foreign = (tmp_path / name for name in (".a.json.abcdefgh.tmp.json", ".b.abcdefgh.tmp", ".notes.tmp"))
    for path in (old, young, foreign):
        path.write_text("1234")
    os.utime(old, (1, 1))
    with written_whole(tmp_path / "c.json") as mine:
        assert len(stale_files(tmp_path)) == 3
        assert remove_stale(tmp_path) == (3, 4)
        assert mine.exists()
    assert {path.name for path in tmp_path.rglob("*") if path.is_file()} == {"c.json", young.name, foreign.name}


def test_a_file_of_several_steps_replaces_the_old_one_at_its_end_with_what_belongs_to_it(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_text("old")
    with made_beside(path) as made:
        made.write_text("new")
        made.with_name("model.onnx.data").write_text("weights")
        assert path.read_text() == "old"
    assert {each.name: each.read_text() for each in tmp_path.iterdir()} == {
        "model.onnx": "new", "model.onnx.data": "weights",
    }  # fmt: skip
    with pytest.raises(KeyboardInterrupt), made_beside(path) as made:
        made.write_text("half")
        raise KeyboardInterrupt
    assert path.read_text() == "new"
    assert len(list(tmp_path.iterdir())) == 2


def test_what_a_kill_leaves_of_several_steps_is_removed_by_the_next_run(tmp_path: Path) -> None:
    script = "import os, sys\nfrom featune.engine.store import made_beside\n"
    script += "with made_beside(sys.argv[1]) as made: made.write_text('1234'); os._exit(9)\n"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "model.onnx")], check=False)
    with made_beside(tmp_path / "mine.onnx") as made:
        made.write_text("mine")
        assert len(list(tmp_path.iterdir())) == 2
        assert remove_stale(tmp_path) == (1, 4)
    assert [each.name for each in tmp_path.iterdir()] == ["mine.onnx"]


@pytest.mark.parametrize("name", ["x" * 255, "\u00fc" * 127, "a." + "x" * 253])
def test_the_longest_names_can_be_written(name: str, tmp_path: Path) -> None:
    write_text(tmp_path / name, "text")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_json_that_is_nested_too_deep_reads_as_absent(tmp_path: Path) -> None:
    (tmp_path / "deep.json").write_text("[" * 100_000)
    assert read_json(tmp_path / "deep.json") is None


def test_who_does_not_wait_for_a_lock_is_told_that_it_is_taken(tmp_path: Path) -> None:
    with locked_if_free(tmp_path / "key") as first, locked_if_free(tmp_path / "key") as second:
        assert (first, second) == (True, False)
    with locked_if_free(tmp_path / "key") as again:
        assert again
