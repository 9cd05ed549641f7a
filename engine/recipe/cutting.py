"""A classifier cut in two: the part that is frozen and gives an image the same values at every step, and the rest.

The network's own code is followed (torch.fx) as far as it joins frozen and learning parts; modules of which all is
frozen, or all learns, are taken as they are. So the cut lies where `set_learning` put it, at any layer of any network
whose code can be followed, and whatever crosses it is kept: a map, tokens, several of them.
"""

import dataclasses
import math
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn.modules.batchnorm import _BatchNorm

from ..errors import first_line

CLOSE = 1e-4  # of the largest logit, between the network and its two parts one after the other


class Uncut(Exception):
    """The network cannot be cut; it says why."""


@dataclasses.dataclass(frozen=True)
class _Crossing:
    """A value [b, *shape] that goes from the frozen part to the other. order: of its axes in memory."""

    shape: tuple[int, ...]
    order: tuple[int, ...]
    dtype: torch.dtype

    @property
    def width(self) -> int:
        return math.prod(self.shape)

    def row(self, value: Tensor) -> Tensor:
        return value.permute(0, *self.order).reshape(len(value), -1).float()

    def value(self, row: Tensor) -> Tensor:
        lying = row.reshape(len(row), *(self.shape[axis - 1] for axis in self.order))
        return lying.permute(0, *(self.order.index(axis) + 1 for axis in range(1, len(self.order) + 1))).to(self.dtype)


class Frozen(nn.Module):
    """Images to rows float32 [b, width] of all that the rest needs of them."""

    def __init__(self, graph: nn.Module, crossings: tuple[_Crossing, ...]):
        super().__init__()
        self.graph, self.crossings = graph, crossings
        self.width = sum(each.width for each in crossings)

    def forward(self, images: Tensor) -> Tensor:
        values = self.graph(images)
        return torch.cat([each.row(value) for each, value in zip(self.crossings, values, strict=True)], 1)


class Learning(nn.Module):
    """Rows of `Frozen` to logits; its modules are the network's own."""

    def __init__(self, graph: nn.Module, crossings: tuple[_Crossing, ...]):
        super().__init__()
        self.graph, self.crossings = graph, crossings

    def forward(self, rows: Tensor) -> Tensor:
        parts = rows.split([each.width for each in self.crossings], 1)
        made: Tensor = self.graph(*(each.value(part) for each, part in zip(self.crossings, parts, strict=True)))
        return made


def cut_in_two(model: nn.Module, images: Tensor) -> tuple[Frozen, Learning]:
    """The frozen part and the rest, as `set_learning` left the model.

    images: what the model takes, one is enough. What draws random numbers or learns statistics is part of the rest,
    frozen or not. Raises Uncut where the code cannot be followed, or where nothing is frozen below what learns.
    """
    from timm.models import get_notrace_functions

    tracer = _Tracer(autowrap_functions=tuple(get_notrace_functions()))
    try:
        graph = tracer.trace(model)
        whole = fx.GraphModule(tracer.root, graph)
        seen = [_Watched(whole).seen(images.repeat(count, 1, 1, 1)) for count in (2, 3)]
    except Uncut:
        raise
    except Exception as error:  # code of any network, and what torch.fx makes of it
        raise Uncut(f"its code cannot be followed ({type(error).__name__}: {first_line(error)})") from error
    if not any(_holds_parameters(whole, node) for node in seen[0]):
        raise Uncut("nothing is frozen below what learns")
    parts = _parts(whole, seen)
    _compare(model, parts, images.repeat(2, 1, 1, 1))
    return parts


class _Tracer(fx.Tracer):
    """Follows the code of modules that hold frozen and learning parameters both."""

    def is_leaf_module(self, module: nn.Module, name: str) -> bool:
        learning = {parameter.requires_grad for parameter in module.parameters()}
        return len(learning) < 2


class _Watched(fx.Interpreter):
    """Runs what is frozen, and finds which nodes that is."""

    def seen(self, images: Tensor) -> dict[fx.Node, Any]:
        """{node: value} of the nodes that give the same at every step. The network stays as it was."""
        self.values: dict[fx.Node, Any] = {}
        with torch.no_grad(), torch.random.fork_rng():
            self.run(images)
        return self.values

    def run_node(self, node: fx.Node) -> Any:
        if node.op == "output" or not all(each in self.values for each in node.all_input_nodes) or self._learns(node):
            return None
        before = _random_numbers()
        value = super().run_node(node)
        if before == _random_numbers():
            self.values[node] = value
        return value

    def _learns(self, node: fx.Node) -> bool:
        if node.op == "get_attr":
            held = self.fetch_attr(str(node.target))
            return isinstance(held, Tensor) and held.requires_grad
        if node.op != "call_module":
            return False
        module = self.fetch_attr(str(node.target))
        norms = any(isinstance(each, _BatchNorm) and each.training for each in module.modules())
        return norms or any(parameter.requires_grad for parameter in module.parameters())


def _random_numbers() -> list[bytes]:
    states = [torch.get_rng_state(), *(torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else [])]
    return [state.numpy().tobytes() for state in states]


def _holds_parameters(whole: fx.GraphModule, node: fx.Node) -> bool:
    if node.op != "call_module":
        return False
    return next(whole.get_submodule(str(node.target)).parameters(), None) is not None


def _parts(whole: fx.GraphModule, seen: list[dict[fx.Node, Any]]) -> tuple[Frozen, Learning]:
    """The graph in two: values of so many images cross the cut, what is the same for any number of them stays."""
    two, three = seen
    frozen, learning = fx.Graph(), fx.Graph()
    below: dict[fx.Node, fx.Node] = {}
    above: dict[fx.Node, fx.Node] = {}
    crossings: dict[fx.Node, _Crossing] = {}
    sizes = []
    crossed = [node for node in two if any(user not in two for user in node.users)]
    for number, node in enumerate(crossed):
        if isinstance(two[node], Tensor) and _of_images(two[node], three[node]):
            crossings[node] = _crossing(two[node])
            above[node] = learning.placeholder(f"kept{number}")
        elif isinstance(two[node], int) and (two[node], three[node]) == (2, 3):
            sizes.append(node)
    if not crossings:
        raise Uncut("nothing of an image crosses from what is frozen to what learns")
    for number, node in enumerate(crossed):
        if node in sizes:
            shape = learning.call_function(getattr, (next(iter(above.values())), "shape"))
            above[node] = learning.call_function(_first, (shape,))
        elif node not in above:
            above[node] = _constant(whole, learning, number, two[node], three[node])
    for node in whole.graph.nodes:
        if node in two:
            below[node] = frozen.node_copy(node, below.__getitem__)
        elif node.op == "output":
            learning.output(fx.map_arg(node.args[0], above.__getitem__))
        else:
            above[node] = learning.node_copy(node, above.__getitem__)
    frozen.output(tuple(below[node] for node in crossings))
    kept = tuple(crossings.values())
    return Frozen(fx.GraphModule(whole, frozen), kept), Learning(fx.GraphModule(whole, learning), kept)


def _first(shape: Any) -> Any:
    return shape[0]


def _of_images(two: Tensor, three: Any) -> bool:
    """Whether a value has a row for each image."""
    return two.is_floating_point() and two.ndim > 0 and (len(two), len(three)) == (2, 3)


def _crossing(value: Tensor) -> _Crossing:
    strides = value.stride()
    order = sorted(range(1, value.ndim), key=lambda axis: (-strides[axis], axis))
    return _Crossing(tuple(value.shape[1:]), tuple(order), value.dtype)


def _constant(whole: fx.GraphModule, graph: fx.Graph, number: int, two: Any, three: Any) -> Any:
    if isinstance(two, Tensor):
        if two.shape != three.shape or not torch.equal(two, three):
            raise Uncut("a value that is neither of single images nor the same for all crosses the cut")
        name = f"constant{number}"
        whole.register_buffer(name, two)
        return graph.get_attr(name)
    if not _is_plain(two) or two != three:
        raise Uncut(f"a value of type {type(two).__name__} crosses the cut")
    return two


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(map(_is_plain, value))
    return type(value) in (int, float, bool, str, type(None), torch.dtype, torch.device)


def _compare(model: nn.Module, parts: tuple[Frozen, Learning], images: Tensor) -> None:
    """Raises Uncut where the two parts do not give what the network gives, in evaluation."""
    modes = {module: module.training for module in model.modules()}
    model.eval()
    try:
        with torch.no_grad(), torch.random.fork_rng():
            whole, two = model(images), parts[1](parts[0](images))
    finally:
        for module, mode in modes.items():
            module.training = mode
    if not torch.allclose(whole, two, rtol=0, atol=CLOSE * max(1.0, float(whole.abs().max()))):
        raise Uncut("its two parts give other logits than the whole")
