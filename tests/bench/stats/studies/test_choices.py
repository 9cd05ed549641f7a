"""Regret of choosing by a score, by hand."""

import numpy as np
import pytest

from featune.bench.stats.studies import regret_of
from featune.engine.errors import BadInput

VALUES = np.array([[0.9, 0.5], [0.8, 0.7], [0.6, 0.8]])


def test_regret_is_what_the_first_choice_lacks_of_the_best_model_on_each_task():
    found = regret_of([3, 2, 1], VALUES)
    assert found.by_task == pytest.approx([0, 0.3])
    assert (found.mean, found.worst, found.worst_task) == (pytest.approx(0.15), pytest.approx(0.3), 1)


def test_models_that_tie_for_the_first_place_count_alike():
    assert regret_of([2, 2, 1], VALUES).by_task == pytest.approx([0.05, 0.2])
    assert regret_of([0, 0, 0], VALUES).mean == pytest.approx((0.9 - 2.3 / 3 + 0.8 - 2 / 3) / 2)


def test_a_score_may_know_the_task_and_must_be_finite():
    assert regret_of(VALUES, VALUES).mean == 0
    with pytest.raises(BadInput, match="a finite number per model"):
        regret_of([1, 2], VALUES)
