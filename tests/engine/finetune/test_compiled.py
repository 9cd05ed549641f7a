"""A training by torch.compile is the eager one but for rounding."""

import dataclasses
import shutil

import pytest
import torch
from torch import Tensor, nn

from featune.engine.errors import Missing
from featune.engine.finetune import Recipe, train
from featune.engine.images import Augmentation, Labelled
from featune.engine.models import View, state_digest

RECIPE = Recipe(steps=3, batch=4, learning_rates=(0.5,), warmup=0.0, augmentation=Augmentation(scale=(0.6, 1.0)))


class Body(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(192, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.float().flatten(1) / 255 - 0.5).relu()


def trained(items: Labelled, compiled: bool) -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(Body(), nn.Linear(5, 3))
    recipe = dataclasses.replace(RECIPE, compile=compiled)
    return train(model, items, torch.from_numpy(items.truth(3)), View(side=8), recipe, 0).model


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
@pytest.mark.wide  # half a minute of C++ where torch's cache has none of it
@pytest.mark.filterwarnings("ignore")
def test_a_compiled_training_is_the_eager_one(items: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[nn.Module] = []
    real = torch.compile
    monkeypatch.setattr(torch, "compile", lambda module: used.append(module) or real(module))
    compiled, eager = trained(items, True), trained(items, False)
    assert len(used) == 1
    for name, value in eager.state_dict().items():
        torch.testing.assert_close(compiled.state_dict()[name], value, rtol=1e-4, atol=1e-5)
    torch.manual_seed(0)
    assert state_digest(compiled) != state_digest(nn.Sequential(Body(), nn.Linear(5, 3)))


def test_without_a_compiler_nothing_is_trained(items: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Missing, match=r"torch-compile needs a compiler, .* or leave compile out"):
        trained(items, True)
