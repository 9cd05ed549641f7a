"""Cross-entropies of logits, with the residuals and curvatures that a second-order solver needs."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Measured:
    """What c rows say at b penalties: summed losses float64 [b], residuals [c, b, k], what `curve` needs
    of them [c, b, k], and their curvature: mean over classes [c, b] and sum over rows [b, k].
    """

    losses: Tensor
    residuals: Tensor
    state: Tensor
    row_curvature: Tensor
    class_curvature: Tensor


class Softmax:
    """Multinomial cross-entropy of labels [n], written in margins to the own class.

    At weak penalties a separable problem has losses of 1e-9. Differences of logits to the own class keep
    them, and their curvature, to full relative precision in float32, where 1 - p(own) would be noise.
    """

    coupled = True

    def __init__(self, labels: Tensor, classes: int):
        self.labels, self.classes = labels, classes

    def _own(self, where: slice, like: Tensor) -> Tensor:
        return self.labels[where, None, None].expand(-1, like.shape[1], 1)

    def measure(self, logits: Tensor, where: slice) -> Measured:
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
        return Measured(
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

    def curvature(self, state: Tensor, where: slice) -> Tensor:
        """p (1 - p) [c, b, k], from the state that `measure` gave."""
        own = self._own(where, state)
        wrong = state.scatter(2, own, 0.0).sum(2, keepdim=True)
        return torch.addcmul(state, state, state, value=-1).scatter_(2, own, wrong * state.gather(2, own))

    def prior(self) -> Tensor:
        """The best intercepts without features [k]."""
        counts = torch.bincount(self.labels, minlength=self.classes).double()
        return torch.log(counts / counts.sum())


class Sigmoid:
    """Binary cross-entropy of truth, bool [n, k], summed over classes; where `known` is given, over its pairs."""

    coupled = False

    def __init__(self, truth: Tensor, known: Tensor | None = None):
        self.truth, self.known, self.classes = truth, known, truth.shape[1]

    def measure(self, logits: Tensor, where: slice) -> Measured:
        sign = torch.where(self.truth[where, None, :], -1.0, 1.0).to(logits.dtype)
        margin = logits.mul_(sign)
        losses = torch.nn.functional.softplus(margin, threshold=80)
        wrong = torch.sigmoid(margin)
        state = wrong * torch.sigmoid(-margin)
        if self.known is not None:
            counts = self.known[where, None, :]
            losses, wrong, state = losses * counts, wrong * counts, state * counts
        return Measured(losses.sum((0, 2), dtype=torch.float64), wrong * sign, state, state.mean(2), state.sum(0))

    def curve(self, state: Tensor, change: Tensor, where: slice) -> Tensor:
        return change.mul_(state)

    def curvature(self, state: Tensor, where: slice) -> Tensor:
        return state

    def prior(self) -> Tensor:
        known = self.truth.new_ones(self.truth.shape) if self.known is None else self.known
        share = self.truth.double().sum(0) / known.sum(0)
        return torch.log(share / (1 - share))


Loss = Softmax | Sigmoid
