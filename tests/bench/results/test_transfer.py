"""How transfer follows source accuracy: which models count, and what may be said of it."""

import dataclasses
import math

import pytest
from report_rows import REGIMES, failed, row, study

from featune.bench.report import correlation_lines
from featune.bench.results import carrier, collect, correlations, source_log_odds, verdict
from featune.bench.stats import clopper_pearson, log_odds


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


def test_a_verdict_wants_six_models_a_small_p_and_an_interval_without_zero() -> None:
    strong = next(one for one in correlations(collect(study(8))) if one.regime == "finetune" and not one.task)
    assert verdict(strong) == "yes"
    assert strong.p is not None
    assert strong.p <= 0.05
    assert verdict(dataclasses.replace(strong, p=0.06)) == "open"
    assert verdict(dataclasses.replace(strong, low=-0.1)) == "open"
    assert verdict(dataclasses.replace(strong, r=-0.9, low=-0.99, high=-0.5)) == "no"
    for models in (3, 4, 5):
        assert {verdict(one) for one in correlations(collect(study(models)))} == {"none"}


def test_the_model_that_carries_a_correlation_is_named() -> None:
    rights = {"a": 180, "b": 200, "c": 190, "d": 185, "e": 195, "f": 188, "outlier": 330}
    tops = {"a": 0.62, "b": 0.60, "c": 0.61, "d": 0.60, "e": 0.61, "f": 0.62, "outlier": 0.9}
    rows = [row(name, "digits", right=right, source_top1=tops[name], family=name) for name, right in rights.items()]
    one = correlations(collect(rows))[0]
    left = carrier(one)
    assert left is not None
    assert (left.name, left.family) == ("outlier", False)
    assert one.r is not None
    assert one.r > 0.9 > 0 > left.r
    assert "One model carries this: without outlier r" in correlation_lines(rows)[0]
    twins = [dataclasses.replace(of, family="big") if of.cell.model in ("outlier", "twin") else of
             for of in [*rows, row("twin", "digits", right=325, source_top1=0.89)]]  # fmt: skip
    both = carrier(correlations(collect(twins))[0])
    assert both is not None
    assert (both.name, both.family) == ("big", True)
    assert "One family carries this: without big" in correlation_lines(twins)[0]
    assert carrier(correlations(collect(study(8)))[0]) is None


def test_the_images_behind_the_source_accuracy_give_it_an_interval_where_all_models_have_them() -> None:
    rows = [dataclasses.replace(one, source_n=400) for one in study()]
    results = collect(rows)
    top1 = results.source_top1[results.models[0]]
    value, low, high = source_log_odds(results, results.models[0])
    assert value == pytest.approx(math.log((400 * top1 + 0.5) / (400 * (1 - top1) + 0.5)))
    exact = clopper_pearson(round(400 * top1), 400)
    assert (low, high) == pytest.approx((log_odds(exact.low, 400), log_odds(exact.high, 400)))
    mean = correlations(results)[0]
    assert list(mean.x) == pytest.approx([source_log_odds(results, model)[0] for model in mean.models])
    other = dataclasses.replace(rows[0], source_n=None, cell=dataclasses.replace(rows[0].cell, model="x"))
    some = collect([other, *rows])
    assert some.source_n == {}
    assert source_log_odds(some, "x")[1:] == (None, None)


def test_a_source_accuracy_of_one_stays_finite_with_its_images() -> None:
    rows = [dataclasses.replace(one, source_n=600, source_top1=1.0) for one in study(1)]
    value, low, high = source_log_odds(collect(rows), rows[0].cell.model)
    assert math.isfinite(value)
    assert low < value <= high  # type: ignore[operator]
