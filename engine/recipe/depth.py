"""How deep each parameter of a network lies: the layers that layer-wise decay and freezing go by."""

import bisect
import contextlib
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

OF_HEAD = re.compile(r"[^.]*head|pre_logits|fc_norm")  # hidden layers and norms of a head, by their names
# `blocks.3`, `stages.2.blocks.0`, `layer1.0`, `features.4.1`: a name up to the number of its block.
BLOCK = re.compile(r"[^.]*?\.?\d+(\.[a-z]*(block|layer|stage|unit)[a-z]*)?(\.\d+)?(?=\.)")


def layers_of(body: nn.Module, images: Tensor) -> tuple[dict[str, int], int]:
    """({name: layer} of the body's parameters, the layer of a head on top); 0 is what images meet first.

    images: what the body takes, one is enough. The layers are timm's (`group_matcher`), so that a rate is what timm's
    `layer_decay` gives. Of these, a parameter that is used after those of a higher layer, or before those of a lower
    one, goes to the layer that is in use by then. Where timm has no layers, whole stages for layers (fewer than half
    as many as there are blocks), or a whole block out of its turn, and for modules that are not timm's, a layer is a
    block, by its name. The head has a layer of its own, with at most the hidden layers and norms that are called a
    head's: where timm gives it that of other kernels, such as the last block's, it goes one higher.
    """
    inner, prefix = _inner(body)
    order = {name.removeprefix(prefix): when for name, when in first_uses(body, images).items()}
    layers = _blocks(inner, order)
    top = max(layers.values(), default=-1) + 1
    timms = _timms(inner)
    if timms and 2 * timms[1] >= top:
        mended = _mended(timms[0], order)
        if not _lowers_a_block(inner, timms[0], mended):
            layers, top = mended, timms[1]
    if any(layers[name] >= top and not OF_HEAD.match(name) for name in _kernels(inner)):
        top = max(layers.values()) + 1
    return {prefix + name: layer for name, layer in layers.items()}, top


def _inner(body: nn.Module) -> tuple[nn.Module, str]:
    """The module that holds all parameters of a sequence, such as the network after a normalisation, and its prefix."""
    prefix = ""
    while type(body) is nn.Sequential:
        holders = [(name, child) for name, child in body.named_children() if next(child.parameters(), None) is not None]
        if len(holders) != 1:
            break
        prefix, body = f"{prefix}{holders[0][0]}.", holders[0][1]
    return body, prefix


def first_uses(body: nn.Module, images: Tensor) -> dict[str, int]:
    """{name: when} of the parameters that a forward pass uses, in the order in which it first does.

    A scripted part and an operation that hides its parameters count by the call of the module that holds them.
    """
    found: dict[str, int] = {}
    called: dict[str, int] = {}
    with _watched(body, found, called), torch.no_grad(), torch.random.fork_rng(devices=[]):
        was = body.training
        body.eval()(images)
        body.train(was)
    for name, _ in body.named_parameters():
        owner = name.rpartition(".")[0]
        if name not in found and owner in called:
            found[name] = called[owner]
    return found


@contextlib.contextmanager
def _watched(body: nn.Module, found: dict[str, int], called: dict[str, int]) -> Iterator[None]:
    names = {id(parameter): name for name, parameter in body.named_parameters()}
    clock = iter(range(1 << 62))

    def note(value: Any) -> None:
        if isinstance(value, (tuple, list)):
            for each in value:
                note(each)
        elif id(value) in names:
            found.setdefault(names[id(value)], next(clock))

    class Watching(TorchFunctionMode):
        def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
            if getattr(func, "__name__", "") != "__get__":  # to ask for a shape is no use
                note(args)
                note(list((kwargs or {}).values()))
            return func(*args, **(kwargs or {}))

    def hook(name: str) -> Any:
        def note_call(*_: Any) -> None:
            called.setdefault(name, next(clock))

        return note_call

    with contextlib.ExitStack() as stack:
        for name, module in body.named_modules():
            stack.callback(module.register_forward_pre_hook(hook(name)).remove)
        stack.enter_context(Watching())
        yield


def _timms(body: nn.Module) -> tuple[dict[str, int], int] | None:
    """timm's layers, with the one that it gives a head; None where the module has none."""
    from timm.models import group_parameters
    from timm.models._manipulate import group_with_matcher

    matcher = getattr(body, "group_matcher", None)
    if matcher is None:
        return None
    try:
        found = matcher(coarse=False)
        layers: dict[str, int] = group_parameters(body, found, reverse=True)
    except (TypeError, ValueError, KeyError, AttributeError):
        return None
    with contextlib.suppress(TypeError, ValueError, KeyError, AttributeError):
        # A head matches no pattern: with a layer of its own, or in that of others that match none.
        with_head = group_with_matcher([*body.named_parameters(), ("head.weight", None)], found, reverse=True)
        return layers, with_head["head.weight"]
    return layers, max(layers.values(), default=-1) + 1


def _mended(layers: Mapping[str, int], order: Mapping[str, int]) -> dict[str, int]:
    """The layers, none of which is used after a higher one: the most that agree stay, the others go by their use."""
    names = sorted(order, key=order.__getitem__)
    agree = _longest_rise([layers[name] for name in names])
    mended, now = dict(layers), 0
    for at, name in enumerate(names):
        now = mended[name] = layers[name] if at in agree else now
    return mended


def _longest_rise(values: Sequence[int]) -> set[int]:
    """Places of a longest subsequence that never falls (Fredman 1975: the least ends of rises of each length)."""
    ends: list[int] = []
    places: list[int] = []
    before: list[int] = []
    for place, value in enumerate(values):
        length = bisect.bisect_right(ends, value)
        ends[length : length + 1] = [value]
        before.append(places[length - 1] if length else -1)
        places[length : length + 1] = [place]
    found, place = set(), places[-1] if places else -1
    while place >= 0:
        found.add(place)
        place = before[place]
    return found


def _blocks(body: nn.Module, order: Mapping[str, int]) -> dict[str, int]:
    """Blocks by name, numbered as they are first used. What no pass uses lies lowest.

    A block begins with a kernel or matrix. What follows it and is of no other belongs to it: a norm at the end of
    a stage, a token that is added, what an earlier block's name begins like.
    """
    kernels = {_block(name) for name in _kernels(body)}
    layers = {name: 0 for name, _ in body.named_parameters()}
    seen: set[str] = set()
    for name in sorted(order, key=order.__getitem__):
        seen |= {_block(name)} & kernels
        layers[name] = max(len(seen) - 1, 0)
    return layers


def _kernels(body: nn.Module) -> list[str]:
    return [name for name, each in body.named_parameters() if each.ndim > 1 and "." in name]


def _lowers_a_block(body: nn.Module, layers: Mapping[str, int], mended: Mapping[str, int]) -> bool:
    """Whether all kernels of a numbered block go to a lower layer, that of the block before it, as in CaiT."""
    numbered = [name for name in _kernels(body) if BLOCK.match(name)]
    lowered = {name for name in numbered if mended[name] < layers[name]}
    return bool({_block(name) for name in lowered} - {_block(name) for name in set(numbered) - lowered})


def _block(name: str) -> str:
    found = BLOCK.match(name)
    return found[0] if found else name.partition(".")[0]
