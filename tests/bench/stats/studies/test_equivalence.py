"""No worse by more than a margin: Tango's score test."""

import numpy as np
import pytest

from featune.bench.stats.studies import no_worse
from featune.bench.stats.studies.equivalence import least_likely_share, tango_p
from featune.engine.errors import BadInput


def correct(both: int, a_only: int, b_only: int, neither: int) -> tuple[np.ndarray, np.ndarray]:
    return (
        np.repeat([1.0, 1, 0, 0], [both, a_only, b_only, neither]),
        np.repeat([1.0, 0, 1, 0], [both, a_only, b_only, neither]),
    )


def test_the_share_of_the_edge_is_the_likeliest_one():
    from scipy.optimize import minimize_scalar

    a_only, b_only, n, shift = 14, 9, 200, -0.03

    def unlikely(b_share):
        a_share = b_share + shift
        rest = 1 - a_share - b_share
        return -(a_only * np.log(a_share) + b_only * np.log(b_share) + (n - a_only - b_only) * np.log(rest))

    best = minimize_scalar(unlikely, bounds=(0.0301, 0.5), method="bounded", options={"xatol": 1e-10})
    assert least_likely_share(a_only, b_only, n, shift) == pytest.approx(best.x, abs=1e-6)


def test_without_a_margin_it_is_mcnemars_score_test():
    from scipy.stats import norm

    assert tango_p(15, 5, 300, 0.0) == pytest.approx(norm.sf((15 - 5) / np.sqrt(20)))


def test_models_that_never_differ_are_equivalent_only_with_enough_images():
    few, many = (no_worse(np.ones(n), np.ones(n)) for n in (100, 1000))
    assert few.p_equivalent > 0.05 > many.p_equivalent
    assert few.difference == 0


def test_a_worse_model_is_not_settled_to_be_no_worse_and_a_better_one_is_but_not_equal():
    worse = no_worse(*correct(800, 20, 60, 120))
    assert worse.difference == pytest.approx(-0.04)
    assert worse.p_no_worse > 0.99
    better = no_worse(*correct(800, 60, 20, 120))
    assert better.p_no_worse < 0.001 < 0.99 < better.p_equivalent
    assert (better.a_only, better.b_only, better.n) == (60, 20, 1000)


def test_at_the_edge_of_the_margin_the_claim_is_false_in_one_study_of_twenty():
    rng, n, margin, wrong = np.random.default_rng(0), 800, 0.02, 0
    for _ in range(2000):
        a_only, b_only, _ = rng.multinomial(n, [0.03, 0.05, 0.92])
        wrong += tango_p(a_only, b_only, n, margin) <= 0.05
    assert wrong / 2000 == pytest.approx(0.05, abs=0.015)


def test_a_margin_in_points_is_refused():
    with pytest.raises(BadInput, match=r"half a point is 0\.005"):
        no_worse([1, 0], [1, 1], margin=5)
