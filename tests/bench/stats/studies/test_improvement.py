"""The probability of improvement against Mann and Whitney's U."""

import numpy as np
import pytest

from featune.bench.stats.studies import probability_of_improvement
from featune.engine.errors import BadInput


def test_it_is_the_mean_over_tasks_of_mann_and_whitneys_share():
    from scipy.stats import mannwhitneyu

    rng = np.random.default_rng(0)
    a, b = np.round(rng.normal(0.3, 1, size=(4, 5)), 1), np.round(rng.normal(size=(4, 7)), 1)
    expected = np.mean([mannwhitneyu(x, y).statistic / 35 for x, y in zip(a, b, strict=True)])
    found = probability_of_improvement(a, b)
    assert found.probability == pytest.approx(expected)
    assert found.low < found.probability < found.high


def test_always_better_is_certain_and_the_same_is_half():
    found = probability_of_improvement([[2.0, 3], [5, 6]], [[1.0, 0], [4, 3]])
    assert (found.probability, found.low, found.high) == (1, 1, 1)
    assert probability_of_improvement([[1.0]], [[1.0]]).probability == 0.5
    assert np.isnan(probability_of_improvement([[2.0]], [[1.0]]).low)


def test_other_tasks_are_refused():
    with pytest.raises(BadInput, match="same tasks"):
        probability_of_improvement([[1.0]], [[1.0], [2.0]])
