"""Rows as one table: what is kept apart, and what is one thing."""

import dataclasses

import pytest
from report_rows import row

from featune.bench.results import collect
from featune.engine.errors import BadInput


def test_published_rows_stay_apart_from_measured_ones() -> None:
    rows = [row("a", "digits", right=180), row("a", "digits", right=270, source="Kornblith et al. 2019")]
    results = collect(rows)
    assert results.regimes == ("probe", "probe [Kornblith et al. 2019]")
    assert results.value("digits", "a", "probe") == 0.5


def test_two_metrics_on_one_task_are_two_tasks() -> None:
    rows = [row("a", "digits"), row("a", "digits", metric="mean_per_class")]
    assert collect(rows).tasks == ("digits (mean_per_class)", "digits (top1)")


def test_rows_of_other_set_ups_or_twice_of_one_seed_are_never_pooled() -> None:
    one = row("a", "t0")
    other = dataclasses.replace(one, cell=dataclasses.replace(one.cell, inputs="1" * 16))
    with pytest.raises(BadInput, match="t0 a probe: 2 set-ups found under one name, which are never pooled"):
        collect([one, other])
    with pytest.raises(BadInput, match="two rows of one seed"):
        collect([one, dataclasses.replace(one, value=0.1)])
    assert collect([one, row("a", "t0", seed=1)]).entries["t0", "a", "probe"].seeds == 2
