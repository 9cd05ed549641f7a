"""A study's rows as a table of pandas and of Arrow."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from report_rows import study

import featune
from featune.bench.data import Source, prepare
from featune.bench.regimes import MeansSetting
from featune.bench.results import Row, RunStore
from featune.bench.study import save_plan_of
from featune.engine.errors import BadInput


@pytest.fixture
def out(tmp_path: Path) -> Path:
    for at, row in enumerate(study(3)):
        RunStore(tmp_path / "runs").save(dataclasses.replace(row, facts={"parameters": 5.0} if at else {}))
    return tmp_path


def test_rows_are_a_table_of_pandas_in_two_lines(out: Path) -> None:
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame(featune.rows(out))
    assert len(table) == 3 * 3 * 3
    assert table.groupby("regime")["value"].mean().between(0, 1).all()
    assert {"task", "model", "regime", "seed", "source_top1", "parameters"} <= set(table.columns)


def test_rows_are_a_table_of_arrow_in_two_lines(out: Path) -> None:
    arrow = pytest.importorskip("pyarrow")
    table = arrow.Table.from_pylist(featune.rows(out))
    assert table.num_rows == 27
    assert sorted(table.column("value").to_pylist()) == sorted(row["value"] for row in featune.rows(out))


def test_which_images_a_cell_got_right_is_a_table_of_pandas(
    image_folder: Callable[..., Path], spec: featune.ModelSpec, tmp_path: Path
) -> None:
    task = prepare(Source("colours", folder=image_folder()), tmp_path / "out" / "tasks")
    regimes = {"means": ("means", MeansSetting())}
    made = featune.Study("s", (spec,), (task,), regimes, str(tmp_path / "out"), str(tmp_path / "cache"), seeds=(0, 1))
    (tmp_path / "s.yaml").write_text("name: s\n")
    save_plan_of(made, tmp_path / "s.yaml")
    test = task.load("test")
    truth, last = test.truth(3), len(test) - 1
    for cell in made.cells():
        scores = np.eye(3, dtype=np.float32)[truth]
        scores[last] = np.roll(scores[last], 1) if cell.seed else scores[last]
        right = float((scores.argmax(axis=1) == truth).mean())
        made.runs.save(Row(cell, "top1", right, len(test)), scores)
    found = featune.correctness(tmp_path / "out", "colours")
    assert found["image"] == list(test.paths)
    assert found["class"] == [task.classes[label] for label in truth]
    assert found[f"{spec.name}/means/0"] == [1.0] * len(test)
    assert found[f"{spec.name}/means/1"] == [1.0] * last + [0.0]
    pandas = pytest.importorskip("pandas")
    assert pandas.DataFrame(found).shape == (len(test), 4)
    with pytest.raises(BadInput, match="no task 'colors' with its labels at hand; nearest: colours; it has colours"):
        featune.correctness(tmp_path / "out", "colors")


def test_a_row_says_by_what_its_number_was_computed(out: Path) -> None:
    row = next(RunStore(out / "runs").rows())
    here = {"versions": {"torch": "2", "timm": "1"}, "backend": "torch", "precision": "fp32", "device": "a CPU"}
    RunStore(out / "runs").save(dataclasses.replace(row, environment=here))
    first = featune.rows(out)[0]
    assert {name: first[name] for name in here} == here | {"versions": "timm 1, torch 2"}
