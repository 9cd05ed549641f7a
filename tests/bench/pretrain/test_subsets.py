from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from featune.bench.data import Request, Source, look, open_data
from featune.bench.pretrain import Hierarchy, Rule, near_duplicates, near_images, subset_of, write_subset
from featune.bench.pretrain.near_duplicates import SAME_BYTES, USUAL, perceptual_hashes
from featune.bench.pretrain.subsets import Subset, counts_of
from featune.engine.errors import BadInput
from featune.engine.images import Labelled

CLASSES = ("boxer", "cat", "hammer", "poodle", "saw")
TREE = Hierarchy({
    "animal": "thing", "tool": "thing", "dog": "animal", "cat": "animal", "hammer": "tool", "saw": "tool",
    "poodle": "dog", "boxer": "dog",
})  # fmt: skip


def items(each: int, split: str) -> Labelled:
    paths = [f"{split}/{name}/{number}.png" for name in CLASSES for number in range(each)]
    return Labelled("/nowhere", tuple(paths), tuple((label,) for label in range(len(CLASSES)) for _ in range(each)))


SPLITS = {"train": items(10, "train"), "val": items(4, "val")}


def of(rule: Rule, hierarchy: Hierarchy | None = TREE) -> Subset:
    return subset_of(SPLITS, CLASSES, rule, hierarchy)


def test_without_a_rule_a_subset_is_the_whole_source() -> None:
    whole = of(Rule(), None)
    assert whole.classes == CLASSES
    assert whole.splits == SPLITS


def test_images_per_class_are_as_many_of_each_and_nested_in_larger_ones() -> None:
    small, large = of(Rule(images_per_class=3)), of(Rule(images_per_class=7))
    assert counts_of(small) == dict.fromkeys(CLASSES, 3)
    assert set(small.splits["train"].paths) < set(large.splits["train"].paths)
    assert small.splits["val"] == SPLITS["val"]  # all of it


def test_classes_are_drawn_by_the_seed_nested_and_numbered_anew_in_val_too() -> None:
    two, four = of(Rule(classes=2)), of(Rule(classes=4))
    assert set(two.classes) < set(four.classes)
    for split, each in (("train", 10), ("val", 4)):
        named = [(path.split("/")[1], two.classes[label]) for path, (label,) in zip(
            two.splits[split].paths, two.splits[split].labels, strict=True)]  # fmt: skip
        assert all(folder == name for folder, name in named)
        assert len(named) == 2 * each
    drawn = {of(Rule(classes=2, seed=seed)).classes for seed in range(8)}
    assert len(drawn) > 1
    assert of(Rule(classes=2)) == two


def test_one_more_class_leaves_the_images_of_the_others_as_they_are() -> None:
    fewer, more = of(Rule(classes=2, images_per_class=3)), of(Rule(classes=3, images_per_class=3))
    assert set(fewer.splits["train"].paths) < set(more.splits["train"].paths)


def test_a_budget_is_the_same_number_of_images_for_any_number_of_classes() -> None:
    for classes in (2, 3, 5):
        counts = counts_of(of(Rule(classes=classes, images=17)))
        assert sum(counts.values()) == 17
        assert max(counts.values()) - min(counts.values()) <= 1


def test_coarse_labels_keep_the_images_and_join_the_classes() -> None:
    coarse = of(Rule(images_per_class=2, coarse="leaf-to-root:2"))
    assert coarse.classes == ("animal", "tool")
    assert counts_of(coarse) == {"animal": 6, "tool": 4}  # 2 of each fine class
    assert coarse.splits["train"].paths == of(Rule(images_per_class=2)).splits["train"].paths


def test_a_minimal_choice_takes_whole_branches() -> None:
    for seed in range(6):
        three = set(of(Rule(classes=3, choose="minimal", seed=seed)).classes)
        two = set(of(Rule(classes=2, choose="minimal", seed=seed)).classes)
        assert two in ({"hammer", "saw"}, {"boxer", "poodle"}, {"boxer", "cat"}, {"poodle", "cat"})
        assert three == {"boxer", "cat", "poodle"} or {"hammer", "saw"} < three


def test_a_dropped_node_takes_its_classes_with_it() -> None:
    assert of(Rule(drop=("dog",))).classes == ("cat", "hammer", "saw")
    assert of(Rule(drop=("cat", "saw")), None).classes == ("boxer", "hammer", "poodle")


@pytest.mark.parametrize(
    ("rule", "hierarchy", "said"),
    [
        (Rule(drop=("dgo",)), TREE, "'dgo' is no class"),
        (Rule(drop=("dog",)), None, "'dog' is no class of the source"),
        (Rule(classes=6), TREE, "6 asked for, 5 are there"),
        (Rule(images_per_class=11), TREE, "11 training images of each class asked for; boxer has 10.*lower it"),
        (Rule(images=4), TREE, "4 found for 5 classes"),
        (Rule(coarse="leaf-to-root:1"), TREE, "1 class left"),
        (Rule(coarse="leaf-to-root"), TREE, "leaf-to-root:N or root-to-leaf:N expected"),
        (Rule(coarse="leaf-to-root:2"), None, "needs a hierarchy"),
        (Rule(classes=2, choose="minimal"), None, "needs a hierarchy"),
    ],
)
def test_what_the_source_cannot_give_is_refused(rule: Rule, hierarchy: Hierarchy | None, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        of(rule, hierarchy)


def test_a_rule_that_says_two_things_is_refused() -> None:
    for settings in ({"images": 10, "images_per_class": 2}, {"choose": "minimal"}, {"classes": 1}, {"choose": "best"}):
        with pytest.raises(BadInput, match=r"expected|minimal"):
            Rule(**settings)  # type: ignore[arg-type]


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Two classes of four smooth images, in train and val."""
    for split, seed in (("train", 0), ("val", 1)):
        rng = np.random.default_rng(seed)
        for name in ("a", "b"):
            (tmp_path / "source" / split / name).mkdir(parents=True)
            for number in range(4):
                small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
                small.resize((48, 48), Image.Resampling.BICUBIC).save(
                    tmp_path / "source" / split / name / f"{number}.png"
                )
    return tmp_path / "source"


def read(folder: Path) -> Labelled:
    return open_data(Request(str(folder), "train")).items


def test_a_subsets_file_names_what_made_it_and_is_data_itself(tmp_path: Path, photographs: Path) -> None:
    splits = {split: open_data(Request(str(photographs), split)).items for split in ("train", "val")}
    rule = Rule(images_per_class=2, seed=5)
    subset = subset_of({**splits, "test": splits["val"]}, ("a", "b"), rule)
    for name in ("one.csv", "again.csv"):
        write_subset(subset, "photographs", rule, tmp_path / name)
    text = (tmp_path / "one.csv").read_text()
    assert text == (tmp_path / "again.csv").read_text()
    for said in ("# source: photographs", "# seed: 5", f"# digest: {subset.digest}", "2 images of each"):
        assert said in text
    layout = look(Source("again", csv=tmp_path / "one.csv"))
    assert layout.classes == ("a", "b")
    assert {split: len(of) for split, of in layout.splits.items()} == {"train": 4, "val": 8, "test": 8}
    assert layout.splits["train"].file_digests() == subset.splits["train"].file_digests()


def test_near_duplicates_are_found_after_scaling_compression_and_brightening(tmp_path: Path, photographs: Path) -> None:
    source = read(photographs)
    target = tmp_path / "target"
    target.mkdir()
    with Image.open(source.file(1)) as image:
        image.resize((100, 100)).save(target / "scaled.jpg", quality=40)
    with Image.open(source.file(6)) as image:
        image.point(lambda value: min(255, value + 20)).save(target / "bright.png")
    (target / "same.png").write_bytes(source.file(3).read_bytes())
    theirs = [open_data(Request(str(target))).items]
    assert near_images(source, theirs, USUAL) == [1, 3, 6]
    assert near_images(source, theirs, SAME_BYTES) == [3]
    assert near_images(source, [], 4) == []


def test_different_images_have_hashes_that_are_far_apart(photographs: Path) -> None:
    hashes = perceptual_hashes(read(photographs))
    apart = np.bitwise_count(hashes[:, None] ^ hashes)[np.triu_indices(len(hashes), 1)]
    assert apart.min() > 10
    assert Counter(np.bitwise_count(hashes).tolist()) == {31: 8}  # above the median of 63


def test_images_are_hashed_a_few_at_a_time(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images, counts, real = read(photographs), [], near_duplicates.hashes_of
    whole = perceptual_hashes(images)

    def counted(small: NDArray[np.float64]) -> NDArray[np.uint64]:
        counts.append(len(small))
        return real(small)

    monkeypatch.setattr(near_duplicates, "DECODED", 3)
    monkeypatch.setattr(near_duplicates, "hashes_of", counted)
    assert perceptual_hashes(images).tolist() == whole.tolist()
    assert counts == [3, 3, 2]


def test_images_are_decoded_once_for_several_targets(photographs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    images = read(photographs)
    assert near_images(images, [images.take([2])], USUAL) == [2]
    monkeypatch.setattr(near_duplicates, "perceptual_hashes", lambda of: {1: perceptual_hashes}[len(of)](of))
    assert near_images(images, [images.take([5])], USUAL) == [5]
