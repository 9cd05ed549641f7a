import dataclasses

import pytest
import torch
from torch import nn

from featune.engine.errors import BadInput
from featune.engine.models import ModelSpec, fresh_classifier, spec_from_entry
from featune.engine.recipe import (
    Recipe,
    optimizer_of,
    parameter_groups,
    parts_of,
    rate_share,
    set_learning,
    set_norm_momentum,
)

VIT = {"architecture": "test_vit", "pretrained": False, "side": 32, "kwargs": {"img_size": 32}}
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def vit() -> nn.Module:
    return fresh_classifier(spec_from_entry(VIT), 3, 0)


def images(side: int = 32) -> torch.Tensor:
    return torch.zeros(1, 3, side, side, dtype=torch.uint8)


def learning(model: nn.Module, recipe: Recipe) -> set[str]:
    return set(parts_of(model, recipe, images()).learning)


def test_the_head_alone_or_the_last_blocks_learn(vit: nn.Module) -> None:
    everything = {name for name, _ in vit.named_parameters()}
    head = {"2.weight", "2.bias"}
    assert learning(vit, Recipe()) == everything
    assert learning(vit, Recipe(trained="head")) == head
    one, two = learning(vit, Recipe(trained=1)), learning(vit, Recipe(trained=2))
    assert head < one < two < everything
    assert {name.split(".")[2] for name in one if ".blocks." in name} == {"5"}
    assert {name.split(".")[2] for name in two if ".blocks." in name} == {"4", "5"}
    assert "1.norm.weight" in one


def test_more_blocks_than_there_are_are_refused(vit: nn.Module) -> None:
    with pytest.raises(BadInput, match="50 blocks asked for, the network has 7; choose fewer, or all"):
        learning(vit, Recipe(trained=50))


def test_a_frozen_embedding_keeps_the_patches_or_the_first_convolution(vit: nn.Module, spec: ModelSpec) -> None:
    everything = {name for name, _ in vit.named_parameters()}
    frozen = everything - learning(vit, Recipe(freeze_embedding=True))
    assert frozen == {"1.patch_embed.proj.weight", "1.patch_embed.proj.bias"}
    resnet = fresh_classifier(spec, 3, 0)
    frozen = {name for name, _ in resnet.named_parameters()} - learning(resnet, Recipe(freeze_embedding=True))
    assert frozen == {"1.conv1.0.weight"}


def test_what_does_not_learn_computes_as_in_evaluation(spec: ModelSpec) -> None:
    model = fresh_classifier(spec, 3, 0)
    set_learning(model, parts_of(model, Recipe(trained="head"), images()).learning, Recipe(trained="head"))
    assert not any(module.training for module in model[1].modules())  # type: ignore[index, union-attr]
    model = fresh_classifier(spec, 3, 0)
    set_learning(model, parts_of(model, Recipe(), images()).learning, Recipe(batch_norm="frozen"))
    modes = {type(module).__name__: module.training for module in model.modules()}
    assert modes["BatchNorm2d"] is False
    assert modes["Conv2d"] is True


def test_the_rate_of_a_layer_decays_with_the_layers_above_it(vit: nn.Module) -> None:
    recipe = Recipe(layer_decay=0.5)
    scale = {}
    names = {id(parameter): name for name, parameter in vit.named_parameters()}
    for group in parameter_groups(vit, parts_of(vit, recipe, images()), recipe):
        scale |= {names[id(parameter)]: group["lr_scale"] for parameter in group["params"]}
    assert set(scale) == set(names.values())
    assert scale["2.weight"] == 1.0
    assert scale["1.blocks.5.mlp.fc1.weight"] == scale["1.norm.weight"] == 0.5
    assert scale["1.blocks.0.mlp.fc1.weight"] == 0.5**6
    assert scale["1.patch_embed.proj.weight"] == scale["1.pos_embed"] == 0.5**7


def test_an_optimizer_of_timms_is_made_by_name_and_one_without_its_library_refused(vit: nn.Module) -> None:
    groups = parameter_groups(vit, parts_of(vit, Recipe(), images()), Recipe(weight_decay=0.3))
    made = optimizer_of(groups, Recipe(optimizer="lamb"), CPU)
    assert type(made).__name__ == "Lamb"
    assert {group["weight_decay"] for group in made.param_groups} == {0.3, 0.0}
    with pytest.raises(BadInput, match="optimizer bnbadam: timm cannot make it here"):
        optimizer_of(groups, Recipe(optimizer="bnbadam"), CPU)


def test_the_rate_follows_its_schedule() -> None:
    def at(step: int, **fields: object) -> float:
        return rate_share(dataclasses.replace(Recipe(warmup=0.1), **fields), step, 100, 10)  # type: ignore[arg-type]

    assert [at(step, schedule="step", milestones=(0.4, 0.8)) for step in (10, 39, 40, 79, 80, 99)] == pytest.approx(
        [1, 1, 0.1, 0.1, 0.01, 0.01]
    )
    assert at(99, schedule="constant") == 1.0
    assert at(5, schedule="constant") == at(5) < 1.0  # the warm-up is every schedule's
    assert at(57, schedule_by="epoch") == at(50)
    assert at(57) < at(50)


def test_kornbliths_momentum_of_batch_norm_follows_the_steps_of_an_epoch(spec: ModelSpec) -> None:
    for steps, momentum in ((50, 0.1), (1000, 0.01)):
        model = fresh_classifier(spec, 3, 0)
        set_norm_momentum(model, Recipe(batch_norm="kornblith2019"), steps)
        found = {module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm2d)}
        assert list(found) == pytest.approx([momentum])
