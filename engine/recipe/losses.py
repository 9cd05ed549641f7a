"""What training makes small: a mean over the judged labels of a batch, and how much a batch weighs in its step."""

import dataclasses

import torch
from torch import Tensor
from torch.nn import functional

from ..errors import BadInput
from .recipe import Recipe

BLOWN_UP = 1e4  # times the loss of equal scores: no training comes back from there


@dataclasses.dataclass(frozen=True)
class Objective:
    """The recipe's loss on logits [b, classes].

    Targets are int64 [b], shares of classes [b, classes] where images are mixed, or what holds of several labels
    [b, classes], -1 where nobody knows. weights: of each class, None for equal ones.
    """

    kind: str
    smoothing: float = 0.0
    weights: Tensor | None = None

    def mean(self, logits: Tensor, target: Tensor) -> Tensor:
        """The mean loss of a batch: a batch in parts has the mean of the parts', each times its `weight`."""
        if self.kind == "ordinal":
            return self._over_images(ordinal_losses(logits, _one_hot(target, logits.shape[1])), target)
        if self.kind == "asymmetric":
            return asymmetric_loss(logits, target, self.weights, self.smoothing)
        if self.kind == "bce":
            several = target if target.ndim == 2 else _one_hot(target, logits.shape[1])
            return binary_loss(logits, several, self.weights, self.smoothing)
        if target.ndim == 2:  # mixed; smoothing is in the shares by now
            return functional.cross_entropy(logits, target, self.weights)
        return functional.cross_entropy(logits, target, self.weights, label_smoothing=self.smoothing)

    def weight(self, target: Tensor) -> Tensor:
        """What the mean of these targets is divided by: images, their weights, or the labels that are known."""
        if self.kind == "bce" and target.ndim == 2:
            return (target >= 0).sum()
        if self.weights is not None and target.ndim == 1 and self.kind in ("cross_entropy", "ordinal"):
            return self.weights[target].sum()
        return torch.tensor(float(len(target)), device=target.device)

    def _over_images(self, losses: Tensor, target: Tensor) -> Tensor:
        if self.weights is None:
            return losses.mean()
        each = self.weights[target] if target.ndim == 1 else target @ self.weights
        return (losses * each).sum() / (each.sum() if target.ndim == 1 else len(target))


def objective(recipe: Recipe, truth: Tensor, classes: int) -> Objective:
    """The recipe's loss for these labels [n], or [n, classes]. Raises BadInput where it is for the other kind."""
    several = truth.ndim == 2
    kind, smoothing = recipe.loss, recipe.label_smoothing
    if kind == "auto":
        kind, smoothing = ("bce", 0.0) if several else ("cross_entropy", smoothing)
    if several and kind in ("cross_entropy", "ordinal"):
        raise BadInput(f"loss {kind}: it is for one label per image, several found; choose bce, asymmetric or auto")
    if kind == "asymmetric" and not several:
        raise BadInput("loss asymmetric: it is for several labels per image, one found; choose auto, bce or ordinal")
    weights = balanced_weights(truth, classes) if recipe.class_weights == "balanced" else None
    return Objective(kind, smoothing, weights)


def balanced_weights(truth: Tensor, classes: int) -> Tensor:
    """float32 [classes]: n / (classes x images of the class), as scikit-learn's `balanced`; 0 for a class of none.

    Of several labels per image, that of a class's presence against its absence: absent / present.
    """
    if truth.ndim == 2:
        present, absent = (truth > 0).sum(0), (truth == 0).sum(0)
        return torch.where(present > 0, absent / present.clamp(min=1), 0.0).float()
    counts = torch.bincount(truth, minlength=classes)
    return torch.where(counts > 0, len(truth) / (classes * counts.clamp(min=1)), 0.0).float()


def binary_loss(logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Mean binary cross-entropy of the pairs [b, k] of which the truth is known, not -1; 0 where there is none.

    weights: [k], of a class's presence. smoothing: how far a label moves towards 1/2, times two.
    """
    known = target >= 0
    sure = target.float().clamp(min=0)
    if smoothing:
        sure = sure * (1 - smoothing) + smoothing / 2
    losses = functional.binary_cross_entropy_with_logits(logits, sure, reduction="none", pos_weight=weights)
    return (losses * known).sum() / known.sum().clamp(min=1)


def asymmetric_loss(logits: Tensor, target: Tensor, weights: Tensor | None = None, smoothing: float = 0.0) -> Tensor:
    """Ridnik et al. 2021, by timm: the sum over the classes that are known, its mean over the batch."""
    from timm.loss import AsymmetricLossMultiLabel

    each = AsymmetricLossMultiLabel(smoothing=smoothing, reduction="none", pos_weight=weights)
    losses = each.to(logits.device)(logits, target.float().clamp(min=0))
    return (losses * (target >= 0)).sum() / len(target)


def ordinal_losses(logits: Tensor, target: Tensor) -> Tensor:
    """[b] of scores [b, grades] and targets, shares of grades [b, grades].

    The sum over the grades k but the last of the binary cross-entropy of P(grade > k), where P is the softmax of the
    scores: the questions of Frank & Hall 2001, with one set of scores for all of them, so that they cannot contradict
    each other, and the scores stay those of a classifier.
    """
    whole = logits.logsumexp(1, keepdim=True)
    above = logits.flip(1).logcumsumexp(1).flip(1)[:, 1:] - whole  # log P(grade > k)
    below = logits.logcumsumexp(1)[:, :-1] - whole  # log P(grade <= k)
    share = target.flip(1).cumsum(1).flip(1)[:, 1:]
    return -(share * above + (1 - share) * below).sum(1)


def _one_hot(target: Tensor, classes: int) -> Tensor:
    return functional.one_hot(target, classes).float() if target.ndim == 1 else target
