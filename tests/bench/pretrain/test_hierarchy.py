import json
import os
from pathlib import Path

import pytest

from featune.bench.pretrain import collapses, read_hierarchy
from featune.bench.pretrain.hierarchy import coarse_labels
from featune.engine.errors import BadInput

#           thing
#         /       \
#      animal     tool
#      /    \        \
#    dog    cat     hammer
#   /   \
# poodle boxer
TREE = {
    "animal": "thing", "tool": "thing", "dog": "animal", "cat": "animal", "hammer": "tool", "poodle": "dog",
    "boxer": "dog",
}  # fmt: skip
CLASSES = ("boxer", "cat", "hammer", "poodle")


def written(tmp_path: Path, pairs: dict[str, str], name: str = "tree.csv") -> Path:
    file = tmp_path / name
    if name.endswith(".json"):
        file.write_text(json.dumps(pairs))
    else:
        file.write_text(
            "# a remark\nchild,parent\n" + "".join(f"{child},{parent}\n" for child, parent in pairs.items())
        )
    return file


@pytest.mark.parametrize("name", ["tree.csv", "tree.json"])
def test_leaf_to_root_moves_the_deepest_classes_first(tmp_path: Path, name: str) -> None:
    tree = read_hierarchy(written(tmp_path, TREE, name), CLASSES)
    assert collapses(tree, CLASSES, "leaf-to-root") == [
        {"boxer": "dog", "cat": "cat", "hammer": "hammer", "poodle": "dog"},
        {"boxer": "animal", "cat": "animal", "hammer": "tool", "poodle": "animal"},
        dict.fromkeys(CLASSES, "thing"),
    ]


def test_root_to_leaf_moves_every_class_and_merges_what_lies_below_another(tmp_path: Path) -> None:
    tree = read_hierarchy(written(tmp_path, TREE), CLASSES)
    first, second = collapses(tree, CLASSES, "root-to-leaf")
    assert first == {"boxer": "animal", "cat": "animal", "hammer": "tool", "poodle": "animal"}  # dog lies below animal
    assert set(second.values()) == {"thing"}


def test_coarse_labels_are_named_by_how_many_there_are(tmp_path: Path) -> None:
    tree = read_hierarchy(written(tmp_path, TREE), CLASSES)
    assert set(coarse_labels(tree, CLASSES, "leaf-to-root", 3).values()) == {"dog", "cat", "hammer"}
    with pytest.raises(BadInput, match=r"4 classes asked for; the hierarchy gives 3, 2, 1"):
        coarse_labels(tree, CLASSES, "leaf-to-root", 4)
    with pytest.raises(BadInput, match="one of leaf-to-root and root-to-leaf"):
        coarse_labels(tree, CLASSES, "leaves", 2)


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ({"thing": "dog"}, "a cycle .* found"),
        ({"alone": "else"}, "2 roots found .* an orphan"),
        ({"hammer": "hammer"}, "a cycle hammer -> hammer found"),
    ],
)
def test_a_cycle_and_an_orphan_are_refused(tmp_path: Path, more: dict[str, str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        read_hierarchy(written(tmp_path, TREE | more), CLASSES)


def test_a_child_of_two_parents_is_refused(tmp_path: Path) -> None:
    file = written(tmp_path, TREE)
    file.write_text(file.read_text() + "cat,tool\n")
    with pytest.raises(BadInput, match="cat has the parents animal and tool, one expected"):
        read_hierarchy(file)
    file = tmp_path / "twice.json"
    file.write_text('{"cat": "animal", "cat": "tool"}')
    with pytest.raises(BadInput, match="cat has the parents"):
        read_hierarchy(file)


def test_a_class_that_the_hierarchy_does_not_know_is_refused_with_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"class 'hamer' is not in it.*hammer.*1 of 2 classes"):
        read_hierarchy(written(tmp_path, TREE), ("cat", "hamer"))


@pytest.mark.parametrize("text", ["", "parent,child\na,b\n", "child,parent\na\n", "child,parent\n"])
def test_a_file_that_is_no_hierarchy_is_refused(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tree.csv"
    file.write_text(text)
    with pytest.raises(BadInput, match="expected"):
        read_hierarchy(file)


IMAGENET = os.environ.get("FEATUNE_IMAGENET_HIERARCHY", "")


@pytest.mark.skipif(
    not IMAGENET, reason="FEATUNE_IMAGENET_HIERARCHY: a CSV of child,parent of ImageNet's wnids by WordNet 3.0's first"
)
def test_imagenets_hierarchy_collapses_to_the_class_counts_of_the_released_label_sets() -> None:
    """Huh et al. 2016, github.com/minyoungg/wmigftl: label_sets/hierarchy."""
    from timm.data import ImageNetInfo

    classes = ImageNetInfo("imagenet-1k").label_names()
    tree = read_hierarchy(Path(IMAGENET), classes)
    counts = {way: [len(set(of.values())) for of in collapses(tree, classes, way)] for way in ("leaf-to-root",
              "root-to-leaf")}  # fmt: skip
    assert counts["leaf-to-root"] == [999, 977, 918, 877, 820, 753, 694, 596, 486, 345, 206, 79, 36, 17, 9, 5, 2, 1]
    assert counts["root-to-leaf"][:3] == [127, 10, 2]
