"""The order of classes, and metrics that take it for the order of grades."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from make_layouts import picture

from featune.bench.data import Source, look, prepare
from featune.bench.tasks import check_metric, class_folders, class_order, is_order_of_grades
from featune.engine.errors import BadInput

SEVERITY = ("none", "mild", "moderate", "severe")


@pytest.mark.parametrize(
    ("names", "order"),
    [
        (("10", "2", "0"), ("0", "2", "10")),
        (("10", "02", "00"), ("00", "02", "10")),
        (("0.5", "10.0", "2"), ("0.5", "2", "10.0")),
        (("-1", "-10", "3"), ("-10", "-1", "3")),
        (("7", "007"), ("007", "7")),
        (("300000009", "300000001", "99"), ("99", "300000001", "300000009")),
        (("class10", "class2"), ("class10", "class2")),
        (("10", "2", "other"), ("10", "2", "other")),
        (("b", "B", "a", "a"), ("B", "a", "b")),
        (("٣", "10", "2"), ("10", "2", "٣")),
    ],
)
def test_numbers_are_ordered_by_value_and_all_else_as_text(names: tuple[str, ...], order: tuple[str, ...]) -> None:
    assert class_order(names) == order


def graded(folder: Path, spelt: dict[int, str]) -> Path:
    """A table of five images per grade, so spelt."""
    lines = ["path,label"]
    for grade, name in spelt.items():
        for i in range(5):
            path = picture(folder / f"{grade}-{i}.png")
            lines.append(f"{path.name},{name}")
    (folder / "t.csv").write_text("\n".join(lines))
    return folder / "t.csv"


def test_a_grade_has_the_same_number_however_it_is_spelt(tmp_path: Path) -> None:
    layouts = [
        look(Source("t", csv=graded(tmp_path, {grade: spell(grade) for grade in range(12)}), metric="quadratic_kappa"))
        for spell in (str, "{:02}".format, "{:02}-stage".format, "abcdefghijkl".__getitem__)
    ]
    assert len({tuple(items.labels for items in layout.splits.values()) for layout in layouts}) == 1


def test_class_folders_and_tables_have_one_order(tmp_path: Path) -> None:
    for name in ("10", "9", "1"):
        picture(tmp_path / name / "0.png")
    assert class_folders(tmp_path) == ("1", "9", "10")


@pytest.mark.parametrize(
    "names",
    [SEVERITY, ("grade1", "grade10", "grade2"), ("low", "medium", "high"), ("1", "01", "2"), ("2020-a", "2020-b", "c")],
)
def test_an_ordinal_metric_of_classes_without_a_known_order_is_refused(names: tuple[str, ...], tmp_path: Path) -> None:
    source = Source("t", csv=graded(tmp_path, dict(enumerate(names))), metric="quadratic_kappa")
    with pytest.raises(
        BadInput, match=r"takes the order of the classes .* expected numbers .* or choose another metric"
    ):
        look(source)
    check_metric("top1", classes=class_order(names))


@pytest.mark.parametrize(
    "classes",
    [("1", "2", "10"), ("0-none", "1-mild", "2-severe"), ("stage 1", "stage 2", "stage 3"), ("A", "B", "C", "D"),
     ("ill", "well"), ("No DR", "Mild", "Severe")],
)  # fmt: skip
def test_numbers_letters_pairs_and_orders_that_a_source_states_are_grades(classes: tuple[str, ...]) -> None:
    assert is_order_of_grades(classes)
    check_metric("quadratic_kappa", classes=classes)


def test_an_order_that_is_given_numbers_the_classes(tmp_path: Path) -> None:
    file = graded(tmp_path, dict(enumerate(SEVERITY)))
    layout = look(Source("t", csv=file, metric="quadratic_kappa", classes=SEVERITY))
    assert layout.classes == SEVERITY
    for items in layout.splits.values():
        assert [label for (label,) in items.labels] == [int(path[0]) for path in items.paths]
    for wrong in (SEVERITY[:3], (*SEVERITY, "worst"), (*SEVERITY[:3], "mild")):
        with pytest.raises(BadInput, match="give each of them once"):
            look(Source("t", csv=file, classes=wrong))


def test_kappa_depends_on_the_order_and_is_the_only_metric_that_does() -> None:
    from featune.engine.metrics import METRICS

    rng = np.random.default_rng(0)
    truth, scores, order = rng.integers(0, 4, 60), rng.random((60, 4)), np.array([2, 0, 3, 1])
    for name, metric in METRICS.items():
        if metric.single:
            moved = metric(np.argsort(order)[truth], scores[:, order])
            assert (abs(moved - metric(truth, scores)) > 1e-9) == metric.ordinal, name


def test_one_class_in_two_unicode_forms_is_refused_wherever_it_is_named(tmp_path: Path) -> None:
    decomposed = unicodedata.normalize("NFD", "café")
    for split, name in (("train", "café"), ("test", decomposed), ("train", "the"), ("test", "the")):
        for i in range(3):
            picture(tmp_path / "f" / split / name / f"{i}.png")
    with pytest.raises(BadInput, match="'café' is spelt in two Unicode forms"):
        look(Source("drinks", folder=tmp_path / "f"))
    with pytest.raises(BadInput, match="two Unicode forms"):
        look(Source("t", csv=graded(tmp_path, {0: "café", 1: decomposed})))


def test_a_file_whose_name_is_of_another_unicode_form_is_told(tmp_path: Path) -> None:
    picture(tmp_path / unicodedata.normalize("NFD", "é.png"))
    (tmp_path / "t.csv").write_text("path,label\né.png,a\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"another Unicode form \(NFD\)"):
        look(Source("t", csv=tmp_path / "t.csv"))


def test_a_prepared_task_of_an_alphabetical_order_says_which_order_its_metric_takes(tmp_path: Path) -> None:
    file = graded(tmp_path, dict(enumerate(SEVERITY)))
    for names, notes in ((SEVERITY, 0), (tuple(sorted(SEVERITY)), 1)):
        made = prepare(Source("t", csv=file, metric="quadratic_kappa", classes=names), tmp_path / "out")
        again = prepare(Source("t", prepared=Path(made.folder)), tmp_path / "other")
        assert (again.digest, len(again.notes)) == (made.digest, notes)
    assert "takes mild < moderate < none < severe for the order of grades" in again.notes[0]
