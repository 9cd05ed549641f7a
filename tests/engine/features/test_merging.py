"""Index ranges extracted apart and merged: the bytes of one pass, or a refusal that names what differs."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from featune.engine.errors import BadInput
from featune.engine.features import FeatureKey, FeatureStore, Options, index_range, merge
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, feature_model
from featune.engine.runners import torch_runner

BATCH = 2


@given(st.integers(1, 100), st.integers(1, 12), st.integers(1, 9))
def test_ranges_follow_each_other_and_are_cut_at_whole_batches(count: int, shards: int, batch: int) -> None:
    ranges = [index_range(count, number, shards, batch) for number in range(1, shards + 1)]
    assert [index for indices in ranges for index in indices] == list(range(count))
    assert all(indices.start % batch == 0 for indices in ranges if len(indices))


@pytest.fixture
def shared(items: Labelled, spec: ModelSpec, tmp_path: Path) -> Callable[..., tuple[FeatureKey, list]]:
    """Extracts three ranges of the items, and gives the whole's key and the parts' keys with their ranges."""
    model = feature_model(spec)

    def extract(root: Path, of: Labelled, options: Options = Options(batch=BATCH, workers=1)) -> FeatureKey:  # noqa: B008
        key = FeatureKey(spec.digest, spec.view, of.content_digest, "torch:cpu")
        FeatureStore(root).rows(key, of, lambda threads: torch_runner(model, "cpu"), options=options)
        return key

    def make(root: Path, of: Labelled = items, options: Options = Options(batch=BATCH, workers=1)) -> tuple:  # noqa: B008
        ranges = [index_range(len(of), number, 3, BATCH) for number in (1, 2, 3)]
        parts = [(extract(root, of.take(indices), options), indices) for indices in ranges]
        return FeatureKey(spec.digest, spec.view, of.content_digest, "torch:cpu"), parts

    make.whole = extract  # type: ignore[attr-defined]
    return make


def test_merged_ranges_are_byte_for_byte_the_file_of_one_pass(
    shared: Callable[..., tuple[FeatureKey, list]], items: Labelled, tmp_path: Path
) -> None:
    key, parts = shared(tmp_path / "shares")
    assert merge(tmp_path / "shares", key, items, parts) == []
    shared.whole(tmp_path / "one", items)  # type: ignore[attr-defined]
    merged, one = (tmp_path / place / f"{key.name}.npy" for place in ("shares", "one"))
    assert merged.read_bytes() == one.read_bytes()
    record = json.loads(merged.with_suffix(".json").read_text())
    assert record["pass"]["merged"] == [part.name for part, _ in parts]
    assert not list((tmp_path / "shares").glob("*.part*"))


def test_a_merged_file_is_taken_for_the_pass_that_it_stands_for(
    shared: Callable[..., tuple[FeatureKey, list]], items: Labelled, tmp_path: Path
) -> None:
    key, parts = shared(tmp_path)
    merge(tmp_path, key, items, parts)
    rows = FeatureStore(tmp_path).rows(key, items, lambda threads: pytest.fail("computed again"))
    assert len(rows) == len(items)
    before = (tmp_path / f"{key.name}.json").stat().st_mtime_ns
    merge(tmp_path, key, items, parts)
    assert (tmp_path / f"{key.name}.json").stat().st_mtime_ns == before


def test_skipped_images_keep_their_place_among_all_and_are_told(
    shared: Callable[..., tuple[FeatureKey, list]], items: Labelled, tmp_path: Path
) -> None:
    items.file(7).write_bytes(b"no image")
    broken = dataclasses.replace(items)
    options = Options(batch=BATCH, workers=1, on_error="skip")
    key, parts = shared(tmp_path, broken, options)
    (note,) = merge(tmp_path, key, broken, parts)
    assert note.startswith("1 images were skipped")
    stored = FeatureStore(tmp_path).load(key, len(items))
    assert stored is not None
    assert [(index, path) for index, path, _ in stored.skipped] == [(7, items.paths[7])]
    assert stored.kept.tolist() == [index for index in range(len(items)) if index != 7]


def test_a_share_that_is_absent_or_damaged_is_named_and_nothing_is_made(
    shared: Callable[..., tuple[FeatureKey, list]], items: Labelled, tmp_path: Path
) -> None:
    key, parts = shared(tmp_path)
    file = tmp_path / f"{parts[1][0].name}.npy"
    file.write_bytes(file.read_bytes()[:-1] + b"x")
    with pytest.raises(BadInput, match=f"images {parts[1][1].start} to {parts[1][1].stop - 1}, is not there whole"):
        merge(tmp_path, key, items, parts)
    assert not (tmp_path / f"{key.name}.npy").exists()


@pytest.mark.parametrize(("name", "change"), [("batch", None), ("versions", {"torch": "0.1"})])
def test_shares_of_different_batches_or_versions_are_refused(
    shared: Callable[..., tuple[FeatureKey, list]], items: Labelled, tmp_path: Path, name: str, change: dict | None
) -> None:
    key, parts = shared(tmp_path)
    path = tmp_path / f"{parts[2][0].name}.json"
    record = json.loads(path.read_text())
    if change:
        record["versions"] |= change
    else:
        record["pass"]["setting"]["batch"] = 64
    path.write_text(json.dumps(record))
    with pytest.raises(BadInput, match=f"shares of different {name}"):
        merge(tmp_path, key, items, parts)
