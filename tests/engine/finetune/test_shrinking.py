"""Training images that are shrunk on load, and what is kept of decoded images."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from featune.engine.finetune import Decoded, Recipe, Run, TrainVal, finetune, train
from featune.engine.finetune import decoded as module
from featune.engine.finetune.decoded import Steps, eval_batches, shrinking_of
from featune.engine.images import Augmentation, Labelled, batches
from featune.engine.models import ModelSpec, View, fresh_classifier, state_digest
from featune.engine.store import plain

RECIPE = Recipe(
    epochs=2, batch=4, learning_rates=(0.02,), shrink_on_load=True, augmentation=Augmentation(scale=(0.6, 1.0))
)


@pytest.fixture
def photos(tmp_path: Path) -> Labelled:
    """Four JPEG files of 200 x 150 pixels and four small ones."""
    from PIL import Image
    from sklearn.datasets import load_sample_image

    photograph = Image.fromarray(load_sample_image("flower.jpg"))
    for i in range(8):
        photograph.rotate(40 * i).resize((200, 150) if i < 4 else (40, 36)).save(tmp_path / f"{i}.jpg")
    return Labelled(str(tmp_path), tuple(f"{i}.jpg" for i in range(8)), tuple((i % 2,) for i in range(8)))


@pytest.fixture
def read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded."""
    names: list[str] = []
    original = module.read_image

    def counted(path: str, *rest: Any) -> Any:
        names.append(Path(path).name)
        return original(path, *rest)

    monkeypatch.setattr(module, "read_image", counted)
    return names


def fitted(spec: ModelSpec, items: Labelled, recipe: Recipe = RECIPE, **options: Any) -> str:
    truth = torch.from_numpy(items.truth(2))
    return state_digest(train(fresh_classifier(spec, 2, 0), items, truth, spec.view, recipe, 0, Run(**options)).model)


def test_the_bits_are_the_same_whether_images_are_kept_or_decoded_anew(spec: ModelSpec, photos: Labelled) -> None:
    kept = Decoded()
    first = fitted(spec, photos, decoded=kept)
    list(eval_batches(photos, spec.view, 4, kept))  # has them whole too
    assert fitted(spec, photos, decoded=kept) == first == fitted(spec, photos, decoded=Decoded(0))
    assert first != fitted(spec, photos, dataclasses.replace(RECIPE, shrink_on_load=False))


def test_small_images_train_to_the_bits_of_a_recipe_that_does_not_shrink(spec: ModelSpec, photos: Labelled) -> None:
    small = photos.take(range(4, 8))
    assert fitted(spec, small) == fitted(spec, small, dataclasses.replace(RECIPE, shrink_on_load=False))


def test_a_stopped_training_goes_on_to_the_same_bits(spec: ModelSpec, photos: Labelled, tmp_path: Path) -> None:
    fitted(spec, photos, work=tmp_path / "work", until=1, decoded=Decoded())
    assert fitted(spec, photos, work=tmp_path / "work", decoded=Decoded(0)) == fitted(spec, photos)


@pytest.mark.parametrize("limit", [0, 20_000, 1 << 30])
def test_eval_views_are_those_of_whole_images_whatever_is_kept(spec: ModelSpec, photos: Labelled, limit: int) -> None:
    decoded = Decoded(limit)
    fitted(spec, photos, decoded=decoded)
    expected = torch.cat(list(batches(photos, spec.view, 4)))
    shrinking = shrinking_of(RECIPE, spec.view)
    for options in ({"shrinking": shrinking}, {"again": True}, {"again": True}, {}):
        found = torch.cat(list(eval_batches(photos, spec.view, 4, decoded, **options)))  # type: ignore[arg-type]
        assert torch.equal(found, expected)


def test_looks_at_val_decode_each_image_once_and_keep_views_of_large_ones(
    spec: ModelSpec, photos: Labelled, read: list[str]
) -> None:
    """200 x 150 pixels in four bytes each are more than the 32 x 32 x 3 of their view."""
    decoded = Decoded()
    for _ in range(3):
        list(eval_batches(photos, spec.view, 4, decoded, again=True))
    assert len(read) == 8
    held = sum(each.nbytes for each in decoded.squares.values())
    held += sum(image.width * image.height * 4 for image in decoded.kept.values())
    assert held == module.DECODED_BYTES - decoded.room
    assert len(decoded.squares) == 8
    assert held == 8 * 32 * 32 * 3


def test_a_pass_before_a_training_keeps_what_the_training_takes_whole(
    spec: ModelSpec, photos: Labelled, read: list[str]
) -> None:
    decoded = Decoded()
    list(eval_batches(photos, spec.view, 4, decoded, shrinking_of(RECIPE, spec.view)))
    fitted(spec, photos, decoded=decoded)
    assert sorted(read) == sorted(photos.paths + photos.paths[:4])
    assert max(image.width for image in decoded.kept.values()) < 200


def test_images_are_kept_at_the_bytes_that_pillow_takes(photos: Labelled) -> None:
    for channels, each in ((1, 1), (3, 4)):
        decoded = Decoded(200 * 150 * each)
        items = dataclasses.replace(photos, channels=channels)
        assert decoded.image(items, 0) is decoded.image(items, 0)
        assert decoded.room == 0
        assert decoded.image(items, 1) is not decoded.image(items, 1)


def test_growing_images_are_shrunk_once_for_the_largest_side(spec: ModelSpec, photos: Labelled) -> None:
    for start, side in ((None, 32), (24, 32), (96, 96)):
        shrinking = shrinking_of(dataclasses.replace(RECIPE, start_size=start), View(32, crop_pct=0.875))
        assert shrinking is not None
        assert (shrinking.side, shrinking.short) == (side, int(side / 0.875))


def test_eval_crops_of_a_training_are_those_of_whole_images(spec: ModelSpec, photos: Labelled) -> None:
    recipe = dataclasses.replace(RECIPE, augmentation=Augmentation(crop="eval", hflip=0.0))
    assert shrinking_of(recipe, spec.view) is None
    steps = Steps(photos, spec.view, recipe, 0, Decoded(), 4)
    (images,) = steps.images(0, 1)
    whole = torch.cat(list(batches(photos, spec.view, 4)))
    assert torch.equal(images, whole[steps.indices(0)])


def test_validation_sees_whole_images(spec: ModelSpec, photos: Labelled, monkeypatch: pytest.MonkeyPatch) -> None:
    """The scores on val of a search are those of the classifier that it leaves."""
    seen: list[np.ndarray] = []

    def validation(scores: np.ndarray) -> float:
        seen.append(scores)
        return float(len(seen))  # the last look is the best

    recipe = dataclasses.replace(RECIPE, keep="best")
    tuned = finetune(spec, TrainVal(photos, photos, 2), validation, recipe, seed=0)
    assert np.array_equal(seen[-1], tuned(photos))


def test_names_of_recipes_that_do_not_shrink_are_what_they_were() -> None:
    assert not Recipe().shrink_on_load
    assert "shrink_on_load" not in plain(Recipe())
    assert plain(RECIPE)["shrink_on_load"] is True


def test_samples_for_batch_norm_count_alike_and_keep_no_whole_photograph(
    spec: ModelSpec, photos: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SAMPLED", 3)
    kept = Decoded()
    steps = Steps(photos, spec.view, RECIPE, 0, kept, 4)
    found = list(steps.samples(torch.device("cpu")))
    assert [len(each) for each in found] == [3, 3, 2]
    assert torch.equal(torch.cat(found), torch.cat(list(batches(photos, spec.view, 8))))
    assert all(image.size[0] < 200 for image in kept.kept.values())
    seven = Steps(photos.take(range(7)), spec.view, RECIPE, 0, kept, 4).samples(torch.device("cpu"))
    assert [len(each) for each in seven] == [3, 2, 2]  # no rest of one image
