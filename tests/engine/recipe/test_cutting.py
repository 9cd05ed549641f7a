"""The frozen part of a network and the rest give together what the whole gives, for whatever crosses between them."""

import pytest
import torch
from torch import nn

from featune.engine.models import ModelSpec, fresh_classifier, spec_from_entry
from featune.engine.recipe import Recipe, Uncut, cut_in_two, parts_of, set_learning


def frozen_but(model: nn.Module, side: int, recipe: Recipe) -> torch.Tensor:
    """As a training leaves the model before its first step; an image for it."""
    image = torch.randint(0, 256, (1, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    set_learning(model, parts_of(model, recipe, image).learning, recipe)
    return image


@pytest.mark.parametrize(
    ("name", "side", "trained"),
    [
        ("test_resnet", 32, 1),
        ("test_resnet", 32, 2),
        ("test_vit2", 64, "head"),
        ("test_convnext", 32, 2),
        ("test_mambaout", 32, 1),
        ("test_nfnet", 32, 1),
    ],
)
def test_both_parts_give_the_logits_of_the_whole(name: str, side: int, trained: int | str) -> None:
    kwargs = {"img_size": side} if "vit" in name else {}
    spec = spec_from_entry({"architecture": name, "pretrained": False, "side": side, "kwargs": kwargs})
    model = fresh_classifier(spec, 3, 0)
    nn.init.normal_(model[-1].weight)  # type: ignore[index, arg-type, union-attr]
    image = frozen_but(model, side, Recipe(trained=trained))
    frozen, learning = cut_in_two(model, image)
    learns = {id(parameter) for parameter in model.parameters() if parameter.requires_grad}
    assert learns == {id(each) for each in learning.parameters() if each.requires_grad}
    assert not any(each.requires_grad for each in frozen.parameters())
    images = torch.randint(0, 256, (5, 3, side, side), dtype=torch.uint8)
    rows = frozen(images).detach()
    assert rows.shape == (5, frozen.width)
    model.eval()
    assert torch.allclose(learning(rows), model(images), atol=1e-5)


class Skips(nn.Module):
    """Two maps, a number of images and a constant cross from `first` to `second`."""

    def __init__(self, drop: float = 0.0) -> None:
        super().__init__()
        self.first, self.drop, self.second = nn.Conv2d(3, 2, 1), nn.Dropout(drop), nn.Linear(8, 4)
        self.register_buffer("place", torch.arange(4.0))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        found = self.drop(self.first(images.float()))
        doubled, place = found * 2, self.place + 1
        return self.second(found.reshape(found.shape[0], -1)) + doubled.reshape(images.shape[0], -1)[:, :4] * place


def skipping(drop: float = 0.0) -> nn.Module:
    model = Skips(drop)
    for parameter in model.first.parameters():
        parameter.requires_grad_(False)
    return model


def test_several_values_cross_with_a_row_of_each_image() -> None:
    model, images = skipping(), torch.rand(3, 3, 2, 2)
    frozen, learning = cut_in_two(model, images[:1])
    assert frozen.width == 8 + 4  # the map, and the first half of its double
    assert torch.allclose(learning(frozen(images)), model(images))


def test_what_draws_random_numbers_is_no_part_of_what_is_frozen() -> None:
    model = skipping(0.5)
    frozen, learning = cut_in_two(model, torch.rand(1, 3, 2, 2))
    rows = frozen(torch.rand(1, 3, 2, 2))
    assert not torch.equal(learning(rows), learning(rows))
    model.eval()
    assert torch.equal(learning(rows), learning(rows))


def test_a_norm_that_learns_statistics_is_no_part_of_what_is_frozen() -> None:
    norm = nn.BatchNorm2d(2, affine=False)
    model = nn.Sequential(nn.Conv2d(3, 2, 1), norm, nn.Flatten(), nn.Linear(8, 2))
    for parameter in model[0].parameters():
        parameter.requires_grad_(False)
    frozen, learning = cut_in_two(model.train(), torch.rand(1, 3, 2, 2))
    assert norm.num_batches_tracked == 0
    learning(frozen(torch.rand(4, 3, 2, 2)))
    assert norm.num_batches_tracked == 1


def test_a_network_of_which_nothing_is_frozen_is_not_cut(spec: ModelSpec) -> None:
    model = fresh_classifier(spec, 3, 0).train()
    with pytest.raises(Uncut, match="nothing is frozen below"):
        cut_in_two(model, torch.zeros(1, 3, 32, 32, dtype=torch.uint8))


def test_code_that_looks_at_numbers_is_not_cut() -> None:
    class Looks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.second = nn.Linear(4, 4), nn.Linear(4, 2)

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            found = self.first(images)
            return self.second(found if found.sum() > 0 else -found)

    model = Looks()
    for parameter in model.first.parameters():
        parameter.requires_grad_(False)
    with pytest.raises(Uncut, match=r"cannot be followed \(TraceError"):
        cut_in_two(model, torch.rand(1, 4))
