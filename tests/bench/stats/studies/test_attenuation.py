"""Attenuation by test-set noise, against simulation."""

import numpy as np
import pytest

from featune.bench.stats.studies import corrected_correlation, log_odds_error
from featune.engine.errors import BadInput


def test_the_error_of_log_odds_is_that_of_simulated_test_sets():
    from featune.bench.stats import log_odds

    for p, n in ((0.5, 100), (0.9, 400), (0.98, 2000)):
        drawn = np.random.default_rng(0).binomial(n, p, size=20_000) / n
        assert log_odds_error([p], [n])[0] == pytest.approx(log_odds(drawn, n).std(), rel=0.03)


def test_the_correction_gives_back_the_correlation_before_noise():
    rng = np.random.default_rng(0)
    x = rng.normal(size=4000)
    y = 0.8 * x + 0.6 * rng.normal(size=4000)
    noisy = y + 0.7 * rng.normal(size=4000)
    found = corrected_correlation(x, noisy, 0.0, 0.7)
    assert found.r == pytest.approx(0.8 / np.sqrt(1.49), abs=0.02)
    assert found.corrected == pytest.approx(0.8, abs=0.02)
    assert (found.reliability_x, found.reliability_y) == pytest.approx((1, 1 / 1.49), abs=0.02)


def test_noise_as_large_as_the_spread_has_no_correction_and_none_changes_nothing():
    x, y = [1, 2, 3, 4], [1, 3, 2, 4]
    assert corrected_correlation(x, y).corrected == pytest.approx(0.8)
    assert np.isnan(corrected_correlation(x, y, 0.0, 5.0).corrected)
    assert corrected_correlation(x, x, 0.5, 0.5).corrected == 1
    with pytest.raises(BadInput, match="errors: one of at least 0"):
        corrected_correlation(x, y, [1, 2], 0.0)
