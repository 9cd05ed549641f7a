"""How transfer follows source accuracy: which models count, and what may be said of it."""

import dataclasses

from report_rows import REGIMES, failed, study

from bench.report import correlation_lines
from bench.results import collect
from bench.transfer import correlations


def test_a_failed_cell_moves_no_mean_and_no_correlation() -> None:
    rows = study()
    without = [one for one in rows if (one.cell.model, one.cell.task) != (rows[0].cell.model, "task-1")]
    with_failures = without + [failed(one) for one in rows if one not in without]
    for a, b in zip(correlations(collect(without)), correlations(collect(with_failures)), strict=True):
        assert (a.regime, a.task, a.models, a.r) == (b.regime, b.task, b.models, b.r)


def test_models_that_miss_a_task_are_left_out_of_the_mean_and_counted() -> None:
    rows = [one for one in study() if (one.cell.model, one.cell.task) != ("model_00.tiny_in1k", "task-1")]
    mean = next(one for one in correlations(collect(rows)) if one.regime == "probe" and not one.task)
    assert (len(mean.models), len(mean.tasks), mean.left_out) == (5, 3, 1)


def test_an_interval_that_holds_zero_settles_nothing() -> None:
    lines = dict(zip(REGIMES, correlation_lines(study(8)), strict=True))
    assert "models score higher (r" in lines["finetune"]
    shuffled = [dataclasses.replace(one, source_top1=0.3 + 0.05 * ((int(one.cell.model[6:8]) * 3 + 2) % 8)) for one in
                study(8, regimes=("probe",))]  # fmt: skip
    assert "is not settled" in correlation_lines(shuffled)[0]
