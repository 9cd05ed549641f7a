"""Objective, gradient and curvature of logistic regressions at several penalties at a time."""

import torch
from torch import Tensor

from .design_matrix import Design
from .losses import Loss
from .matrix_products import square, times_transposed


def dot(left: Tensor, right: Tensor) -> Tensor:
    """Inner products [b] of [b, k, width], summed in float64."""
    return (left * right).sum((1, 2), dtype=torch.float64)


class Problem:
    """Objective, gradient and curvature at b penalties at a time, each from one reading of the rows."""

    def __init__(self, design: Design, loss: Loss, keep_states: bool):
        self.design, self.loss, self.keep_states = design, loss, keep_states
        # Whether curvature products may be rounded to fewer digits than the rows have.
        self.rounded = True
        self.states: list[Tensor] = []
        self.theta = torch.empty(0)
        self.row_curvature = self.class_curvature = torch.empty(0)

    def _logits(self, chunk: Tensor, theta: Tensor) -> Tensor:
        """Rows' logits [c, b, k], in theta's precision even where the product is briefer."""
        logits = times_transposed(chunk, theta.flatten(0, 1).to(chunk.dtype))
        return logits.to(theta.dtype).unflatten(1, theta.shape[:2])

    def _gathered(self, residuals: Tensor, chunk: Tensor) -> Tensor:
        """Residuals [c, b, k] times the rows [c, width], summed over them [b, k, width]."""
        columns = residuals.flatten(1).to(chunk.dtype).T.contiguous()
        return times_transposed(columns, chunk.T).unflatten(0, residuals.shape[1:])

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
            gradient += self._gathered(measured.residuals, chunk)
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
        chunks = self.design.brief_chunks if self.rounded else self.design.chunks
        for number, (where, chunk) in enumerate(chunks(direction.dtype)):
            state = self.states[number] if self.keep_states else self._state(chunk, where)
            state = state if whole else state[:, which]
            bent = self.loss.curve(state, self._logits(chunk, direction), where)
            change += self._gathered(bent, chunk)
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
        weights = (self.row_curvature / self.row_curvature.mean(0).clamp_min(1e-30)).mean(1).sqrt()
        total = self._square_zeros(1)[0]
        for where, chunk in self.design.chunks(weights.dtype):
            total += self._squared(chunk * weights[where, None])
        return total

    def own_brackets(self) -> Tensor:
        """The same for each class, of its own curvature [k, width, width]."""
        total = self._square_zeros(self.loss.classes)
        for number, (where, chunk) in enumerate(self.design.chunks(total.dtype)):
            state = self.states[number] if self.keep_states else self._state(chunk, where)
            share = self.loss.curvature(state, where) / self.class_curvature
            for bracket, weights in zip(total, share.mean(1).sqrt().T.to(total.dtype), strict=True):
                bracket += self._squared(chunk * weights[:, None])
        return total

    def _squared(self, chunk: Tensor) -> Tensor:
        # Rows that are read in chunks are so for want of memory, of which numpy's BLAS keeps some for each thread.
        return chunk.T @ chunk if self.design.kept is None else square(chunk)

    def _square_zeros(self, count: int) -> Tensor:
        width = self.design.width
        return torch.zeros(count, width, width, device=self.theta.device, dtype=self.design.dtype)
