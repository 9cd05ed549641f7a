"""Logistic regression over a whole path of penalties.

`fit_path` solves every penalty to a stated distance from its optimum and says where it did not. The penalties are
walked from strong to weak; each starts from the solutions before it, extrapolated in log penalty, and is polished
by Newton steps, whose directions come from conjugate gradients: products with the rows, and nothing of the
Hessian's size. `preconditioner.py` tells what keeps those few.
"""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import BadInput
from .design_matrix import Design, Solver
from .feature_rows import Rows, Stacked, checked_labels, judged_truth, stacked_rows
from .losses import Loss, Sigmoid, Softmax
from .objective import Problem
from .preconditioner import MOST_GROUPS
from .warm_starts import Path, Plan, Solved

# 45 log-spaced values from 1e-6 to 1e5, on the sum of the losses. Source: Chen et al. 2020 (SimCLR), where
# it describes the protocol of Kornblith et al. 2019.
KORNBLITH_PENALTIES: NDArray = np.logspace(-6, 5, 45)

# The optimal intercept of a class without examples is minus infinity. This one is finite and never wins.
ABSENT = -1e4

DEFAULT_SOLVER = Solver()
# Rows x columns x classes below which a product's fixed cost exceeds that of float64.
SMALL = 2e6
FINER = 0.1  # of the tolerance, for problems that are solved in float64
# Columns of a product that make it efficient.
COLUMNS = 24
MOST_IN_FLIGHT = 12


@dataclass(frozen=True)
class PathFit:
    """Logistic regressions at p penalties, in the order asked for.

    weights: float32 [p, k, d] and bias: float32 [p, k], for raw rows.
    objective: sum of cross-entropies + penalty / 2 x squared norm of the weights [p].
    gap: estimated (objective - optimum) / objective [p]; of the right order, not a bound.
    converged: gap within the tolerance asked [p].
    gradient_norm: norm of the objective's gradient, for centred rows, divided by the objective [p].
    iterations: Newton steps [p]; products: passes of each penalty over the rows, all kinds [p].
    """

    penalties: NDArray
    weights: NDArray
    bias: NDArray
    objective: NDArray
    gap: NDArray
    gradient_norm: NDArray
    converged: NDArray
    iterations: NDArray
    products: NDArray


def fit_path(
    rows: Rows,
    labels: ArrayLike,
    penalties: ArrayLike,
    *,
    classes: int | None = None,
    start: PathFit | None = None,
    solver: Solver = DEFAULT_SOLVER,
) -> PathFit:
    """Multinomial logistic regression of labels [n] on rows [n, d] at each of the penalties [p].

    rows: an array, a memmap, a tensor, or a tuple of them laid end to end. Rows that do not fit in
    the solver's memory limit are read in chunks, once per product for all penalties in flight.
    classes: may exceed those in labels; a class without an example gets zero weights and ABSENT as bias.
    start: an earlier fit; each penalty begins at the start's nearest.
    Two runs with other thread counts differ by rounding: objectives agree to 1e-5 relative.
    Raises BadInput for rows that are not finite, labels out of range, and fewer than two classes.
    """
    stacked = stacked_rows(rows)
    target = checked_labels(labels, len(stacked), classes)
    count = int(target.max()) + 1 if classes is None else classes
    present, compact = np.unique(target, return_inverse=True)
    if len(present) < 2:
        raise BadInput(f"all {len(target)} labels are {present[0]}; expected at least two classes; add rows of another")
    loss = Softmax(torch.from_numpy(compact).to(solver.device), len(present))
    task = _Task(loss, present, np.full(count, ABSENT))
    return _fit(stacked, task, np.asarray(penalties, float), start, solver)


def fit_path_multilabel(
    rows: Rows,
    truth: ArrayLike,
    penalties: ArrayLike,
    *,
    start: PathFit | None = None,
    solver: Solver = DEFAULT_SOLVER,
) -> PathFit:
    """One binary logistic regression per column of truth, bool [n, k]; the rest as in `fit_path`.

    Truth may be int with -1 for unknown: that pair of row and class has no part in the fit. The objective is
    summed over classes. A class that is true (or false) of every row gets zero weights and -ABSENT (or ABSENT) as bias.
    """
    stacked = stacked_rows(rows)
    found = judged_truth(truth, len(stacked))
    known = found != -1
    target = (found != 0) & known
    share = target.sum(0) / np.maximum(known.sum(0), 1)
    mixed = np.flatnonzero((share > 0) & (share < 1))
    if len(mixed) == 0:
        raise BadInput(
            f"every one of {target.shape[1]} classes is true of all rows or of none; "
            "expected a class with both; check the truth"
        )
    judged = None if known.all() else torch.from_numpy(known[:, mixed]).to(solver.device)
    loss = Sigmoid(torch.from_numpy(target[:, mixed]).to(solver.device), judged)
    task = _Task(loss, mixed, np.where(share > 0.5, -ABSENT, ABSENT))
    return _fit(stacked, task, np.asarray(penalties, float), start, solver)


def check_penalties(penalties: NDArray) -> None:
    if penalties.ndim != 1 or len(penalties) == 0 or not (np.isfinite(penalties) & (penalties > 0)).all():
        raise BadInput(f"penalties {penalties} found; expected positive numbers [p]; try KORNBLITH_PENALTIES")


@dataclass(frozen=True)
class _Task:
    """The loss of the classes `kept` [m] of k; the others get zero weights and the bias `constant` [k]."""

    loss: Loss
    kept: NDArray
    constant: NDArray


def _fit(stack: Stacked, task: _Task, penalties: NDArray, start: PathFit | None, solver: Solver) -> PathFit:
    check_penalties(penalties)
    falling = np.unique(penalties)[::-1]
    design = Design(stack, solver, solver.dtype or _dtype(stack, task.loss.classes, solver))
    asked = solver.tolerance
    if design.dtype == torch.float64:  # small: exactness costs next to nothing
        solver = replace(solver, tolerance=asked * FINER)
    plan = _plan(design, task.loss.classes, len(falling), solver)
    problem = Problem(design, task.loss, plan.keep_states)
    first = torch.zeros(task.loss.classes, design.width, dtype=design.dtype, device=solver.device)
    if solver.fit_intercept:
        first[:, -1] = task.loss.prior()
    starts = [first] if start is None else [_start(start, design, task.kept, penalty) for penalty in falling]
    if task.loss.coupled:
        # The same probabilities and no larger weights; what all classes share is no part of an optimum.
        starts = [theta - theta.mean(0) for theta in starts]
    solved = Path(problem, solver, plan).walk(falling.tolist(), starts)
    order = [int(np.flatnonzero(falling == penalty)[0]) for penalty in penalties]
    return _assembled([solved[i] for i in order], penalties, design, task, asked)


def _assembled(solved: list[Solved], penalties: NDArray, design: Design, task: _Task, tolerance: float) -> PathFit:
    weights = np.zeros((len(solved), len(task.constant), design.raw_width), np.float32)
    bias = np.tile(task.constant.astype(np.float32), (len(solved), 1))
    for i, entry in enumerate(solved):
        raw_weights, raw_bias = design.to_raw(entry.theta)
        weights[i, task.kept], bias[i, task.kept] = raw_weights.cpu().numpy(), raw_bias.cpu().numpy()
    gap = np.array([entry.gap for entry in solved])
    return PathFit(
        penalties=penalties,
        weights=weights,
        bias=bias,
        objective=np.array([entry.objective for entry in solved]),
        gap=gap,
        gradient_norm=np.array([entry.gradient_norm for entry in solved]),
        converged=gap <= tolerance,
        iterations=np.array([entry.iterations for entry in solved]),
        products=np.array([entry.products for entry in solved]),
    )


def _start(start: PathFit, design: Design, kept: NDArray, penalty: float) -> Tensor:
    """Theta [m, width] of the start's penalty that is nearest; a class new to it gets the rarest's bias."""
    if start.weights.shape[2] != design.raw_width or start.weights.shape[1] <= kept.max():
        raise BadInput(
            f"start has weights {start.weights.shape}; expected [p, {kept.max() + 1} or more, {design.raw_width}]; "
            "start from a fit of the same features and classes"
        )
    nearest = int(np.argmin(np.abs(np.log(start.penalties / penalty))))
    bias = start.bias[nearest, kept].astype(np.float64)
    known = np.abs(bias) < -ABSENT / 2
    bias[~known] = bias[known].min() if known.any() else 0.0
    weights = torch.from_numpy(start.weights[nearest, kept])
    return design.from_raw(weights.to(design.shift), torch.from_numpy(bias).to(design.shift))


def _dtype(stack: Stacked, classes: int, solver: Solver) -> torch.dtype:
    small = len(stack) * min(len(stack), stack.width) * classes < SMALL
    fits = 16 * 8 * len(stack) * stack.width <= solver.memory()
    return torch.float64 if small and fits else torch.float32


def _plan(design: Design, classes: int, count: int, solver: Solver) -> Plan:
    """Plan for so many classes and penalties.

    Rows in memory: a few penalties in flight, until the products have columns enough to be efficient, because a
    warm start saves more than a wider product. Rows that are read from a file: as many as fit. A quarter of the
    memory is for the rows being read and what is computed of them, which sets the design's chunk.
    """
    size = design.size
    kept = sum(part.nbytes for part in (design.kept, design.brief) if part is not None)
    room = solver.memory() * 3 // 4 - kept
    vectors = size * 12 * classes * design.width
    factors = (size * MOST_GROUPS + 4) * design.width**2
    states = 2 * size * design.n * classes
    least = vectors + 2 * factors
    if room < least:
        raise BadInput(
            f"a memory limit of {solver.memory():,} bytes found; {design.n} rows of {design.raw_width} and "
            f"{classes} classes need at least {(least + kept) * 4 // 3 + 1:,}; raise the limit"
        )
    wanted = max(1, COLUMNS // classes) if design.kept is not None else MOST_IN_FLIGHT
    keep_states = room >= least + states
    each = vectors + factors + (states if keep_states else 0)
    in_flight = max(1, min(wanted, count, (room - factors) // each))
    design.chunk_for(solver.memory() // 4, in_flight * classes)
    # Brackets, their multiples in float64 twice over, and factors.
    own = (size * (1 + in_flight) + 16) * classes * design.width**2
    return Plan(in_flight, keep_states, own_fits=own <= room - in_flight * each)
