"""Inputs that take turns, and what keeps or changes them."""

import pytest
import torch
from torch import Tensor

from featune.bench.throughput import Rotation
from featune.engine.errors import BadInput


def images(n: int = 12) -> Tensor:
    return torch.randint(0, 256, (n, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def rows(batch: Tensor) -> Tensor:
    return batch.float().flatten(1)[:, :5]


@pytest.mark.parametrize("batch", [1, 4, 12, 20])
def test_batches_have_the_size_asked_for_and_are_distinct(batch: int) -> None:
    made = Rotation(images(), batch)
    assert {len(each) for each in made.batches} == {batch}
    assert len({each.numpy().tobytes() for each in made.batches}) == 4


def test_an_honest_runner_passes() -> None:
    Rotation(images(), 4).check(rows)


def test_a_runner_that_changes_its_input_is_caught() -> None:
    made = Rotation(images(), 4)

    def run(batch: Tensor) -> Tensor:
        return rows(batch.sub_(1))

    run(made.batches[0])
    with pytest.raises(BadInput, match="changed its input"):
        made.check(run)


def test_a_runner_that_keeps_its_first_result_is_caught() -> None:
    made, kept = Rotation(images(), 4), []

    def run(batch: Tensor) -> Tensor:
        kept.append(rows(batch))
        return kept[0]

    with pytest.raises(BadInput, match="same rows for different images"):
        made.check(run)


def test_a_runner_that_keeps_results_by_the_place_of_its_input_is_caught() -> None:
    """Its cache knows the batches that take turns, and not the same images in another order at a place it knows."""
    made, kept = Rotation(images(), 4), dict[int, Tensor]()
    number = iter(range(100))

    def run(batch: Tensor) -> Tensor:
        return kept.setdefault(next(number) % 2, rows(batch))

    with pytest.raises(BadInput, match="another order"):
        made.check(run)


def test_images_that_are_all_the_same_cannot_take_turns() -> None:
    with pytest.raises(BadInput, match="all the same"):
        Rotation(torch.zeros(8, 3, 4, 4, dtype=torch.uint8), 2)
    with pytest.raises(BadInput, match="at least 2 expected"):
        Rotation(images(1), 2)
