"""Newton steps: a direction from preconditioned conjugate gradients, and how far to go along it."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from .objective import Problem, dot
from .preconditioner import Preconditioner


@dataclass
class Direction:
    """step [b, k, width]; its slope and stretch [b]; products of each penalty [b].

    stretch: the factor by which a distance measured with the preconditioner was seen to fall short, at most.
    """

    step: Tensor
    slope: Tensor
    stretch: Tensor
    products: Tensor


MOST_PRODUCTS = 200


def newton_direction(
    problem: Problem,
    preconditioner: Preconditioner,
    gradient: Tensor,
    penalties: Tensor,
    enough: Tensor,
    stretch: Tensor,
) -> Direction:
    """Preconditioned conjugate gradients on Hessian x step = -gradient, until its error matters no more.

    It stops at a hundredth of the energy that it began with, or when what remains is below `enough` [b].
    stretch [b]: what is known of it from before.
    """
    step = torch.zeros_like(gradient)
    products = torch.zeros_like(enough, dtype=torch.int64)
    which = torch.arange(len(gradient), device=gradient.device)
    residual = -gradient
    solved = preconditioner.solve(residual, which)
    direction = solved
    energy = dot(residual, solved)
    first = energy.clone()
    distances = _Distances(energy)
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
        distances.note(which, stride * energy / 2, after)
        going = (bend > 0) & (after > 0.01 * first[which]) & (number < MOST_PRODUCTS)
        ending = which[~going | (after * stretch[which] <= 2 * enough[which])]
        stretch[ending] = torch.maximum(stretch[ending], distances.stretch(ending))
        going &= after * stretch[which] > 2 * enough[which]
        if not going.any():
            break
        direction = solved + (after / energy).to(step.dtype)[:, None, None] * direction
        energy = after
        if not going.all():
            which, energy = which[going], energy[going]
            direction, residual = direction[going], residual[going]
    return Direction(step, dot(gradient, step), stretch, products)


class _Distances:
    """How far off conjugate gradients' residuals were, by the preconditioner and by what became of them.

    Half the squared length of a residual in the inverse Hessian is what the steps after it take off the quadratic
    that they minimise, so every direction shows in hindsight how far its earlier residuals really were.
    """

    def __init__(self, first: Tensor):
        self.believed = [[energy / 2] for energy in first.tolist()]
        self.taken: list[list[float]] = [[] for _ in self.believed]

    def note(self, which: Tensor, taken: Tensor, energy: Tensor) -> None:
        """Take in what one more step took off [a], and the energy [a] of the residual after it."""
        for i, off, left in zip(which.tolist(), taken.tolist(), energy.tolist(), strict=True):
            self.taken[i].append(off)
            self.believed[i].append(left / 2)

    def stretch(self, which: Tensor) -> Tensor:
        """The largest ratio seen of the real to the believed distance [a], float64."""
        found = []
        for i in which.tolist():
            seen = np.cumsum([self.believed[i][-1], *self.taken[i][::-1]])[::-1]
            found.append(float(np.max(seen / np.maximum(self.believed[i], 1e-300))))
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
