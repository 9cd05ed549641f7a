"""Rows are believed when they can be true, lie under their own name, and fit the scores beside them."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featune.bench.results import Cell, Labels, Plan, Row, RunStore, load_plan, plan_path, save_plan
from featune.engine.errors import BadInput
from featune.engine.store import written_whole

CELL = Cell("t", "m", "probe", 0, "i")
GOOD = Row(CELL, "top1", 0.5, 4, 0.4, 0.6, details={"k": [1]}, environment={"versions": {"torch": "2"}})

WRONG: list[tuple[dict[str, Any], str]] = [
    ({"value": 1e308}, "value: 1e[+]308 found, a top1 from 0 to 1 expected"),
    ({"value": float("nan")}, "value: nan found, a finite number expected"),
    ({"value": -0.1}, "value: -0.1 found"),
    ({"value": "0.5"}, "value: '0.5' found, float or int or NoneType expected"),
    ({"value": True}, "value: True found"),
    ({"value": [[0.5]]}, "value: list found"),
    ({"value": None}, "neither a value nor an error"),
    ({"low": 0.7}, "low 0.7 is above high 0.6"),
    ({"high": 2}, "high: 2 found"),
    ({"n": -5}, "n: -5 found, at least 0 expected"),
    ({"n": 4.0}, "n: 4.0 found, int expected"),
    ({"metric": "top11"}, "metric: 'top11' found; nearest: .*top1"),
    ({"metric": ["top1"]}, "metric: list found, str expected"),
    ({"seconds": float("inf")}, "seconds: inf found"),
    ({"source_top1": 71.0}, "source_top1: 71.0 found, a share from 0 to 1 expected"),
    ({"family": None}, "family: None found, str expected"),
    ({"details": "none"}, "details: 'none' found, Mapping expected"),
    ({"details": {"training": [1]}}, "details: training: list found, settings by name expected"),
    ({"details": {"training": {"steps": None}}}, "details: training: steps: None found, a finite number expected"),
    (
        {"details": {"steps_to_90_percent_of_final_odds": "x"}},
        "details: steps_to_90_percent_of_final_odds: 'x' found, a finite number expected",
    ),
    ({"details": {"test_classes": "x"}}, "details: test_classes: 'x' found, a finite number expected"),
    ({"details": {"train_top1": "x"}}, "details: train_top1: 'x' found"),
    ({"details": {"majority_test": [1]}}, "details: majority_test: list found"),
    ({"details": {"rates": ["b", 1]}}, "details: rates: list found, a list of numbers expected"),
    ({"details": {"tried": {"abc": 1}}}, "details: tried: dict found, values by learning rate expected"),
    ({"details": {"recipe": "sgd"}}, "details: recipe: 'sgd' found, settings by name expected"),
    ({"scores_digest": "../x"}, "scores_digest: '../x' found, 64 hexadecimal digits expected"),
    ({"error": 5}, "error: 5 found"),
    ({"cell": {**dataclasses.asdict(CELL), "seed": "0"}}, "seed: '0' found, int expected"),
    ({"cell": 5}, "is not a row"),
    ({"more": 1}, "is not a row"),
]


def written(store: RunStore, change: dict[str, Any]) -> Path:
    store.save(GOOD)
    path = store.path(CELL)
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    return path


@pytest.mark.parametrize(("change", "message"), WRONG)
def test_a_row_that_cannot_be_true_is_refused_with_its_file(
    change: dict[str, Any], message: str, tmp_path: Path
) -> None:
    store = RunStore(tmp_path)
    path = written(store, change)
    with pytest.raises(BadInput, match=message) as refused:
        store.load(CELL)
    assert str(path) in str(refused.value)
    assert "remove it to measure again" in str(refused.value)


@pytest.mark.parametrize("text", ["", "5", "[]", "null", "[" * 100_000, '{"a":' * 100_000, "1" * 5000, "\x00"])
def test_a_file_that_holds_no_row_is_refused(text: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    written(store, {}).write_text(text)
    with pytest.raises(BadInput, match="is not a row of this version"):
        list(store.rows())


@pytest.mark.parametrize("field", ["details", "environment"])
def test_a_row_that_is_nested_deep_is_refused(field: str, tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    deep: dict[str, Any] = {}
    for _ in range(100):
        deep = {"a": [deep]}
    written(store, {field: deep})
    with pytest.raises(BadInput, match=f"{field}: nested deeper than 20 levels"):
        store.load(CELL)


def test_another_cells_row_under_this_cells_name_is_refused(tmp_path: Path) -> None:
    store, other = RunStore(tmp_path), dataclasses.replace(CELL, model="better")
    store.save(GOOD)
    store.save(dataclasses.replace(GOOD, cell=other, value=0.6))
    store.path(CELL).write_bytes(store.path(other).read_bytes())
    with pytest.raises(BadInput, match="holds the row of another cell"):
        store.load(CELL)
    with pytest.raises(BadInput, match="holds the row of another cell"):
        list(store.rows())


def test_what_a_killed_process_left_half_written_is_no_row(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    store.save(GOOD)
    path = store.path(CELL)
    with pytest.raises(KeyboardInterrupt), written_whole(path) as temporary:
        left = temporary.with_name(temporary.name.replace(".tmp", "0.tmp"))
        left.write_text(path.read_text())  # whole, and not yet under its name
        raise KeyboardInterrupt
    assert left.exists()
    assert left.suffix == ".json"
    assert list(store.rows()) == [GOOD]


def test_scores_that_are_not_the_rows_are_found(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    row = store.save(GOOD, np.ones((4, 2), np.float32))
    store.check_scores(row)
    np.save(store.path(CELL).with_suffix(".npy"), np.zeros((4, 2), np.float32))
    with pytest.raises(BadInput, match="is not what its row says"):
        store.check_scores(row)


def test_metrics_beyond_one_are_no_fault(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    for metric, value in (("quadratic_kappa", -0.4), ("log_loss", 7.5), ("brier", 1.9), ("top1", 1.0)):
        row = dataclasses.replace(GOOD, metric=metric, value=value, low=None, high=None)
        assert store.save(row) == store.load(CELL)


def test_an_error_never_takes_the_place_of_a_value(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    failed = dataclasses.replace(GOOD, value=None, low=None, high=None, error="no such file")
    assert store.save(failed) == store.load(CELL) == failed
    assert store.save(GOOD) == GOOD
    assert store.save(failed) == store.load(CELL) == GOOD


def test_names_of_any_length_have_a_file(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    cells = [Cell("t" * 255, end + "m" * 400 + end, "ü" * 300, 0, "i") for end in "ab"]
    for cell in cells:
        store.save(dataclasses.replace(GOOD, cell=cell))
    assert {row.cell for row in store.rows()} == set(cells)


def test_a_plan_comes_back_and_a_damaged_one_says_what_to_do(tmp_path: Path) -> None:
    path = plan_path(tmp_path, Path("a/study.yaml"), "cuda:1")
    assert path.parent == tmp_path
    assert load_plan(path) is None
    plan = Plan("s", "0" * 64, (CELL,), {"m": Labels(0.5, 10, "f")}, (("m", "0" * 16),))
    save_plan(path, plan)
    assert load_plan(path) == plan
    value = json.loads(path.read_text())
    changes: list[Any] = [{}, [], {"version": 0}, {"cells": [[1]]}, {"cells": [5]}, {"labels": {"m": {"family": 5}}}]
    for change in changes:
        path.write_text(json.dumps({**value, **change} if change else change))
        with pytest.raises(BadInput, match="`featune study run` writes it again"):
            load_plan(path)
