"""A study's rows as a table of pandas and of Arrow."""

import dataclasses
from pathlib import Path

import pytest
from report_rows import study

import featune
from featune.bench.results import RunStore


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
