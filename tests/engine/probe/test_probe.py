"""Linear probes against scipy, scikit-learn and numeric gradients, and at the edges."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, log_softmax
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from featune.engine.errors import BadInput
from featune.engine.logistic_regression import (
    ABSENT,
    KORNBLITH_PENALTIES,
    PathFit,
    Solver,
    fit_path,
    fit_path_multilabel,
    stacked_rows,
)
from featune.engine.logistic_regression import design_matrix as designs
from featune.engine.logistic_regression import penalty_path as paths
from featune.engine.logistic_regression.design_matrix import Design
from featune.engine.logistic_regression.losses import Sigmoid, Softmax
from featune.engine.logistic_regression.matrix_products import square, times_transposed
from featune.engine.logistic_regression.objective import Problem
from featune.engine.logistic_regression.warm_starts import Plan
from featune.engine.probe import probe
from featune.engine.probe.protocol import choose_penalty, scores


def blobs(n: int, d: int, classes: int, seed: int = 0, spread: float = 1.0) -> tuple[NDArray, NDArray]:
    """Correlated non-negative rows float32 [n, d] and labels [n], every class present."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    mixing = rng.standard_normal((d, d)) * np.arange(1, d + 1)[:, None] ** -0.5
    latent = spread * rng.standard_normal((classes, d))[labels] + rng.standard_normal((n, d))
    return np.maximum(latent @ mixing + 0.3, 0).astype(np.float32), labels


def objective(theta: NDArray, rows: NDArray, labels: NDArray, penalty: float, classes: int) -> tuple[float, NDArray]:
    """The definition, in float64: sum of cross-entropies + penalty / 2 x squared norm of the weights."""
    weights, bias = theta[:-classes].reshape(classes, -1), theta[-classes:]
    logs = log_softmax(rows @ weights.T + bias, axis=1)
    residual = np.exp(logs)
    residual[np.arange(len(labels)), labels] -= 1
    value = -logs[np.arange(len(labels)), labels].sum() + penalty / 2 * (weights**2).sum()
    return value, np.concatenate([(residual.T @ rows + penalty * weights).ravel(), residual.sum(0)])


def value_of(fit: PathFit, index: int, rows: NDArray, labels: NDArray) -> float:
    theta = np.concatenate([fit.weights[index].ravel(), fit.bias[index]]).astype(np.float64)
    return objective(theta, rows.astype(np.float64), labels, fit.penalties[index], len(fit.bias[index]))[0]


def optimum(rows: NDArray, labels: NDArray, penalty: float, classes: int, start: NDArray) -> float:
    """scipy's float64 minimum."""
    exact = rows.astype(np.float64)
    options = {"maxiter": 20_000, "maxfun": 40_000, "gtol": 1e-13, "ftol": 1e-16, "maxcor": 30}
    arguments = (exact, labels, penalty, classes)
    return minimize(objective, start, arguments, method="L-BFGS-B", jac=True, options=options).fun


def top1(truth: NDArray, found: NDArray) -> float:
    return float((found.argmax(1) == truth).mean())


@pytest.mark.parametrize("dtype", [torch.float32, None])
@pytest.mark.parametrize(("n", "d", "classes"), [(120, 8, 3), (60, 5, 2), (40, 60, 4)])
def test_every_objective_is_scipys_minimum_to_a_millionth(
    n: int, d: int, classes: int, dtype: torch.dtype | None
) -> None:
    rows, labels = blobs(n, d, classes)
    fit = fit_path(rows, labels, KORNBLITH_PENALTIES[::4], solver=Solver(dtype=dtype))
    assert fit.converged.all()
    for index, penalty in enumerate(fit.penalties):
        ours = value_of(fit, index, rows, labels)
        start = np.concatenate([fit.weights[index].ravel(), fit.bias[index]]).astype(np.float64)
        best = min(optimum(rows, labels, penalty, classes, start), optimum(rows, labels, penalty, classes, 0 * start))
        assert ours <= best * (1 + 1e-6)
        assert fit.objective[index] == pytest.approx(ours, rel=1e-6)


def test_multilabel_objectives_are_scipys_minima_to_a_millionth() -> None:
    rows, labels = blobs(90, 6, 3)
    truth = np.stack([labels == 0, labels != 1, (labels == 2) | (rows[:, 0] > 1)], 1)
    fit = fit_path_multilabel(rows, truth, KORNBLITH_PENALTIES[::9])
    exact, sign = rows.astype(np.float64), np.where(truth, 1.0, -1.0)

    def value(theta: NDArray, penalty: float, column: int) -> tuple[float, NDArray]:
        margin = -sign[:, column] * (exact @ theta[:-1] + theta[-1])
        residual = -sign[:, column] * expit(margin)
        gradient = np.append(exact.T @ residual + penalty * theta[:-1], residual.sum())
        return np.logaddexp(0, margin).sum() + penalty / 2 * (theta[:-1] ** 2).sum(), gradient

    for index, penalty in enumerate(fit.penalties):
        thetas = np.concatenate([fit.weights[index], fit.bias[index][:, None]], 1).astype(np.float64)
        ours = sum(value(theta, penalty, column)[0] for column, theta in enumerate(thetas))
        options = {"maxiter": 20_000, "maxfun": 40_000, "gtol": 1e-13, "ftol": 1e-16}
        best = sum(
            minimize(value, theta, (penalty, column), method="L-BFGS-B", jac=True, options=options).fun
            for column, theta in enumerate(thetas)
        )
        assert ours <= best * (1 + 1e-6)
        assert fit.objective[index] == pytest.approx(ours, rel=1e-6)
    assert fit.converged.all()


@pytest.mark.parametrize("several", [False, True], ids=["softmax", "sigmoid"])
def test_gradient_and_curvature_are_the_differences_of_the_objective(several: bool) -> None:
    rows, labels = blobs(40, 5, 3)
    truth = torch.from_numpy(labels[:, None] != np.arange(3))
    loss = Sigmoid(truth) if several else Softmax(torch.from_numpy(labels), 3)
    problem = Problem(Design(stacked_rows(rows), Solver(), torch.float64), loss, True)
    generator = torch.Generator().manual_seed(0)
    theta, along = torch.randn(2, 2, 3, 6, generator=generator, dtype=torch.float64)
    penalties = torch.tensor([0.3, 4.0], dtype=torch.float64)
    near = [problem.evaluate(theta + sign * 1e-5 * along, penalties) for sign in (-1, 1)]
    _, gradient = problem.evaluate(theta, penalties)
    bent = problem.curve(along, penalties, torch.arange(2))
    torch.testing.assert_close((near[1][0] - near[0][0]) / 2e-5, (gradient * along).sum((1, 2)), rtol=1e-7, atol=1e-7)
    torch.testing.assert_close((near[1][1] - near[0][1]) / 2e-5, bent, rtol=1e-6, atol=1e-6)
    torch.testing.assert_close(problem.curve(along[1:], penalties[1:], torch.tensor([1])), bent[1:])


def test_products_have_all_the_digits_of_their_type() -> None:
    generator = torch.Generator().manual_seed(0)
    left, right = (torch.randn(size, 300, generator=generator, dtype=torch.float64) for size in (50, 7))
    exact, halves = left @ right.T, left.float()
    torch.testing.assert_close(times_transposed(left, right), exact)
    torch.testing.assert_close(times_transposed(halves, right.float()).double(), exact, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(times_transposed(halves.T.contiguous(), halves.T), square(halves), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(square(left), left.T @ left)


@pytest.mark.parametrize("several", [False, True], ids=["softmax", "sigmoid"])
def test_a_class_s_own_bracket_is_its_block_of_the_hessian(several: bool) -> None:
    rows, labels = blobs(40, 5, 3)
    truth = torch.from_numpy(labels[:, None] != np.arange(3))
    loss = Sigmoid(truth) if several else Softmax(torch.from_numpy(labels), 3)
    problem = Problem(Design(stacked_rows(rows), Solver(), torch.float64), loss, True)
    matrix = problem.design.kept
    assert matrix is not None
    theta = torch.randn(1, 3, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    problem.evaluate(theta, torch.tensor([0.0]).double())

    def plain(theta: torch.Tensor) -> torch.Tensor:
        logits = matrix @ theta.T
        if several:
            return torch.nn.functional.softplus(torch.where(truth, -1.0, 1.0) * logits).sum()
        return torch.nn.functional.cross_entropy(logits, torch.from_numpy(labels), reduction="sum")

    hessian = torch.autograd.functional.hessian(plain, theta[0])
    blocks = problem.own_brackets() * problem.class_curvature[0, :, None, None]
    for number, block in enumerate(blocks):
        torch.testing.assert_close(block, hessian[number, :, number])


def nearly_separable(n: int = 480, d: int = 96, classes: int = 12) -> tuple[NDArray, NDArray]:
    """Rows of a spectrum that falls by four orders and overlapping classes, like those of a small network."""
    rng = np.random.default_rng(0)
    labels = rng.permutation(np.arange(n) % classes)
    latent = 0.5 * rng.standard_normal((classes, 16))[labels] + rng.standard_normal((n, 16))
    hidden = np.maximum(latent @ rng.standard_normal((16, 64)) / 4, 0)
    rows = np.maximum(hidden @ rng.standard_normal((64, d)) / 8, 0) + 1e-3 * rng.standard_normal((n, d))
    return rows.astype(np.float32), labels


@pytest.mark.parametrize("dtype", [torch.float32, None])
def test_nearly_separable_classes_converge_at_every_penalty_in_few_products(dtype: torch.dtype | None) -> None:
    rows, labels = nearly_separable()
    fit = fit_path(rows, labels, KORNBLITH_PENALTIES, solver=Solver(dtype=dtype))
    assert fit.converged.all()
    assert fit.products.mean() < 60


def test_classes_own_brackets_save_most_products_and_change_no_objective(monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = nearly_separable()
    own = fit_path(rows, labels, KORNBLITH_PENALTIES[10:20])
    monkeypatch.setattr(paths, "Plan", lambda in_flight, keep_states, own_fits: Plan(in_flight, keep_states, False))
    shared = fit_path(rows, labels, KORNBLITH_PENALTIES[10:20])
    np.testing.assert_allclose(own.objective, shared.objective, rtol=1e-6)
    assert own.products.sum() < shared.products.sum() / 3


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_scores_are_those_of_scikit_learn(fit_intercept: bool) -> None:
    rows, labels = blobs(150, 10, 4)
    fit = fit_path(rows, labels, [0.1, 10.0], solver=Solver(fit_intercept, tolerance=1e-10))
    for index, penalty in enumerate(fit.penalties):
        model = LogisticRegression(C=1 / penalty, tol=1e-8, max_iter=10_000, fit_intercept=fit_intercept)
        expected = model.fit(rows.astype(np.float64), labels).decision_function(rows)
        found = scores(fit, index, rows)
        np.testing.assert_allclose(found - found.mean(1, keepdims=True), expected, atol=2e-3)


def test_standardised_weights_serve_raw_rows() -> None:
    rows, labels = blobs(150, 10, 4)
    rows = rows * np.logspace(-2, 2, 10, dtype=np.float32)
    rows[:, 3] = 7
    scaled = StandardScaler().fit_transform(rows.astype(np.float64))
    model = LogisticRegression(C=0.5, tol=1e-8, max_iter=10_000).fit(scaled, labels)
    found = scores(fit_path(rows, labels, [2.0], solver=Solver(standardise=True, tolerance=1e-10)), 0, rows)
    np.testing.assert_allclose(found - found.mean(1, keepdims=True), model.decision_function(scaled), atol=2e-3)


def test_separable_rows_at_the_weakest_penalty_are_finite_and_say_whether_they_converged() -> None:
    rows, labels = blobs(60, 8, 3, spread=20)
    free = fit_path(rows, labels, [1e-6])
    assert free.converged.all()
    assert np.isfinite(free.weights).all()
    assert (scores(free, 0, rows).argmax(1) == labels).all()
    hurried = fit_path(rows, labels, [1e-6], solver=Solver(max_iterations=2))
    assert not hurried.converged.any()
    assert hurried.gap[0] > 1e-3


@pytest.mark.parametrize("seed", range(6))
def test_the_reported_gap_is_of_the_order_of_the_true_one(seed: int) -> None:
    rows, labels = blobs(150, 5 + 20 * seed, 5, seed=seed, spread=0.5)
    labels[: 25 * seed] = 0
    fit = fit_path(rows, labels, KORNBLITH_PENALTIES[::8], solver=Solver(tolerance=1e-3))
    exact = fit_path(rows, labels, KORNBLITH_PENALTIES[::8], solver=Solver(tolerance=1e-11, dtype=torch.float64))
    assert fit.converged.all()
    assert (fit.objective <= exact.objective * 1.01).all()
    assert fit.products.sum() < exact.products.sum()


@pytest.mark.parametrize("fast", [False, True])
def test_products_in_bfloat16_change_the_way_and_not_the_end(fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, labels = blobs(200, 30, 5)
    exact = fit_path(rows, labels, KORNBLITH_PENALTIES[::6], solver=Solver(tolerance=1e-10, dtype=torch.float64))
    monkeypatch.setattr(designs, "bfloat16_is_fast", lambda device: fast)
    fit = fit_path(rows, labels, KORNBLITH_PENALTIES[::6], solver=Solver(dtype=torch.float32))
    assert fit.converged.all()
    np.testing.assert_allclose(fit.objective, exact.objective, rtol=1e-6)


def test_a_constant_feature_gets_no_weight_and_changes_nothing() -> None:
    rows, labels = blobs(80, 6, 3)
    with_constant = np.concatenate([rows, np.full((80, 1), 3.5, np.float32)], 1)
    plain, fit = (fit_path(found, labels, [1e-3, 1.0]) for found in (rows, with_constant))
    np.testing.assert_allclose(fit.weights[..., -1], 0, atol=1e-5)
    np.testing.assert_allclose(fit.objective, plain.objective, rtol=1e-6)


def test_duplicating_the_rows_is_doubling_the_losses() -> None:
    rows, labels = blobs(50, 6, 3)
    once = fit_path(rows, labels, [0.5])
    twice = fit_path((rows, rows), np.concatenate([labels, labels]), [1.0])
    assert twice.objective[0] == pytest.approx(2 * once.objective[0], rel=1e-6)


def test_one_example_of_a_class_is_enough() -> None:
    rows, labels = blobs(61, 6, 3)
    labels[labels == 2] = 1
    labels[5] = 2
    fit = fit_path(rows, labels, [1e-6, 1.0])
    assert fit.converged.all()
    assert scores(fit, 0, rows)[5].argmax() == 2


def test_a_class_missing_from_train_has_finite_weights_and_never_wins() -> None:
    rows, labels = blobs(60, 6, 3)
    labels[labels == 1] = 3
    fit = fit_path(rows, labels, [1e-6, 1.0], classes=5)
    assert fit.weights.shape == (2, 5, 6)
    assert not fit.weights[:, [1, 4]].any()
    assert (fit.bias[:, [1, 4]] == ABSENT).all()
    compact = np.unique(labels, return_inverse=True)[1]
    np.testing.assert_array_equal(fit.weights[:, [0, 2, 3]], fit_path(rows, compact, [1e-6, 1.0]).weights)


def test_a_refit_from_a_fit_that_lacked_a_class_converges() -> None:
    rows, labels = blobs(90, 6, 3)
    start = fit_path(rows[labels != 1], labels[labels != 1], KORNBLITH_PENALTIES[::8], classes=3)
    warm = fit_path(rows, labels, [1e-2], start=start)
    assert warm.converged.all()
    assert warm.objective[0] == pytest.approx(fit_path(rows, labels, [1e-2]).objective[0], rel=1e-6)


def test_ten_thousand_classes_fit() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(10_000, 1_000, replace=False)
    rows = rng.standard_normal((1_000, 4)).astype(np.float32)
    fit = fit_path(rows, labels, [1e2, 1e1], classes=10_000)
    assert fit.weights.shape == (2, 10_000, 4)
    assert fit.converged.all()
    assert (fit.objective < 1_000 * np.log(1_000)).all()


def test_penalties_come_back_in_the_order_asked_repeats_included() -> None:
    rows, labels = blobs(60, 6, 3)
    fit = fit_path(rows, labels, [1.0, 100.0, 1.0, 0.01])
    assert (fit.objective[0] == fit.objective[2]) & (fit.objective[1] > fit.objective[0] > fit.objective[3])


@pytest.mark.parametrize("several", [False, True], ids=["softmax", "sigmoid"])
def test_a_memmap_beyond_the_memory_limit_gives_the_same_answer(tmp_path: Path, several: bool) -> None:
    rows, labels = blobs(4_000, 100, 3)
    np.save(tmp_path / "rows.npy", rows)
    stored = np.load(tmp_path / "rows.npy", mmap_mode="r")
    fitter = fit_path_multilabel if several else fit_path
    truth = labels[:, None] == np.arange(3) if several else labels
    penalties = KORNBLITH_PENALTIES[::6]
    whole, chunked = (
        fitter(rows, truth, penalties),
        fitter(stored, truth, penalties, solver=Solver(memory_limit=stored.nbytes // 2)),
    )
    assert whole.converged.all()
    assert chunked.converged.all()
    np.testing.assert_allclose(chunked.objective, whole.objective, rtol=1e-6)


def test_states_that_do_not_fit_are_made_again() -> None:
    rows, labels = blobs(1_500, 6, 12)
    design_bytes = 4 * rows.size
    tight = fit_path(rows, labels, [0.1, 1.0], solver=Solver(memory_limit=2 * design_bytes))
    np.testing.assert_allclose(tight.objective, fit_path(rows, labels, [0.1, 1.0]).objective, rtol=1e-6)


def test_tensors_halves_and_parts_are_rows_too() -> None:
    rows, labels = blobs(60, 6, 3)
    rows = rows.astype(np.float16)
    expected = fit_path(rows.astype(np.float32), labels, [1.0]).weights
    for same in (rows, torch.from_numpy(rows), (rows[:7], torch.from_numpy(rows[7:])), rows[:, ::-1][:, ::-1]):
        np.testing.assert_array_equal(fit_path(same, labels, [1.0]).weights, expected)


def test_the_number_of_threads_moves_the_objective_by_less_than_the_tolerance() -> None:
    rows, labels = blobs(300, 32, 3)
    fits = []
    before = torch.get_num_threads()
    for threads in (1, 1, 2):
        torch.set_num_threads(threads)
        fits.append(fit_path(rows, labels, KORNBLITH_PENALTIES[::22]))
    torch.set_num_threads(before)
    np.testing.assert_array_equal(fits[0].weights, fits[1].weights)
    np.testing.assert_allclose(fits[0].objective, fits[2].objective, rtol=1e-6)


def test_unfinite_rows_are_refused_by_number() -> None:
    rows, labels = blobs(60, 6, 3)
    rows[7, 2], rows[30, 0] = np.nan, np.inf
    with pytest.raises(BadInput, match=r"2 of 60 rows hold NaN or infinity \(rows 7, 30\)"):
        fit_path(rows, labels, [1.0])


@pytest.mark.parametrize(
    ("labels", "classes", "message"),
    [
        ([0, 1, 2, 5], 3, "label 5 found at row 3"),
        ([0, 1, -1, 1], None, "label -1 found at row 2"),
        ([0, 1, 1], None, r"labels of shape \(3,\) found; expected \[4\]"),
        ([1, 1, 1, 1], None, "expected at least two classes"),
        ([0.0, 1.0, 1.0, 0.0], None, "expected whole numbers"),
    ],
)
def test_wrong_labels_are_refused(labels: list, classes: int | None, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        fit_path(np.eye(4, dtype=np.float32), labels, [1.0], classes=classes)


def test_other_bad_input_is_refused() -> None:
    rows, labels = blobs(20, 3, 2)
    for wrong, message in ((rows[0], "expected \\[n, d\\]"), (rows[:0], "at least one row")):
        with pytest.raises(BadInput, match=message):
            fit_path(wrong, labels, [1.0])
    for penalties in ([], [0.0], [-1.0], [np.nan]):
        with pytest.raises(BadInput, match="expected positive numbers"):
            fit_path(rows, labels, penalties)
    with pytest.raises(BadInput, match="true of all rows or of none"):
        fit_path_multilabel(rows, np.ones((20, 2), bool), [1.0])
    with pytest.raises(BadInput, match="raise the limit"):
        fit_path(rows, labels, [1.0], solver=Solver(memory_limit=100))
    with pytest.raises(BadInput, match="rows of width 2 found; expected 3"):
        scores(fit_path(rows, labels, [1.0]), 0, rows[:, :2])


def test_a_class_that_is_never_or_always_true_scores_a_constant() -> None:
    rows, labels = blobs(60, 6, 3)
    truth = np.stack([labels == 0, labels >= 0, labels < 0], 1)
    found = scores(fit_path_multilabel(rows, truth, [1.0]), 0, rows)
    np.testing.assert_array_equal(found[:, 1:], np.tile([-ABSENT, ABSENT], (60, 1)))


def test_equal_values_choose_the_stronger_penalty() -> None:
    rows, labels = blobs(60, 6, 3)
    fit = fit_path(rows, labels, [1.0, 100.0, 0.01])
    assert choose_penalty(fit, rows, labels, lambda truth, found: 0.5) == 1
    sizes = iter([0.1, 0.2, 0.3])
    assert choose_penalty(fit, rows, labels, lambda truth, found: next(sizes)) == 2


def test_a_probe_chooses_on_val_and_refits_on_both() -> None:
    rows, labels = blobs(300, 20, 4)
    train, val = slice(0, 200), slice(200, 300)
    found = probe(rows[train], labels[train], rows[val], labels[val], top1, KORNBLITH_PENALTIES[::4])
    path = fit_path(rows[train], labels[train], KORNBLITH_PENALTIES[::4])
    chosen = choose_penalty(path, rows[val], labels[val], top1)
    assert found.penalty == path.penalties[chosen]
    assert found.val_values[chosen] == found.val_values.max() == top1(labels[val], scores(path, chosen, rows[val]))
    refit = fit_path(rows, labels, [found.penalty])
    np.testing.assert_allclose(found(rows), scores(refit, 0, rows), atol=1e-2)
    assert found.converged
    assert found.unconverged == 0


@pytest.mark.parametrize("seed", range(3))
def test_the_refit_of_classes_that_train_separates_and_val_does_not_converges(seed: int) -> None:
    """Fewer images than features and a weak penalty: train's weights are large, and wrong about a third of val."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(10, size=261)
    centres = rng.normal(size=(10, 512)) * 0.06
    rows = np.maximum(centres[labels] + rng.normal(size=(261, 512)), 0).astype(np.float32)

    def weakest(truth: np.ndarray, scores: np.ndarray) -> float:
        return float(np.abs(scores).max())

    found = probe(rows[:174], labels[:174], rows[174:], labels[174:], weakest, np.logspace(-4, 3, 15))
    assert found.penalty == pytest.approx(1e-4)
    assert found.converged
    assert top1(labels, found(rows)) == 1.0


def test_a_probe_counts_what_did_not_converge() -> None:
    rows, labels = blobs(120, 10, 3)
    ticks = iter([10.0, 12.5])
    hurried = probe(
        rows, labels, rows, labels, top1, [1e-6, 1e-5], solver=Solver(max_iterations=1), clock=lambda: next(ticks)
    )
    assert not hurried.converged
    assert hurried.unconverged == 2
    assert hurried.seconds == 2.5


def test_pairs_that_nobody_can_judge_have_no_part_in_the_fit() -> None:
    rng = np.random.default_rng(4)
    rows, truth = rng.normal(size=(60, 5)), rng.random((60, 3)) < 0.4
    unknown = rng.random((60, 3)) < 0.2
    judged = np.where(unknown, -1, truth)
    exact = Solver(tolerance=1e-12)
    fit = fit_path_multilabel(rows, judged, [0.3, 3.0], solver=exact)
    for k in range(3):  # each class alone, without the rows that nobody can judge
        alone = fit_path_multilabel(rows[~unknown[:, k]], truth[~unknown[:, k], k : k + 1], [0.3, 3.0], solver=exact)
        np.testing.assert_allclose(fit.weights[:, k], alone.weights[:, 0], rtol=1e-4, atol=1e-6)
        np.testing.assert_allclose(fit.bias[:, k], alone.bias[:, 0], rtol=1e-4, atol=1e-6)
    with pytest.raises(BadInput, match="values other than"):
        fit_path_multilabel(rows, np.where(unknown, 2, truth), [1.0])


def test_a_multilabel_probe_scores_every_class() -> None:
    rows, labels = blobs(200, 10, 3)
    truth = np.stack([labels == 0, labels != 1], 1)
    found = probe(rows[:150], truth[:150], rows[150:], truth[150:], lambda t, s: ((s > 0) == t).mean(), [0.1, 10.0])
    assert found(rows).shape == (200, 2)
    assert ((found(rows) > 0) == truth).mean() > 0.9


def test_a_class_seen_only_in_val_joins_the_refit() -> None:
    rows, labels = blobs(120, 10, 3)
    early = labels != 2
    found = probe(rows[early], labels[early], rows[~early], labels[~early], top1, [1.0])
    assert top1(labels, found(rows)) > 0.8


@pytest.mark.parametrize("kind", ["1e6", "1e-9", "a column of 1e6", "from 1e-4 to 1e4", "repeated rows"])
def test_features_of_any_scale_converge_to_scikit_learns_objective(kind: str) -> None:
    """Source: scikit-learn#15556, #18074 and #10866, where solvers stop short without a word."""
    rng = np.random.default_rng(0)
    base = rng.normal(size=(90, 12)).astype(np.float32)
    labels = (base[:, 0] + 0.3 * rng.normal(size=90) > 0).astype(int) + (base[:, 1] > 1)
    rows = {
        "1e6": base * np.float32(1e6),
        "1e-9": base * np.float32(1e-9),
        "a column of 1e6": np.concatenate([base, np.full((90, 1), 1e6, np.float32)], 1),
        "from 1e-4 to 1e4": base * np.logspace(-4, 4, 12, dtype=np.float32),
        "repeated rows": np.repeat(base[:30], 3, 0),
    }[kind]
    penalties = np.logspace(-3, 4, 4)
    fit = fit_path(rows, labels, penalties, classes=3)
    assert fit.converged.all()
    for at, penalty in enumerate(penalties):
        theirs = LogisticRegression(C=1 / penalty, tol=1e-12, max_iter=20000, solver="newton-cholesky")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            theirs.fit(rows.astype(np.float64), labels)
        theta = np.concatenate([theirs.coef_.ravel(), theirs.intercept_])
        wanted = objective(theta, rows.astype(np.float64), labels, penalty, 3)[0]
        assert value_of(fit, at, rows, labels) <= wanted * (1 + 1e-3)
