"""What a training starts from: the spec at the recipe's side and drop path, and a head that knows something."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import nn

from ..errors import BadInput
from ..images import Labelled, Shrinking
from ..models import ModelSpec, View, classifier, fresh_classifier
from ..probe import probe
from ..recipe import Recipe
from .loop import Run
from .prefix import body_of, head_of, rows_of

if TYPE_CHECKING:
    from .rate_search import TrainVal, Validation


def sized(spec: ModelSpec, recipe: Recipe) -> ModelSpec:
    """The spec at the recipe's side; a network that is built for one side is built for this one."""
    side = recipe.image_size or spec.view.side
    if recipe.image_size is None and recipe.start_size is None:
        return spec
    fixed = _fixed_side(spec)
    if fixed and recipe.start_size not in (None, side):
        raise BadInput(
            f"start_size: {recipe.start_size} found, {side} expected, all that {spec.name} takes; leave it out"
        )
    if side == spec.view.side:
        return spec
    kwargs = {**dict(spec.kwargs), **({"img_size": side} if fixed else {})}
    view = dataclasses.replace(spec.view, side=side)
    return dataclasses.replace(spec, view=view, kwargs=tuple(sorted(kwargs.items())))


def _fixed_side(spec: ModelSpec) -> bool:
    """Whether the network is built for one side, as timm says, such as for position embeddings."""
    return not spec.is_factory and bool(classifier(spec).pretrained_cfg.get("fixed_input_size"))  # type: ignore[union-attr, operator]


def fresh(spec: ModelSpec, classes: int, seed: int, recipe: Recipe) -> nn.Module:
    """`fresh_classifier` with the recipe's stochastic depth. Raises BadInput for a network that has none."""
    if not recipe.drop_path:
        return fresh_classifier(spec, classes, seed)
    kwargs = {**dict(spec.kwargs), "drop_path_rate": recipe.drop_path}
    try:
        return fresh_classifier(dataclasses.replace(spec, kwargs=tuple(sorted(kwargs.items()))), classes, seed)
    except BadInput as error:
        raise BadInput(
            f"drop_path: {recipe.drop_path} found, which {spec.name} does not take ({error}); leave drop_path out"
        ) from error


def start_head(
    model: nn.Module, data: "TrainVal", items: Labelled, validation: "Validation", view: View, run: Run,
    shrinking: Shrinking | None = None,
) -> None:  # fmt: skip
    """Gives the head the weights of a converged logistic regression on the frozen features of the items.

    Its penalty is chosen on val, by a fit on train alone; features are of the eval views, computed once for all
    trainings of a work folder. items: train, or train + val. shrinking: of the training that follows.
    """
    body, head = body_of(model).to(run.device).eval(), head_of(model)

    def rows(which: Labelled) -> np.ndarray:
        found = rows_of(body, which, view, run.device, run.work, run.decoded, shrinking=shrinking)
        if not np.isfinite(found).all():
            wrong = np.flatnonzero(~np.isfinite(found).all(axis=1))
            raise BadInput(
                f"{len(wrong)} of {len(which)} images have features that are no finite numbers before any training, "
                f"{which.file(int(wrong[0]))} among them, though the weights are finite; give another weight file"
            )
        return found

    def truth(which: Labelled) -> np.ndarray:
        return which.truth(data.classes, data.multilabel, masked=True)

    found = probe(
        rows(data.train), truth(data.train), rows(data.val), truth(data.val), lambda _, scores: validation(scores),
        classes=data.classes, refit=len(items) > len(data.train),
    )  # fmt: skip
    with torch.no_grad():
        head.weight.copy_(torch.from_numpy(found.weights))  # type: ignore[operator]
        head.bias.copy_(torch.from_numpy(found.bias))  # type: ignore[operator]
