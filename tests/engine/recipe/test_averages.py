"""An average of the last weights, and batch norm's statistics of a network that has none of its own."""

import pytest
import torch
from torch import nn

from featune.engine.recipe import Recipe, renew_statistics, tail_of


def linear(weight: float) -> nn.Linear:
    made = nn.Linear(1, 1, bias=False)
    nn.init.constant_(made.weight, weight)
    return made


def test_the_tail_weighs_late_steps_most_and_keeps_its_shape_at_any_length() -> None:
    for steps in (12, 120):
        model = linear(0.0)
        tail = tail_of(model)
        for step in range(1, steps + 1):
            nn.init.constant_(model.weight, float(step))
            tail.update(model, step=step)
        assert tail.module.weight.item() == pytest.approx((5 * steps + 1) / 6)  # mean of t with weights t..t+3, by hand
    model = linear(3.0)
    tail = tail_of(model)
    nn.init.constant_(model.weight, 7.0)
    tail.update(model, step=1)
    assert tail.module.weight.item() == 7  # the start has no part in it


def network() -> nn.Sequential:
    return nn.Sequential(nn.BatchNorm2d(2), nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))


def test_statistics_are_the_mean_of_the_batches_where_they_are_learned() -> None:
    model, recipe = network(), Recipe()
    learning = frozenset(name for name, _ in model.named_parameters() if not name.startswith("2."))
    batches = [torch.full((4, 2, 3, 3), 1.0), torch.full((4, 2, 3, 3), 4.0)]
    before = {name: each.clone() for name, each in model[2].named_buffers()}
    renew_statistics(model, learning, recipe, batches)
    assert model[0].running_mean.tolist() == [2.5, 2.5]
    assert not any(module.training for module in model.modules())
    assert model[0].momentum == 0.1
    assert all(torch.equal(before[name], each) for name, each in model[2].named_buffers())  # frozen: as it was


def test_statistics_that_a_recipe_keeps_are_not_learned_anew() -> None:
    model = network()
    learning = frozenset(name for name, _ in model.named_parameters())
    renew_statistics(model, learning, Recipe(batch_norm="frozen"), [torch.ones(4, 2, 3, 3)])
    assert model[0].running_mean.tolist() == [0, 0]
