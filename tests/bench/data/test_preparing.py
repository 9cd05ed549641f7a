"""A user's folder or table as a task, with no code."""

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from make_layouts import picture, table

from featune.bench.data import Source, look, prepare
from featune.bench.study.schema import TaskEntry
from featune.bench.study.study_file import _folds, _source
from featune.bench.tasks import Layout, read_table
from featune.engine.errors import BadInput, Missing
from featune.engine.images import image_files


def rows(folder: Path, count: int = 30) -> list[tuple[str, str]]:
    """`count` pictures of cats and dogs: (path, class)."""
    return [(picture(folder / f"{i:02}.png").name, ("cat", "dog")[i % 2]) for i in range(count)]


def seen(layout: Layout) -> dict[str, int]:
    return {split: len(items) for split, items in layout.splits.items()}


def test_a_folder_without_splits_is_cut_by_class(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for i in range(10):
            picture(tmp_path / "animals" / name / f"{i}.jpg")
    layout = look(Source("animals", folder=tmp_path / "animals"))
    assert seen(layout) == {"train": 12, "val": 4, "test": 4}
    assert not layout.multilabel


def test_a_folder_with_train_and_test_gets_its_val_from_train(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(train=10, test=4)
    layout = look(Source("colours", folder=folder))
    assert seen(layout) == {"train": 24, "val": 6, "test": 12}
    assert all(path.startswith("test/") for path in layout.splits["test"].paths)
    assert all(path.startswith("train/") for path in layout.splits["val"].paths)


def test_a_csv_is_cut_the_same_whatever_the_order_of_its_lines(tmp_path: Path) -> None:
    lines = rows(tmp_path)
    table(tmp_path / "a.csv", ("path", "label"), lines)
    table(tmp_path / "b.csv", ("path", "label"), lines[::-1])
    one, other = (look(Source("t", csv=tmp_path / name)) for name in ("a.csv", "b.csv"))
    assert one.splits == other.splits
    assert seen(one) == {"train": 18, "val": 6, "test": 6}


def test_a_patient_never_straddles_splits(tmp_path: Path) -> None:
    table(
        tmp_path / "t.csv", ("path", "label", "group"), [(*row, f"p{i // 3}") for i, row in enumerate(rows(tmp_path))]
    )
    made = prepare(Source("t", csv=tmp_path / "t.csv"), tmp_path / "out")
    homes = [set(made.load(split).groups) for split in ("train", "val", "test")]
    assert len(set().union(*homes)) == sum(map(len, homes)) == 10
    assert "groups kept together" in made.source


def test_a_patient_whom_the_users_own_splits_tear_apart_is_refused(tmp_path: Path) -> None:
    lines = [(*row, f"p{i % 4}", ("train", "test", "val")[i % 3]) for i, row in enumerate(rows(tmp_path))]
    table(tmp_path / "t.csv", ("path", "label", "group", "split"), lines)
    with pytest.raises(BadInput, match="group 'p0' has images in two splits, 4 such groups found"):
        look(Source("t", csv=tmp_path / "t.csv"))


def test_folds_are_tasks_whose_tests_are_all_images_once(tmp_path: Path) -> None:
    lines = [(*row, f"p{i // 3}") for i, row in enumerate(rows(tmp_path))]
    table(tmp_path / "t.csv", ("path", "label", "group"), lines)
    sources = _folds(_source(TaskEntry(csv=tmp_path / "t.csv", folds=3, seed=4), tmp_path), 3)
    assert [source.name for source in sources] == ["t-fold1of3", "t-fold2of3", "t-fold3of3"]
    tasks = [prepare(source, tmp_path / "out") for source in sources]
    assert sorted(path for task in tasks for path in task.load("test").paths) == sorted(
        path for path, _ in rows(tmp_path)
    )
    for task in tasks:
        homes = [set(task.load(split).groups) for split in ("train", "val", "test")]
        assert len(set().union(*homes)) == sum(map(len, homes)) == 10
        assert "of 3 by class and seed 4; val is 80% train / 20% val of train" in task.source
    table(tmp_path / "own.csv", ("path", "label", "split"), [(*row, "train") for row in rows(tmp_path)[:-2]]
          + [(*row, "test") for row in rows(tmp_path)[-2:]])  # fmt: skip
    with pytest.raises(BadInput, match="its own test split found, 3 folds asked for; give images without splits"):
        look(_folds(_source(TaskEntry(csv=tmp_path / "own.csv", folds=3), tmp_path), 3)[0])


def test_several_labels_need_no_split_column(tmp_path: Path) -> None:
    lines = [(path, f"{name}|indoors" if i % 3 else name) for i, (path, name) in enumerate(rows(tmp_path))]
    table(tmp_path / "t.csv", ("path", "label"), lines)
    layout = look(Source("t", csv=tmp_path / "t.csv", metric="map"))
    assert layout.multilabel
    assert layout.classes == ("cat", "dog", "indoors")
    assert sum(seen(layout).values()) == 30


def test_a_column_for_each_class_is_multilabel_even_with_one_label_each(tmp_path: Path) -> None:
    lines = [(path, int(name == "cat"), int(name == "dog")) for path, name in rows(tmp_path)]
    table(tmp_path / "t.csv", ("path", "label:cat", "label:dog"), lines)
    layout = look(Source("t", csv=tmp_path / "t.csv", metric="map"))
    assert layout.multilabel
    assert layout.classes == ("cat", "dog")
    with pytest.raises(BadInput, match=r"metric top1 is not defined for several labels per image; choose one of .*map"):
        look(Source("t", csv=tmp_path / "t.csv"))


def test_a_class_that_nobody_can_judge_is_ignored_by_metrics_that_can(tmp_path: Path) -> None:
    lines = [(path, int(name == "cat"), -1 if i == 4 else int(name == "dog"), "")
             for i, (path, name) in enumerate(rows(tmp_path))]  # fmt: skip
    lines[0] = (lines[0][0], 1, 0, 1)
    lines = [(*line, ("train", "val", "test")[i % 3] if i else "train") for i, line in enumerate(lines)]
    table(tmp_path / "t.csv", ("path", "label:cat", "label:dog", "label:cow", "split"), lines)
    layout = look(Source("t", csv=tmp_path / "t.csv", metric="map"))
    val = layout.splits["val"]
    assert val.ignore[val.paths.index("04.png")] == (1,)
    with pytest.raises(BadInput, match="which f1_macro cannot leave out"):
        look(Source("t", csv=tmp_path / "t.csv", metric="f1_macro"))


@pytest.mark.parametrize(
    ("columns", "line", "message"),
    [
        (("path", "label:cat", "label:dog"), ("00.png", "yes", "0"), "label:cat is 'yes'; expected 1, 0, or -1"),
        (("path", "label", "weight"), ("00.png", "cat", "heavy"), "weight 'heavy' in line 2"),
        (("path", "label", "weight"), ("00.png", "cat", "-1"), "weight '-1' in line 2"),
        (("path", "label", "split"), ("00.png", "cat", "dev"), "split is 'dev'; expected train, val or test"),
        (("path", "label"), ("00.png", ""), "no label in line 2"),
        (("file", "label"), ("00.png", "cat"), "no column path; found file, label"),
        (("path", "label"), ("", "cat"), "no path in line 2"),
        (("path", "label", "label"), ("00.png", "cat", "dog"), "column 'label' is there 2 times"),
        (("path", "label"), ("00.png", "cat", "black"), r"line 2: 2 values expected, 3 found.*in double quotes"),
        (("path", "label"), ("a\\00.png", "cat"), r"1 images expected under .*, 0 found, .*write / for \\"),
    ],
)
def test_a_wrong_table_is_refused_with_what_was_found(
    columns: tuple[str, ...], line: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    table(tmp_path / "t.csv", columns, [line])
    with pytest.raises(BadInput, match=message):
        look(Source("t", csv=tmp_path / "t.csv"))


def test_space_around_a_value_makes_no_class_and_no_group(tmp_path: Path) -> None:
    lines = ["path,label,group", *(f"{path},{name}{' ' * (i % 2)}|  all ,p{i % 5}{' ' * (i % 3)}"
             for i, (path, name) in enumerate(rows(tmp_path)))]  # fmt: skip
    (tmp_path / "t.csv").write_text("\n".join(lines))
    layout = look(Source("t", csv=tmp_path / "t.csv", metric="map"))
    assert layout.classes == ("all", "cat", "dog")
    assert {group for items in layout.splits.values() for group in items.groups} == {f"p{i}" for i in range(5)}


def test_tables_of_spreadsheets_are_read_as_they_come(tmp_path: Path) -> None:
    """Windows line ends, a byte order mark, semicolons, space after commas, quoted commas, names beyond ASCII."""
    names = [picture(tmp_path / f"Bär, {i}.png").name for i in range(20)]
    labels = ["chat, noir", "été"] * 10
    lines = [f'"{name}"|"{label}"' for name, label in zip(names, labels, strict=True)]
    for number, mark in enumerate((",", ";", "\t", ", ")):
        text = "\r\n".join(["path|label ", *lines, ""]).replace("|", mark)
        (tmp_path / f"t{number}.csv").write_bytes(b"\xef\xbb\xbf" + text.encode())
    layouts = [look(Source("t", csv=tmp_path / f"t{number}.csv")) for number in range(4)]
    assert layouts[0].classes == ("chat, noir", "été")
    assert seen(layouts[0]) == {"train": 12, "val": 4, "test": 4}
    assert all(layout.splits == layouts[0].splits for layout in layouts)


def test_a_path_with_two_different_labels_is_refused_and_twice_the_same_is_not(tmp_path: Path) -> None:
    lines = rows(tmp_path)
    table(tmp_path / "t.csv", ("path", "label"), [*lines, lines[3]])
    assert sum(seen(look(Source("t", csv=tmp_path / "t.csv"))).values()) == 31
    table(tmp_path / "t.csv", ("path", "label"), [*lines, (lines[3][0], "cat")])
    with pytest.raises(
        BadInput, match=r"03\.png has two lines of different labels; give one of them, or several as a\|b"
    ):
        look(Source("t", csv=tmp_path / "t.csv"))


def test_names_of_splits_are_understood_in_any_case(tmp_path: Path, image_folder: Callable[..., Path]) -> None:
    lines = [(*row, ("Train", "Validation", "TEST")[i // 2 % 3]) for i, row in enumerate(rows(tmp_path))]
    table(tmp_path / "t.csv", ("path", "label", "split"), lines)
    assert seen(look(Source("t", csv=tmp_path / "t.csv"))) == {"train": 10, "val": 10, "test": 10}
    folder = image_folder(train=3, val=1, test=2)
    for name, other in (("train", "Train"), ("val", "Valid"), ("test", "Test")):
        (folder / name).rename(folder / other)
    assert seen(look(Source("colours", folder=folder))) == {"train": 9, "val": 3, "test": 6}
    shutil.copytree(folder / "Valid", folder / "val")
    with pytest.raises(BadInput, match="Valid and val found, one folder for val expected"):
        look(Source("colours", folder=folder))


def test_a_folder_that_holds_the_images_one_folder_deeper_is_refused(
    tmp_path: Path, image_folder: Callable[..., Path]
) -> None:
    shutil.move(image_folder(train=5), tmp_path / "outer" / "inner")
    with pytest.raises(BadInput, match=r"1 class \(inner\) found, at least 2 expected; .* one folder deeper"):
        look(Source("t", folder=tmp_path / "outer"))


def test_links_to_images_and_folders_are_followed_and_loops_are_not(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for i in range(10):
            picture(tmp_path / "far" / name / "deep" / f"{i}.png")
    (tmp_path / "set" / "cat").mkdir(parents=True)
    (tmp_path / "set" / "dog").symlink_to(tmp_path / "far" / "dog")
    (tmp_path / "set" / "cat" / "within").symlink_to(tmp_path / "far" / "cat")
    (tmp_path / "far" / "cat" / "deep" / "loop").symlink_to(tmp_path / "far" / "cat")
    layout = look(Source("t", folder=tmp_path / "set"))
    assert seen(layout) == {"train": 12, "val": 4, "test": 4}
    assert {path.rpartition("/")[0] for path in layout.splits["train"].paths} == {"cat/within/deep", "dog/deep"}


def test_links_of_two_folders_to_each_other_end(tmp_path: Path) -> None:
    for name, other in (("cat", "dog"), ("dog", "cat")):
        picture(tmp_path / name / "0.png")
        (tmp_path / name / "friends").symlink_to(tmp_path / other)
    assert image_files(tmp_path) == ["cat/0.png", "cat/friends/0.png", "dog/0.png", "dog/friends/0.png"]


def test_a_name_that_is_no_utf_8_comes_back_as_it_is(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        for i in range(5):
            picture(tmp_path / "set" / name / f"{i}.png")
    os.rename(tmp_path / "set" / "cat" / "0.png", os.fsencode(tmp_path / "set" / "cat") + b"/\xe9.png")
    made = prepare(Source("t", folder=tmp_path / "set"), tmp_path / "out")
    paths = [path for split in ("train", "val", "test") for path in made.load(split).paths]
    assert b"cat/\xe9.png" in map(os.fsencode, paths)
    assert prepare(Source("t", folder=tmp_path / "set"), tmp_path / "out") == made


def test_a_table_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file or directory; give a CSV with the columns path and label"):
        look(Source("t", csv=tmp_path / "t.csv"))


def test_weights_that_nothing_would_use_are_refused(tmp_path: Path) -> None:
    table(tmp_path / "t.csv", ("path", "label", "weight"), [(*row, 0.5 + i) for i, row in enumerate(rows(tmp_path))])
    with pytest.raises(BadInput, match=r"t: a column weight of different weights found.*remove or rename the column"):
        look(Source("t", csv=tmp_path / "t.csv"))
    table(tmp_path / "same.csv", ("path", "label", "weight"), [(*row, 2) for row in rows(tmp_path)])
    assert seen(look(Source("t", csv=tmp_path / "same.csv"))) == {"train": 18, "val": 6, "test": 6}


def test_duplicates_across_splits_are_reported_or_refused(tmp_path: Path) -> None:
    lines = [(*row, ("train", "val", "test")[i // 2 % 3]) for i, row in enumerate(rows(tmp_path))]
    (tmp_path / "02.png").write_bytes((tmp_path / "00.png").read_bytes())
    table(tmp_path / "t.csv", ("path", "label", "split"), lines)
    source = Source("t", csv=tmp_path / "t.csv")
    (note,) = prepare(source, tmp_path / "out").notes
    assert note == "1 image is byte for byte in another split too: train/00.png = val/02.png"
    with pytest.raises(BadInput, match=r"1 image is byte for byte.*remove them from one of the splits"):
        prepare(Source("t", csv=tmp_path / "t.csv", duplicates="refuse"), tmp_path / "out2")


def test_a_parquet_table_is_a_csv_with_lists(tmp_path: Path) -> None:
    arrow = pytest.importorskip("pyarrow", reason="pyarrow is not installed")
    import pyarrow.parquet

    lines = rows(tmp_path)
    columns = {"path": [path for path, _ in lines], "label": [[name, "pet"] for _, name in lines],
               "split": [("train", "val", "test")[i // 2 % 3] for i in range(len(lines))]}  # fmt: skip
    pyarrow.parquet.write_table(arrow.table(columns), tmp_path / "t.parquet")
    table(
        tmp_path / "t.csv",
        list(columns),
        [(p, "|".join(some), s) for p, some, s in zip(*columns.values(), strict=True)],
    )
    one, other = (look(Source("t", csv=tmp_path / f"t.{kind}", metric="map")) for kind in ("parquet", "csv"))
    assert (one.splits, one.classes) == (other.splits, other.classes)
    (tmp_path / "bad.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(BadInput, match="not a Parquet file"):
        read_table(tmp_path / "bad.parquet")


def test_parquet_without_pyarrow_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(Missing, match=r"pip install 'featune\[parquet\]'"):
        read_table(tmp_path / "t.parquet")


def test_a_prepared_task_is_a_source_of_a_study(tmp_path: Path) -> None:
    table(tmp_path / "t.csv", ("path", "label"), rows(tmp_path))
    made = prepare(Source("t", csv=tmp_path / "t.csv", metric="mean_per_class"), tmp_path / "data")
    for entry in (TaskEntry(prepared=Path("data/t")), TaskEntry(task="t", data=Path("data"))):
        source = _source(entry, tmp_path)
        assert seen(look(source)) == dict(made.counts)
        assert prepare(source, tmp_path / "elsewhere") == made
    (tmp_path / "07.png").unlink()
    with pytest.raises(BadInput, match=r"07\.png is not there"):
        look(source)


def test_a_prepared_task_that_only_evaluates_is_no_task_of_a_study(tmp_path: Path) -> None:
    from make_layouts import imagenet

    from featune.bench.datasets import prepare_official

    prepare_official("imagenet", tmp_path, tmp_path / "data", counts=imagenet(tmp_path))
    with pytest.raises(BadInput, match="no train and no val split; a study needs train, val and test"):
        look(Source("imagenet", prepared=tmp_path / "data" / "imagenet"))


@pytest.mark.parametrize("fields", [{}, {"folder": "a", "task": "pets"}, {"task": "pets", "metric": "top1"}])
def test_a_task_entry_names_one_place_and_leaves_prepared_tasks_as_they_are(fields: dict[str, str]) -> None:
    with pytest.raises(ValueError, match=r"give either folder or csv|metric of a prepared task cannot be set"):
        TaskEntry(**fields)
