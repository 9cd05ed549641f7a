import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from featune.bench.estimators import leep, nce
from featune.engine.errors import BadInput
from featune.engine.metrics import softmax

# Four images, three source classes, two target classes; worked by hand below.
TABLE = np.array([[0.5, 0.5, 0.0], [0.5, 0.25, 0.25], [0.0, 0.5, 0.5], [0.0, 0.25, 0.75]])
LABELS = np.array([0, 0, 1, 1])


def negative_entropy(labels: np.ndarray) -> float:
    share = np.bincount(labels) / len(labels)
    return float((share[share > 0] * np.log(share[share > 0])).sum())


def drawn(seed: int, n: int = 40, sources: int = 7, targets: int = 4) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return softmax(3 * rng.normal(size=(n, sources))), np.r_[np.arange(targets), rng.integers(0, targets, n - targets)]


def test_leep_of_a_table_of_four_images_is_what_a_hand_finds() -> None:
    # Sums of the columns over target 0, 1: (1, 0), (3/4, 3/4), (1/4, 5/4); so P(0 | z) = 1, 1/2, 1/6.
    # Image 1: 1/2 + 1/2 * 1/2 = 3/4.  Image 2: 1/2 + 1/4 * 1/2 + 1/4 * 1/6 = 2/3.
    # Image 3: 1/2 * 1/2 + 1/2 * 5/6 = 2/3.  Image 4: 1/4 * 1/2 + 3/4 * 5/6 = 3/4.
    assert leep(TABLE, LABELS) == pytest.approx(np.log(3 / 4 * 2 / 3) / 2, rel=1e-14)


def test_nce_of_likeliest_source_classes_is_the_conditional_entropy_by_hand() -> None:
    # Source classes 0, 0, 1, 1, 1, 2 for targets 0, 0, 0, 1, 1, 1: only source class 1 leaves a doubt, of 1/3 and 2/3.
    hard = np.eye(3)[[0, 0, 1, 1, 1, 2]]
    expected = (1 * np.log(1 / 3) + 2 * np.log(2 / 3)) / 6
    assert nce(hard, np.array([0, 0, 0, 1, 1, 1])) == pytest.approx(expected, rel=1e-14)


@given(st.integers(0, 200))
def test_leep_of_certain_predictions_is_nce_and_otherwise_no_less_than_knowing_nothing(seed: int) -> None:
    theta, labels = drawn(seed)
    hard = np.eye(theta.shape[1])[theta.argmax(axis=1)]
    assert leep(hard, labels) == pytest.approx(nce(theta, labels), abs=1e-12)
    assert negative_entropy(labels) - 1e-12 <= leep(theta, labels) <= 0
    assert negative_entropy(labels) - 1e-12 <= nce(theta, labels) <= 0


def test_leep_agrees_with_loops_over_its_definition() -> None:
    theta, labels = drawn(3)
    total = 0.0
    for image in range(len(labels)):
        inner = 0.0
        for source in range(theta.shape[1]):
            with_label = sum(theta[i, source] for i in range(len(labels)) if labels[i] == labels[image])
            inner += with_label / theta[:, source].sum() * theta[image, source]
        total += np.log(inner)
    assert leep(theta, labels) == pytest.approx(total / len(labels), rel=1e-12)


def test_a_source_that_knows_the_target_scores_zero_and_one_that_says_nothing_its_entropy() -> None:
    labels = np.array([0, 0, 1, 2, 2, 2])
    assert leep(np.eye(5)[labels + 1], labels) == pytest.approx(0, abs=1e-15)
    assert nce(np.eye(5)[labels + 1], labels) == 0
    blank = np.full((6, 4), 0.25)
    assert leep(blank, labels) == pytest.approx(negative_entropy(labels), rel=1e-14)
    assert nce(blank, labels) == pytest.approx(negative_entropy(labels), rel=1e-14)


def test_scores_know_classes_by_their_differences_not_their_numbers() -> None:
    theta, labels = drawn(5)
    renamed = np.array([30, 2, 11, 7])[labels]
    order = np.random.default_rng(0).permutation(len(labels))
    for score in (leep, nce):
        assert score(theta, renamed) == pytest.approx(score(theta, labels), rel=1e-12)
        assert score(theta[order][:, ::-1], labels[order]) == pytest.approx(score(theta, labels), rel=1e-12)


@pytest.mark.parametrize(
    ("probabilities", "labels", "says"),
    [
        (LABELS, TABLE, "labels come second"),
        (3 * TABLE, LABELS, "softmax"),
        (TABLE - 0.5, LABELS, "softmax"),
        (TABLE, LABELS[:3], "as many of each"),
        (TABLE, np.zeros(4, dtype=int), "two classes or more"),
        (TABLE, np.eye(4, dtype=bool), "one whole number per image"),
    ],
)
@pytest.mark.parametrize("score", [leep, nce])
def test_what_is_no_table_of_probabilities_with_labels_is_refused(
    score: object, probabilities: np.ndarray, labels: np.ndarray, says: str
) -> None:
    with pytest.raises(BadInput, match=says):
        score(probabilities, labels)  # type: ignore[operator]
