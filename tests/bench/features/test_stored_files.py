import os
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from featune.bench.features import (
    clear_store,
    damaged_keys,
    export_features,
    full_key,
    record_of,
    recorded_keys,
    remove_stored,
    stored_entries,
    unfinished_keys,
)
from featune.engine.errors import BadInput
from featune.engine.features.files import Part
from featune.engine.store import locked, write_json
from tests.conftest import unpacked

KEY, CONTENT = "a" * 16, "c" * 16


def test_names_that_are_no_utf8_are_exported(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    odd = os.fsdecode(b"caf\xe9.png")
    part = Part(tmp_path / KEY, save_seconds=60)
    part.append(2, np.eye(2, dtype=np.float32), [])
    part.save()
    part.finish({"skipped": [], "key": {"images": "these"}})
    items = {"root": "/photos", "paths": ["café.png", odd], "labels": [[0], [1]], "classes": ["a", "b"]}
    write_json(tmp_path / f"{CONTENT}.items.json", items)
    write_json(tmp_path / f"{KEY}.{CONTENT}.data.json", {"data": "photos", "asked": "2026-01-01"})
    export_features(tmp_path, KEY, tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table["path"].to_pylist() == ["/photos/café.png", r"/photos/caf\xe9.png"]
    export_features(tmp_path, KEY, tmp_path / "out.npz")
    assert unpacked(tmp_path / "out.npz")["path"].tolist() == ["/photos/café.png", f"/photos/{odd}"]


def made(root: Path, key: str = KEY) -> str:
    part = Part(root / key, save_seconds=60)
    part.append(2, np.eye(2, dtype=np.float32), [])
    part.save()
    of = {"images": "these", "model": "m", "backend": "torch:cpu", "precision": "fp32"}
    part.finish({"skipped": [], "key": of, "label": "net", "made": "2026-01-01"})
    return key


def left(root: Path) -> list[str]:
    return sorted(path.name for path in root.iterdir())


FOREIGN = {
    "notes.json": "[1]",
    "more.json": '{"key": 1}',
    "notes.part.json": "{}",
    "table.items.json": "{}",
    f"{KEY[1:]}.json": "{}",
    ".hidden.json": "{}",
    "rows.npy": "",
    "other.lock": "",
}


def test_files_that_are_not_ours_are_neither_listed_nor_found_nor_removed(tmp_path: Path) -> None:
    for name, text in FOREIGN.items():
        (tmp_path / name).write_text(text)
    (tmp_path / ("b" * 16 + ".json")).write_text('{"no": "record"}')
    made(tmp_path)
    assert [entry.key for entry in stored_entries(tmp_path)] == [KEY]
    assert damaged_keys(tmp_path, ["b" * 16]) == ["b" * 16]
    for text in ("notes", "more", KEY[1:] + "."):
        with pytest.raises(BadInput, match="has no features"):
            full_key(tmp_path, text)
    assert full_key(tmp_path, "a") == KEY
    assert clear_store(tmp_path)[0] == 2
    assert left(tmp_path) == sorted(FOREIGN)


def test_clearing_a_store_leaves_nothing_of_ours(tmp_path: Path) -> None:
    made(tmp_path)
    for name in ("b" * 16 + ".part", "d" * 16 + ".lock", f"{CONTENT}.items.json", f"{KEY}.{CONTENT}.data.json",
                 f".{KEY}.json.x1y2.tmp.json", f".{KEY}.part.json.x_y2.tmp.json"):  # fmt: skip
        (tmp_path / name).write_text("{}")
    write_json(tmp_path / "settings" / ("e" * 16 + ".json"), {})
    assert clear_store(tmp_path)[1] > 0
    assert left(tmp_path) == []


def test_a_setting_of_someone_else_stays_with_its_folder(tmp_path: Path) -> None:
    write_json(tmp_path / "settings" / ("e" * 16 + ".json"), {})
    write_json(tmp_path / "settings" / "mine.json", {})
    clear_store(tmp_path)
    assert left(tmp_path / "settings") == ["mine.json"]


def test_rows_in_the_making_are_removed_and_complete_ones_are_not(tmp_path: Path) -> None:
    made(tmp_path)
    (tmp_path / f"{KEY}.part").write_text("made again, and killed")
    (tmp_path / ("b" * 16 + ".part")).write_text("killed before its first safe point")
    write_json(tmp_path / ("d" * 16 + ".part.json"), {"done": 1})
    assert unfinished_keys(tmp_path) == [KEY, "b" * 16, "d" * 16]
    assert [entry.state for entry in stored_entries(tmp_path)] == ["complete", "unfinished", "unfinished"]
    remove_stored(tmp_path, unfinished_keys(tmp_path), parts=True)
    assert left(tmp_path) == [f"{KEY}.json", f"{KEY}.npy"]


def test_who_removes_a_key_that_is_held_is_told_that_it_waits(tmp_path: Path) -> None:
    made(tmp_path)
    said: list[str] = []
    remover = threading.Thread(target=lambda: remove_stored(tmp_path, [KEY], say=said.append))
    with locked(tmp_path / KEY):
        remover.start()
        deadline = time.monotonic() + 30
        while not said and time.monotonic() < deadline:
            time.sleep(0.01)
        assert (tmp_path / f"{KEY}.npy").exists()
    remover.join()
    assert said == [f"{KEY}: waiting for another process"]
    assert left(tmp_path) == []


def test_a_removal_that_is_killed_at_any_step_can_be_done_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed before each of the files that it removes."""
    unlink, steps = Path.unlink, 0
    while steps < 20:
        root = tmp_path / str(steps)
        made(root)
        write_json(root / f"{CONTENT}.items.json", {})
        write_json(root / f"{KEY}.{CONTENT}.data.json", {"data": "d", "asked": "now"})
        left_over = iter(range(steps))

        def killed(path: Path, missing_ok: bool = False) -> None:
            if path.exists() and next(left_over, None) is None:  # noqa: B023
                raise KeyboardInterrupt
            unlink(path, missing_ok=missing_ok)

        with monkeypatch.context() as patch:
            patch.setattr(Path, "unlink", killed)
            try:
                remove_stored(root, [KEY])
            except KeyboardInterrupt:
                pass
            else:
                break
        if any(name.endswith((".npy", ".json")) for name in left(root)):
            assert [entry.key for entry in stored_entries(root)] == [KEY]
            remove_stored(root, [full_key(root, "a")], parts=steps % 2 == 1 and KEY in unfinished_keys(root))
        assert [name for name in left(root) if not name.endswith(".lock")] == []
        steps += 1
    assert steps > 3


def test_a_truncated_record_is_a_damaged_file_and_not_none(tmp_path: Path) -> None:
    made(tmp_path)
    record = tmp_path / f"{KEY}.json"
    record.write_text(record.read_text()[:40])
    assert recorded_keys(tmp_path) == [KEY]
    assert damaged_keys(tmp_path, recorded_keys(tmp_path)) == [KEY]
    with pytest.raises(BadInput, match="is damaged"):
        record_of(tmp_path, KEY)
