"""Partial correlation against the inverse of the correlation matrix."""

import numpy as np
import pytest

from featune.bench.stats.studies import partial_correlation
from featune.engine.errors import BadInput


def test_it_is_that_of_the_inverse_correlation_matrix():
    rng = np.random.default_rng(0)
    size, other = rng.normal(size=(2, 15))
    x, y = size + 0.5 * rng.normal(size=15), size + other + 0.5 * rng.normal(size=15)
    for given in (size[:, None], np.stack([size, other], axis=1)):
        inverse = np.linalg.inv(np.corrcoef([x, y, *given.T]))
        found = partial_correlation(x, y, given)
        assert found.r == pytest.approx(-inverse[0, 1] / np.sqrt(inverse[0, 0] * inverse[1, 1]))
        assert found.low < found.r < found.high


def test_its_p_is_that_of_the_coefficient_in_a_regression_on_both():
    from scipy.stats import t

    rng = np.random.default_rng(1)
    size, x, y = rng.normal(size=(3, 12))
    design = np.stack([np.ones(12), x, size], axis=1)
    fit, rest, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = np.sqrt(rest[0] / 9 * np.linalg.inv(design.T @ design)[1, 1])
    assert partial_correlation(x, y, size).p == pytest.approx(2 * t.sf(abs(fit[1] / error), 9))


def test_what_size_alone_explains_is_gone_and_too_few_models_say_nothing():
    size = np.arange(8.0)
    y = np.array([1, 0, 2, 2, 5, 4, 6, 9.0])
    assert np.isnan(partial_correlation(2 * size + 1, y, size).r)
    assert np.isnan(partial_correlation([1, 2, 3], [1, 3, 2], [3, 1, 2]).r)
    with pytest.raises(BadInput, match="of each of 8 models"):
        partial_correlation(size, y, [1, 2])
