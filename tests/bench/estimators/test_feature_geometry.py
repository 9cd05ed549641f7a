"""Class separation, CKA and the Frechet distance against formulas that are written out."""

import numpy as np
import pytest

from featune.bench.estimators import class_separation, frechet_distance, linear_cka
from featune.engine.errors import BadInput

RNG = np.random.default_rng(0)
TRUTH = np.repeat([0, 1, 2], [5, 8, 11])
ROWS = RNG.normal(size=(24, 6)) + 2 * np.eye(6)[TRUTH]


def written_out(rows: np.ndarray, labels: np.ndarray) -> float:
    """The paper's sums over all pairs: 1 - d_within / d_total."""
    from sklearn.metrics.pairwise import cosine_distances

    distance, classes = cosine_distances(rows), np.unique(labels)
    within = np.mean([distance[np.ix_(labels == k, labels == k)].mean() for k in classes])
    total = np.mean([distance[np.ix_(labels == j, labels == k)].mean() for j in classes for k in classes])
    return 1 - within / total


def test_class_separation_is_the_papers_sum_over_pairs() -> None:
    assert class_separation(ROWS, TRUTH) == pytest.approx(written_out(ROWS, TRUTH))


def test_class_separation_of_points_is_one_and_does_not_know_scale_or_rotation() -> None:
    assert class_separation(np.eye(3)[TRUTH], TRUTH) == pytest.approx(1)
    turned = ROWS @ np.linalg.qr(RNG.normal(size=(6, 6)))[0]
    assert class_separation(turned * RNG.uniform(1, 9, (24, 1)), TRUTH) == pytest.approx(class_separation(ROWS, TRUTH))


def test_class_separation_of_classes_that_mean_nothing_is_small_and_of_one_direction_undefined() -> None:
    anyhow = RNG.normal(size=(6000, 6))
    assert abs(class_separation(anyhow, RNG.integers(0, 3, 6000))) < 0.01
    assert np.isnan(class_separation(np.ones((6, 2)), [0, 0, 1, 1, 2, 2]))
    with pytest.raises(BadInput, match="24 rows and 6 labels"):
        class_separation(ROWS, [0, 0, 1, 1, 2, 2])


def hsic_1(k: np.ndarray, other: np.ndarray) -> float:
    """Song et al. 2012, equation 5, with its matrices."""
    n, k, other = len(k), k - np.diag(np.diag(k)), other - np.diag(np.diag(other))
    ones = np.ones(n)
    whole = np.trace(k @ other) + (ones @ k @ ones) * (ones @ other @ ones) / ((n - 1) * (n - 2))
    return (whole - 2 / (n - 2) * ones @ k @ other @ ones) / (n * (n - 3))


@pytest.mark.parametrize(("n", "widths"), [(24, (6, 9)), (10, (40, 7)), (5, (30, 50))])
def test_cka_is_its_definition_by_gram_matrices(n: int, widths: tuple[int, int]) -> None:
    a, b = (RNG.normal(size=(n, width)) + 3 for width in widths)
    k, other = a @ a.T, b @ b.T
    expected = hsic_1(k, other) / np.sqrt(hsic_1(k, k) * hsic_1(other, other))
    assert linear_cka(a, b) == pytest.approx(expected)
    centre = np.eye(n) - 1 / n
    k, other = centre @ k @ centre, centre @ other @ centre
    plain = (k * other).sum() / (np.linalg.norm(k) * np.linalg.norm(other))
    assert linear_cka(a, b, debiased=False) == pytest.approx(plain)


@pytest.mark.parametrize("debiased", [True, False])
def test_cka_of_the_same_features_turned_scaled_and_moved_is_one(debiased: bool) -> None:
    turned = 7 * ROWS @ np.linalg.qr(RNG.normal(size=(6, 6)))[0] + 3
    assert linear_cka(ROWS, turned, debiased=debiased) == pytest.approx(1)
    assert np.isnan(linear_cka(ROWS, np.ones((24, 2)), debiased=debiased))


def test_wide_features_of_few_images_look_alike_only_without_the_correction() -> None:
    a, b = RNG.normal(size=(40, 500)), RNG.normal(size=(40, 500))
    assert linear_cka(a, b, debiased=False) > 0.8
    assert abs(linear_cka(a, b)) < 0.05


def test_cka_of_other_images_is_refused() -> None:
    with pytest.raises(BadInput, match="the same images"):
        linear_cka(ROWS, ROWS[:5])


def with_moments(mean: np.ndarray, covariance: np.ndarray, n: int) -> np.ndarray:
    """n rows whose mean and covariance are these exactly."""
    drawn = RNG.normal(size=(n, len(mean)))
    drawn -= drawn.mean(axis=0)
    own = np.linalg.cholesky(np.cov(drawn.T).reshape(len(mean), -1))
    return drawn @ np.linalg.inv(own).T @ np.linalg.cholesky(covariance).T + mean


def test_the_frechet_distance_of_commuting_gaussians_is_the_closed_form() -> None:
    """|m1 - m2|^2 + sum of (sqrt a - sqrt b)^2 over the eigenvalues that they have in the same directions."""
    basis = np.linalg.qr(RNG.normal(size=(5, 5)))[0]
    first, second = np.array([1.0, 4, 9, 0.25, 2]), np.array([4.0, 1, 9, 1, 0.5])
    m1, m2 = RNG.normal(size=5), RNG.normal(size=5)
    one = with_moments(m1, basis * first @ basis.T, 300)
    other = with_moments(m2, basis * second @ basis.T, 200)
    expected = ((m1 - m2) ** 2).sum() + ((np.sqrt(first) - np.sqrt(second)) ** 2).sum()
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(other, one) == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize(("n", "m", "width"), [(300, 200, 20), (8, 30, 20), (6, 9, 50)])
def test_the_frechet_distance_is_that_of_scipys_matrix_root(n: int, m: int, width: int) -> None:
    from scipy.linalg import sqrtm

    one, other = RNG.normal(size=(n, width)) * RNG.uniform(0.1, 3, width), RNG.normal(size=(m, width)) + 0.3
    s1, s2 = np.cov(one.T), np.cov(other.T)
    away = ((one.mean(0) - other.mean(0)) ** 2).sum()
    expected = away + np.trace(s1) + np.trace(s2) - 2 * np.trace(sqrtm(s1 @ s2)).real
    assert frechet_distance(one, other) == pytest.approx(expected, rel=1e-5)


def test_a_set_is_at_no_distance_from_itself_though_its_covariance_is_singular() -> None:
    rows = RNG.normal(size=(7, 30)) * 1e3
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6 * np.trace(np.cov(rows.T)))
    assert frechet_distance(rows, rows + 2) == pytest.approx(4 * 30)
    with pytest.raises(BadInput, match="width 30 and 6"):
        frechet_distance(rows, ROWS)
