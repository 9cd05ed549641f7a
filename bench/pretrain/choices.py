"""Training choices that raise the source accuracy and may hurt the features (Kornblith et al. 2019)."""

import dataclasses

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe
from featune.engine.models import ModelSpec, Normalise, classifier
from featune.engine.recipe import WithAuxiliaryHead

AUXILIARY = 0.4  # the weight of the auxiliary head's loss that TensorFlow (slim) trains Inception v3 with


@dataclasses.dataclass(frozen=True)
class Choices:
    """label_smoothing: of the loss. dropout: probability, before the classifier layer. auxiliary: weight of the loss of
    a second head on the last stage but one, 0 for none. batch_norm_scale: whether batch norm learns its gamma, or keeps
    1. None of them is in the network that is left: its layers are timm's.
    """

    label_smoothing: float = 0.0
    dropout: float = 0.0
    auxiliary: float = 0.0
    batch_norm_scale: bool = True

    def __post_init__(self) -> None:
        for name in ("label_smoothing", "dropout"):
            if not 0 <= getattr(self, name) < 1:
                raise BadInput(f"{name}: {getattr(self, name)} found, expected 0 or more and less than 1; change it")
        if self.auxiliary < 0:
            raise BadInput(f"auxiliary: {self.auxiliary} found, expected 0 or more; {AUXILIARY} is Inception v3's")

    def words(self) -> str:
        parts = [f"label smoothing {self.label_smoothing:g}"] if self.label_smoothing else []
        parts += [f"dropout {self.dropout:g}"] if self.dropout else []
        parts += [f"auxiliary head of weight {self.auxiliary:g}"] if self.auxiliary else []
        parts += [] if self.batch_norm_scale else ["no batch-norm scale"]
        return ", ".join(parts) or "none of the four"


def chosen_recipe(recipe: Recipe, choices: Choices) -> Recipe:
    """The recipe with the smoothing that is chosen. Raises BadInput where both say one."""
    if choices.label_smoothing and recipe.label_smoothing not in (0, choices.label_smoothing):
        raise BadInput(
            f"label_smoothing: {recipe.label_smoothing} in the recipe and {choices.label_smoothing} among the choices "
            "found; keep one of them"
        )
    return dataclasses.replace(recipe, label_smoothing=choices.label_smoothing or recipe.label_smoothing)


def training_model(untrained: ModelSpec, choices: Choices) -> nn.Sequential:
    """uint8 images to logits, of random weights by the spec, with what the choices change; `trained_network` is in it.

    The weights that all variants have are drawn alike. Raises BadInput, with the reason, for a choice that does not fit
    the architecture.
    """
    spec = untrained
    if choices.dropout:
        kwargs = {**dict(spec.kwargs), "drop_rate": choices.dropout}
        spec = dataclasses.replace(spec, kwargs=tuple(sorted(kwargs.items())))
    try:
        network = classifier(spec)
    except BadInput as error:
        if not choices.dropout:
            raise
        raise BadInput(
            f"dropout: {choices.dropout:g} found, which {untrained.architecture} does not take ({error}); leave it out"
        ) from error
    if choices.dropout and not _drops(network, spec):
        raise BadInput(
            f"dropout: {untrained.architecture} takes drop_rate and drops nothing by it; leave dropout out for it"
        )
    if not choices.batch_norm_scale:
        _fix_scales(network, untrained.architecture)
    if choices.auxiliary:
        network = _with_auxiliary_head(network, spec, choices.auxiliary)
    return nn.Sequential(Normalise(spec.mean, spec.std), network)


def trained_network(model: nn.Module) -> nn.Module:
    """timm's network in a `training_model`."""
    network = list(model.children())[-1]
    return network.network if isinstance(network, WithAuxiliaryHead) else network


def _images(spec: ModelSpec) -> Tensor:
    view = spec.view
    return torch.rand(2, view.channels, view.side, view.side, generator=torch.Generator().manual_seed(0))


def _drops(network: nn.Module, spec: ModelSpec) -> bool:
    """Whether its logits in train mode depend on the seed. Batch statistics do not; its weights and buffers stay."""
    kept = {name: value.clone() for name, value in network.state_dict().items()}
    found = []
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        for seed in (0, 1):
            torch.manual_seed(seed)
            found.append(network.train()(_images(spec)))
    network.load_state_dict(kept)
    network.eval()
    return not torch.equal(*found)


def _fix_scales(network: nn.Module, architecture: str) -> None:
    """Batch norm's gamma stays 1 and does not learn."""
    norms = [each for each in network.modules() if isinstance(each, _BatchNorm) and each.affine]
    if not norms:
        leaves = {type(each).__name__ for each in network.modules() if not any(each.children())}
        kinds = sorted(name for name in leaves if "Norm" in name)
        raise BadInput(
            f"batch_norm_scale: false found, and {architecture} has no batch norm with a scale "
            f"({', '.join(kinds) or 'it has no norm'}); leave it out for it"
        )
    for norm in norms:
        nn.init.ones_(norm.weight)
        norm.weight.requires_grad_(False)


def _with_auxiliary_head(network: nn.Module, spec: ModelSpec, weight: float) -> nn.Module:
    """On the last stage but one, by timm's record of the stages; its weights are drawn apart from the network's."""
    stages = getattr(network, "feature_info", None)
    stages = list(getattr(stages, "info", stages) or [])
    if spec.is_factory or len(stages) < 2 or stages[-2]["reduction"] == stages[-1]["reduction"]:
        found = f"{len(stages)} stages" if len(stages) < 2 else "blocks of one size"
        raise BadInput(
            f"auxiliary: {spec.architecture} has {found}, a convolutional network of several stages expected, as timm "
            "lists them; leave the auxiliary head out for it"
        )
    at = stages[-2]
    classes = network(_images(spec)).shape[1]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(spec.weights.rpartition(":")[2]))
        model = WithAuxiliaryHead(network, at["module"], int(at["num_chs"]), classes, weight)
    with torch.no_grad():  # says at once where the stage gives no maps; in eval mode the network's buffers stay
        model.head.train()
        model.training = True
        model(_images(spec))
    return model.eval()
