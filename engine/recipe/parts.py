"""Which part of a network learns, how fast each layer does, and how its norms behave."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import BadInput
from .depth import layers_of
from .recipe import Recipe


@dataclasses.dataclass(frozen=True)
class Parts:
    """A classifier's layers. layers: {parameter: layer}, the head's being `top`; learning: names of what learns.

    first: of what learns while `head_first` lasts.
    """

    layers: Mapping[str, int]
    top: int
    learning: frozenset[str]
    first: frozenset[str]


@dataclasses.dataclass(frozen=True)
class Phase:
    """The steps from `first` up to `until` in which the same parameters learn, by their names.

    head_alone: it is `head_first`.
    """

    first: int
    until: int
    learning: frozenset[str]
    head_alone: bool = False


def phases_of(parts: Parts, recipe: Recipe, total: int) -> list[Phase]:
    """One after the other, each of one step at least: the head alone if the recipe says so, then all that learns."""
    switch = round(recipe.head_first * total) if parts.first != parts.learning else 0
    first = [Phase(0, switch, parts.first, head_alone=True)] if switch else []
    return first + ([Phase(switch, total, parts.learning)] if switch < total else [])


def parts_of(model: nn.Module, recipe: Recipe, images: Tensor) -> Parts:
    """The layers of a classifier whose last child is its head, and those that learn by the recipe.

    images: what the model takes, one is enough. Parameters that need no gradient when they come do not learn.
    """
    open_ = frozenset(name for name, parameter in model.named_parameters() if parameter.requires_grad)
    if (recipe.trained, recipe.head_first, recipe.layer_decay) == ("all", 0, 1) and not recipe.freeze_embedding:
        return Parts({}, 0, open_, open_)
    *rest, (head_name, head) = model.named_children()
    body = nn.Sequential(*(child for _, child in rest))
    found, top = layers_of(body, images)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    layers = {names[id(parameter)]: found[name] for name, parameter in body.named_parameters()}
    of_head = frozenset(f"{head_name}.{name}" for name, _ in head.named_parameters())
    layers |= dict.fromkeys(of_head, top)
    learning = open_ & (of_head | _last_blocks(layers, of_head, dict(model.named_parameters()), recipe))
    if recipe.freeze_embedding:
        learning -= _embedding(model, body, names)
    if not learning:
        raise BadInput(f"trained: {recipe.trained}: nothing of the network learns; choose all, head or more blocks")
    return Parts(layers, top, learning, learning & of_head if recipe.head_first else learning)


def _last_blocks(
    layers: Mapping[str, int], of_head: frozenset[str], parameters: Mapping[str, Tensor], recipe: Recipe
) -> frozenset[str]:
    """Of the layers below the head: all, none, or the last so many that have a kernel, with the norms between them."""
    if recipe.trained == "head":
        return frozenset()
    if recipe.trained == "all":
        return frozenset(layers)
    blocks = sorted({layer for name, layer in layers.items() if name not in of_head and parameters[name].ndim > 1})
    if int(recipe.trained) > len(blocks):
        raise BadInput(
            f"trained: {recipe.trained} blocks asked for, the network has {len(blocks)}; choose fewer, or all"
        )
    first = blocks[-int(recipe.trained)]
    return frozenset(name for name, layer in layers.items() if layer >= first)


def _embedding(model: nn.Module, body: nn.Module, names: Mapping[int, str]) -> frozenset[str]:
    """The patch embedding, or the first convolution, by what timm says of the model or by order."""
    for module in body.modules():
        first = getattr(module, "pretrained_cfg", {}).get("first_conv") if hasattr(module, "pretrained_cfg") else None
        if first:
            each = [first] if isinstance(first, str) else list(first)
            owners = [name.split(".")[0] if name.startswith("patch_embed") else name for name in each]
            return frozenset(names[id(p)] for name in owners for p in module.get_submodule(name).parameters())
    convolution = next((module for module in body.modules() if isinstance(module, nn.Conv2d)), None)
    if convolution is None:
        raise BadInput("freeze_embedding: the network has no convolution that embeds the image; leave it out")
    return frozenset(names[id(parameter)] for parameter in convolution.parameters())


def set_learning(model: nn.Module, learning: frozenset[str], recipe: Recipe) -> None:
    """Gradients and modes: what does not learn computes as in evaluation, with its norms' own statistics."""
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in learning)
    model.train()
    for module in model.modules():
        held = list(module.parameters())
        frozen = bool(held) and not any(parameter.requires_grad for parameter in held)
        if frozen or (recipe.batch_norm == "frozen" and isinstance(module, _BatchNorm)):
            module.eval()


def set_norm_momentum(model: nn.Module, recipe: Recipe, per_epoch: int) -> None:
    """Kornblith et al. 2019: a momentum of max(1 - 10/s, 0.9) at s steps per epoch, torch's being 1 less that."""
    if recipe.batch_norm == "kornblith2019":
        for module in model.modules():
            if isinstance(module, _BatchNorm):
                module.momentum = min(10 / per_epoch, 0.1)


def parameter_groups(model: nn.Module, parts: Parts, recipe: Recipe) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels, none on biases and norms, as timm and Kornblith's re-implementations do.

    lr_scale: the group's share of the learning rate, layer_decay to the power of the layers above it.
    """
    groups: dict[tuple[int, bool], dict[str, Any]] = {}
    for decayed in (True, False):
        for name, parameter in model.named_parameters():
            if name not in parts.learning or (parameter.ndim > 1) != decayed:
                continue
            below = parts.top - parts.layers[name] if recipe.layer_decay < 1 else 0
            fresh = {
                "params": [], "weight_decay": recipe.weight_decay if decayed else 0.0,
                "lr_scale": recipe.layer_decay**below,
            }  # fmt: skip
            groups.setdefault((below, decayed), fresh)["params"].append(parameter)
    return list(groups.values())


def optimizer_of(groups: list[dict[str, Any]], recipe: Recipe, device: torch.device) -> torch.optim.Optimizer:
    """torch's SGD and AdamW, fused, or one of timm's. Raises BadInput for one that cannot be made here.

    On a CPU fused ones have other last bits, and go with the orders in memory that have them too.
    """
    fused = True if device.type == "cuda" or recipe.channels_last is not None else None
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=0.0, momentum=recipe.momentum, nesterov=recipe.momentum > 0, fused=fused)
    if recipe.optimizer == "adamw":
        return torch.optim.AdamW(groups, lr=0.0, fused=fused)
    from timm.optim import create_optimizer_v2

    try:
        made: torch.optim.Optimizer = create_optimizer_v2(
            groups, recipe.optimizer, lr=recipe.learning_rates[0], momentum=recipe.momentum
        )
    except Exception as error:  # each has arguments and libraries of its own
        raise BadInput(
            f"optimizer {recipe.optimizer}: timm cannot make it here ({type(error).__name__}: {error!s:.150}); choose "
            "another, sgd or adamw for example"
        ) from error
    return made
