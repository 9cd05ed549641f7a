"""Nearest neighbours, ridge and class means against scikit-learn, and the draws of few-shot samples."""

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid

from featune.engine.errors import BadInput
from featune.engine.logistic_regression import ABSENT
from featune.engine.probe import class_means, few_shot, knn, ridge
from featune.engine.probe.nearest_neighbours import as_points, nearest
from featune.engine.probe.ridge_classifier import fit_ridge_path


def cloud(n: int, d: int, classes: int, seed: int = 0) -> tuple[NDArray, NDArray]:
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    return (rng.standard_normal((classes, d))[labels] + 2 * rng.standard_normal((n, d))).astype(np.float32), labels


def top1(truth: NDArray, scores: NDArray) -> float:
    return float((scores.argmax(1) == truth).mean())


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
@pytest.mark.parametrize("weighting", ["uniform", "distance"])
@pytest.mark.parametrize("count", [1, 2, 6, 25])
def test_votes_and_classes_are_scikit_learns(distance: str, weighting: str, count: int) -> None:
    rows, labels = cloud(300, 20, 4)
    others, _ = cloud(80, 20, 4, seed=1)
    others[:5] = rows[:5]
    rows[9] = 0
    ours = knn(
        rows[:200], labels[:200], rows[200:], labels[200:], top1, [count], distance=distance, weighting=weighting
    )
    model = KNeighborsClassifier(count, weights=weighting, metric=distance, algorithm="brute")
    model.fit(rows.astype(np.float64), labels)
    # A copy is at distance 0 here and at 1e-16 in scikit-learn, so its weight is 1 here and nearly 1 there.
    np.testing.assert_allclose(ours(others), model.predict_proba(others.astype(np.float64)), atol=1e-6)
    np.testing.assert_array_equal(ours(others).argmax(1), model.predict(others.astype(np.float64)))


def test_equally_distant_neighbours_come_in_the_order_of_their_rows() -> None:
    points = np.repeat(np.array([[1.0, 0], [0, 1], [-1, 0], [0, -1]]), 30, axis=0)
    points = points[np.random.default_rng(0).permutation(120)]
    near, apart = nearest(as_points(points, "euclidean"), as_points(np.zeros((1, 2)), "euclidean"), 50, "euclidean")
    np.testing.assert_array_equal(near[0], np.arange(50))
    np.testing.assert_array_equal(apart, 1)


def test_a_row_of_zeros_has_cosine_0_to_every_row() -> None:
    points, others = as_points(np.eye(2), "cosine"), as_points(np.array([[0.0, 0], [3, 4]]), "cosine")
    np.testing.assert_allclose(nearest(points, others, 2, "cosine")[1], [[1, 1], [0.2, 0.4]], atol=1e-15)
    np.testing.assert_allclose(nearest(others, others[:1], 2, "cosine")[1], [[1, 1]], atol=1e-15)


def test_temperature_weighs_votes_by_the_exponential_of_the_cosine() -> None:
    rows = np.array([[1.0, 0], [0.6, 0.8], [0, 1]])
    fit = knn(rows[:2], [0, 1], rows[2:], [1], top1, [2], temperature=0.5)
    shares = np.exp([1 / 0.5, 0.6 / 0.5])
    np.testing.assert_allclose(fit(rows[:1])[0], shares / shares.sum(), rtol=1e-6)


def test_the_count_is_chosen_on_val_and_of_equals_the_largest() -> None:
    rows, labels = cloud(200, 10, 2)
    values = iter([0.3, 0.7, 0.7, 0.1])
    fit = knn(rows[:100], labels[:100], rows[100:], labels[100:], lambda t, s: next(values), [9, 1, 3, 27, 101])
    assert fit.counts == (1, 3, 9, 27)
    assert fit.count == 9
    assert len(fit.points) == 200


def test_several_labels_vote_for_themselves() -> None:
    rows, labels = cloud(120, 10, 3)
    truth = np.stack([labels == 0, labels != 1], 1)
    fit = knn(
        rows[:80], truth[:80], rows[80:], truth[80:], lambda t, s: 0.0, [5], weighting="uniform", distance="euclidean"
    )
    expected = KNeighborsClassifier(5, algorithm="brute").fit(rows, truth[:, 1]).predict_proba(rows)[:, 1]
    np.testing.assert_allclose(fit(rows)[:, 1], expected, atol=1e-6)


@pytest.mark.parametrize(("n", "d", "classes"), [(120, 30, 4), (40, 90, 3), (50, 8, 2)])
def test_ridge_scores_are_scikit_learns_at_every_penalty(n: int, d: int, classes: int) -> None:
    rows, labels = cloud(n, d, classes)
    penalties = [1e-3, 1.0, 1e3]
    weights, bias = fit_ridge_path(rows, labels[:, None] == np.arange(classes), penalties, at_once=17)
    for index, penalty in enumerate(penalties):
        model = RidgeClassifier(alpha=penalty, solver="svd").fit(rows.astype(np.float64), labels)
        found = rows.astype(np.float64) @ weights[index].T + bias[index]
        expected = model.decision_function(rows.astype(np.float64))
        np.testing.assert_allclose(found if classes > 2 else found[:, 1], expected, rtol=1e-7, atol=1e-9)


def test_ridge_chooses_on_val_and_refits_on_both() -> None:
    rows, labels = cloud(200, 10, 3)
    fit = ridge(rows[:150], labels[:150], rows[150:], labels[150:], top1, [1e-2, 1e1, 1e4])
    model = RidgeClassifier(alpha=fit.penalty).fit(rows.astype(np.float64), labels)
    np.testing.assert_allclose(fit(rows), model.decision_function(rows.astype(np.float64)), atol=1e-5)
    assert fit.val_values.max() == fit.val_values[list(fit.penalties).index(fit.penalty)]


def test_class_means_are_scikit_learns_centroids() -> None:
    rows, labels = cloud(150, 10, 4)
    fit = class_means(rows, labels, distance="euclidean")
    np.testing.assert_array_equal(fit(rows).argmax(1), NearestCentroid().fit(rows, labels).predict(rows))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    means = np.stack([unit[labels == i].mean(0) for i in range(4)])
    expected = unit @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T
    np.testing.assert_allclose(class_means(rows, labels)(rows), expected, atol=1e-6)


def test_a_class_without_examples_never_wins() -> None:
    rows, labels = cloud(60, 10, 2)
    assert (class_means(rows, labels, classes=3)(rows)[:, 2] == ABSENT).all()
    assert (knn(rows, labels, rows, labels, top1, [3], classes=3)(rows)[:, 2] == 0).all()


def test_few_shot_draws_k_rows_of_each_class_and_repeats_by_seed() -> None:
    _, labels = cloud(90, 2, 3)
    draws = few_shot(labels, 5, 4, seed=1)
    assert all((np.bincount(labels[draw]) == 5).all() and len(set(draw)) == 15 for draw in draws)
    np.testing.assert_array_equal(draws[:2], few_shot(labels, 5, 2, seed=1))
    assert len({draw.tobytes() for draw in (*draws, *few_shot(labels, 5, 4, seed=2))}) == 8


def test_bad_input_is_refused() -> None:
    rows, labels = cloud(20, 3, 2)
    with pytest.raises(BadInput, match="class 0 has 10 rows; expected 11 or more"):
        few_shot(labels, 11, 1, 0)
    with pytest.raises(BadInput, match="expected one of 1 to 20"):
        knn(rows, labels, rows, labels, top1, [21])
    with pytest.raises(BadInput, match="expected cosine or euclidean"):
        knn(rows, labels, rows, labels, top1, distance="manhattan")
    rows[4, 1] = np.inf
    for fit in (lambda: knn(rows, labels, rows, labels, top1), lambda: class_means(rows, labels),
                lambda: ridge(rows, labels, rows, labels, top1)):  # fmt: skip
        with pytest.raises(BadInput, match=r"1 of 20 rows hold NaN or infinity \(rows 4\)"):
            fit()


def test_a_class_with_too_few_rows_for_the_shots_is_named() -> None:
    with pytest.raises(BadInput, match="class newt has 2 rows; expected 3 or more; lower the shots"):
        few_shot([0, 0, 0, 1, 1], 3, 1, 0, ("frog", "newt"))
    with pytest.raises(BadInput, match="class 1 has 2 rows"):
        few_shot([0, 0, 0, 1, 1], 3, 1, 0)
    with pytest.raises(BadInput, match="expected one label each"):
        few_shot(np.eye(3, dtype=bool), 1, 1, 0)
