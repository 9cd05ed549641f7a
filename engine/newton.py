"""Newton steps: a direction from preconditioned conjugate gradients, and how far to go along it."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from engine.logistic import Problem, dot
from engine.preconditioner import Preconditioner


@dataclass
class Direction:
    """step [b, k, width]; its slope and softest [b]; products of each penalty [b].

    softest: the largest ratio seen of the preconditioner to the Hessian, the factor by which a distance
    measured with the preconditioner can fall short.
    """

    step: Tensor
    slope: Tensor
    softest: Tensor
    products: Tensor


MOST_PRODUCTS = 200


def newton_direction(
    problem: Problem,
    preconditioner: Preconditioner,
    gradient: Tensor,
    penalties: Tensor,
    enough: Tensor,
    softest: Tensor,
) -> Direction:
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
    energy = dot(residual, solved)
    first = energy.clone()
    ritz = Ritz(len(gradient))
    for number in range(1, MOST_PRODUCTS + 1):
        bent = problem.curve(direction, penalties[which], which)
        bend = dot(direction, bent)
        stride = torch.where(bend > 0, energy / bend, 0.0)
        products[which] += 1
        short = stride.to(step.dtype)[:, None, None]
        step[which] += short * direction
        residual = residual - short * bent
        solved = preconditioner.solve(residual, which)
        after = dot(residual, solved)
        ritz.note(which, stride, after / energy)
        going = (bend > 0) & (after > 0.01 * first[which]) & (number < MOST_PRODUCTS)
        # Eigenvalues take longer than a small product, and matter only to what would stop here.
        ending = which[~going | (after * softest[which] <= 2 * enough[which])]
        softest[ending] = torch.maximum(softest[ending], ritz.softest(ending))
        going &= after * softest[which] > 2 * enough[which]
        if not going.any():
            break
        direction = solved + (after / energy).to(step.dtype)[:, None, None] * direction
        energy = after
        if not going.all():
            which, energy = which[going], energy[going]
            direction, residual = direction[going], residual[going]
    return Direction(step, dot(gradient, step), softest, products)


class Ritz:
    """Smallest eigenvalues of preconditioned Hessians, from the strides of conjugate gradients (Lanczos)."""

    def __init__(self, count: int):
        self.diagonal: list[list[float]] = [[] for _ in range(count)]
        self.beside: list[list[float]] = [[] for _ in range(count)]
        self.carried = [0.0] * count

    def note(self, which: Tensor, stride: Tensor, ratio: Tensor) -> None:
        """Take in one more iteration, with its strides and ratios of energies [a]."""
        for i, own, share in zip(which.tolist(), stride.tolist(), ratio.tolist(), strict=True):
            if own > 0:
                self.diagonal[i].append(1 / own + self.carried[i])
                self.carried[i] = share / own
                self.beside[i].append(math.sqrt(max(share, 0.0)) / own)

    def softest(self, which: Tensor) -> Tensor:
        """One over the smallest [a], float64."""
        from scipy.linalg import eigvalsh_tridiagonal

        found = []
        for i in which.tolist():
            smallest = 1.0
            if self.diagonal[i]:
                beside = self.beside[i][:-1]
                smallest = eigvalsh_tridiagonal(self.diagonal[i], beside, select="i", select_range=(0, 0))[0]
            found.append(1 / max(smallest, 1e-30))
        return torch.tensor(found, dtype=torch.float64, device=which.device)


@dataclass
class Point:
    """Where the b penalties in flight stand: theta [b, k, width], objective [b], gradient."""

    theta: Tensor
    value: Tensor
    gradient: Tensor


def descend(problem: Problem, at: Point, along: Direction, penalties: Tensor) -> tuple[Point, int]:
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
    return Point(theta, value, gradient), attempt
