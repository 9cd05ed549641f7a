"""Raw samples to numbers."""

import numpy as np
import pytest
from scipy import stats

from featune.bench.stats import percentile_needs
from featune.bench.throughput import Block, bootstrap_interval, doubts, outliers, summarise


def blocks(medians: list[float], calls: int = 4, **more: float) -> list[Block]:
    return [Block(0, turn, (median,) * calls, 2, median * calls, **more) for turn, median in enumerate(medians)]


def test_the_median_is_that_of_the_blocks_and_the_interval_holds_it() -> None:
    found = summarise(blocks([0.010, 0.012, 0.011, 0.010, 0.013]), 2)
    assert found["images_per_second"] == pytest.approx(2 / 0.011)
    assert found["median_ms"] == pytest.approx(11)
    assert found["median_ms_low"] <= 11 <= found["median_ms_high"]
    assert found["images_per_second_low"] == pytest.approx(2000 / found["median_ms_high"])


def test_more_calls_in_the_same_blocks_do_not_make_the_interval_shorter() -> None:
    medians = [0.010, 0.012, 0.011, 0.010, 0.013, 0.012]
    few, many = (summarise(blocks(medians, calls), 2) for calls in (3, 300))
    assert few["median_ms_high"] == many["median_ms_high"]


def test_the_interval_of_few_means_covers_as_students_does() -> None:
    """A plain percentile bootstrap of six values covers 88 %; Student's t is the reference."""
    rng, hits = np.random.default_rng(1), 0
    for trial in range(400):
        values = rng.normal(3, 1, 6)
        low, high = bootstrap_interval(values.tolist(), np.mean, seed=trial)
        hits += low <= 3 <= high
    assert 0.92 <= hits / 400 <= 0.98
    values = rng.normal(0, 1, 10)
    low, high = bootstrap_interval(values.tolist(), np.mean)
    wanted = stats.t.interval(0.95, 9, values.mean(), stats.sem(values))
    assert (high - low) / (wanted[1] - wanted[0]) == pytest.approx(1, abs=0.1)


def test_one_value_has_no_end_to_its_interval() -> None:
    assert bootstrap_interval([1.0], np.mean) == (-np.inf, np.inf)


@pytest.mark.parametrize(("percent", "needs"), [(90, 36), (95, 72), (99, 368)])
def test_a_percentile_needs_so_many_samples_that_one_likely_lies_above_it(percent: int, needs: int) -> None:
    assert percentile_needs(percent) == needs
    assert stats.binom.cdf(needs - 1, needs, percent / 100) >= 0.975
    assert stats.binom.cdf(needs - 2, needs - 1, percent / 100) < 0.975


def test_a_percentile_without_its_samples_is_not_given() -> None:
    few, enough = (summarise(blocks([0.01] * 4, calls), 2) for calls in (8, 10))
    assert few["p90_ms"] is None
    assert enough["p90_ms"] == pytest.approx(10)
    assert enough["p95_ms"] is None


def test_outliers_are_counted_by_tukeys_fences_and_kept() -> None:
    samples = [*np.linspace(10, 12, 21).tolist(), 8.0, 5.0, 14.5, 40.0]
    first, third = np.percentile(samples, [25, 75])
    spread = third - first
    assert first - 3 * spread < 8.0 < first - 1.5 * spread
    assert outliers(samples) == {"low_severe": 1, "low_mild": 1, "high_mild": 1, "high_severe": 1}


def test_a_quiet_row_has_nothing_to_doubt() -> None:
    assert doubts(blocks([0.01] * 6, megahertz=3000.0)) == []


def test_drift_load_and_throttling_mark_a_row() -> None:
    assert "drift" in doubts(blocks([0.010] * 4 + [0.012] * 4))[0]
    busy = [Block(0, 0, (0.01,), 2, 0.01, others=0.9, loaded=True), *blocks([0.01] * 3)]
    assert doubts(busy) == ["other work in 1 of 4 blocks (on 0.9 processors)"]
    few = [busy[0], *blocks([0.01] * 19)]
    assert doubts(few) == []  # one of 20 does not reach the median
    slow = [*blocks([0.01] * 3, megahertz=3000.0), *blocks([0.01] * 3, megahertz=2000.0)]
    assert "fell from 3000 to 2000 MHz" in doubts(slow)[0]


def test_joules_are_shared_by_all_images_and_headspace_is_of_the_free_time() -> None:
    found = summarise([Block(0, turn, (0.2, 0.2), 10, 0.4, joules=40.0, free=0.01) for turn in range(4)], 10)
    assert found["joules_per_image"] == pytest.approx(2)
    assert found["headspace"] == pytest.approx(2)
    assert summarise(blocks([0.01] * 4), 2)["joules_per_image"] is None
