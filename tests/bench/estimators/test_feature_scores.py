import numpy as np
import pytest

from featune.bench.estimators import h_score, leep, logme, nleep, transrate
from featune.bench.estimators.feature_scores import _shrinkage
from featune.engine.errors import BadInput

SHAPES = {"tall": (90, 12), "wide": (30, 50), "square": (24, 24)}
SCORES = [logme, h_score, transrate, nleep]


def drawn(n: int, width: int, classes: int = 3, seed: int = 0, apart: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows of classes whose means lie `apart`, in columns of very different spread."""
    rng = np.random.default_rng(seed)
    labels = np.r_[np.arange(classes), rng.integers(0, classes, n - classes)]
    rows = rng.normal(size=(n, width)) + apart * rng.normal(size=(classes, width))[labels]
    return rows * np.geomspace(0.1, 3, width) + 0.5, labels


def log_evidence(rows: np.ndarray, y: np.ndarray, log_alpha: float, log_beta: float) -> float:
    """Of y = rows w + noise with the weights integrated out: a Gaussian density, by scipy."""
    from scipy.stats import multivariate_normal

    log_alpha, log_beta = np.clip([log_alpha, log_beta], -25, 25)  # without noise in the limit, where that is best
    covariance = rows @ rows.T / np.exp(log_alpha) + np.eye(len(y)) / np.exp(log_beta)
    return float(multivariate_normal(np.zeros(len(y)), covariance).logpdf(y))


def best_evidence(rows: np.ndarray, y: np.ndarray) -> float:
    """The largest over alpha and beta that scipy finds from several starts."""
    from scipy.optimize import minimize

    found = [
        minimize(lambda at: -log_evidence(rows, y, *at), start, method="Nelder-Mead",
                 options={"xatol": 1e-7, "fatol": 1e-10, "maxiter": 2000}).fun
        for start in ((0, 0), (4, 2), (0, 4))
    ]  # fmt: skip
    return -min(found)


# --- LogME


@pytest.mark.parametrize("shape", SHAPES)
def test_logme_is_the_evidence_that_scipy_maximises_over_both_precisions(shape: str) -> None:
    rows, labels = drawn(*SHAPES[shape])
    expected = np.mean([best_evidence(rows, (labels == c).astype(float)) for c in range(3)]) / len(rows)
    assert logme(rows, labels) == pytest.approx(expected, abs=1e-7)


def test_logme_of_one_feature_and_two_images_is_worked_by_hand() -> None:
    # Rows (1, 0), class columns (1, 0) and (0, 1). For the first, covariance diag(1 / a + 1 / b, 1 / b): the second
    # entry is 0 and the noise vanishes; for the second, y lies in the noise alone: its variance is 1 on the second
    # entry and, as a prior makes only the first wider, 1 / a = 0: both variances 1/2.
    noise_only = -np.log(2 * np.pi / 2) - 1
    rows, labels = np.array([[1.0], [0.0]]), np.array([0, 1])
    at_bound = logme(rows, labels) * 2 * 2 - noise_only
    ratio = 1e-12  # the least noise that is let in: y = 1 with variance (1 + ratio) k and 0 with ratio k
    k = 1 / (1 + ratio) / 2
    expected = -np.log(2 * np.pi) - 0.5 * np.log((1 + ratio) * ratio * k**2) - 1
    assert at_bound == pytest.approx(expected, rel=1e-9)


def test_logme_of_several_labels_per_image_is_the_mean_over_the_classes_columns() -> None:
    rows, _ = drawn(60, 8)
    truth = np.random.default_rng(1).random((60, 3)) < 0.4
    expected = np.mean([best_evidence(rows, column.astype(float)) for column in truth.T]) / 60
    assert logme(rows, truth) == pytest.approx(expected, abs=1e-7)
    without_images = np.column_stack([truth, np.zeros(60, dtype=bool)])
    assert logme(rows, without_images) == logme(rows, truth)
    one_hot = np.eye(3, dtype=bool)[labels := np.arange(60) % 3]
    assert logme(rows, one_hot) == logme(rows, labels)


def test_logme_does_not_depend_on_the_basis_or_the_scale_of_the_features() -> None:
    rows, labels = drawn(80, 10)
    turn = np.linalg.qr(np.random.default_rng(2).normal(size=(10, 10)))[0]
    assert logme(rows @ turn, labels) == pytest.approx(logme(rows, labels), abs=1e-9)
    for scale in (1e-4, 1e4):
        assert logme(scale * rows, labels) == pytest.approx(logme(rows, labels), abs=1e-9)
    padded = np.column_stack([rows, np.zeros((80, 100))])  # more columns than images, and no more rank
    assert logme(padded, labels) == pytest.approx(logme(rows, labels), abs=1e-9)


# --- H-score


@pytest.mark.parametrize("shape", SHAPES)
def test_h_score_is_its_matrix_formula_with_scikit_learns_covariance(shape: str) -> None:
    from sklearn.covariance import LedoitWolf

    rows, labels = drawn(*SHAPES[shape])
    shrunken = LedoitWolf().fit(rows)
    means = np.stack([rows[labels == c].mean(axis=0) for c in range(3)])[labels]
    between = np.cov(means.T, bias=True)
    expected = np.trace(np.linalg.inv(shrunken.covariance_) @ ((1 - shrunken.shrinkage_) * between))
    assert h_score(rows, labels) == pytest.approx(expected, rel=1e-9)
    assert 0 < h_score(rows, labels) < 2


@pytest.mark.parametrize("spread", [0.0, 0.7])
@pytest.mark.parametrize("shape", SHAPES)
def test_the_shrinkage_is_scikit_learns_whether_it_is_small_or_whole(shape: str, spread: float) -> None:
    from sklearn.covariance import ledoit_wolf_shrinkage

    n, width = SHAPES[shape]
    rows = np.random.default_rng(6).normal(size=(n, width)) * np.exp(spread * np.arange(width))
    centred = rows - rows.mean(axis=0)
    eigenvalues = np.linalg.eigvalsh(centred.T @ centred)
    assert _shrinkage(centred, eigenvalues) == pytest.approx(ledoit_wolf_shrinkage(rows), rel=1e-9)


def test_logme_finds_the_largest_of_several_maxima() -> None:
    # Ten images in four columns: the fixed point from alpha = beta = 1 stops at other maxima for some scales.
    rng = np.random.default_rng(0)
    for _ in range(20):
        n, width = rng.integers(6, 20), rng.integers(2, 20)
        rows, labels = rng.normal(size=(n, width)) * 10.0 ** rng.integers(-3, 4), np.arange(n) % 2
        gram, columns = rows @ rows.T, np.eye(2)[labels]
        largest = np.full(2, -np.inf)
        for ratio in np.geomspace(1e-12, 1e12, 400) * np.linalg.norm(rows, 2) ** 2:
            covariance = gram + ratio * np.eye(n)
            scale = (columns * np.linalg.solve(covariance, columns)).sum(axis=0) / n
            log_determinant = np.linalg.slogdet(covariance)[1]
            largest = np.maximum(largest, -0.5 * (n * np.log(2 * np.pi * scale) + log_determinant + n))
        assert logme(rows, labels) >= largest.mean() / n - 1e-7


def test_h_score_of_one_feature_is_the_share_of_variance_between_classes_by_hand() -> None:
    # One column is not shrunk. -3, -1, 1, 3 with class means -2, 2: 4 of a variance of 5.
    rows = np.array([[-3.0], [-1.0], [1.0], [3.0]])
    assert h_score(rows, np.array([0, 0, 1, 1])) == pytest.approx(4 / 5, rel=1e-12)


# --- TransRate


@pytest.mark.parametrize("shape", SHAPES)
def test_transrate_is_its_definition_by_determinants(shape: str) -> None:
    rows, labels = drawn(*SHAPES[shape])
    z = rows - rows.mean(axis=0)
    identity = np.eye(z.shape[1])

    def rate(part: np.ndarray) -> float:
        return 0.5 * float(np.linalg.slogdet(identity + part.T @ part / (len(part) * 1e-4))[1])

    expected = rate(z) - sum((labels == c).mean() * rate(z[labels == c]) for c in range(3))
    assert transrate(rows, labels) == pytest.approx(expected, rel=1e-9)


def test_transrate_of_balanced_classes_is_the_authors_plain_mean_over_classes() -> None:
    # Rows -2, 0, 0, 2 in classes 0, 0, 1, 1 and epsilon 1: 1 + 8 / 4 over all, 1 + 4 / 2 within each class.
    rows, labels = np.array([[-2.0], [0.0], [0.0], [2.0]]), np.array([0, 0, 1, 1])
    assert transrate(rows, labels, epsilon=1) == pytest.approx(np.log(3) / 2 - (np.log(3) / 2 + np.log(3) / 2) / 2)
    # -2, -2, 2, 2: 1 + 16 / 4 over all and within. Apart only in the means, which stay in each class's rate.
    shifted = np.array([[-2.0, 0.0], [-2.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
    # Centred: (-1, -1) twice and (1, 1) twice: one direction of variance 2 everywhere.
    assert transrate(shifted, labels, epsilon=1) == pytest.approx(0, abs=1e-12)


# --- N-LEEP


def test_nleep_is_leep_of_the_mixtures_responsibilities() -> None:
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture

    rows, labels = drawn(200, 6, classes=2, apart=3)
    reduced = PCA(0.8, svd_solver="full").fit_transform(rows)
    reduced /= reduced.std()
    theta = GaussianMixture(10, random_state=4).fit(reduced).predict_proba(reduced)
    assert nleep(rows, labels, seed=4) == pytest.approx(leep(theta, labels), rel=1e-9)
    assert nleep(rows, labels, seed=4) == nleep(rows, labels, seed=4)


def test_nleep_does_not_depend_on_the_scale_of_the_features() -> None:
    rows, labels = drawn(200, 6, classes=2, apart=1)
    assert nleep(rows * 2.0**-14, labels) == pytest.approx(nleep(rows, labels), rel=1e-9)


def test_a_mixture_that_would_not_fit_into_memory_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from featune.bench.estimators import feature_scores

    rows, labels = drawn(60, 8)
    monkeypatch.setattr(feature_scores, "MIXTURE_BYTES", 100.0)
    with pytest.raises(BadInput, match="leave nleep out"):
        nleep(rows, labels)


def test_nleep_of_clusters_that_are_the_classes_is_zero() -> None:
    rng = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], 40)
    rows = np.array([[0.0, 0.0], [50.0, 0.0], [0.0, 50.0]])[labels] + rng.normal(size=(120, 2))
    assert nleep(rows, labels) == pytest.approx(0, abs=1e-6)


# --- All of them


@pytest.mark.parametrize("score", SCORES)
def test_features_in_which_classes_lie_apart_score_higher_than_ones_that_know_nothing(score: object) -> None:
    apart, labels = drawn(120, 8, apart=3)
    nothing, _ = drawn(120, 8, apart=0)
    assert score(apart, labels) > score(nothing, labels)  # type: ignore[operator]


@pytest.mark.parametrize("score", SCORES)
def test_odd_but_valid_features_have_finite_scores(score: object) -> None:
    rng = np.random.default_rng(0)
    labels = np.array([0, 1, 1, 2, 2, 2, 2])  # one image of class 0
    shapes = {
        "fewer images than columns": rng.normal(size=(7, 30)),
        "one column": rng.normal(size=(7, 1)),
        "equal rows": np.full((7, 5), 0.3),
        "rows of zeros": np.zeros((7, 5)),
        "two rows over and over": np.tile([[1.0, 2.0], [2.0, 1.0]], (4, 1))[:7],
        "some columns constant": np.column_stack([rng.normal(size=(7, 2)), np.ones((7, 3))]),
    }
    for name, rows in shapes.items():
        for truth in (labels, np.minimum(labels, 1)):
            assert np.isfinite(score(rows.astype(np.float32), truth)), name  # type: ignore[operator]


@pytest.mark.parametrize("value", [0.0, 0.3, -7e3])
def test_equal_rows_tell_no_class_apart(value: float) -> None:
    rows, labels = np.full((6, 4), value), np.array([0, 0, 0, 1, 1, 2])
    assert h_score(rows, labels) == 0
    assert transrate(rows, labels) == pytest.approx(0, abs=1e-9)
    share = np.array([3, 2, 1]) / 6
    assert nleep(rows, labels) == pytest.approx((share * np.log(share)).sum())


@pytest.mark.parametrize("score", SCORES)
def test_rows_that_are_no_features_of_these_labels_are_refused(score: object) -> None:
    rows, labels = drawn(20, 4)
    several = np.eye(3, dtype=bool)[labels]
    wrong = [
        (labels, rows, "features"),
        (rows, labels[:9], "as many of each"),
        (rows * np.inf, labels, "finite"),
        (rows, np.zeros(20, dtype=int), "two classes or more"),
        *([(rows, several, "one whole number per image")] if score is not logme else []),
    ]
    for given, truth, says in wrong:
        with pytest.raises(BadInput, match=says), np.errstate(invalid="ignore"):
            score(given, truth)  # type: ignore[operator]
