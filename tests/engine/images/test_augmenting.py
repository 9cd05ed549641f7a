"""Train views change as the augmentation says, by draws that depend on nothing but the generator."""

import dataclasses
import threading

import numpy as np
import pytest
import torch
from PIL import Image

from featune.engine.errors import BadInput
from featune.engine.images import Augmentation, eval_view, train_view
from featune.engine.images.augmenting import auto_augmented, erased, jittered
from featune.engine.models import View

VIEW = View(32)
STILL = Augmentation(crop="eval", hflip=0.0)
RANDOM = np.random.default_rng(0)
IMAGE = Image.fromarray(RANDOM.integers(0, 256, (40, 48, 3), dtype=np.uint8))


def view(augmentation: Augmentation, seed: int = 0, image: Image.Image = IMAGE, of: View = VIEW) -> np.ndarray:
    return train_view(image, of, augmentation, np.random.default_rng(seed))


def test_the_eval_crop_without_flips_is_the_eval_view() -> None:
    assert np.array_equal(view(STILL), eval_view(VIEW)(IMAGE))


@pytest.mark.parametrize("kind", ["randaugment", "trivialaugment", "augmix"])
def test_an_automatic_augmentation_is_drawn_by_the_generator_alone(kind: str) -> None:
    augmentation = dataclasses.replace(STILL, auto_augment=kind)  # type: ignore[arg-type]
    alone = [view(augmentation, seed) for seed in range(8)]
    before = torch.get_rng_state()
    found: dict[int, np.ndarray] = {}
    threads = [
        threading.Thread(target=lambda seed=seed: found.update({seed: view(augmentation, seed)})) for seed in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(alone[seed], found[seed]) for seed in range(8))
    assert len({each.tobytes() for each in alone}) > 4
    assert alone[0].shape == (3, 32, 32)
    assert torch.equal(torch.get_rng_state(), before)


def test_randaugment_of_a_drawn_operation_is_torchvisions(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same operation, number and sign, handed to torchvision's transform as its draws."""
    from torchvision.transforms import InterpolationMode, RandAugment

    ops = list(RandAugment()._augmentation_space(31, (32, 32)))
    square = Image.fromarray(eval_view(VIEW)(IMAGE).transpose(1, 2, 0))
    for seed in range(12):
        rng = np.random.default_rng(seed)
        ours = auto_augmented(square, "randaugment", 1, 9, rng)
        again = np.random.default_rng(seed)
        number = int(again.integers(len(ops)))
        signed = RandAugment()._augmentation_space(31, (32, 32))[ops[number]][1]
        draws = iter([torch.tensor([number]), *([torch.tensor([int(again.random() < 0.5)])] if signed else [])])
        monkeypatch.setattr(torch, "randint", lambda *_, draws=draws, **__: next(draws))
        theirs = RandAugment(1, 9, interpolation=InterpolationMode.BILINEAR)(square)
        monkeypatch.undo()
        assert np.array_equal(np.asarray(ours), np.asarray(theirs)), ops[number]


def test_erasing_puts_noise_into_one_rectangle() -> None:
    black = np.zeros((32, 32, 3), np.uint8)
    found = erased(black, np.random.default_rng(1))
    touched = found.any(2)
    rows, columns = np.flatnonzero(touched.any(1)), np.flatnonzero(touched.any(0))
    area = (rows[-1] - rows[0] + 1) * (columns[-1] - columns[0] + 1)
    assert 0.01 * 1024 < touched.sum() <= area < 0.4 * 1024
    assert touched.sum() > 0.95 * area
    assert not black.any()
    assert np.array_equal(view(dataclasses.replace(STILL, erasing=0.0)), view(STILL))
    assert not np.array_equal(view(dataclasses.replace(STILL, erasing=1.0)), view(STILL))


def test_colour_jitter_of_no_strength_changes_nothing_and_keeps_within_its_factors() -> None:
    grey = Image.fromarray(np.full((8, 8, 3), 100, np.uint8))
    assert np.array_equal(np.asarray(jittered(grey, 0.0, np.random.default_rng(0))), np.asarray(grey))
    levels = [int(np.asarray(jittered(grey, 0.3, np.random.default_rng(seed)))[0, 0, 0]) for seed in range(30)]
    assert 69 <= min(levels) < 80
    assert 120 < max(levels) <= 131


def test_grey_images_are_changed_and_those_of_other_channels_refused() -> None:
    changed = dataclasses.replace(STILL, auto_augment="randaugment", color_jitter=0.4, erasing=1.0)
    assert view(changed, image=IMAGE.convert("L"), of=View(32, channels=1)).shape == (1, 32, 32)
    alpha = Image.merge("RGBA", [IMAGE.convert("L")] * 4)
    with pytest.raises(BadInput, match="randaugment: images of 4 channels found, expected grey or RGB"):
        view(changed, image=alpha, of=View(32, channels=4))


def test_settings_that_came_later_draw_nothing_where_they_are_off() -> None:
    """Views of earlier recipes stay as they were: a crop and two flips, in this order."""
    rng = np.random.default_rng(5)
    train_view(IMAGE, VIEW, Augmentation(), rng)
    again = np.random.default_rng(5)
    area, ratio = 0.0, 0.0
    while True:
        area = 40 * 48 * again.uniform(0.08, 1.0)
        ratio = np.exp(again.uniform(*np.log((3 / 4, 4 / 3))))
        if np.sqrt(area * ratio) <= 48 and np.sqrt(area / ratio) <= 40:
            break
    again.uniform(), again.uniform()
    again.random(), again.random()
    assert rng.random() == again.random()
