"""Linear probes on frozen features: logistic regression over a whole path of penalties.

`fit_path` solves every penalty to a stated distance from its optimum and says where it did not.
`probe` is the protocol of the papers: choose the penalty on val, refit on train + val, score once.

How the path is solved. The penalties are walked from strong to weak; each starts from the solutions before
it, extrapolated in log penalty, and is polished by Newton steps. A Newton direction comes from conjugate
gradients, which needs only products with the rows, preconditioned by one matrix for all classes of like
curvature,

    mean curvature x (rows' diag(curvature of each row / mean curvature) rows) + penalty x identity.

The bracket changes slowly along the path and is remade only when that pays; the mean curvature and the
penalty are the current ones. On the separable end of the path the curvature of most rows vanishes, and an
unweighted bracket would cost four times the products.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from engine.errors import BadInput

Rows = NDArray | Tensor | tuple[NDArray | Tensor, ...]
Metric = Callable[[NDArray, NDArray], float]

# 45 log-spaced values from 1e-6 to 1e5, on the sum of the losses. Source: Chen et al. 2020 (SimCLR), where
# it describes the protocol of Kornblith et al. 2019.
KORNBLITH_PENALTIES: NDArray = np.logspace(-6, 5, 45)

# The optimal intercept of a class without examples is minus infinity. This one is finite and never wins.
ABSENT = -1e4

DEFAULT_MEMORY = 4 << 30
SCORED_AT_ONCE = 4096


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
    fit_intercept: bool = True,
    standardise: bool = False,
    start: PathFit | None = None,
    tolerance: float = 1e-7,
    max_iterations: int = 100,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    memory_limit: int | None = None,
) -> PathFit:
    """Multinomial logistic regression of labels [n] on rows [n, d] at each of the penalties [p].

    rows: an array, a memmap, a tensor, or a tuple of them laid end to end. Rows that do not fit in
    `memory_limit` bytes are read in chunks, once per product for all penalties in flight.
    classes: may exceed those in labels; a class without an example gets zero weights and ABSENT as bias.
    standardise: fit (and penalise) on columns of unit variance; weights are still for raw rows.
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
    loss = _Softmax(torch.from_numpy(compact).to(device), len(present))
    absent = np.full(count, ABSENT)
    options = _Options(fit_intercept, standardise, tolerance, max_iterations, device, dtype, memory_limit)
    return _fit(stacked, loss, present, absent, np.asarray(penalties, float), start, options)


def fit_path_multilabel(
    rows: Rows,
    truth: ArrayLike,
    penalties: ArrayLike,
    *,
    fit_intercept: bool = True,
    standardise: bool = False,
    start: PathFit | None = None,
    tolerance: float = 1e-7,
    max_iterations: int = 100,
    device: str | torch.device = "cpu",
    dtype: torch.dtype = torch.float32,
    memory_limit: int | None = None,
) -> PathFit:
    """One binary logistic regression per column of truth, bool [n, k]; the rest as in `fit_path`.

    The objective is summed over classes. A class that is true (or false) of every row gets zero weights
    and -ABSENT (or ABSENT) as bias.
    """
    stacked = stacked_rows(rows)
    target = checked_truth(truth, len(stacked))
    share = target.mean(0)
    mixed = np.flatnonzero((share > 0) & (share < 1))
    if len(mixed) == 0:
        raise BadInput(
            f"every one of {target.shape[1]} classes is true of all rows or of none; "
            "expected a class with both; check the truth"
        )
    loss = _Sigmoid(torch.from_numpy(target[:, mixed]).to(device))
    options = _Options(fit_intercept, standardise, tolerance, max_iterations, device, dtype, memory_limit)
    constant = np.where(share > 0.5, -ABSENT, ABSENT)
    return _fit(stacked, loss, mixed, constant, np.asarray(penalties, float), start, options)


def scores(fit: PathFit, index: int, rows: Rows) -> NDArray:
    """Logits, float32 [n, k], of rows [n, d] at the fit's penalty number `index`."""
    return linear_scores(fit.weights[index], fit.bias[index], rows)


def choose_penalty(fit: PathFit, rows: Rows, truth: ArrayLike, metric: Metric) -> int:
    """Index of the penalty with the best metric(truth, scores); of equals, the strongest penalty.

    The stronger of two equals has the smaller weights, so it is the one that moves least on new data.
    """
    return strongest_best(fit.penalties, _values(fit, rows, np.asarray(truth), metric))


@dataclass(frozen=True)
class Probe:
    """A logistic regression by the papers' protocol: rows [n, d] in, scores float32 [n, k] out.

    weights: float32 [k, d]; bias: float32 [k]; penalty: the one chosen on val.
    val_values: the metric on val at each of the penalties [p], before the refit on train + val.
    converged: of the refit and of the chosen fit before it; unconverged: how many of the p were not.
    """

    weights: NDArray
    bias: NDArray
    penalty: float
    penalties: NDArray
    val_values: NDArray
    converged: bool
    unconverged: int
    seconds: float

    def __call__(self, rows: Rows) -> NDArray:
        return linear_scores(self.weights, self.bias, rows)


def probe(
    train_rows: Rows,
    train_truth: ArrayLike,
    val_rows: Rows,
    val_truth: ArrayLike,
    metric: Metric,
    penalties: ArrayLike = KORNBLITH_PENALTIES,
    *,
    classes: int | None = None,
    refit: bool = True,
    clock: Callable[[], float] = time.perf_counter,
    **options: Any,
) -> Probe:
    """Fit the path on train, choose the penalty by the metric on val, refit on train + val.

    truth: int labels [n], or bool [n, k] for several labels per image. options: those of `fit_path`.
    """
    began = clock()
    train, val = np.asarray(train_truth), np.asarray(val_truth)
    if train.ndim != val.ndim:
        raise BadInput(f"train truth {train.shape} and val truth {val.shape} found; expected the same kind in both")
    if train.ndim == 1 and classes is None:
        classes = int(max(train.max(initial=0), val.max(initial=0))) + 1

    def fitted(rows: Rows, truth: NDArray, path: ArrayLike, start: PathFit | None) -> PathFit:
        if truth.ndim == 2:
            return fit_path_multilabel(rows, truth, path, start=start, **options)
        return fit_path(rows, truth, path, classes=classes, start=start, **options)

    path = fitted(train_rows, train, penalties, None)
    values = _values(path, val_rows, val, metric)
    chosen = strongest_best(path.penalties, values)
    penalty = float(path.penalties[chosen])
    last, index = path, chosen
    if refit:
        both = (*stacked_rows(train_rows).parts, *stacked_rows(val_rows).parts)
        last, index = fitted(both, np.concatenate([train, val]), [penalty], path), 0
    return Probe(
        weights=last.weights[index],
        bias=last.bias[index],
        penalty=penalty,
        penalties=path.penalties,
        val_values=values,
        converged=bool(last.converged[index] and path.converged[chosen]),
        unconverged=int((~path.converged).sum()),
        seconds=clock() - began,
    )


def _values(fit: PathFit, rows: Rows, truth: NDArray, metric: Metric) -> NDArray:
    if len(truth) != len(stacked_rows(rows)):
        raise BadInput(
            f"{len(stacked_rows(rows))} rows and {len(truth)} truths found; expected one each; check the split"
        )
    return np.array([metric(truth, scores(fit, index, rows)) for index in range(len(fit.penalties))])


def strongest_best(penalties: NDArray, values: NDArray) -> int:
    if np.isnan(values).any():
        raise BadInput(
            "the metric is not a number on val; expected a fraction; check that val has every class it needs"
        )
    winners = np.flatnonzero(values == values.max())
    return int(winners[np.argmax(penalties[winners])])


def linear_scores(weights: NDArray, bias: NDArray, rows: Rows) -> NDArray:
    stack = stacked_rows(rows)
    if stack.width != weights.shape[1]:
        raise BadInput(f"rows of width {stack.width} found; expected {weights.shape[1]}; use the model of the fit")
    out = np.empty((len(stack), len(weights)), np.float32)
    for begin in range(0, len(stack), SCORED_AT_ONCE):
        where = slice(begin, min(begin + SCORED_AT_ONCE, len(stack)))
        out[where] = stack.read(where, "cpu", torch.float32).numpy() @ weights.T + bias
    return out


# ---------------------------------------------------------------------------------------------------- losses


@dataclass(frozen=True)
class _Measured:
    """What c rows say at b penalties: summed losses float64 [b], residuals [c, b, k], what `curve` needs
    of them [c, b, k], and their curvature: mean over classes [c, b] and sum over rows [b, k].
    """

    losses: Tensor
    residuals: Tensor
    state: Tensor
    row_curvature: Tensor
    class_curvature: Tensor


class _Softmax:
    """Multinomial cross-entropy of labels [n], written in margins to the own class.

    At weak penalties a separable problem has losses of 1e-9. Differences of logits to the own class keep
    them, and their curvature, to full relative precision in float32, where 1 - p(own) would be noise.
    """

    def __init__(self, labels: Tensor, classes: int):
        self.labels, self.classes = labels, classes

    def _own(self, where: slice, like: Tensor) -> Tensor:
        return self.labels[where, None, None].expand(-1, like.shape[1], 1)

    def measure(self, logits: Tensor, where: slice) -> "_Measured":
        """The losses of logits [c, b, k], which are overwritten, of the rows `where`."""
        own = self._own(where, logits)
        others = logits.sub_(logits.gather(2, own)).scatter_(2, own, -math.inf)
        top = others.amax(2, keepdim=True).clamp_min_(0)
        others.sub_(top).exp_()
        mass = others.sum(2, keepdim=True)
        none = torch.exp(-top)
        total = mass + none
        losses = torch.where(top > 0, top + torch.log(total), torch.log1p(mass))
        chance = others.div_(total)
        wrong, right = mass.div_(total), none.div_(total)
        # p (1 - p) of every class, where 1 - p of the own class is `wrong`.
        curvature = torch.addcmul(chance, chance, chance, value=-1).scatter_(2, own, wrong * right)
        residuals = chance.scatter(2, own, -wrong)
        return _Measured(
            losses.sum((0, 2), dtype=torch.float64),
            residuals,
            chance.scatter_(2, own, right),
            curvature.mean(2),
            curvature.sum(0),
        )

    def curve(self, state: Tensor, change: Tensor, where: slice) -> Tensor:
        """Change of the residuals [c, b, k] with a change of the logits [c, b, k], which is overwritten."""
        change.sub_(change.gather(2, self._own(where, change)))
        change.sub_((state * change).sum(2, keepdim=True))
        return change.mul_(state)

    def prior(self) -> Tensor:
        """The best intercepts without features [k]."""
        counts = torch.bincount(self.labels, minlength=self.classes).double()
        return torch.log(counts / counts.sum())


class _Sigmoid:
    """Binary cross-entropy of truth, bool [n, k], summed over classes."""

    def __init__(self, truth: Tensor):
        self.truth, self.classes = truth, truth.shape[1]

    def measure(self, logits: Tensor, where: slice) -> "_Measured":
        sign = torch.where(self.truth[where, None, :], -1.0, 1.0).to(logits.dtype)
        margin = logits.mul_(sign)
        losses = torch.nn.functional.softplus(margin, threshold=80)
        wrong = torch.sigmoid(margin)
        state = wrong * torch.sigmoid(-margin)
        return _Measured(losses.sum((0, 2), dtype=torch.float64), wrong * sign, state, state.mean(2), state.sum(0))

    def curve(self, state: Tensor, change: Tensor, where: slice) -> Tensor:
        return change.mul_(state)

    def prior(self) -> Tensor:
        share = self.truth.double().mean(0)
        return torch.log(share / (1 - share))


_Loss = _Softmax | _Sigmoid


# ------------------------------------------------------------------------------------------------------ rows


@dataclass(frozen=True)
class _Options:
    fit_intercept: bool
    standardise: bool
    tolerance: float
    max_iterations: int
    device: str | torch.device
    dtype: torch.dtype
    memory_limit: int | None

    def memory(self) -> int:
        if self.memory_limit is not None:
            return self.memory_limit
        device = torch.device(self.device)
        return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else DEFAULT_MEMORY


class Stacked:
    """Arrays laid end to end, read by slice as tensors."""

    def __init__(self, parts: Sequence[NDArray | Tensor]):
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])
        self.width = int(parts[0].shape[1])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def read(self, where: slice, device: str | torch.device, dtype: torch.dtype) -> Tensor:
        pieces = []
        for part, end in zip(self.parts, self.ends, strict=True):
            begin = int(end) - len(part)
            low, high = max(where.start - begin, 0), min(where.stop - begin, len(part))
            if low < high:
                piece = part[low:high]
                # A copy, because torch warns about memory that it could not write to.
                tensor = piece if isinstance(piece, Tensor) else torch.from_numpy(np.array(piece))
                pieces.append(tensor.to(device, dtype))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def stacked_rows(rows: Rows) -> Stacked:
    parts = rows if isinstance(rows, tuple) else (rows,)
    parts = tuple(part if isinstance(part, Tensor) else np.asanyarray(part) for part in parts)
    shapes = [tuple(part.shape) for part in parts]
    if not parts or any(len(shape) != 2 for shape in shapes) or len({shape[1:] for shape in shapes}) > 1:
        raise BadInput(f"rows of shape {shapes} found; expected [n, d]; stack the features into a matrix")
    if sum(shape[0] for shape in shapes) == 0 or shapes[0][1] == 0:
        raise BadInput(f"rows of shape {shapes} found; expected at least one row and one column")
    return Stacked([part for part in parts if len(part)])


class _Design:
    """The matrix that is fitted: rows, centred, perhaps scaled or rotated, then a column of ones.

    Centring leaves the problem as it is, since the intercept is not penalised, and takes the large common
    direction of non-negative features out of the curvature. With more columns than rows the optimum lies in
    the span of the rows, so they are rotated into as many columns as there are rows, which is exact too.
    """

    def __init__(self, stack: Stacked, options: _Options):
        self.stack, self.options = stack, options
        self.n, self.raw_width = len(stack), stack.width
        self.basis: Tensor | None = None
        self.kept: Tensor | None = None
        self.brief: Tensor | None = None
        self.size = torch.finfo(options.dtype).bits // 8
        limit = options.memory()
        self.chunk_for(limit // 4, 0)
        self.shift, self.scale = self._moments()
        if 3 * self.size * self.n * self.raw_width <= limit:
            self.kept = self._whole()
            if options.dtype == torch.float32 and bfloat16_is_fast(torch.device(options.device)):
                self.brief = self.kept.bfloat16()
        self.width = self.kept.shape[1] if self.kept is not None else self.raw_width + options.fit_intercept
        free = torch.ones(self.width, dtype=options.dtype, device=options.device)
        if options.fit_intercept:
            free[-1] = 0
        self.penalised = free

    def chunk_for(self, room: int, columns: int) -> None:
        """Read the rows in chunks such that they, and some arrays of so many columns, fit in `room` bytes."""
        self.chunk = max(1, min(self.n, room // (self.size * (4 * self.raw_width + 6 * columns))))

    def _slices(self) -> Iterator[slice]:
        for begin in range(0, self.n, self.chunk):
            yield slice(begin, min(begin + self.chunk, self.n))

    def _read(self, where: slice) -> Tensor:
        return self.stack.read(where, self.options.device, self.options.dtype)

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Shift [d] and scale [d], from one pass that also refuses values that are not finite."""
        total = torch.zeros(self.raw_width, dtype=torch.float64, device=self.options.device)
        squares = torch.zeros_like(total)
        bad: list[int] = []
        for where in self._slices():
            chunk = self._read(where)
            finite = torch.isfinite(chunk).all(1)
            bad += (torch.nonzero(~finite)[:, 0] + where.start).tolist()
            total += chunk.sum(0, dtype=torch.float64)
            if self.options.standardise:
                squares += chunk.double().square().sum(0)
        refuse_unfinite(bad, self.n)
        mean = total / self.n
        deviation = (squares / self.n - mean.square()).clamp_min(0).sqrt()
        constant = deviation <= 1e-6 * mean.abs().clamp_min(1e-30)
        scale = torch.where(constant, 1.0, 1 / deviation) if self.options.standardise else torch.ones_like(mean)
        shift = mean if self.options.fit_intercept else torch.zeros_like(mean)
        return shift.to(self.options.dtype), scale.to(self.options.dtype)

    def _prepared(self, where: slice) -> Tensor:
        return (self._read(where) - self.shift) * self.scale

    def _whole(self) -> Tensor:
        """All of the matrix, rotated if it is wide."""
        ones = int(self.options.fit_intercept)
        whole = self.shift.new_empty(self.n, self.raw_width + ones)
        for where in self._slices():
            whole[where] = self._with_ones(self._prepared(where))
        if self.n >= self.raw_width:
            return whole
        self.basis, corner = torch.linalg.qr(whole[:, : self.raw_width].T)
        return self._with_ones(corner.T)

    def _with_ones(self, prepared: Tensor) -> Tensor:
        if not self.options.fit_intercept:
            return prepared.contiguous()
        return torch.cat([prepared, prepared.new_ones(len(prepared), 1)], 1)

    def chunks(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Slices of the rows with their part of the matrix [c, width]."""
        for where in self._slices():
            part = self.kept[where] if self.kept is not None else self._with_ones(self._prepared(where))
            yield where, part.to(dtype)

    def brief_chunks(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """The same for products that need few digits: bfloat16 where there is a copy, unless float64 is asked."""
        if self.brief is None or dtype == torch.float64:
            yield from self.chunks(dtype)
        else:
            for where in self._slices():
                yield where, self.brief[where]

    def to_raw(self, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Weights [k, d] and bias [k] for raw rows, from theta [k, width]."""
        weights = theta[:, :-1] if self.options.fit_intercept else theta
        if self.basis is not None:
            weights = weights @ self.basis.T
        weights = weights * self.scale
        bias = theta[:, -1] if self.options.fit_intercept else theta.new_zeros(len(theta))
        return weights, bias - weights @ self.shift

    def from_raw(self, weights: Tensor, bias: Tensor) -> Tensor:
        """Theta [k, width] that `to_raw` turns into weights [k, d] and bias [k]."""
        bias = bias + weights @ self.shift
        weights = weights / self.scale
        if self.basis is not None:
            weights = weights @ self.basis
        return torch.cat([weights, bias[:, None]], 1) if self.options.fit_intercept else weights


# ---------------------------------------------------------------------------------------------------- solver


def bfloat16_is_fast(device: torch.device) -> bool:
    """Whether the device multiplies matrices of bfloat16 several times faster than of float32."""
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    tests = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return device.type == "cpu" and any(getattr(torch.cpu, test, bool)() for test in tests)


@contextmanager
def _quick_products() -> Iterator[None]:
    """Lets torch hand float32 products on CPU to oneDNN, twice as fast as MKL's on AMD.

    Where the processor multiplies bfloat16 in hardware oneDNN may round to it. So this, like the design's
    brief chunks, is for curvature, which only steers the search, and never for the objective or its
    gradient, which decide convergence.
    """
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    before = matmul.fp32_precision
    matmul.fp32_precision = "bf16"
    try:
        yield
    finally:
        matmul.fp32_precision = before


def _dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products [b] of [b, k, width], summed in float64."""
    return (left * right).sum((1, 2), dtype=torch.float64)


class _Problem:
    """Objective, gradient and curvature at b penalties at a time, each from one reading of the rows."""

    def __init__(self, design: _Design, loss: _Loss, keep_states: bool):
        self.design, self.loss, self.keep_states = design, loss, keep_states
        self.states: list[Tensor] = []
        self.theta = torch.empty(0)
        self.row_curvature = self.class_curvature = torch.empty(0)

    def _logits(self, chunk: Tensor, theta: Tensor) -> Tensor:
        """Rows' logits [c, b, k], in theta's precision even where the product is briefer."""
        logits = chunk @ theta.flatten(0, 1).T.to(chunk.dtype)
        return logits.to(theta.dtype).unflatten(1, theta.shape[:2])

    def evaluate(self, theta: Tensor, penalties: Tensor) -> tuple[Tensor, Tensor]:
        """Objective float64 [b] and gradient [b, k, width] at theta [b, k, width]; curvature stays here."""
        ridge = penalties[:, None, None] * self.design.penalised
        value = (ridge * theta.double().square()).sum((1, 2)) / 2
        gradient = ridge * theta
        self.theta, self.states, row_curvature = theta, [], []
        class_curvature = torch.zeros(theta.shape[:2], dtype=torch.float64, device=theta.device)
        for where, chunk in self.design.chunks(theta.dtype):
            measured = self.loss.measure(self._logits(chunk, theta), where)
            value += measured.losses
            gradient += (measured.residuals.flatten(1).T @ chunk).view_as(gradient)
            row_curvature.append(measured.row_curvature)
            class_curvature += measured.class_curvature
            if self.keep_states:
                self.states.append(measured.state)
        self.row_curvature = torch.cat(row_curvature)
        self.class_curvature = (class_curvature / self.design.n).clamp_min(1e-30)
        return value, gradient.to(theta.dtype)

    def curve(self, direction: Tensor, penalties: Tensor, which: Tensor) -> Tensor:
        """Hessian times direction [a, k, width], for those `which` [a] of the b last evaluated."""
        change = (penalties[:, None, None] * self.design.penalised).to(direction.dtype) * direction
        whole = len(which) == len(self.theta)
        with _quick_products():
            for number, (where, chunk) in enumerate(self.design.brief_chunks(direction.dtype)):
                state = self.states[number] if self.keep_states else self._state(chunk, where)
                state = state if whole else state[:, which]
                bent = self.loss.curve(state, self._logits(chunk, direction), where)
                change += (bent.flatten(1).T.to(chunk.dtype) @ chunk).view_as(change)
        return change

    def _state(self, chunk: Tensor, where: slice) -> Tensor:
        return self.loss.measure(self._logits(chunk, self.theta), where).state

    def keep(self, index: Tensor) -> None:
        """Forget all but these of the b last evaluated."""
        self.theta, self.row_curvature = self.theta[index], self.row_curvature[:, index]
        self.class_curvature = self.class_curvature[index]
        self.states = [state[:, index] for state in self.states]

    def bracket(self) -> Tensor:
        """Rows' diag(curvature of each row / mean curvature) rows [width, width], averaged over the b."""
        weights = (self.row_curvature / self.row_curvature.mean(0).clamp_min(1e-30)).mean(1)
        total = torch.zeros(self.design.width, self.design.width, device=weights.device, dtype=weights.dtype)
        with _quick_products():
            for where, chunk in self.design.chunks(weights.dtype):
                total += chunk.T @ (chunk * weights[where, None])
        return total


class _Preconditioner:
    """A matrix per penalty and group of classes that stands for their Hessian; see the top of the file."""

    def __init__(self, problem: _Problem):
        self.problem = problem
        self.bracket: Tensor | None = None
        self.usual, self.excess = 0.0, 0.0
        self.dtype = problem.design.options.dtype
        self.levels = torch.empty(0)
        self.factors: list[list[tuple[Tensor, Tensor]]] = []

    def prepare(self, penalties: Tensor) -> None:
        """Fit for the b penalties last evaluated.

        The bracket is remade once the products wasted since the last time would have paid for it, and the
        factors where the curvature has moved.
        """
        levels = self.problem.class_curvature
        # Of the same number of multiplications, the bracket's square product takes half the time.
        price = self.problem.design.width / (4 * self.problem.loss.classes * len(levels))
        remake = self.bracket is None or self.excess > price
        if remake:
            self.bracket = self.problem.bracket()
            self.usual, self.excess = 0.0, 0.0
        if remake or len(self.factors) != len(levels) or (self.drift() > 1.5).any():
            self.levels = levels
            self.factors = [
                [(self._factor(group, levels[i, group], penalty), group) for group in _groups(levels[i])]
                for i, penalty in enumerate(penalties.tolist())
            ]

    def note(self, products: float) -> None:
        """Take in how many products a Newton direction has cost."""
        self.usual = self.usual or products
        self.excess += max(0.0, products - self.usual)

    def drift(self) -> Tensor:
        """The factor [b] by which the curvature has moved since it was factorised, in the class that moved most."""
        ratio = self.levels / self.problem.class_curvature
        return torch.maximum(ratio, 1 / ratio).amax(1)

    def _factor(self, group: Tensor, levels: Tensor, penalty: float) -> Tensor:
        assert self.bracket is not None
        matrix = self.bracket.double() * torch.exp(torch.log(levels).mean())
        diagonal = matrix.diagonal()
        jitter = 1e-12 * float(diagonal.max())
        diagonal += penalty * self.problem.design.penalised
        while True:
            diagonal += jitter
            factor, failed = torch.linalg.cholesky_ex(matrix)
            if not failed:
                return factor.to(self.dtype)
            jitter *= 10

    def solve(self, gradient: Tensor, which: Tensor) -> Tensor:
        """The inverse times gradient [a, k, width], for those `which` [a] of the b factorised."""
        gradient, precise = gradient.to(self.dtype), gradient.dtype
        out = torch.empty_like(gradient)
        for row, i in enumerate(which.tolist()):
            for factor, group in self.factors[i]:
                half = torch.linalg.solve_triangular(factor, gradient[row, group].T, upper=False)
                out[row, group] = torch.linalg.solve_triangular(factor.T, half, upper=True).T
        return out.to(precise)

    def keep(self, index: Tensor) -> None:
        """Forget all but these of the b penalties factorised."""
        self.levels = self.levels[index]
        self.factors = [self.factors[i] for i in index.tolist()]


def _groups(levels: Tensor) -> list[Tensor]:
    """Classes of like curvature, from levels [k]: at most MOST_GROUPS, none wider than needed for that."""
    logs = torch.log(levels)
    low, spread = logs.min(), float(logs.max() - logs.min())
    width = max(math.log(4), 1.001 * spread / MOST_GROUPS)
    number = ((logs - low) / width).long()
    return [torch.nonzero(number == i)[:, 0] for i in number.unique().tolist()]


MOST_GROUPS = 4
# Newton steps that may lower neither the gap nor the objective before rounding is blamed.
PATIENCE = 3


@dataclass
class _Direction:
    """step [b, k, width]; its slope and softest [b]; products of each penalty [b].

    softest: the largest ratio seen of the preconditioner to the Hessian, the factor by which a distance
    measured with the preconditioner can fall short.
    """

    step: Tensor
    slope: Tensor
    softest: Tensor
    products: Tensor


MOST_PRODUCTS = 200


def _newton_direction(
    problem: _Problem,
    preconditioner: _Preconditioner,
    gradient: Tensor,
    penalties: Tensor,
    enough: Tensor,
    softest: Tensor,
) -> _Direction:
    """Preconditioned conjugate gradients on Hessian x step = -gradient, until its error matters no more.

    It stops at a hundredth of the energy that it began with, or when what remains is below `enough` [b].
    softest [b]: what is known of it from before.
    """
    step = torch.zeros_like(gradient)
    products = torch.zeros_like(enough, dtype=torch.int64)
    which = torch.arange(len(gradient), device=gradient.device)
    residual = -gradient
    solved = preconditioner.solve(residual, which)
    direction = solved
    energy = _dot(residual, solved)
    first = energy.clone()
    ritz = _Ritz(len(gradient))
    for _ in range(MOST_PRODUCTS):
        bent = problem.curve(direction, penalties[which], which)
        bend = _dot(direction, bent)
        stride = torch.where(bend > 0, energy / bend, 0.0)
        products[which] += 1
        short = stride.to(step.dtype)[:, None, None]
        step[which] += short * direction
        residual = residual - short * bent
        solved = preconditioner.solve(residual, which)
        after = _dot(residual, solved)
        softest[which] = torch.maximum(softest[which], ritz.softest(which, stride, after / energy))
        going = (bend > 0) & (after > 0.01 * first[which])
        going &= after * softest[which] > 2 * enough[which]
        if not going.any():
            break
        direction = solved + (after / energy).to(step.dtype)[:, None, None] * direction
        energy = after
        if not going.all():
            which, energy = which[going], energy[going]
            direction, residual = direction[going], residual[going]
    return _Direction(step, _dot(gradient, step), softest, products)


class _Ritz:
    """Smallest eigenvalues of preconditioned Hessians, from the strides of conjugate gradients (Lanczos)."""

    def __init__(self, count: int):
        self.diagonal: list[list[float]] = [[] for _ in range(count)]
        self.beside: list[list[float]] = [[] for _ in range(count)]
        self.carried = [0.0] * count

    def softest(self, which: Tensor, stride: Tensor, ratio: Tensor) -> Tensor:
        """One over the smallest [a] after one more iteration with this stride and this ratio of energies."""
        from scipy.linalg import eigvalsh_tridiagonal

        found = []
        for i, own, share in zip(which.tolist(), stride.tolist(), ratio.tolist(), strict=True):
            if own > 0:
                self.diagonal[i].append(1 / own + self.carried[i])
                smallest = eigvalsh_tridiagonal(self.diagonal[i], self.beside[i], select="i", select_range=(0, 0))[0]
                found.append(1 / max(smallest, 1e-30))
                self.carried[i] = share / own
                self.beside[i].append(math.sqrt(max(share, 0.0)) / own)
            else:
                found.append(1.0)
        return stride.new_tensor(found)


@dataclass
class _Point:
    """Where the b penalties in flight stand: theta [b, k, width], objective [b], gradient."""

    theta: Tensor
    value: Tensor
    gradient: Tensor


def _descend(problem: _Problem, at: _Point, along: _Direction, penalties: Tensor) -> tuple[_Point, int]:
    """The next point, and how often the rows were read.

    Halves the steps that do not lower the objective by a ten-thousandth of the slope; gives a step up at
    the twelfth time. Rounding of the objective is forgiven, or the last step would be refused.
    """
    slack = 8 * torch.finfo(at.theta.dtype).eps * at.value
    stride = torch.ones_like(at.value)
    for attempt in range(1, 14):
        theta = at.theta + stride.to(at.theta.dtype)[:, None, None] * along.step
        value, gradient = problem.evaluate(theta, penalties)
        worse = ~(value <= at.value + 1e-4 * stride * along.slope + slack)
        if not worse.any():
            break
        stride = torch.where(worse, stride / 2 if attempt < 12 else torch.zeros_like(stride), stride)
    return _Point(theta, value, gradient), attempt


@dataclass(frozen=True)
class _Solved:
    """One penalty's end: theta [k, width] and the numbers that `PathFit` reports."""

    theta: Tensor
    objective: float
    gap: float
    gradient_norm: float
    iterations: int
    products: int


class _Path:
    """The walk over the penalties, strong to weak, `in_flight` at a time."""

    def __init__(self, problem: _Problem, options: _Options, in_flight: int):
        self.problem, self.options, self.in_flight = problem, options, in_flight
        self.preconditioner = _Preconditioner(problem)
        self.softest = 1.0

    def walk(self, penalties: list[float], starts: list[Tensor] | None, first: Tensor) -> list[_Solved]:
        """Solves the falling penalties from `starts`, one each, or else from `first` and from each other."""
        solved: list[_Solved] = []
        while len(solved) < len(penalties):
            begin = len(solved)
            block = [
                penalty for penalty in penalties[begin : begin + self.in_flight] if penalties[begin] <= REACH * penalty
            ]
            exact = torch.tensor(block, dtype=torch.float64, device=first.device)
            if starts is not None:
                at = self._evaluated(torch.stack(starts[begin : begin + len(block)]), exact)
            elif solved:
                at = self._continued(block, exact, penalties[:begin], solved)
            else:
                at = self._evaluated(first.expand(len(block), -1, -1).contiguous(), exact)
            solved += self._finished(at, exact)
        return solved

    def _evaluated(self, theta: Tensor, penalties: Tensor) -> _Point:
        return _Point(theta, *self.problem.evaluate(theta, penalties))

    def _continued(self, block: list[float], exact: Tensor, before: list[float], solved: list[_Solved]) -> _Point:
        """The extrapolation of the last three solutions, or the last one where that is no better."""
        logs = [math.log(penalty) for penalty in before[-3:]]
        known = [entry.theta for entry in solved[-3:]]
        guesses = [_extrapolated(math.log(penalty), logs, known) for penalty in block]
        at = self._evaluated(torch.stack(guesses), exact)
        last = solved[-1]
        ridge = (last.theta.double().square() * self.problem.design.penalised).sum() / 2
        plain = last.objective + (exact - before[-1]) * ridge
        worse = ~(at.value <= plain)
        if worse.any():
            at = self._evaluated(torch.where(worse[:, None, None], last.theta, at.theta), exact)
        return at

    def _finished(self, at: _Point, penalties: Tensor) -> list[_Solved]:
        """Polished; what the rounding of float32 keeps from the tolerance, once more in float64."""
        ends = self._polish(at, penalties)
        short = [i for i, end in enumerate(ends) if not end.gap <= self.options.tolerance]
        used = max(ends[i].iterations for i in short) if short else 0
        if short and used < self.options.max_iterations and at.theta.dtype != torch.float64:
            theta = torch.stack([ends[i].theta for i in short]).double()
            again = self._polish(self._evaluated(theta, penalties[short]), penalties[short])
            for i, end in zip(short, again, strict=True):
                ends[i] = replace(
                    end,
                    theta=end.theta.to(at.theta.dtype),
                    iterations=ends[i].iterations + end.iterations,
                    products=ends[i].products + end.products,
                )
        return ends

    def _polish(self, at: _Point, penalties: Tensor) -> list[_Solved]:
        """Newton steps until each penalty is within the tolerance, stalls, or has had its iterations."""
        ends: dict[int, _Solved] = {}
        live = torch.arange(len(penalties), device=penalties.device)
        self.preconditioner.factors = []
        products, stale = torch.ones_like(live), torch.zeros_like(live)
        softest = torch.full_like(at.value, max(1.0, self.softest / 2))
        least = lowest = torch.full_like(at.value, math.inf)
        for iteration in range(self.options.max_iterations + 1):
            gap = self._gap(at, softest) if iteration else torch.full_like(softest, math.inf)
            better = (gap < least / 2) | (at.value < lowest * (1 - 16 * torch.finfo(at.theta.dtype).eps))
            stale = torch.where(better, 0, stale + 1)
            least, lowest = torch.minimum(gap, least), torch.minimum(at.value, lowest)
            ended = (gap <= self.options.tolerance) | (stale == PATIENCE)
            ended |= torch.full_like(ended, iteration == self.options.max_iterations)
            for i in torch.nonzero(ended)[:, 0].tolist():
                ends[int(live[i])] = _solved(at, i, float(gap[i]), iteration, int(products[i]))
            if ended.all():
                break
            if ended.any():
                on = torch.nonzero(~ended)[:, 0]
                self.problem.keep(on)
                self.preconditioner.keep(on)
                at = _Point(at.theta[on], at.value[on], at.gradient[on])
                live, products, penalties, softest = live[on], products[on], penalties[on], softest[on]
                stale, least, lowest = stale[on], least[on], lowest[on]
            self.preconditioner.prepare(penalties)
            enough = 0.3 * self.options.tolerance * at.value
            along = _newton_direction(self.problem, self.preconditioner, at.gradient, penalties, enough, softest)
            at, readings = _descend(self.problem, at, along, penalties)
            softest = along.softest
            products += along.products + readings
            self.preconditioner.note(float(along.products.max()))
        self.softest = float(softest.max())
        return [ends[i] for i in range(len(ends))]

    def _gap(self, at: _Point, softest: Tensor) -> Tensor:
        """Estimated (objective - optimum) / objective [b].

        Half the gradient's squared norm in the inverse Hessian, for which the preconditioner stands: times
        the most by which it was seen to exceed the Hessian, and by which the curvature has moved since.
        """
        every = torch.arange(len(at.value), device=at.value.device)
        distance = _dot(at.gradient, self.preconditioner.solve(at.gradient, every)) / 2
        return (distance * softest * self.preconditioner.drift() / at.value).clamp_min(0)


def _solved(at: _Point, which: int, gap: float, iterations: int, products: int) -> _Solved:
    gradient, value = at.gradient[which], float(at.value[which])
    norm = float(torch.linalg.vector_norm(gradient, dtype=torch.float64)) / value
    return _Solved(at.theta[which].clone(), value, gap, norm, iterations, products)


def _extrapolated(wanted: float, at: list[float], known: list[Tensor]) -> Tensor:
    """The polynomial through the known thetas at their log penalties, where it is wanted."""
    total = torch.zeros_like(known[0])
    for own, theta in zip(at, known, strict=True):
        total += math.prod((wanted - other) / (own - other) for other in at if other != own) * theta
    return total


# --------------------------------------------------------------------------------------------------- fitting


def _fit(
    stack: Stacked,
    loss: _Loss,
    kept: NDArray,
    constant: NDArray,
    penalties: NDArray,
    start: PathFit | None,
    options: _Options,
) -> PathFit:
    """Fits the classes `kept` [m] of k; the others get zero weights and the bias `constant` [k]."""
    check_penalties(penalties)
    falling = np.unique(penalties)[::-1]
    design = _Design(stack, options)
    in_flight, keep_states = _plan(design, loss.classes, len(falling), options)
    problem = _Problem(design, loss, keep_states)
    first = torch.zeros(loss.classes, design.width, dtype=options.dtype, device=options.device)
    if options.fit_intercept:
        prior = loss.prior()
        first[:, -1] = prior - prior.mean() if isinstance(loss, _Softmax) else prior
    starts = None if start is None else [_start(start, design, kept, penalty) for penalty in falling]
    solved = _Path(problem, options, in_flight).walk(falling.tolist(), starts, first)
    order = [int(np.flatnonzero(falling == penalty)[0]) for penalty in penalties]
    return _assembled([solved[i] for i in order], penalties, design, kept, constant, options)


def _assembled(
    solved: list[_Solved],
    penalties: NDArray,
    design: _Design,
    kept: NDArray,
    constant: NDArray,
    options: _Options,
) -> PathFit:
    weights = np.zeros((len(solved), len(constant), design.raw_width), np.float32)
    bias = np.tile(constant.astype(np.float32), (len(solved), 1))
    for i, entry in enumerate(solved):
        raw_weights, raw_bias = design.to_raw(entry.theta)
        weights[i, kept], bias[i, kept] = raw_weights.cpu().numpy(), raw_bias.cpu().numpy()
    gap = np.array([entry.gap for entry in solved])
    return PathFit(
        penalties=penalties,
        weights=weights,
        bias=bias,
        objective=np.array([entry.objective for entry in solved]),
        gap=gap,
        gradient_norm=np.array([entry.gradient_norm for entry in solved]),
        converged=gap <= options.tolerance,
        iterations=np.array([entry.iterations for entry in solved]),
        products=np.array([entry.products for entry in solved]),
    )


def _start(start: PathFit, design: _Design, kept: NDArray, penalty: float) -> Tensor:
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


def _plan(design: _Design, classes: int, count: int, options: _Options) -> tuple[int, bool]:
    """How many penalties to have in flight, and whether to keep their curvature states in memory.

    Rows in memory: a few penalties, until the products have columns enough to be efficient, because a warm
    start saves more than a wider product. Rows that are read from a file: as many as fit. A quarter of the
    memory is for the rows being read and what is computed of them, which sets the design's chunk.
    """
    size = design.size
    kept = sum(part.nbytes for part in (design.kept, design.brief) if part is not None)
    room = options.memory() * 3 // 4 - kept
    vectors = size * 12 * classes * design.width
    factors = (size * MOST_GROUPS + 4) * design.width**2
    states = 2 * size * design.n * classes
    least = vectors + 2 * factors
    if room < least:
        raise BadInput(
            f"a memory limit of {options.memory():,} bytes found; {design.n} rows of {design.raw_width} and "
            f"{classes} classes need at least {(least + kept) * 4 // 3 + 1:,}; raise the limit"
        )
    wanted = max(1, COLUMNS // classes) if design.kept is not None else MOST_IN_FLIGHT
    keep_states = room >= least + states
    each = vectors + factors + (states if keep_states else 0)
    in_flight = max(1, min(wanted, count, (room - factors) // each))
    design.chunk_for(options.memory() // 4, in_flight * classes)
    return in_flight, keep_states


COLUMNS = 64
MOST_IN_FLIGHT = 12
# Penalties in flight share a start and a bracket; beyond this ratio that costs more than it saves.
REACH = 30.0


# ---------------------------------------------------------------------------------------------------- checks


def checked_labels(labels: ArrayLike, rows: int, classes: int | None) -> NDArray:
    found = np.asarray(labels)
    if found.ndim != 1 or len(found) != rows:
        raise BadInput(f"labels of shape {found.shape} found; expected [{rows}], one per row; check the split")
    if found.dtype.kind not in "iu":
        raise BadInput(f"labels of type {found.dtype} found; expected whole numbers; number the classes from 0")
    wrong = np.flatnonzero((found < 0) | (found >= (classes if classes is not None else np.inf)))
    if len(wrong):
        raise BadInput(
            f"label {found[wrong[0]]} found at row {wrong[0]} ({len(wrong)} such rows); "
            f"expected 0 to {'any' if classes is None else classes - 1}; check the class list"
        )
    return found.astype(np.int64)


def checked_truth(truth: ArrayLike, rows: int) -> NDArray:
    found = np.asarray(truth)
    if found.ndim != 2 or len(found) != rows:
        raise BadInput(f"truth of shape {found.shape} found; expected [{rows}, k], one row each; check the split")
    if found.dtype != bool and not np.isin(found, (0, 1)).all():
        raise BadInput("truth with values other than 0 and 1 found; expected bool [n, k]; binarise it")
    return found.astype(bool)


def refuse_unfinite(bad: list[int], count: int) -> None:
    """Raises BadInput if any of `count` rows are bad, naming the first."""
    if bad:
        listed = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise BadInput(
            f"{len(bad)} of {count} rows hold NaN or infinity (rows {listed}); expected finite "
            "features; extract these again, in float32 if they overflowed in float16"
        )


def check_penalties(penalties: NDArray) -> None:
    if penalties.ndim != 1 or len(penalties) == 0 or not (np.isfinite(penalties) & (penalties > 0)).all():
        raise BadInput(f"penalties {penalties} found; expected positive numbers [p]; try KORNBLITH_PENALTIES")
