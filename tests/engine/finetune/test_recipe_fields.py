"""What each field of a recipe does to a training, on a residual network of 32 x 32 pixels."""

import copy
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from featune.engine.errors import BadInput
from featune.engine.finetune import Decoded, Diverged, Recipe, Run, TrainVal, finetune, fit_once, predict, train
from featune.engine.images import Augmentation, Labelled
from featune.engine.metrics import METRICS
from featune.engine.models import ModelSpec, classifier, feature_model, fresh_classifier, spec_from_entry, state_digest
from featune.engine.probe import probe

GENTLE = Augmentation(scale=(0.6, 1.0))
RECIPE = Recipe(epochs=3, batch=4, learning_rates=(0.02,), augmentation=GENTLE)
VIT = {"architecture": "test_vit", "pretrained": False, "side": 32, "kwargs": {"img_size": 32}}


@pytest.fixture(scope="session")
def vit() -> ModelSpec:
    return spec_from_entry(VIT)


def fitted(spec: ModelSpec, items: Labelled, recipe: Recipe, **options: Any) -> nn.Module:
    truth = torch.from_numpy(items.truth(3))
    return train(fresh_classifier(spec, 3, 0), items, truth, spec.view, recipe, 0, Run(**options)).model


def with_fields(**fields: Any) -> Recipe:
    return dataclasses.replace(RECIPE, **fields)


@pytest.mark.parametrize(
    "fields",
    [
        {"optimizer": "lamb", "layer_decay": 0.7, "clip_norm": 1.0, "head_first": 0.2, "batch_norm": "frozen"},
        {"ema": 0.8, "mixup": 0.2, "loss": "bce", "learning_rates": (0.03,)},
        {"loss": "ordinal", "class_weights": "balanced", "drop_path": 0.1, "start_size": 24, "channels_last": True},
        {"augmentation": dataclasses.replace(GENTLE, auto_augment="trivialaugment", color_jitter=0.2, erasing=0.2)},
    ],
    ids=lambda fields: next(iter(fields)),
)
def test_training_learns_with_every_field(spec: ModelSpec, items: Labelled, fields: dict[str, Any]) -> None:
    recipe = with_fields(epochs=15, **fields)
    tuned = finetune(spec, TrainVal(items, items, 3), lambda scores: 0.0, recipe, seed=0)
    assert METRICS["top1"](items.truth(3), tuned(items)) >= 8 / 11


@pytest.mark.parametrize("kind", ["bfloat16", "float16"])
def test_half_precision_trains_as_single_precision_does(vit: ModelSpec, items: Labelled, kind: str) -> None:
    losses: dict[bool, list[float]] = {}
    for amp in (False, True):
        told: list[Any] = []
        recipe = with_fields(steps=3, amp=amp, amp_dtype=kind, cutmix=1.0, warmup=0.0)
        fitted(vit, items, recipe, log=told.append)
        losses[amp] = [record["loss"] for record in told]
    assert losses[True] == pytest.approx(losses[False], rel=0.02)
    assert losses[True][1:] != losses[False][1:]


def test_accumulated_parts_give_the_step_of_the_whole_batch(vit: ModelSpec, items: Labelled) -> None:
    """Of a network without batch norm; class weights make parts weigh differently."""
    recipe = with_fields(steps=3, batch=8, class_weights="balanced", learning_rates=(0.1,))
    whole = dict(fitted(vit, items, recipe).named_parameters())
    parts = dict(fitted(vit, items, dataclasses.replace(recipe, accumulation=3)).named_parameters())
    for name, value in whole.items():
        assert torch.allclose(value, parts[name], atol=1e-6), name


def test_the_average_of_the_weights_is_timms(spec: ModelSpec, items: Labelled) -> None:
    from timm.utils import ModelEmaV3

    recipe = with_fields(ema=0.9)
    model = fresh_classifier(spec, 3, 0)
    average = ModelEmaV3(copy.deepcopy(model), decay=0.9, use_warmup=True)
    seen = []

    def note(step: int, total: int) -> None:
        average.update(model, step=step)
        seen.append(copy.deepcopy(model.state_dict()))

    truth = torch.from_numpy(items.truth(3))
    trained = train(model, items, truth, spec.view, recipe, 0, Run(progress=note)).model
    assert len(seen) == 6
    for name, value in average.module.state_dict().items():
        assert torch.equal(value, trained.state_dict()[name]), name
    assert not torch.equal(seen[-1]["2.weight"], trained.state_dict()["2.weight"])


def test_a_clipped_gradient_moves_weights_by_no_more_than_its_norm(spec: ModelSpec, items: Labelled) -> None:
    recipe = with_fields(steps=1, momentum=0.0, weight_decay=0.0, warmup=0.0, clip_norm=1e-3, learning_rates=(1.0,))
    before, after = fresh_classifier(spec, 3, 0).state_dict(), fitted(spec, items, recipe).state_dict()
    names = [name for name, _ in fresh_classifier(spec, 3, 0).named_parameters()]
    moved = torch.cat([(after[name] - before[name]).flatten() for name in names]).norm().item()
    assert moved == pytest.approx(1e-3, rel=1e-3)


def test_the_log_has_every_step_with_the_norm_of_its_gradient(spec: ModelSpec, items: Labelled) -> None:
    told: list[Any] = []
    fitted(spec, items, with_fields(schedule="constant", warmup=0.0), log=told.append)
    assert [record["step"] for record in told] == list(range(6))
    assert [record["epoch"] for record in told] == [0, 0, 1, 1, 2, 2]
    assert {record["rate"] for record in told} == {0.02}
    assert all(record["norm"] > 0 and record["loss"] > 0 for record in told)


def test_evaluation_after_each_epoch_leaves_the_training_as_it_was(vit: ModelSpec, items: Labelled) -> None:
    told: list[Any] = []
    recipe = with_fields(drop_path=0.3)
    spec = dataclasses.replace(vit, kwargs=(*vit.kwargs, ("drop_path_rate", 0.3)))

    def evaluate(model: nn.Module) -> dict[str, float]:
        torch.rand(3)
        return {"top1": METRICS["top1"](items.truth(3), predict(model, items, spec.view))}

    looked = fitted(spec, items, recipe, evaluate=evaluate, log=told.append)
    assert [(record["step"], record["epoch"]) for record in told if "top1" in record] == [(2, 0), (4, 1), (6, 2)]
    assert state_digest(looked) == state_digest(fitted(spec, items, recipe))


def test_the_head_alone_learns_at_first_and_the_rest_after(spec: ModelSpec, items: Labelled) -> None:
    moved: list[set[str]] = []
    model = fresh_classifier(spec, 3, 0)
    before = copy.deepcopy(dict(model.named_parameters()))

    def note(step: int, total: int) -> None:
        moved.append({name for name, value in model.named_parameters() if not torch.equal(value, before[name])})

    train(model, items, torch.from_numpy(items.truth(3)), spec.view, with_fields(head_first=0.5), 0, Run(progress=note))
    assert moved[2] == {"2.weight", "2.bias"}
    assert moved[3] > moved[2]


def test_the_head_starts_at_the_probes_weights(spec: ModelSpec, items: Labelled) -> None:
    truth = items.truth(3)
    data, features = TrainVal(items, items, 3), predict(feature_model(spec), items, spec.view)

    def metric(scores: object) -> float:
        return METRICS["top1"](truth, scores)  # type: ignore[arg-type]

    still = with_fields(steps=1, start="probe", learning_rates=(1e-12,), batch_norm="frozen")
    tuned = finetune(spec, data, metric, still, seed=0)
    fit = probe(features, truth, features, truth, lambda _, scores: metric(scores))
    assert np.allclose(tuned(items), fit(features), atol=1e-4)
    assert metric(tuned(items)) == metric(fit(features)) > 0.5


def test_the_body_runs_once_where_the_head_alone_learns_on_views_that_do_not_change(
    spec: ModelSpec, items: Labelled
) -> None:
    fixed = Augmentation(crop="eval", hflip=0.0)
    recipe = with_fields(trained="head", epochs=6, augmentation=fixed, ema=0.5, clip_norm=1.0)
    found = {}
    for kind, changed in (("once", recipe), ("each time", dataclasses.replace(recipe, start_size=32))):
        model, seen = fresh_classifier(spec, 3, 0), []
        model[1].register_forward_hook(lambda *_, seen=seen: seen.append(1))  # type: ignore[index, union-attr]
        trained = train(model, items, torch.from_numpy(items.truth(3)), spec.view, changed, 0).model
        found[kind] = (len(seen), trained.state_dict())
    assert found["once"][0] < found["each time"][0]
    for name, value in found["each time"][1].items():
        assert torch.allclose(value, found["once"][1][name], atol=1e-6), name
    assert not torch.equal(found["once"][1]["2.weight"], torch.zeros(3, 256))


def test_an_image_size_reaches_the_view_and_a_network_of_fixed_size(vit: ModelSpec, items: Labelled) -> None:
    tuned = finetune(vit, TrainVal(items, items, 3), lambda scores: 0.0, with_fields(steps=1, image_size=48), seed=0)
    assert tuned.view.side == 48
    assert tuned.spec is not None
    assert dict(tuned.spec.kwargs)["img_size"] == 48
    assert tuned.model[1].patch_embed.img_size == (48, 48)  # type: ignore[index, union-attr]
    with pytest.raises(BadInput, match="start_size: 16 found, 32 expected, all that"):
        finetune(vit, TrainVal(items, items, 3), lambda scores: 0.0, with_fields(start_size=16), seed=0)


def test_a_network_without_drop_path_is_refused_one(items: Labelled) -> None:
    spec = spec_from_entry({"architecture": "vgg11", "pretrained": False, "side": 32})
    with pytest.raises(BadInput, match=r"drop_path: 0.1 found, which vgg11.tv_in1k does not take .*; leave"):
        finetune(spec, TrainVal(items, items, 3), lambda scores: 0.0, with_fields(drop_path=0.1), seed=0)


def test_decoded_images_are_shared_between_trainings_and_bounded(
    spec: ModelSpec, items: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featune.engine.finetune import decoded as module

    read: list[str] = []
    original = module.read_image

    def counted(path: Any, *rest: Any) -> Any:
        read.append(str(path))
        return original(path, *rest)

    monkeypatch.setattr(module, "read_image", counted)
    kept = Decoded()
    for _ in range(2):
        fitted(spec, items, with_fields(epochs=2), decoded=kept)
    assert len(read) == len(set(read)) <= 11
    small = Decoded(limit=20_000)
    read.clear()
    fitted(spec, items, with_fields(epochs=3), decoded=small)
    assert sum(image.width * image.height * 4 for image in small.kept.values()) <= 20_000
    assert len(read) > 11


def test_a_recipe_that_does_not_say_lays_images_as_the_weights_on_a_cpu(vit: ModelSpec, items: Labelled) -> None:
    """Or each convolution reorders them; the step is that of a recipe that says so."""
    from featune.engine.finetune.decoded import Steps

    for said, order in ((None, False), (False, False), (True, True)):
        steps = Steps(items, vit.view, with_fields(channels_last=said), 0, Decoded(), 4)
        images = next(steps.images(0, 1))
        assert images.is_contiguous(memory_format=torch.channels_last) is order
        assert images.is_contiguous() is not order
    plain, said_so = (
        state_digest(fitted(vit, items, with_fields(optimizer="lamb", steps=2, channels_last=order)))
        for order in (None, False)
    )
    assert plain == said_so


def test_progressive_sizes_end_at_the_full_side(spec: ModelSpec, items: Labelled) -> None:
    from featune.engine.finetune.decoded import Steps

    large = dataclasses.replace(spec.view, side=128)
    steps = Steps(items, large, with_fields(epochs=5, start_size=64), 0, Decoded(), 4)
    assert [steps.view_of(epoch).side for epoch in range(5)] == [64, 64, 96, 96, 128]
    assert {images.shape[2] for images in steps.images(0, 2)} == {64}


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda items: dataclasses.replace(items, labels=((0,),) * 11), "11 training images of one class found, two"),
        (
            lambda items: dataclasses.replace(items, labels=((5,),) * 11),
            "label 5 found, 0 to 2 expected by a head of 3",
        ),
        (lambda items: items.take([]), "no training images found"),
        (lambda items: items.take([0, 1]), None),  # one image of each of two classes
    ],
)
def test_data_that_no_training_can_begin_with_is_refused(
    spec: ModelSpec, items: Labelled, change: Any, says: str | None
) -> None:
    data = change(items)
    if says is None:
        assert np.isfinite(predict(fitted(spec, data, RECIPE), data, spec.view)).all()
        return
    with pytest.raises(BadInput, match=says):
        fitted(spec, data, RECIPE)


def test_no_val_split_is_refused_where_something_is_chosen(spec: ModelSpec, items: Labelled) -> None:
    data = TrainVal(items, items.take([]), 3)
    with pytest.raises(BadInput, match="no validation images found, some expected to choose by; give a val split, or"):
        finetune(spec, data, lambda scores: 0.0, with_fields(learning_rates=(0.1, 0.2)), seed=0)
    finetune(spec, data, lambda scores: 0.0, with_fields(steps=1), seed=0)


def test_weights_that_are_no_numbers_are_refused_by_name(spec: ModelSpec, items: Labelled) -> None:
    model = fresh_classifier(spec, 3, 0)
    with torch.no_grad():
        model[1].bn1.weight[3] = float("nan")  # type: ignore[index, union-attr]
    with pytest.raises(BadInput, match=r"1.bn1.weight: 1 of \d+ weights found that are no finite numbers"):
        train(model, items, torch.from_numpy(items.truth(3)), spec.view, RECIPE, 0)


def test_weights_that_are_no_numbers_are_refused_before_the_probe_by_their_file(
    spec: ModelSpec, items: Labelled, tmp_path: Path
) -> None:
    model, file = classifier(spec), tmp_path / "w.pth"
    model.bn1.weight.data[3] = float("nan")  # type: ignore[index, union-attr]
    torch.save(model.state_dict(), file)
    broken = spec_from_entry({"architecture": "test_resnet", "checkpoint": str(file), "side": 32})
    with pytest.raises(BadInput, match=rf"{file}: bn1.weight: 1 of \d+ weights found that are no finite numbers"):
        fit_once(broken, TrainVal(items, items, 3), items, lambda scores: 0.0, with_fields(start="probe"), 0)


def test_a_vision_transformer_of_another_side_is_refused_with_the_remedy(vit: ModelSpec, items: Labelled) -> None:
    model = fresh_classifier(vit, 3, 0)
    view = dataclasses.replace(vit.view, side=40)
    with pytest.raises(BadInput, match="refuses images of 40 x 40"):
        train(model, items, torch.from_numpy(items.truth(3)), view, RECIPE, 0)


def test_one_image_in_a_batch_is_refused_where_batch_norm_cannot_have_it(items: Labelled) -> None:
    spec = spec_from_entry({"architecture": "test_byobnet", "pretrained": False, "side": 32})
    with pytest.raises(BadInput, match="one image in a batch found, two expected by batch norm"):
        fitted(spec, items, with_fields(batch=1, steps=1))


def test_memory_that_is_short_halves_the_parts_before_the_first_step() -> None:
    from featune.engine.finetune.health import fewest_parts

    def attempt(parts: int) -> None:
        if 64 / parts > 10:
            raise torch.OutOfMemoryError

    assert fewest_parts(attempt, 1, 64) == 8
    assert fewest_parts(attempt, 3, 64) == 12
    with pytest.raises(BadInput, match="one image at a time does not fit"):
        fewest_parts(lambda parts: attempt(1), 1, 4)


def test_a_loss_of_hundreds_of_thousands_has_diverged_though_it_is_finite(spec: ModelSpec, items: Labelled) -> None:
    with pytest.raises(Diverged, match="lower it"):
        fitted(spec, items, with_fields(learning_rates=(1e7,), warmup=0.0))
