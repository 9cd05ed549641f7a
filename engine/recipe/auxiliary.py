"""A classifier with a second head on an inner layer, which has a part in the loss and none in what comes out."""

from typing import NamedTuple

from torch import Tensor, nn

from ..errors import BadInput
from .losses import Objective

HIDDEN = 128  # of the auxiliary head; Inception v1 has a convolution of as many channels there


class Outputs(NamedTuple):
    """What a classifier gives in training: its logits [b, classes], and the auxiliary head's, which count `weight`."""

    logits: Tensor
    auxiliary: Tensor
    weight: float


class WithAuxiliaryHead(nn.Module):
    """The classifier as it is in eval mode; in train mode its Outputs. The network's weights stay the network's own.

    layer: the name of one that gives maps [b, channels, h, w]; their mean over space goes through a hidden layer.
    Raises BadInput where it gives something else. Source: Szegedy et al. 2015, Going deeper with convolutions, without
    its convolution.
    """

    def __init__(self, network: nn.Module, layer: str, channels: int, classes: int, weight: float):
        super().__init__()
        self.network, self.layer, self.channels, self.weight = network, layer, channels, weight
        self.head = nn.Sequential(nn.Linear(channels, HIDDEN), nn.ReLU(), nn.Linear(HIDDEN, classes))
        self.met: Tensor | None = None
        network.get_submodule(layer).register_forward_hook(self._meet)

    def _meet(self, module: nn.Module, given: object, made: object) -> None:
        if not self.training:
            return
        if not isinstance(made, Tensor) or made.ndim != 4 or made.shape[1] != self.channels:
            shape = tuple(made.shape) if isinstance(made, Tensor) else type(made).__name__
            raise BadInput(
                f"auxiliary head: {self.layer} gives {shape}, maps [b, {self.channels}, h, w] expected; leave the head "
                "out for this network"
            )
        self.met = self.head(made.mean(dim=(2, 3)))

    def forward(self, images: Tensor) -> Tensor | Outputs:
        logits: Tensor = self.network(images)
        if not self.training:
            return logits
        auxiliary, self.met = self.met, None
        assert auxiliary is not None
        return Outputs(logits, auxiliary, self.weight)


def loss_of(aim: Objective, made: Tensor | Outputs, target: Tensor) -> Tensor:
    """The mean loss of a batch's outputs; that of an auxiliary head is added with its weight."""
    if isinstance(made, Outputs):
        return aim.mean(made.logits.float(), target) + made.weight * aim.mean(made.auxiliary.float(), target)
    return aim.mean(made.float(), target)
