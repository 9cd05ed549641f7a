import numpy as np
import pytest
from scipy import stats

from featune.bench.stats import weighted_spearman, weighted_tau
from featune.bench.stats.intervals import draw_weights

KNOWN = {weighted_tau: stats.weightedtau, weighted_spearman: stats.spearmanr}


@pytest.mark.parametrize("rank_correlation", KNOWN)
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("m", [3, 4, 7, 30])
def test_of_resamples_it_is_what_scipy_finds_in_the_drawn_columns(rank_correlation: object, ties: bool, m: int) -> None:
    rng = np.random.default_rng(m)
    x, y = rng.normal(size=(2, m))
    if ties:
        x, y = np.round(x), np.round(y)
    counts = np.column_stack([np.ones(m), draw_weights(m, 50, rng)])
    found = rank_correlation(x, y, counts)  # type: ignore[operator]
    for column, value in zip(counts.T, found, strict=True):
        drawn = np.repeat(np.arange(m), column.astype(int))
        if len(set(drawn)) < 3 or np.ptp(x[drawn]) == 0 or np.ptp(y[drawn]) == 0:
            assert np.isnan(value)
        else:
            assert value == pytest.approx(KNOWN[rank_correlation](x[drawn], y[drawn]).statistic, abs=1e-12)  # type: ignore[index]


def test_an_exchange_at_the_top_costs_more_than_one_at_the_bottom() -> None:
    x, one = np.array([4.0, 3, 2, 1]), np.ones((4, 1))
    top, bottom = np.array([3.0, 4, 2, 1]), np.array([4.0, 3, 1, 2])
    assert weighted_tau(x, top, one)[0] < weighted_tau(x, bottom, one)[0]
    # By hand: pairs weigh 1/i + 1/j; 25/4 in all (each rank in three pairs: 3 * (1 + 1/2 + 1/3 + 1/4)), and an
    # exchanged pair counts against instead of for: 1 + 1/2 at the top.
    assert weighted_tau(x, top, one)[0] == pytest.approx((25 / 4 - 2 * 3 / 2) / (25 / 4), rel=1e-14)


@pytest.mark.parametrize("rank_correlation", KNOWN)
def test_a_constant_column_or_two_entries_have_none(rank_correlation: object) -> None:
    x = np.array([1.0, 2, 3])
    assert np.isnan(rank_correlation(x, np.ones(3), np.ones((3, 1)))).all()  # type: ignore[operator]
    assert np.isnan(rank_correlation(x, x, np.array([[2.0], [1.0], [0.0]]))).all()  # type: ignore[operator]
    assert rank_correlation(x, -x, np.ones((3, 2))).tolist() == [-1, -1]  # type: ignore[operator]
