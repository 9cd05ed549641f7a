"""The bootstrap over models, families, images and both."""

import numpy as np
import pytest

from featune.bench.stats import pearson
from featune.bench.stats.studies import bootstrap_correlation, bootstrap_study
from featune.bench.stats.studies.resampling import weighted_pearson
from featune.engine.errors import BadInput


def test_a_weight_is_a_number_of_copies_of_the_model():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 6))
    counts = np.array([2, 0, 1, 3, 0, 1])
    found = weighted_pearson(x[None], y[None], counts[None].astype(float))[0]
    assert found == pytest.approx(pearson(np.repeat(x, counts), np.repeat(y, counts)))
    assert np.isnan(weighted_pearson(x[None], y[None], np.array([[3.0, 3, 0, 0, 0, 0]]))).all()


def test_the_interval_over_models_is_scipys():
    from scipy.stats import bootstrap

    rng = np.random.default_rng(1)
    x = rng.normal(size=25)
    y = 0.7 * x + rng.normal(size=25)
    ours = bootstrap_correlation(x, y, resamples=4000)
    theirs = bootstrap((x, y), lambda a, b: pearson(a, b), paired=True, vectorized=False, method="percentile",
                       n_resamples=2000, rng=np.random.default_rng(2)).confidence_interval  # fmt: skip
    assert tuple(ours) == pytest.approx((theirs.low, theirs.high), abs=0.04)
    assert ours.value == pytest.approx(pearson(x, y))


def test_families_that_hold_equal_models_leave_the_interval_of_as_many_as_there_are_families():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 8))
    one = bootstrap_correlation(x, y)
    copies = bootstrap_correlation(np.repeat(x, 5), np.repeat(y, 5), families=np.repeat(list("abcdefgh"), 5).tolist())
    assert tuple(copies) == pytest.approx(tuple(one), abs=0.1)
    blind = bootstrap_correlation(np.repeat(x, 5), np.repeat(y, 5))
    assert blind.high - blind.low < 0.7 * (copies.high - copies.low)


def study(models: int = 9, n: int = 400, seed: int = 0) -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(seed)
    source = np.linspace(0.6, 0.8, models)
    return source, [(rng.random((models, n)) < source[:, None]).astype(float) for _ in range(3)]


def test_images_vary_less_than_models_and_both_vary_most():
    source, right = study()
    width = {}
    for over in ("models", "examples", "both"):
        found = bootstrap_study(source, right, over=over, resamples=800)
        width[over] = found.high - found.low
        assert found.low < found.value <= found.high
    assert width["examples"] < width["both"]
    many = bootstrap_study(source, [np.repeat(one, 9, axis=1) for one in right], over="examples", resamples=800)
    assert many.high - many.low < width["examples"]


def test_what_is_drawn_must_be_known_and_right_be_0_or_1():
    source, right = study()
    with pytest.raises(BadInput, match="families need a name per model"):
        bootstrap_study(source, right, over="families")
    with pytest.raises(BadInput, match="numbers from 0 to 1 expected"):
        bootstrap_study(source, [one + 0.5 for one in right])
    with pytest.raises(BadInput, match="one per model"):
        bootstrap_correlation([1, 2, 3], [1, 3, 2], families=["a"])
