"""Which layer of a module gives its features, found by running the module, not by the order of its definition.

A timm model says it itself (`forward_head(..., pre_logits=True)`). Of any other module it is the input of the linear
layer that runs last, where that layer's output is the module's output; where it is not, `tap` must name a layer.
"""

import dataclasses
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadInput, first_line, nearest
from .spec import ModelSpec

TRIED = 2  # images of noise with which a module is looked at
LISTED = 12  # layers that a message lists at most
CLOSE = 1e-3  # of the largest value: two ways to compute the same in fp32


@dataclasses.dataclass(frozen=True, eq=False)
class _Call:
    """One layer's run: its name, its module, what it was given and what it gave."""

    name: str
    layer: nn.Module
    given: Any
    made: Any


def timms_way(model: nn.Module) -> bool:
    """Whether the module says its features as timm's models do."""
    return hasattr(model, "reset_classifier") and hasattr(model, "forward_head") and hasattr(model, "forward_features")


def cut(model: nn.Module, spec: ModelSpec) -> nn.Module:
    """The module without its classifier: normalised float images to the penultimate features.

    Raises BadInput, with the layers in the order in which they run, where that layer cannot be told.
    """
    if timms_way(model):
        return _cut_as_timm(model, spec)
    head = _classifier(model, spec)
    for name, layer in list(model.named_modules(remove_duplicate=False)):
        if layer is head.layer:  # by every name that it has
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, nn.Identity())
    if not _same(_output(model, spec), head.given[0]):  # the forward holds the layer in another way
        raise _asks_for_tap(spec, f"{head.name}, the linear layer that runs last, cannot be taken out", [])
    return model


def classifier_layer(model: nn.Module, spec: ModelSpec) -> nn.Module:
    """The layer that makes the module's output of its features. Raises BadInput as `cut` does."""
    if timms_way(model):
        return model.get_classifier()  # type: ignore[operator]
    return _classifier(model, spec).layer


def _classifier(model: nn.Module, spec: ModelSpec) -> _Call:
    """The run of the linear layer that runs last and whose output is the module's."""
    with _watching(model) as calls:
        output = _output(model, spec)
    linear = [call for call in calls if isinstance(call.layer, nn.Linear)]
    if not linear:
        raise _asks_for_tap(spec, "no linear layer runs, so there is no classifier to cut off", calls)
    head = linear[-1]
    if not isinstance(output, Tensor):
        raise _asks_for_tap(spec, f"its output is {type(output).__name__}, one tensor of logits expected", calls)
    if not _same(head.made, output):
        raise _asks_for_tap(spec, f"its output is not that of {head.name}, the linear layer that runs last", calls)
    if (times := sum(call.layer is head.layer for call in linear)) > 1:
        raise _asks_for_tap(spec, f"{head.name}, the linear layer that runs last, runs {times} times", calls)
    return head


def tapped(model: nn.Module, spec: ModelSpec) -> nn.Module:
    """The output of the layer that `tap` names, averaged over space, of a module that knows nothing of features."""
    return _Tapped(model, spec)


def layer_output(model: nn.Module, spec: ModelSpec, images: Tensor) -> Tensor | None:
    """What the layer that `tap` names gives while the whole module runs; None where it is no layer that runs once."""
    if spec.tap not in dict(model.named_modules()) or not spec.tap:
        return None
    seen: list[Any] = []
    handle = model.get_submodule(spec.tap).register_forward_hook(lambda layer, given, made: seen.append(made))
    try:
        model(images)
    finally:
        handle.remove()
    return _averaged(seen[0]) if len(seen) == 1 and isinstance(seen[0], Tensor) else None


def refused(model: nn.Module, error: Exception, side: int, channels: int) -> BadInput:
    """What to say where a module does not take its images: another type of numbers, or another size."""
    kinds = sorted({str(each.dtype) for each in model.parameters() if each.dtype.is_floating_point})
    if kinds and kinds != ["torch.float32"]:
        return BadInput(
            f"the model's weights are {', '.join(kinds)}, torch.float32 expected ({first_line(error)}); let the "
            "factory return `model.float()`, and choose another precision with --precision"
        )
    return BadInput(
        f"the model refuses images of {side} x {side} and {channels} channels ({first_line(error)}); set `side` "
        "(--img-size), and `kwargs: {img_size: ...}` (--model-kwargs img_size=...) where the architecture fixes it, or "
        "`in_chans`"
    )


REFUSALS = (AssertionError, RuntimeError, ValueError, IndexError)  # of a module that gets images it was not made for


class _Tapped(nn.Module):
    def __init__(self, model: nn.Module, spec: ModelSpec):
        super().__init__()
        from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

        try:
            nodes = get_graph_node_names(model)[1]
        except Exception as error:  # a trace runs the module's own code, which raises anything
            raise BadInput(
                f"{spec.name}: tap {spec.tap!r} needs a module that torch.fx can trace, this one it cannot "
                f"({first_line(error)}); let the factory return a module that ends in a linear layer on the features"
            ) from error
        if not any(known == spec.tap or known.startswith(spec.tap + ".") for known in nodes):
            layers = f"; the last ones that run: {', '.join(nodes[-LISTED:])}"
            raise BadInput(
                f"the model has no node {spec.tap!r}{nearest(spec.tap, nodes)}; set `tap` to one of its layers{layers}"
            )
        self.extractor = create_feature_extractor(model, {spec.tap: "rows"}).eval()

    def forward(self, images: Tensor) -> Tensor:
        return _averaged(self.extractor(images)["rows"])


def _averaged(rows: Tensor) -> Tensor:
    return rows.mean((2, 3)) if rows.ndim == 4 else rows


def _cut_as_timm(model: nn.Module, spec: ModelSpec) -> nn.Module:
    """As timm's models without classes. What a user made of such a model is looked at: its forward may be another."""
    if not spec.is_factory:
        model.reset_classifier(0)  # type: ignore[operator]
        return model
    images = noise(spec)
    try:
        with torch.no_grad():
            before = model.forward_features(images)  # type: ignore[operator]
            wanted = model.forward_head(before, pre_logits=True)  # type: ignore[operator]
            own = _same(model(images), model.forward_head(before))  # type: ignore[operator]
            model.reset_classifier(0)  # type: ignore[operator]
            own = own and _same(model(images), wanted)
    except REFUSALS as error:
        raise refused(model, error, spec.view.side, spec.view.channels) from error
    if not own:
        raise BadInput(
            f"{spec.name}: its forward is not what timm's forward_features and forward_head give, so its features are "
            "not `pre_logits`; name the feature layer with `tap` (--tap LAYER)"
        )
    return model


def noise(spec: ModelSpec) -> Tensor:
    """Float images that no layer can mistake for nothing, the same each time."""
    shape = (TRIED, spec.view.channels, spec.view.side, spec.view.side)
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def _output(model: nn.Module, spec: ModelSpec) -> Any:
    """The module's output of the noise, whatever it draws at random drawn alike each time."""
    with torch.no_grad(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        try:
            return model.eval()(noise(spec))
        except REFUSALS as error:
            raise refused(model, error, spec.view.side, spec.view.channels) from error


@contextmanager
def _watching(model: nn.Module) -> Iterator[list[_Call]]:
    """Collects every run of a layer that has no layers of its own, or is linear, in order."""
    calls: list[_Call] = []

    def hook(name: str) -> Any:
        return lambda layer, given, made: calls.append(_Call(name, layer, given, made))

    with ExitStack() as stack:
        for name, layer in model.named_modules():
            if name and (isinstance(layer, nn.Linear) or not any(layer.children())):
                stack.callback(layer.register_forward_hook(hook(name)).remove)
        yield calls


def _same(one: Any, other: Any) -> bool:
    """Whether two tensors hold the same numbers, but for a shape that has axes of one more."""
    if not isinstance(one, Tensor) or not isinstance(other, Tensor) or one.numel() != other.numel():
        return False
    one, other = one.flatten().float(), other.flatten().float()
    both = torch.isfinite(one) & torch.isfinite(other)
    if not torch.equal(torch.isfinite(one), both) or not torch.equal(torch.isfinite(other), both):
        return False
    scale = float(one[both].abs().max()) if both.any() else 0.0
    return bool((one[both] - other[both]).abs().le(CLOSE * scale).all())


def _asks_for_tap(spec: ModelSpec, found: str, calls: list[_Call]) -> BadInput:
    names = list(dict.fromkeys(call.name for call in calls))
    left = f"{len(names) - LISTED} more, " if len(names) > LISTED else ""
    listed = f"; its layers in the order in which they run: {left}{', '.join(names[-LISTED:])}" if names else ""
    return BadInput(
        f"{spec.name}: {found}; name the feature layer with `tap` (--tap LAYER: its output, mean over space){listed}"
    )
