"""Variants of one pre-training against the first of them."""

import dataclasses
import math

import numpy as np
import pytest
from scipy import stats

from featune.bench.report.findings.of_variants import comparisons, variants
from featune.bench.results import Cell, Row, collect
from featune.bench.stats.studies import detectable_difference

TABLE = {"all": [1.0, 1.2, 1.1], "half": [0.5, 0.4, 0.9], "coarse": [1.0, 1.3, 0.9]}


def test_intervals_and_p_are_of_a_pooled_t_test() -> None:
    found = comparisons(TABLE)
    values = {name: np.array(of) for name, of in TABLE.items()}
    pooled = math.sqrt(sum(of.var(ddof=1) for of in values.values()) / 3)
    assert found["seed_sd"] == pytest.approx(pooled)
    assert found["degrees_of_freedom"] == 6
    half = found["variants"][0]
    reach = stats.t.ppf(0.975, 6) * pooled * math.sqrt(2 / 3)
    assert half["difference"] == pytest.approx(-0.5)
    assert (half["low"], half["high"]) == pytest.approx((-0.5 - reach, -0.5 + reach))
    assert (half["p"] <= 0.05) == (half["high"] < 0)
    assert half["p_holm"] == pytest.approx(2 * half["p"])  # the smaller of two


def test_a_variant_of_the_same_values_is_the_same_models_and_counted_once() -> None:
    found = comparisons({**TABLE, "again": list(TABLE["all"])})
    assert found == {**comparisons(TABLE), "same": {"again": "all"}}
    assert comparisons(TABLE)["same"] == {}


def test_what_is_detectable_is_found_four_times_in_five() -> None:
    """By simulated studies of three variants of three seeds, of which the second differs."""
    found = comparisons(TABLE)
    rng = np.random.default_rng(0)
    drawn = rng.normal(0, found["seed_sd"], (600, 3, 3)) + np.array([0, found["detectable"], 0])[:, None]
    seen = [comparisons(dict(zip("abc", of.tolist(), strict=True)))["variants"][0]["low"] > 0 for of in drawn]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.05)


def test_two_groups_of_a_t_test_have_the_power_of_scipys() -> None:
    """Two variants alone, whose pooled t test is the usual one."""
    rng = np.random.default_rng(1)
    apart = detectable_difference(1.0, 8, (5, 5))
    first, second = rng.normal(0, 1, (8000, 5)), rng.normal(apart, 1, (8000, 5))
    assert np.mean(stats.ttest_ind(first, second, axis=1).pvalue < 0.05) == pytest.approx(0.8, abs=0.02)


def row(model: str, task: str, value: float, regime: str = "probe") -> Row:
    return Row(Cell(task, model, regime, 0, "x"), "top1", value, 1000, source_top1=0.5, source_n=100)


def test_shots_are_told_apart_and_the_first_variant_is_the_reference() -> None:
    lost = {"digits-5": 0.2, "digits": 1e-4}
    rows = [
        row(f"{variant}@{seed}", task, base + 0.01 * seed - (lost[task] if variant == "half" else 0))
        for variant in ("all", "half")
        for seed in (0, 1, 2)
        for task, base in (("digits", 0.8), ("digits-5", 0.5))
    ]
    (found,) = variants(rows, {"digits", "digits-5"})
    assert found.regime == "probe"
    assert found.numbers.keys() == {"all tasks", "5", "all"}
    assert found.numbers["all"]["reference"] == "all"
    few, many = (found.numbers[level]["variants"][0] for level in ("5", "all"))
    assert few["high"] < 0
    assert many["low"] < 0 < many["high"]
    assert "half" in found.said


def test_a_task_whose_values_are_no_fractions_is_left_out() -> None:
    rows = [
        row(f"{variant}@{seed}", "digits", base + 0.01 * seed)
        for variant, base in (("all", 0.8), ("half", 0.6))
        for seed in (0, 1, 2)
    ]
    kappas = [dataclasses.replace(row(one.cell.model, "grades", -0.05), metric="quadratic_kappa") for one in rows]
    assert variants([*rows, *kappas], collect([*rows, *kappas]).fraction_tasks) == variants(rows, {"digits"})


def test_models_without_seeds_have_no_variants() -> None:
    tasks = {"digits"}
    assert variants([row("resnet18", "digits", 0.5), row("resnet34", "digits", 0.6)], tasks) == []
    assert variants([row("all@0", "digits", 0.5)], tasks) == []


def test_one_seed_of_each_variant_is_said_to_allow_no_comparison() -> None:
    (found,) = variants([row("all@0", "digits", 0.5), row("half@0", "digits", 0.6)], {"digits"})
    assert found.said.startswith("2 variants, one seed of each: they are not compared")
