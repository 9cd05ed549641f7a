import dataclasses

import pytest
import torch
from torch import nn

from featune.bench.pretrain.choices import Choices, chosen_recipe, trained_network, training_model
from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe
from featune.engine.models import ModelSpec, spec_from_entry
from featune.engine.recipe import Outputs, loss_of, objective

KWARGS = {"test_vit": {"img_size": 32, "patch_size": 8}}


def spec(architecture: str = "test_resnet") -> ModelSpec:
    kwargs = {"num_classes": 5, **KWARGS.get(architecture, {})}
    return spec_from_entry({"architecture": architecture, "pretrained": False, "side": 32, "kwargs": kwargs})


def images(n: int = 4) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


def built(choices: Choices, architecture: str = "test_resnet") -> nn.Sequential:
    return training_model(spec(architecture), choices)


@pytest.mark.parametrize(
    "choices", [Choices(dropout=0.5), Choices(auxiliary=0.4), Choices(batch_norm_scale=False), Choices(0.1)]
)
def test_a_choice_leaves_the_other_weights_and_the_network_that_comes_out_as_they_are(choices: Choices) -> None:
    plain, other = trained_network(built(Choices())).state_dict(), trained_network(built(choices)).state_dict()
    assert plain.keys() == other.keys()
    scales = {f"{name}.weight" for name, each in built(Choices()).named_modules() if isinstance(each, nn.BatchNorm2d)}
    differ = {f"1.{name}" for name in plain if not torch.equal(plain[name], other[name])}
    assert differ <= (scales if not choices.batch_norm_scale else set())


def test_dropout_drops_in_training_alone() -> None:
    model = built(Choices(dropout=0.5))
    for training, same in ((True, False), (False, True)):
        model.train(training)
        for norm in (each for each in model.modules() if isinstance(each, nn.BatchNorm2d)):
            norm.eval()
        rows = []
        for seed in (0, 1):
            torch.manual_seed(seed)
            rows.append(model(images()))
        assert torch.equal(*rows) is same


def test_the_auxiliary_head_sits_on_the_last_stage_but_one_and_adds_its_loss() -> None:
    model = built(Choices(auxiliary=0.4))
    assert model[1].layer == "layer3"
    target, aim = torch.tensor([0, 1, 2, 3]), objective(Recipe(), torch.tensor([0, 1, 2, 3]), 5)
    assert isinstance(model.eval()(images()), torch.Tensor)
    made = model.train()(images())
    assert isinstance(made, Outputs)
    by_hand = nn.functional.cross_entropy(made.logits, target)
    by_hand = by_hand + 0.4 * nn.functional.cross_entropy(made.auxiliary, target)
    loss = loss_of(aim, made, target)
    assert torch.allclose(loss, by_hand)
    loss.backward()
    assert model[1].head[0].weight.grad.abs().sum() > 0
    assert torch.isclose(loss_of(aim, made.logits, target), nn.functional.cross_entropy(made.logits, target))


def test_without_a_batch_norm_scale_gamma_is_one_and_does_not_learn_while_beta_does() -> None:
    norms = [each for each in built(Choices(batch_norm_scale=False)).modules() if isinstance(each, nn.BatchNorm2d)]
    assert norms
    for norm in norms:
        assert torch.equal(norm.weight, torch.ones_like(norm.weight))
        assert not norm.weight.requires_grad
        assert norm.bias.requires_grad
    usual = [each for each in built(Choices()).modules() if isinstance(each, nn.BatchNorm2d)]
    assert all(norm.weight.requires_grad for norm in usual)


def test_label_smoothing_is_in_the_loss_as_torch_has_it() -> None:
    recipe = chosen_recipe(Recipe(), Choices(label_smoothing=0.1))
    logits, target = torch.randn(4, 5, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 3])
    wanted = nn.functional.cross_entropy(logits, target, label_smoothing=0.1)
    assert torch.equal(loss_of(objective(recipe, target, 5), logits, target), wanted)
    assert chosen_recipe(recipe, Choices()) == recipe
    with pytest.raises(BadInput, match=r"0.1 in the recipe and 0.2 among the choices"):
        chosen_recipe(recipe, Choices(label_smoothing=0.2))


@pytest.mark.parametrize(
    ("architecture", "choices", "said"),
    [
        ("test_vit", Choices(batch_norm_scale=False), r"no batch norm with a scale \(LayerNorm\)"),
        ("test_nfnet", Choices(batch_norm_scale=False), "it has no norm"),
        ("test_vit", Choices(auxiliary=0.4), "blocks of one size"),
        ("test_mambaout", Choices(auxiliary=0.4), r"gives \(2, 2, 2, 48\), maps"),
    ],
)
def test_a_choice_that_does_not_fit_the_family_is_refused_with_the_reason(
    architecture: str, choices: Choices, said: str
) -> None:
    with pytest.raises(BadInput, match=said):
        built(choices, architecture)


def test_a_family_that_drops_nothing_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = spec()

    def without(asked: ModelSpec) -> nn.Module:
        return classifier(dataclasses.replace(asked, kwargs=whole.kwargs))

    from featune.bench.pretrain import choices as module
    from featune.engine.models import classifier

    monkeypatch.setattr(module, "classifier", without)
    with pytest.raises(BadInput, match="drops nothing by it"):
        built(Choices(dropout=0.5))


@pytest.mark.parametrize("settings", [{"label_smoothing": 1.0}, {"dropout": -0.1}, {"auxiliary": -1.0}])
def test_a_choice_out_of_its_bounds_is_refused(settings: dict[str, float]) -> None:
    with pytest.raises(BadInput, match="expected 0 or more"):
        Choices(**settings)
