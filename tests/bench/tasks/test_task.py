"""A task goes to its folder and comes back; what was changed there by hand is noticed."""

import dataclasses
from pathlib import Path

import pytest

from featune.bench.tasks import Task, load_task, save_task
from featune.engine.errors import BadInput
from featune.engine.images import Labelled


def saved(folder: Path, **more: tuple) -> Task:
    folder.mkdir(parents=True, exist_ok=True)
    for name in "abc":
        (folder / f"{name}, 1.png").write_bytes(name.encode())
    items = Labelled(str(folder), ("a, 1.png", "b, 1.png", "c, 1.png"), ((0,), (1, 2), ()), **more)
    task = Task("t", ("x", "y", "z"), "map", {}, str(folder / "task"), str(folder), multilabel=True, notes=("one",))
    return save_task(task, {"train": items, "test": items.take([1])})


def test_a_task_comes_back_as_it_was(tmp_path: Path) -> None:
    task = saved(tmp_path, ignore=((2,), (), ()), groups=("g", "g", ""), weights=(0.5, 1.0, 2.0))
    found = load_task(tmp_path / "task")
    assert found == task
    train = found.load("train")
    assert train.paths == ("a, 1.png", "b, 1.png", "c, 1.png")
    assert train.labels == ((0,), (1, 2), ())
    assert (train.ignore, train.groups, train.weights) == (((2,), (), ()), ("g", "g", ""), (0.5, 1.0, 2.0))


def test_columns_that_a_task_does_not_need_are_not_written(tmp_path: Path) -> None:
    saved(tmp_path)
    assert (tmp_path / "task" / "train.csv").read_text() == 'path,label\n"a, 1.png",0\n"b, 1.png",1 2\n"c, 1.png",\n'


def test_labels_to_ignore_and_weights_make_another_task_and_groups_do_not(tmp_path: Path) -> None:
    plain = saved(tmp_path).digest
    assert saved(tmp_path, ignore=((2,), (), ())).digest != plain
    assert saved(tmp_path, weights=(1.0, 2.0, 1.0)).digest != plain
    assert saved(tmp_path, groups=("g", "g", "h")).digest == plain


def test_images_of_a_split_are_known_again_in_another_order_and_of_other_labels_they_are_not(tmp_path: Path) -> None:
    task = saved(tmp_path)
    train = task.load("train")

    def images(items: Labelled, classes: tuple[str, ...] = task.classes) -> str:
        again = dataclasses.replace(task, folder=str(tmp_path / "again"), classes=classes)
        return save_task(again, {"train": items}).images["train"]

    assert images(train) == images(train.take([2, 0, 1])) == task.images["train"] != task.images["test"]
    renamed = dataclasses.replace(train, labels=tuple(tuple(2 - at for at in labels) for labels in train.labels))
    assert images(renamed, ("z", "y", "x")) == images(train)  # the same classes by name
    assert images(renamed) != images(train)
    assert images(train.take([0, 1])) != images(train)


def test_a_line_too_few_or_half_a_line_is_refused(tmp_path: Path) -> None:
    task = saved(tmp_path)
    file = tmp_path / "task" / "train.csv"
    text = file.read_text()
    file.write_text(text.rpartition('"c')[0])
    with pytest.raises(BadInput, match="t/train: 3 images expected, 2 found; prepare the task again"):
        task.load("train")
    file.write_text(text + "lonely\n")
    with pytest.raises(BadInput, match="line 5: 2 columns expected"):
        task.load("train")
    file.write_text("file,label\na,0\n")
    with pytest.raises(BadInput, match="no column path"):
        task.load("train")


def test_a_split_that_the_task_lacks_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"val\.csv: no such file"):
        saved(tmp_path).load("val")


def test_a_task_of_an_older_version_has_no_notes(tmp_path: Path) -> None:
    task = saved(tmp_path)
    file = tmp_path / "task" / "task.json"
    file.write_text(file.read_text().replace('"notes": [\n  "one"\n ],\n', ""))
    assert load_task(tmp_path / "task") == dataclasses.replace(task, notes=())
