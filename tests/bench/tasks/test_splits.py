"""Properties of splits that hold for any labels, groups, seeds and file orders."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from featune.bench.tasks import shared_images, straddling_groups, stratified_split
from featune.bench.tasks.splits import k_folds
from featune.engine.errors import BadInput
from featune.engine.images import Labelled

THIRDS = {"train": 0.6, "val": 0.2, "test": 0.2}
shares = st.lists(st.floats(0.05, 1.0), min_size=2, max_size=4).map(lambda s: {f"s{i}": x for i, x in enumerate(s)})
single = st.lists(st.integers(0, 5).map(lambda label: (label,)), min_size=1, max_size=80)
several = st.lists(
    st.sets(st.integers(0, 4), max_size=3).map(lambda some: tuple(sorted(some))), min_size=6, max_size=60
)
seeds = st.integers(0, 2**31)


def items_of(labels: list[tuple[int, ...]], **more: tuple) -> Labelled:
    return Labelled("", tuple(f"{i:03}.png" for i in range(len(labels))), tuple(labels), **more)


def shuffled(items: Labelled, seed: int) -> Labelled:
    return items.take(np.random.default_rng(seed).permutation(len(items)).tolist())


def check_disjoint_and_complete(items: Labelled, splits: dict[str, Labelled]) -> None:
    paths = [path for part in splits.values() for path in part.paths]
    assert sorted(paths) == sorted(items.paths)
    label = dict(zip(items.paths, items.labels, strict=True))
    assert all(label[path] == some for part in splits.values()
               for path, some in zip(part.paths, part.labels, strict=True))  # fmt: skip


@given(single, shares, seeds)
@settings(max_examples=100, deadline=None)
def test_each_class_is_within_one_image_of_its_share(
    labels: list[tuple[int, ...]], fractions: dict[str, float], seed: int
) -> None:
    items = items_of(labels)
    splits = stratified_split(items, fractions, seed)
    check_disjoint_and_complete(items, splits)
    total = sum(fractions.values())
    whole = Counter(label for (label,) in labels)
    for name, part in splits.items():
        found = Counter(label for (label,) in part.labels)
        for label, count in whole.items():
            assert abs(found[label] - count * fractions[name] / total) < 1 + 1e-9


@given(single, seeds, seeds)
@settings(max_examples=60, deadline=None)
def test_the_order_of_the_files_has_no_part_in_a_split(labels: list[tuple[int, ...]], seed: int, order: int) -> None:
    items = items_of(labels)
    assert stratified_split(shuffled(items, order), THIRDS, seed) == stratified_split(items, THIRDS, seed)


@given(several, seeds, seeds)
@settings(max_examples=60, deadline=None)
def test_several_labels_are_dealt_out_near_their_shares(labels: list[tuple[int, ...]], seed: int, order: int) -> None:
    items = items_of(labels)
    splits = stratified_split(items, THIRDS, seed)
    check_disjoint_and_complete(items, splits)
    assert stratified_split(shuffled(items, order), THIRDS, seed) == splits
    if any(len(some) != 1 for some in labels):
        rarest = min(
            Counter(label for some in labels for label in some).items(), key=lambda pair: pair[::-1], default=None
        )
        if rarest:  # the first label that is dealt out gets its shares but for rounding
            for name, share in THIRDS.items():
                found = sum(rarest[0] in some for some in splits[name].labels)
                assert abs(found - share * rarest[1]) < 1.5


groups = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 12)), min_size=1, max_size=80)


@given(groups, seeds, seeds)
@settings(max_examples=100, deadline=None)
def test_a_group_is_in_one_split(pairs: list[tuple[int, int]], seed: int, order: int) -> None:
    names = tuple(f"patient{group}" if group else "" for _, group in pairs)
    items = items_of([(label,) for label, _ in pairs], groups=names)
    distinct = len(set(filter(None, names))) + names.count("")
    if any(names) and distinct < len(THIRDS):
        with pytest.raises(BadInput, match=f"{distinct} groups found, at least 3 expected"):
            stratified_split(items, THIRDS, seed)
        return
    splits = stratified_split(items, THIRDS, seed)
    check_disjoint_and_complete(items, splits)
    assert not straddling_groups(splits)
    assert stratified_split(shuffled(items, order), THIRDS, seed) == splits
    if any(names):
        assert all(len(part) for part in splits.values())


def test_groups_of_equal_size_are_stratified_too() -> None:
    """60 patients of 5 images; every fifth patient is ill: each split has its share of the ill within a patient."""
    labels = [(int(patient % 5 == 0),) for patient in range(60) for _ in range(5)]
    items = items_of(labels, groups=tuple(f"p{i // 5}" for i in range(300)))
    for seed in range(5):
        for name, part in stratified_split(items, THIRDS, seed).items():
            assert abs(len(part) - 300 * THIRDS[name]) <= 5
            assert abs(sum(label for (label,) in part.labels) - 60 * THIRDS[name]) <= 5


@given(single.filter(lambda labels: len(labels) >= 4), st.integers(2, 4), seeds)
@settings(max_examples=60, deadline=None)
def test_every_image_is_held_out_once(labels: list[tuple[int, ...]], k: int, seed: int) -> None:
    items = items_of(labels)
    pairs = k_folds(items, k, seed)
    assert sorted(path for _, held in pairs for path in held.paths) == sorted(items.paths)
    for train, held in pairs:
        check_disjoint_and_complete(items, {"train": train, "held": held})
        for label, count in Counter(labels).items():
            assert abs(held.labels.count(label) - count / k) < 1 + 1e-9


def test_folds_keep_groups_and_files_that_are_listed_twice() -> None:
    items = Labelled("", ("a.png", "a.png", "b.png", "c.png"), ((0,), (1,), (0,), (1,)), groups=("x", "x", "y", "z"))
    pairs = k_folds(items, 2, 0)
    assert sum(len(held) for _, held in pairs) == 4
    assert all(not straddling_groups({"train": train, "held": held}) for train, held in pairs)
    with pytest.raises(BadInput, match="1 folds asked for"):
        k_folds(items, 1, 0)


@given(st.lists(st.integers(0, 20), min_size=30, max_size=60).filter(lambda names: len(set(names)) > 2), seeds)
@settings(max_examples=60, deadline=None)
def test_a_file_that_is_listed_twice_is_in_one_split(names: list[int], seed: int) -> None:
    items = Labelled("", tuple(f"{name}.png" for name in names), tuple((name % 3,) for name in names))
    splits = stratified_split(items, THIRDS, seed)
    check_disjoint_and_complete(items, splits)
    homes = [set(part.paths) for part in splits.values()]
    assert len(set().union(*homes)) == sum(map(len, homes)) == len(set(names))


def test_another_seed_is_another_split() -> None:
    items = items_of([(i % 3,) for i in range(60)])
    assert stratified_split(items, THIRDS, 0) != stratified_split(items, THIRDS, 1)


def test_images_of_the_same_bytes_are_found_whatever_their_names(tmp_path: Path) -> None:
    for name, content in (("a", b"one"), ("b", b"two"), ("c", b"one"), ("d", b"three"), ("e", b"one")):
        (tmp_path / name).write_bytes(content)

    def of(*names: str) -> Labelled:
        return Labelled(str(tmp_path), names, tuple((0,) for _ in names))

    pairs = shared_images({"train": of("a", "b"), "val": of("c", "d"), "test": of("e", "missing")})
    assert pairs == [("train/a", "val/c"), ("train/a", "test/e")]
    assert shared_images({"train": of("a", "c"), "test": of("b", "gone")}) == []


def test_ignored_groups_and_weights_follow_their_images() -> None:
    items = items_of([(0,), (1,), (0,)], ignore=((), (1,), ()), groups=("x", "y", "z"), weights=(1.0, 2.0, 3.0))
    taken = items.take([2, 1])
    assert (taken.ignore, taken.groups, taken.weights) == (((), (1,)), ("z", "y"), (3.0, 2.0))
    both = taken + items_of([(0,)])
    assert both.ignore == ((), (1,), ())
    assert both.groups == ("z", "y", "")
    assert both.weights == (3.0, 2.0, 1.0)
    with pytest.raises(BadInput, match="1 paths and 2 groups"):
        items_of([(0,)], groups=("x", "y"))
