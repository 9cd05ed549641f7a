import dataclasses
import math

import numpy as np
import pytest
from report_rows import failed, row, speed, study
from scipy import stats

from featune.bench.estimators import CHANCE, ESTIMATORS, SOURCE, TIME, Judged, judged
from featune.bench.published import published_estimates, published_rows
from featune.bench.results import Estimate, Results, collect

RIGHT = {"a": (300, 200), "b": (280, 240), "c": (270, 220), "d": (200, 100), "e": (150, 210)}
TASKS = ("birds", "cars")


def results(**more: object) -> Results:
    rows = [
        row(model, task, regime, right, source_top1=0.5 + 0.05 * at, **more)
        for at, (model, rights) in enumerate(RIGHT.items())
        for task, right in zip(TASKS, rights, strict=True)
        for regime in ("probe", "finetune", "scratch")
    ]
    return collect(rows)


def estimates(name: str, values: dict[str, tuple[float, ...]], tasks: tuple[str, ...] = TASKS) -> list[Estimate]:
    return [
        Estimate(task, model, name, "0" * 16, value, 0.1, 100)
        for model, of_model in values.items()
        for task, value in zip(tasks, of_model, strict=True)
    ]


def found(of: list[Judged], score: str, regime: str = "probe") -> Judged:
    return next(one for one in of if (one.score, one.regime) == (score, regime))


def test_a_score_that_is_the_transfer_itself_ranks_perfectly_and_costs_nothing() -> None:
    perfect = found(judged(results(), estimates("logme", RIGHT)), "logme")
    assert perfect.tau.value == perfect.rho.value == pytest.approx(1)  # type: ignore[union-attr]
    assert perfect.regret == perfect.worst.regret == 0
    assert [(one.task, one.chosen, one.best) for one in perfect.by_task] == [("birds", ("a",), "a"),
                                                                             ("cars", ("b",), "b")]  # fmt: skip
    backwards = {model: tuple(-float(right) for right in rights) for model, rights in RIGHT.items()}
    worst = found(judged(results(), estimates("logme", backwards)), "logme")
    assert worst.tau.value == worst.rho.value == pytest.approx(-1)  # type: ignore[union-attr]
    assert worst.regret == pytest.approx(100 * (150 + 140) / 360 / 2)


def test_regret_is_the_share_lost_by_the_first_choice_with_ties_at_their_mean() -> None:
    values = {"a": (0.0, 1.0), "b": (2.0, 1.0), "c": (2.0, 0.0), "d": (1.0, 0.0), "e": (1.0, 0.0)}
    one = found(judged(results(), estimates("nce", values)), "nce")
    birds, cars = one.by_task
    assert (set(birds.chosen), set(cars.chosen)) == ({"b", "c"}, {"a", "b"})
    assert birds.regret == pytest.approx(100 * (300 - (280 + 270) / 2) / 360)
    assert cars.regret == pytest.approx(100 * (240 - (200 + 240) / 2) / 360)
    assert one.regret == pytest.approx((birds.regret + cars.regret) / 2)
    assert one.worst == birds


def test_correlations_are_scipys_averaged_over_tasks() -> None:
    rng = np.random.default_rng(4)
    values = {model: tuple(rng.normal(size=2)) for model in RIGHT}
    one = found(judged(results(), estimates("leep", values)), "leep")
    score, truth = (np.array([table[model] for model in one.models]) for table in (values, RIGHT))
    taus = [stats.weightedtau(score[:, at], truth[:, at]).statistic for at in (0, 1)]
    assert one.tau.value == pytest.approx(np.mean(taus))  # type: ignore[union-attr]
    assert [on.tau for on in one.by_task] == pytest.approx(taus)
    rhos = [stats.spearmanr(score[:, at], truth[:, at]).statistic for at in (0, 1)]
    assert one.rho.value == pytest.approx(np.mean(rhos))  # type: ignore[union-attr]
    assert one.tau.low <= one.tau.value <= one.tau.high  # type: ignore[union-attr]


def test_source_accuracy_time_and_chance_are_judged_like_the_estimators() -> None:
    speeds = [speed(model, "torch", 100.0 * (1 + at)) for at, model in enumerate(RIGHT)]
    of = judged(results(), estimates("logme", RIGHT), speeds)
    assert {one.score for one in of} == {"logme", SOURCE, TIME, CHANCE}
    source, time, chance = (found(of, name) for name in (SOURCE, TIME, CHANCE))
    assert source.by_task[0].chosen == ("e",)  # the highest source accuracy
    assert time.by_task[0].chosen == ("a",)  # the slowest
    assert chance.tau is None
    assert chance.by_task[0].regret == pytest.approx(100 * (300 - (300 + 280 + 270 + 200 + 150) / 5) / 360)
    assert source.ahead is None
    logme = found(of, "logme")
    assert logme.ahead.value == pytest.approx(logme.tau.value - source.tau.value)  # type: ignore[union-attr]


def test_a_score_that_is_source_accuracy_is_never_ahead_of_it() -> None:
    same = {model: (0.5 + 0.05 * at,) * 2 for at, model in enumerate(RIGHT)}
    ahead = found(judged(results(), estimates("logme", same)), "logme").ahead
    assert (ahead.value, ahead.low, ahead.high) == (0, 0, 0)  # type: ignore[union-attr]


def test_the_best_rank_correlation_comes_first_in_each_regime_and_chance_last() -> None:
    rng = np.random.default_rng(1)
    several = estimates("logme", RIGHT)
    for name in ("leep", "nce", "h_score"):
        several += estimates(name, {model: tuple(rng.normal(size=2)) for model in RIGHT})
    of = [one for one in judged(results(), several) if one.regime == "finetune"]
    taus = [one.tau.value for one in of if one.tau]
    assert taus == sorted(taus, reverse=True)
    assert of[-1].score == CHANCE


def test_from_scratch_and_published_numbers_are_not_what_source_weights_could_predict() -> None:
    published = [dataclasses.replace(row("a", "birds"), source="Somebody 2020")]
    rows = [*published, *(row(model, "birds", regime, rights[0]) for model, rights in RIGHT.items()
                          for regime in ("probe", "scratch"))]  # fmt: skip
    assert {one.regime for one in judged(collect(rows), estimates("logme", RIGHT))} == {"probe"}


def test_models_and_tasks_without_a_value_are_left_out_and_counted() -> None:
    values = {model: rights for model, rights in RIGHT.items() if model != "e"}
    partly = [one for one in estimates("leep", values) if (one.model, one.task) != ("d", "cars")]
    partly.append(Estimate("cars", "d", "leep", "0" * 16, error="no head"))
    one = found(judged(results(), partly), "leep")
    assert (one.models, [on.task for on in one.by_task], one.left_out) == (("c", "b", "a"), list(TASKS), 1)
    cells = study(5, 2, ("probe",))
    lost = cells[0].cell.model
    cells = [failed(one) if one.cell.model == lost else one for one in cells]
    names = sorted({one.cell.model for one in cells})
    all_of = estimates("logme", {name: (float(at), 0.0) for at, name in enumerate(names)}, ("task-0", "task-1"))
    assert set(found(judged(collect(cells), all_of), "logme").models) == set(names) - {lost}


def test_few_models_have_no_interval_and_two_no_correlation() -> None:
    few = collect([row(model, "birds", right=RIGHT[model][0], source_top1=0.5) for model in ("a", "b", "c")])
    three = found(judged(few, estimates("logme", {model: RIGHT[model] for model in "abc"})), "logme")
    assert three.tau.value == pytest.approx(1)  # type: ignore[union-attr]
    assert math.isnan(three.tau.low)  # type: ignore[union-attr]
    two = found(judged(few, estimates("logme", {model: RIGHT[model] for model in "ab"})), "logme")
    assert two.tau is None
    assert two.regret == 0
    assert not [one for one in judged(few, estimates("logme", {"a": RIGHT["a"]})) if one.score == "logme"]


def test_without_an_estimate_nothing_is_judged() -> None:
    assert judged(results(), []) == []
    assert judged(results(), [Estimate("birds", "a", "leep", "0" * 16, error="no head")]) == []


def test_the_same_seed_gives_the_same_intervals() -> None:
    values = {model: tuple(np.random.default_rng(at).normal(size=2)) for at, model in enumerate(RIGHT)}
    first, again = (judged(results(), estimates("logme", values), seed=1) for _ in range(2))
    assert first == again
    assert all(name in ESTIMATORS or name in (SOURCE, TIME, CHANCE) for name in {one.score for one in first})


@pytest.mark.parametrize("name", ["tmlr2024-finetuned", "tmlr2024-frozen"])
def test_the_published_estimators_are_ranked_as_by_scipys_weighted_tau(name: str) -> None:
    rows = [dataclasses.replace(one, source="measured") for one in published_rows([name])]
    table, scores = collect(rows), published_estimates(name)
    assert len(scores) == 550
    (regime,) = table.regimes
    known = {(one.name, one.model, one.task): one.value for one in scores}
    known |= {(SOURCE, model, task): table.source_top1[model] for model in table.models for task in table.tasks}
    expected = {}
    for score in sorted({score for score, _, _ in known}):
        truths = [[table.value(task, model, regime) for model in table.models] for task in table.tasks]
        columns = [[known[score, model, task] for model in table.models] for task in table.tasks]
        expected[score] = np.mean([stats.weightedtau(a, b).statistic for a, b in zip(columns, truths, strict=True)])
    ours = [one for one in judged(table, scores) if one.score != CHANCE]
    assert [one.score for one in ours] == sorted(expected, key=lambda score: -expected[score])
    assert {one.score: one.tau.value for one in ours} == pytest.approx(expected)  # type: ignore[union-attr]
