import numpy as np
import pytest
import torch

from featune.engine.recipe import Recipe, mixed, mixes

IMAGES = torch.arange(4 * 3 * 8 * 8, dtype=torch.uint8).reshape(4, 3, 8, 8)
LABELS = torch.tensor([0, 1, 2, 0])


def test_mixup_mixes_images_and_labels_by_one_share() -> None:
    images, labels = mixed(IMAGES, LABELS, 3, Recipe(mixup=1.0), (0, 7))
    share = labels[1, 1].item()  # labels 1 and 2 lie at mirrored places
    assert 0 < share < 1
    assert labels[1].tolist() == pytest.approx([0, share, 1 - share])
    assert labels[0].tolist() == pytest.approx([1, 0, 0])
    expected = share * IMAGES[1].float() + (1 - share) * IMAGES[2].float()
    assert torch.allclose(images[1], expected, atol=1e-3)


def test_cutmix_gives_labels_the_share_of_the_area() -> None:
    images, labels = mixed(IMAGES, LABELS, 3, Recipe(cutmix=1.0), (0, 1))
    kept = (images[1] == IMAGES[1]).all(0).float().mean().item()
    assert 0 < kept < 1
    assert labels[1, 1].item() == pytest.approx(kept, abs=1e-6)


def test_a_mixture_depends_on_its_seed_and_step_alone() -> None:
    np.random.seed(3)  # noqa: NPY002
    before = np.random.get_state()[1].copy()  # type: ignore[index, union-attr]  # noqa: NPY002
    draws = [mixed(IMAGES, LABELS, 3, Recipe(mixup=1.0), draw)[0] for draw in ((0, 1), (0, 1), (0, 2), (1, 1))]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    assert not torch.equal(draws[0], draws[3])
    assert (np.random.get_state()[1] == before).all()  # type: ignore[index]  # noqa: NPY002


def test_a_label_that_is_unknown_in_one_image_is_unknown_in_the_mixture() -> None:
    several = torch.tensor([[1, 0], [0, -1], [1, 1], [0, 0]])
    _, labels = mixed(IMAGES, several, 2, Recipe(mixup=1.0), (0, 7))
    assert (labels[1:3, 1] == -1).all()
    assert ((labels >= 0) & (labels <= 1)).sum() == 6


@pytest.mark.parametrize(
    ("recipe", "on"), [(Recipe(), False), (Recipe(mixup=0.2), True), (Recipe(cutmix=1.0, mixup_prob=0.0), False)]
)
def test_images_are_mixed_where_the_recipe_says_so(recipe: Recipe, on: bool) -> None:
    assert mixes(recipe) is on
