import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from engine.errors import BadImages
from engine.features import FeatureKey, FeatureStore, extract
from engine.images import Labelled
from engine.models import View
from engine.runners import Runner

VIEW = View(side=16)


def means(images: Tensor, /) -> Tensor:
    """A runner: the mean of each channel."""
    return images.float().mean((2, 3))


def key_of(items: Labelled) -> FeatureKey:
    return FeatureKey("model", VIEW, items.content_digest, "fake")


class Opened:
    """Opens a runner, counts how often, and may end the process's work after some calls."""

    def __init__(self, dies_after: int | None = None):
        self.opened = self.calls = 0
        self.dies_after = dies_after

    @contextmanager
    def __call__(self) -> Iterator[Runner]:
        self.opened += 1

        def run(images: Tensor, /) -> Tensor:
            if self.dies_after is not None and self.calls >= self.dies_after:
                raise KeyboardInterrupt
            self.calls += 1
            return means(images)

        yield run


def test_rows_come_in_the_items_order_for_any_batch_and_workers(items: Labelled) -> None:
    whole = extract(means, items, VIEW, batch=64)
    for batch in (1, 4):
        for workers in (1, 3):
            assert np.array_equal(extract(means, items, VIEW, batch=batch, workers=workers), whole)


def test_a_second_asking_opens_no_runner(items: Labelled, tmp_path: Path) -> None:
    opened = Opened()
    store = FeatureStore(tmp_path)
    first = store.rows(key_of(items), items, opened)
    again = store.rows(key_of(items), items, opened)
    assert opened.opened == 1
    assert np.array_equal(first, again)
    assert np.array_equal(first, extract(means, items, VIEW))
    assert not again.flags.writeable


def test_an_interrupted_pass_goes_on_where_it_was(items: Labelled, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.rows(key_of(items), items, Opened(dies_after=3), batch=2, save_seconds=0)
    assert store.load(key_of(items), len(items)) is None
    second = Opened()
    rows = store.rows(key_of(items), items, second, batch=2, save_seconds=0)
    assert second.calls == 3  # 11 images: 6 were safe, 5 remain
    assert np.array_equal(rows, extract(means, items, VIEW))
    left = {p.suffix for p in tmp_path.iterdir()}
    assert left - {".lock", ""} == {".json", ".npy"}


def test_rows_written_after_the_last_safe_point_are_made_again(items: Labelled, tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path), key_of(items)
    with pytest.raises(KeyboardInterrupt):
        store.rows(key, items, Opened(dies_after=3), batch=2, save_seconds=0)
    with open(tmp_path / f"{key.name}.part", "ab") as part:
        part.write(b"\xff" * 10)  # a torn write
    assert np.array_equal(store.rows(key, items, Opened(), batch=2), extract(means, items, VIEW))


def test_a_lost_part_file_starts_over(items: Labelled, tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path), key_of(items)
    with pytest.raises(KeyboardInterrupt):
        store.rows(key, items, Opened(dies_after=3), batch=2, save_seconds=0)
    (tmp_path / f"{key.name}.part").write_bytes(b"")
    assert np.array_equal(store.rows(key, items, Opened(), batch=2), extract(means, items, VIEW))


def test_a_damaged_file_is_made_again_and_never_returned(items: Labelled, tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path), key_of(items)
    good = np.array(store.rows(key, items, Opened()))
    path = tmp_path / f"{key.name}.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    opened = Opened()
    assert np.array_equal(store.rows(key, items, opened), good)
    assert opened.opened == 1


def test_an_unreadable_image_leaves_no_file_of_features(items: Labelled, tmp_path: Path) -> None:
    items.file(4).write_bytes(b"no image")
    broken = dataclasses.replace(items)
    with pytest.raises(BadImages, match=r"04\.png"):
        FeatureStore(tmp_path).rows(key_of(broken), broken, Opened())
    assert not list(tmp_path.glob("*.npy"))


def test_anything_that_changes_features_changes_the_key_and_labels_do_not(items: Labelled) -> None:
    key = key_of(items)
    changes = [
        {"model": "other"}, {"view": dataclasses.replace(VIEW, crop_pct=0.5)},
        {"view": dataclasses.replace(VIEW, interpolation="bicubic")}, {"images": "other"},
        {"backend": "other"}, {"precision": "fp16"}, {"artefact": "other"}, {"decoder": "fast"},
    ]  # fmt: skip
    assert len({key.name, *(dataclasses.replace(key, **change).name for change in changes)}) == 9
    relabelled = dataclasses.replace(items, labels=tuple((0,) for _ in items.labels))
    assert key_of(relabelled).name == key.name


def test_no_features_outlive_a_changed_file(items: Labelled, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    before = np.array(store.rows(key_of(items), items, Opened()))
    items.file(1).write_bytes(items.file(0).read_bytes())
    changed = dataclasses.replace(items)
    after = store.rows(key_of(changed), changed, Opened())
    assert np.array_equal(after[1], after[0])
    assert not np.array_equal(after[1], before[1])
