"""Matrices that stand for the Hessians of logistic regressions and can be solved with.

Of one class, the Hessian is rows' diag(p (1 - p)) rows + penalty x identity, with the class's probabilities p.
Here each class has a matrix of that form, made in one of two ways:

- Shared: one bracket, rows' diag(curvature of each row / mean curvature) rows, for all classes, times their level
  of curvature. It costs a few products with the rows and serves where classes overlap alike.
- Own: a bracket per class. It costs as many as there are classes, and is exact but for what couples the classes.

Where classes are nearly separable, each class's curvature sits in rows of its own and the shared bracket needs
hundreds of products for a Newton direction; on 480 rows of 96 features and 12 classes, 350 to over 600 where
the classes' own take 10 to 30. So the walk begins with the shared one and goes over once the products that it
wasted would have paid for the other: at worst it spends twice what the better choice would have cost.

Softmax couples the classes: its Hessian does not see a change that all classes share, and the optimum has none.
Unequal matrices would bring such a change in, where the Hessian has only the penalty to answer it, so directions
are kept free of it, before and after solving. Without this, the classes' own brackets took 180 products for 27.

With their own brackets, the curvature products are no longer rounded to bfloat16: what is left to conjugate
gradients then are the soft directions, which rounding buries.
"""

import math

import torch
from torch import Tensor

from .objective import Problem

MOST_GROUPS = 4
# Products of a Newton direction that no bracket would save.
FEW = 3
# What a multiplication costs in a product of bfloat16, float32 and float64 rows, relative to the first; and a
# product's fixed cost in such multiplications. Measured on one core of an EPYC with AVX-512 and bfloat16.
BRIEF, SINGLE, DOUBLE = 1, 2, 8
OVERHEAD = 1e8


class Preconditioner:
    """own_fits: whether there is memory for a bracket and factors per class."""

    def __init__(self, problem: Problem, own_fits: bool):
        self.problem, self.own_fits = problem, own_fits
        self.own = False
        self.brackets: Tensor | None = None
        self.usual = self.excess = self.wasted = 0.0
        self.dtype = problem.design.dtype
        self.levels = torch.empty(0)
        self.factors: list[tuple[Tensor, list[Tensor]]] = []

    def prepare(self, penalties: Tensor) -> bool:
        """Fit for the b penalties last evaluated; whether this began with the classes' own brackets.

        Brackets are remade once the products wasted since the last time would have paid for it, and factors
        where the curvature has moved.
        """
        levels = self.problem.class_curvature
        goes_over = not self.own and self.own_fits and self.wasted > self._remaking(True, len(levels))
        if goes_over:
            self.own, self.problem.rounded = True, False
        remake = self.brackets is None or goes_over or self.excess > self._remaking(self.own, len(levels))
        if remake:
            self.brackets = self.problem.own_brackets() if self.own else self.problem.bracket()[None]
            self.usual = self.excess = 0.0
        if remake or len(self.factors) != len(levels) or (self.drift() > 1.5).any():
            self.levels = levels
            self.factors = [self._factorised(levels[i], penalty) for i, penalty in enumerate(penalties.tolist())]
        return goes_over

    def note(self, products: float) -> None:
        """Take in how many products the Newton directions at the b penalties have cost."""
        design, problem = self.problem.design, self.problem
        speed = BRIEF if problem.rounded and design.brief is not None else self._exact()
        rows, solving = 4 * design.n * speed, 2 * design.width * self._exact()
        price = (rows + solving) * design.width * problem.loss.classes * len(self.levels) + OVERHEAD
        self.usual = self.usual or products
        self.excess += max(0.0, products - self.usual) * price
        self.wasted += max(0.0, products - FEW) * price

    def _remaking(self, own: bool, penalties: int) -> float:
        """What remaking the brackets and the factors at so many penalties costs."""
        design, count = self.problem.design, self.problem.loss.classes if own else 1
        brackets = 1.5 * design.n * design.width**2 * self._exact()
        return count * (brackets + penalties * design.width**3 / 3 * DOUBLE)

    def _exact(self) -> int:
        return DOUBLE if self.dtype == torch.float64 else SINGLE

    def drift(self) -> Tensor:
        """The factor [b] by which the curvature has moved since it was factorised, in the class that moved most."""
        ratio = self.levels / self.problem.class_curvature
        return torch.maximum(ratio, 1 / ratio).amax(1)

    def _factorised(self, levels: Tensor, penalty: float) -> tuple[Tensor, list[Tensor]]:
        """Cholesky factors [g, width, width] at one penalty, and the g groups of classes that they are for."""
        assert self.brackets is not None
        if self.own:
            groups = list(torch.arange(len(levels), device=levels.device)[:, None])
        elif self.problem.loss.coupled:
            groups = [torch.arange(len(levels), device=levels.device)]
        else:
            groups = _groups(levels)
        # p (1 - p) has lost 1 / k of what two or more like classes put up against a change that sums to zero.
        seen = len(levels) / (len(levels) - 1) if self.problem.loss.coupled else 1.0
        level = torch.stack([levels[group].mean() for group in groups]) * seen
        matrices = self.brackets.double() * level[:, None, None]
        diagonal = matrices.diagonal(dim1=1, dim2=2)
        jitter = 1e-12 * diagonal.amax(1, keepdim=True)
        diagonal += penalty * self.problem.design.penalised
        # Digits that float32 lacks would be lost where the penalty is a small part of the diagonal.
        if penalty > 1e-4 * float(diagonal.max()):
            matrices = matrices.to(self.dtype)
            diagonal, jitter = matrices.diagonal(dim1=1, dim2=2), jitter.to(self.dtype)
        while True:
            diagonal += jitter
            factors, failed = torch.linalg.cholesky_ex(matrices)
            if not failed.any():
                return factors.to(self.dtype), groups
            jitter *= 10

    def solve(self, gradient: Tensor, which: Tensor) -> Tensor:
        """The inverse times gradient [a, k, width], for those `which` [a] of the b factorised."""
        precise = gradient.dtype
        gradient = self._uncoupled(gradient.to(self.dtype))
        out = torch.empty_like(gradient)
        for row, i in enumerate(which.tolist()):
            factors, groups = self.factors[i]
            if self.own:
                out[row] = _solved(factors, gradient[row, :, :, None])[..., 0]
            else:
                for factor, group in zip(factors, groups, strict=True):
                    out[row, group] = _solved(factor, gradient[row, group].T).T
        return self._uncoupled(out).to(precise)

    def _uncoupled(self, change: Tensor) -> Tensor:
        return change - change.mean(1, keepdim=True) if self.problem.loss.coupled else change

    def keep(self, index: Tensor) -> None:
        """Forget all but these of the b penalties factorised."""
        self.levels = self.levels[index]
        self.factors = [self.factors[i] for i in index.tolist()]


def _solved(factor: Tensor, right: Tensor) -> Tensor:
    half = torch.linalg.solve_triangular(factor, right, upper=False)
    return torch.linalg.solve_triangular(factor.mT, half, upper=True)


def _groups(levels: Tensor) -> list[Tensor]:
    """Classes of like curvature, from levels [k]: at most MOST_GROUPS, none wider than needed for that."""
    logs = torch.log(levels)
    low, spread = logs.min(), float(logs.max() - logs.min())
    width = max(math.log(4), 1.001 * spread / MOST_GROUPS)
    number = ((logs - low) / width).long()
    return [torch.nonzero(number == i)[:, 0] for i in number.unique().tolist()]
