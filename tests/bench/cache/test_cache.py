"""A cache with items of every kind: its size, what may go, whose it is, and what is damaged."""

import json
import os
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer.testing
from cache_items import DAY, GRAPH, NEW, NOW, PACK, PLAN, names, prune, put

from featune.bench.cache import contents, damaged_items, parsed_age, parsed_size, pruned, totals
from featune.bench.cache.items import Item
from featune.bench.cli.app import app
from featune.engine.errors import BadInput
from featune.engine.features import FeatureKey, FeatureStore
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, feature_model
from featune.engine.runners import torch_runner
from featune.engine.store import locked


def test_files_that_live_and_die_together_are_one_item_and_locks_are_none(cache: Path) -> None:
    found = contents(cache)
    assert [(item.kind, item.name, item.bytes) for item in found] == [
        ("plans", PLAN, 1000), ("graphs", GRAPH, 300), ("data", PACK, 20), ("records", "judged/c.json", 5),
    ]  # fmt: skip
    assert found[2].used == NOW - 30 * DAY  # the file that was used last
    assert {each.kind: each.bytes for each in totals(found)}["records"] == 5


def test_a_size_limit_removes_what_was_not_used_for_longest_and_no_more(cache: Path) -> None:
    assert prune(cache, most=1310).removed == 1
    assert names(cache) == {GRAPH, PLAN}
    found = prune(cache, most=1005)
    assert (found.removed, found.freed, found.left) == (1, 300, 1005)
    assert names(cache) == {PLAN}
    assert not (cache / "graphs" / f"{GRAPH}.lock").exists()
    assert (cache / "judged" / "c.json").exists()  # records make no room


def test_an_age_removes_what_is_older_and_a_kind_narrows_it(cache: Path) -> None:
    assert prune(cache, older=5 * DAY, kinds=["graphs"]).removed == 1
    assert names(cache) == {PLAN, PACK}
    assert prune(cache, older=29 * DAY).removed == 1
    assert names(cache) == {PLAN}


def test_a_dry_run_says_the_same_and_removes_nothing(cache: Path) -> None:
    dry = prune(cache, most=0, dry=True)
    assert names(cache) == {GRAPH, PLAN, PACK}
    assert prune(cache, most=0) == dry


def test_what_was_used_in_the_last_25_hours_stays_unless_it_is_asked_for(cache: Path) -> None:
    put(cache / "graphs" / NEW, 7, 1.02)  # 24.5 hours: with relatime it may be at work
    assert prune(cache, most=0).kept == {"used in the last 25 hours": 7}
    assert names(cache) == {NEW}
    assert prune(cache, most=0, recent_too=True).kept == {}
    assert names(cache) == set()


def test_what_another_process_has_locked_stays(cache: Path) -> None:
    with locked(cache / "graphs" / GRAPH):
        assert prune(cache, most=0).kept == {"in use by another process": 300}
    assert names(cache) == {GRAPH}


def test_another_users_files_stay(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = os.getuid()
    monkeypatch.setattr("os.getuid", lambda: real + 1)
    assert prune(cache, most=0).kept == {"of other users": 1320}
    assert names(cache) == {GRAPH, PLAN, PACK}


def test_a_cache_that_cannot_be_written_is_listed_and_not_pruned(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*arguments: Any, **options: Any) -> None:
        raise OSError(30, "Read-only file system")

    monkeypatch.setattr("tempfile.TemporaryFile", refused)
    with pytest.raises(BadInput, match="Read-only file system"):
        prune(cache, most=0)
    assert len(contents(cache)) == 4


def test_what_a_killed_write_left_is_no_item_and_goes(cache: Path) -> None:
    left = cache / "graphs" / f".{GRAPH}.00000000-1.abcdefgh.tmp.onnx"
    put(left, 50, 3)
    os.utime(left, (1.0, 1.0))
    assert GRAPH in names(cache)
    assert len(contents(cache)) == 4
    assert prune(cache, older=1000 * DAY).stale == 1
    assert not left.exists()


def test_links_are_not_followed_out_of_the_cache(cache: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    outside = put(tmp_path_factory.mktemp("outside") / "thesis.onnx", 99, 99)
    (cache / "graphs" / f"{'f' * 16}.onnx").symlink_to(outside)
    assert prune(cache, most=0).removed == 3
    assert outside.exists()


@pytest.mark.parametrize(
    "place",
    [
        "data/imagenet/a.jpg", "data/imagenet/00000.tar", f"data/{PACK}x/00000.tar", "data/notes.txt",
        "graphs/notes.txt", "graphs/resnet.onnx", f"graphs/{GRAPH}.bak", f"graphs/{'f' * 16}/model.onnx",
        "plans/mine.plan", f"plans/{'f' * 16}/a.plan", "tuned/best.safetensors", "provider/old/engine",
        "provider/a.timing",
    ],
)  # fmt: skip
def test_a_file_that_is_not_named_as_ours_stays(cache: Path, place: str) -> None:
    foreign = put(cache / place, 50, 300)
    assert prune(cache, most=0).removed == 3
    assert foreign.exists()


def test_a_pack_with_a_file_that_is_not_ours_stays_whole(cache: Path) -> None:
    put(cache / "data" / PACK / "label.txt", 50, 300)
    assert prune(cache, most=0).removed == 2
    assert len(list((cache / "data" / PACK).iterdir())) == 3


def test_an_item_in_a_folder_goes_with_its_locks_and_its_folder(cache: Path) -> None:
    (cache / "data" / PACK / "00000.tar.lock").touch()
    put(cache / "provider" / ("f" * 16) / "a.engine", 50, 300)
    assert prune(cache, most=0).removed == 4
    assert not (cache / "data" / PACK).exists()
    assert not (cache / "provider" / ("f" * 16)).exists()


@pytest.mark.parametrize(
    "place",
    [
        f"graphs/{GRAPH}.data", f"graphs/{NEW}", f"graphs/{'f' * 16}.fp16-cuda.onnx",
        f"graphs/{'f' * 16}.auto-cpu-{'a' * 16}.onnx",
        f"plans/timing-{'f' * 16}.cache", f"plans/faster-{'f' * 16}.json", f"tuned/{'f' * 16}.safetensors",
        f"provider/{'f' * 16}/TensorrtExecutionProvider_TRTKernel_graph_1_0_0_fp16_sm90.engine",
    ],
)  # fmt: skip
def test_every_form_of_ours_goes(cache: Path, place: str) -> None:
    ours = put(cache / place, 50, 300)
    prune(cache, most=0)
    assert not ours.exists()


@pytest.mark.parametrize(("text", "size"), [("50GB", 50e9), ("1.5 TB", 1.5e12), ("8MiB", 8 << 20), ("10", 10)])
def test_sizes_are_read_as_people_write_them(text: str, size: float) -> None:
    assert parsed_size(text) == size
    assert parsed_age("2d") == 2 * DAY == parsed_age("48h")


@pytest.mark.parametrize("options", [{}, {"most": 1, "kinds": ["graph"]}])
def test_prune_refuses_to_guess_what_may_go(cache: Path, options: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        prune(cache, **options)
    with pytest.raises(BadInput, match="50GB"):
        parsed_size("much")
    with pytest.raises(BadInput, match="30d"):
        parsed_age("30")


@pytest.fixture
def rows(tmp_path: Path, items: Labelled, spec: ModelSpec) -> tuple[Path, str]:
    """A cache with one file of features that was really made: (cache, key)."""
    cache = tmp_path / "real"
    key = FeatureKey(spec.digest, spec.view, items.content_digest, "torch:cpu")
    FeatureStore(cache / "features").rows(key, items, lambda threads: torch_runner(feature_model(spec), "cpu"))
    return cache, key.name


def test_features_are_one_item_of_their_key_and_go_whole(rows: tuple[Path, str]) -> None:
    cache, key = rows
    item: Item = next(item for item in contents(cache) if item.kind == "features")
    assert item.name == key
    assert {path.suffix for path in item.paths} == {".npy", ".json"}
    assert pruned(cache, most=0, recent_too=True).removed == 1
    assert not list((cache / "features").glob(f"{key}*"))


def test_verify_finds_a_changed_byte_and_an_unreadable_record_and_nothing_else(rows: tuple[Path, str]) -> None:
    cache, key = rows
    (cache / "models").mkdir()
    (cache / "models" / "fine.json").write_text("{}")
    assert damaged_items(cache)[1] == []
    (cache / "models" / "torn.json").write_text('{"a": ')
    (cache / "graphs").mkdir()
    (cache / "graphs" / NEW).write_bytes(b"no graph")
    (cache / "plans").mkdir()
    (cache / "plans" / f"{'b' * 16}.plan").write_bytes(b"no plan")
    with sqlite3.connect(cache / "fingerprints.sqlite") as connection:
        connection.execute("create table files (a int)")
    file = cache / "features" / f"{key}.npy"
    held = np.load(file, mmap_mode="r+")
    held[0, 0] += 1
    held.flush()
    count, found = damaged_items(cache)
    assert sorted(each.name for each in found) == sorted([key, "models/torn.json", NEW, "b" * 16 + ".plan"])
    assert count == len(contents(cache))


@pytest.fixture
def featune(cache: Path) -> Callable[..., Any]:
    return lambda *words: typer.testing.CliRunner().invoke(app, ["cache", *words, "--cache", str(cache)])


def test_the_commands_say_size_what_went_and_what_is_damaged(featune: Callable[..., Any], cache: Path) -> None:
    assert json.loads(featune("du", "--json").stdout)["bytes"] == 1325
    assert "1.3 kB" in featune("du").stdout
    verified = featune("verify", "-q")
    assert verified.exit_code == 1
    assert f"graphs/{GRAPH}" in verified.stdout
    done = featune("prune", "--max-size", "0", "--recent-too", "--json")
    assert (done.exit_code, json.loads(done.stdout)["left"]) == (0, 5)
    assert featune("prune").exit_code == 2
