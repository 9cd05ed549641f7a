"""The matrix that a logistic regression is fitted on, in memory or read in chunks."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from .feature_rows import Stacked, refuse_unfinite
from .matrix_products import bfloat16_is_fast

DEFAULT_MEMORY = 4 << 30
# Numbers of an array that the steps between two products keep in cache, and rows that make a product efficient. Of
# 5,000 classes these steps took 16 ms with 256 rows at a time and 41 with 1,280, the products as long in both.
CACHED, LEAST_ROWS = 1_500_000, 256


@dataclass(frozen=True)
class Solver:
    """How a path is solved.

    standardise: fit (and penalise) on columns of unit variance; weights are still for raw rows.
    tolerance: (objective - optimum) / objective at which a penalty counts as converged.
    max_iterations: Newton steps per penalty.
    dtype: of the arithmetic; without it float32, or float64 where a problem is so small that it costs no more.
    memory_limit: bytes; without it 4 GiB, or half of a GPU's free memory.
    """

    fit_intercept: bool = True
    standardise: bool = False
    tolerance: float = 1e-6
    max_iterations: int = 100
    device: str | torch.device = "cpu"
    dtype: torch.dtype | None = None
    memory_limit: int | None = None

    def memory(self) -> int:
        if self.memory_limit is not None:
            return self.memory_limit
        device = torch.device(self.device)
        return torch.cuda.mem_get_info(device)[0] // 2 if device.type == "cuda" else DEFAULT_MEMORY


class Design:
    """The matrix that is fitted: rows, centred, perhaps scaled or rotated, then a column of ones.

    Centring leaves the problem as it is, since the intercept is not penalised, and takes the large common
    direction of non-negative features out of the curvature. With more columns than rows the optimum lies in
    the span of the rows, so they are rotated into as many columns as there are rows, which is exact too.
    """

    def __init__(self, stack: Stacked, solver: Solver, dtype: torch.dtype):
        self.stack, self.solver, self.dtype = stack, solver, dtype
        self.n, self.raw_width = len(stack), stack.width
        self.basis: Tensor | None = None
        self.kept: Tensor | None = None
        self.brief: Tensor | None = None
        self.size = torch.finfo(dtype).bits // 8
        limit = solver.memory()
        self.chunk_for(limit // 4, 0)
        self.shift, self.scale = self._moments()
        if 3 * self.size * self.n * self.raw_width <= limit:
            self.kept = self._whole()
            if dtype == torch.float32 and bfloat16_is_fast(torch.device(solver.device)):
                self.brief = self.kept.bfloat16()
        self.width = self.kept.shape[1] if self.kept is not None else self.raw_width + solver.fit_intercept
        free = torch.ones(self.width, dtype=dtype, device=solver.device)
        if solver.fit_intercept:
            free[-1] = 0
        self.penalised = free

    def chunk_for(self, room: int, columns: int) -> None:
        """Read the rows in chunks such that they, and some arrays of so many columns, fit in `room` bytes.

        Rows that are in memory: so few that the arrays stay in the processor's cache between one step and the next.
        """
        self.chunk = max(1, min(self.n, room // (self.size * (4 * self.raw_width + 6 * columns))))
        if columns and self.kept is not None and self.kept.device.type == "cpu":
            self.chunk = min(self.chunk, max(LEAST_ROWS, CACHED // columns))

    def _slices(self) -> Iterator[slice]:
        for begin in range(0, self.n, self.chunk):
            yield slice(begin, min(begin + self.chunk, self.n))

    def _read(self, where: slice) -> Tensor:
        return self.stack.read(where, self.solver.device, self.dtype)

    def _moments(self) -> tuple[Tensor, Tensor]:
        """Shift [d] and scale [d], from one pass that also refuses values that are not finite."""
        total = torch.zeros(self.raw_width, dtype=torch.float64, device=self.solver.device)
        squares = torch.zeros_like(total)
        bad: list[int] = []
        for where in self._slices():
            chunk = self._read(where)
            finite = torch.isfinite(chunk).all(1)
            bad += (torch.nonzero(~finite)[:, 0] + where.start).tolist()
            total += chunk.sum(0, dtype=torch.float64)
            if self.solver.standardise:
                squares += chunk.double().square().sum(0)
        refuse_unfinite(bad, self.n)
        mean = total / self.n
        deviation = (squares / self.n - mean.square()).clamp_min(0).sqrt()
        constant = deviation <= 1e-6 * mean.abs().clamp_min(1e-30)
        scale = torch.where(constant, 1.0, 1 / deviation) if self.solver.standardise else torch.ones_like(mean)
        shift = mean if self.solver.fit_intercept else torch.zeros_like(mean)
        return shift.to(self.dtype), scale.to(self.dtype)

    def _prepared(self, where: slice) -> Tensor:
        """These rows, centred and scaled, with their column of ones: one copy beside what is read."""
        read = self._read(where)
        prepared = read.new_empty(len(read), self.raw_width + self.solver.fit_intercept)
        features = torch.sub(read, self.shift, out=prepared[:, : self.raw_width])
        if self.solver.standardise:
            features *= self.scale
        if self.solver.fit_intercept:
            prepared[:, -1] = 1
        return prepared

    def _whole(self) -> Tensor:
        """All of the matrix, rotated if it is wide."""
        ones = int(self.solver.fit_intercept)
        whole = self.shift.new_empty(self.n, self.raw_width + ones)
        for where in self._slices():
            whole[where] = self._prepared(where)
        if self.n >= self.raw_width:
            return whole
        self.basis, corner = torch.linalg.qr(whole[:, : self.raw_width].T)
        return self._with_ones(corner.T)

    def _with_ones(self, prepared: Tensor) -> Tensor:
        if not self.solver.fit_intercept:
            return prepared.contiguous()
        return torch.cat([prepared, prepared.new_ones(len(prepared), 1)], 1)

    def chunks(self, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Slices of the rows with their part of the matrix [c, width]."""
        for where in self._slices():
            part = self.kept[where] if self.kept is not None else self._prepared(where)
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
        weights = theta[:, :-1] if self.solver.fit_intercept else theta
        if self.basis is not None:
            weights = weights @ self.basis.T
        weights = weights * self.scale
        bias = theta[:, -1] if self.solver.fit_intercept else theta.new_zeros(len(theta))
        return weights, bias - weights @ self.shift

    def from_raw(self, weights: Tensor, bias: Tensor) -> Tensor:
        """Theta [k, width] that `to_raw` turns into weights [k, d] and bias [k]."""
        bias = bias + weights @ self.shift
        weights = weights / self.scale
        if self.basis is not None:
            weights = weights @ self.basis
        return torch.cat([weights, bias[:, None]], 1) if self.solver.fit_intercept else weights
