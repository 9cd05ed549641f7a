"""The walk over the penalties: from strong to weak, each from the solutions before it."""

import math
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from .design_matrix import Solver
from .newton_cg import Point, descend, newton_direction
from .objective import Problem, dot
from .preconditioner import Preconditioner

# Penalties in flight share a start and a bracket; beyond this ratio that costs more than it saves.
REACH = 30.0
# Newton steps that may lower neither the gap nor the objective before rounding is blamed.
PATIENCE = 3
# How much of the last penalties' stretch the next begin with.
FORGET = 0.9


@dataclass(frozen=True)
class Plan:
    """What memory allows: penalties in flight, keeping their curvature states, a preconditioner per class."""

    in_flight: int
    keep_states: bool
    own_fits: bool


@dataclass(frozen=True)
class Solved:
    """One penalty's end: theta [k, width] and the numbers that `PathFit` reports."""

    theta: Tensor
    objective: float
    gap: float
    gradient_norm: float
    iterations: int
    products: int


class Path:
    """The walk over the penalties, strong to weak, `in_flight` at a time."""

    def __init__(self, problem: Problem, solver: Solver, plan: Plan):
        self.problem, self.solver, self.in_flight = problem, solver, plan.in_flight
        self.preconditioner = Preconditioner(problem, plan.own_fits)
        self.stretch = 1.0

    def walk(self, penalties: list[float], starts: list[Tensor]) -> list[Solved]:
        """Solves the falling penalties from `starts`: one each, or one for all, and then from each other."""
        solved: list[Solved] = []
        while len(solved) < len(penalties):
            begin = len(solved)
            block = [
                penalty for penalty in penalties[begin : begin + self.in_flight] if penalties[begin] <= REACH * penalty
            ]
            exact = torch.tensor(block, dtype=torch.float64, device=starts[0].device)
            if len(starts) == len(penalties):
                at = self._evaluated(torch.stack(starts[begin : begin + len(block)]), exact)
            elif solved:
                at = self._continued(block, exact, penalties[:begin], solved)
            else:
                at = self._evaluated(starts[0].expand(len(block), -1, -1).contiguous(), exact)
            solved += self._finished(at, exact)
        return solved

    def _evaluated(self, theta: Tensor, penalties: Tensor) -> Point:
        return Point(theta, *self.problem.evaluate(theta, penalties))

    def _continued(self, block: list[float], exact: Tensor, before: list[float], solved: list[Solved]) -> Point:
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

    def _finished(self, at: Point, penalties: Tensor) -> list[Solved]:
        """Polished; what the rounding of float32 keeps from the tolerance, once more in float64."""
        ends = self._polish(at, penalties)
        short = [i for i, end in enumerate(ends) if not end.gap <= self.solver.tolerance]
        used = max(ends[i].iterations for i in short) if short else 0
        if short and used < self.solver.max_iterations and at.theta.dtype != torch.float64:
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

    def _polish(self, at: Point, penalties: Tensor) -> list[Solved]:
        """Newton steps until each penalty is within the tolerance, stalls, or has had its iterations."""
        ends: dict[int, Solved] = {}
        live = torch.arange(len(penalties), device=penalties.device)
        self.preconditioner.factors = []
        products, stale = torch.ones_like(live), torch.zeros_like(live)
        stretch = torch.full_like(at.value, max(1.0, FORGET * self.stretch))
        least = lowest = torch.full_like(at.value, math.inf)
        for iteration in range(self.solver.max_iterations + 1):
            gap = self._gap(at, stretch) if iteration else torch.full_like(stretch, math.inf)
            better = (gap < least / 2) | (at.value < lowest * (1 - 16 * torch.finfo(at.theta.dtype).eps))
            stale = torch.where(better, 0, stale + 1)
            least, lowest = torch.minimum(gap, least), torch.minimum(at.value, lowest)
            ended = (gap <= self.solver.tolerance) | (stale == PATIENCE)
            ended |= torch.full_like(ended, iteration == self.solver.max_iterations)
            for i in torch.nonzero(ended)[:, 0].tolist():
                ends[int(live[i])] = _solved(at, i, float(gap[i]), iteration, int(products[i]))
            if ended.all():
                break
            if ended.any():
                on = torch.nonzero(~ended)[:, 0]
                self.problem.keep(on)
                self.preconditioner.keep(on)
                at = Point(at.theta[on], at.value[on], at.gradient[on])
                live, products, penalties, stretch = live[on], products[on], penalties[on], stretch[on]
                stale, least, lowest = stale[on], least[on], lowest[on]
            if self.preconditioner.prepare(penalties):
                stretch = torch.ones_like(stretch)
            enough = 0.3 * self.solver.tolerance * at.value
            along = newton_direction(self.problem, self.preconditioner, at.gradient, penalties, enough, stretch)
            at, readings = descend(self.problem, at, along, penalties)
            stretch = along.stretch
            products += along.products + readings
            self.preconditioner.note(float(along.products.max()))
        self.stretch = float(stretch.max())
        return [ends[i] for i in range(len(ends))]

    def _gap(self, at: Point, stretch: Tensor) -> Tensor:
        """Estimated (objective - optimum) / objective [b].

        Half the gradient's squared norm in the inverse Hessian, for which the preconditioner stands: times
        the most by which that was seen to fall short, and by which the curvature has moved since.
        """
        every = torch.arange(len(at.value), device=at.value.device)
        distance = dot(at.gradient, self.preconditioner.solve(at.gradient, every)) / 2
        return (distance * stretch * self.preconditioner.drift() / at.value).clamp_min(0)


def _solved(at: Point, which: int, gap: float, iterations: int, products: int) -> Solved:
    gradient, value = at.gradient[which], float(at.value[which])
    norm = float(torch.linalg.vector_norm(gradient, dtype=torch.float64)) / value
    return Solved(at.theta[which].clone(), value, gap, norm, iterations, products)


def _extrapolated(wanted: float, at: list[float], known: list[Tensor]) -> Tensor:
    """The polynomial through the known thetas at their log penalties, where it is wanted."""
    total = torch.zeros_like(known[0])
    for own, theta in zip(at, known, strict=True):
        total += math.prod((wanted - other) / (own - other) for other in at if other != own) * theta
    return total
