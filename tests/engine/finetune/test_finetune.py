import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe, Run, TrainVal, Validation, finetune, predict, train
from featune.engine.finetune.health import Diverged
from featune.engine.images import Augmentation, Labelled
from featune.engine.metrics import METRICS
from featune.engine.models import ModelSpec, feature_model, fresh_classifier, state_digest
from featune.engine.recipe import schedule
from featune.engine.recipe.losses import binary_loss
from featune.engine.store import plain

GENTLE = Augmentation(scale=(0.6, 1.0))
RECIPE = Recipe(epochs=6, batch=4, learning_rates=(0.02,), augmentation=GENTLE)


def fitted(spec: ModelSpec, items: Labelled, recipe: Recipe = RECIPE, **options: object) -> nn.Module:
    truth = torch.from_numpy(items.truth(3))
    return train(fresh_classifier(spec, 3, 0), items, truth, spec.view, recipe, 0, Run(**options)).model  # type: ignore[arg-type]


class Killed(Exception):
    pass


def test_training_learns_what_its_images_show(spec: ModelSpec, items: Labelled) -> None:
    model = fitted(spec, items, dataclasses.replace(RECIPE, epochs=15))
    assert METRICS["top1"](items.truth(3), predict(model, items, spec.view)) == 1.0


def test_the_same_seed_gives_the_same_weights_and_another_others(spec: ModelSpec, items: Labelled) -> None:
    truth = torch.from_numpy(items.truth(3))
    digests = [
        state_digest(train(fresh_classifier(spec, 3, 0), items, truth, spec.view, RECIPE, seed).model)
        for seed in (0, 0, 1)
    ]
    assert digests[0] == digests[1] != digests[2]


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_a_killed_and_resumed_training_ends_at_the_same_weights(
    spec: ModelSpec, items: Labelled, tmp_path: Path, optimizer: str
) -> None:
    recipe = dataclasses.replace(RECIPE, optimizer=optimizer)
    whole = state_digest(fitted(spec, items, recipe))

    def kill_at(step: int, total: int) -> None:
        if step == 7:
            raise Killed

    with pytest.raises(Killed):
        fitted(spec, items, recipe, work=tmp_path, save_seconds=0, progress=kill_at)
    steps: list[int] = []
    resumed = fitted(spec, items, recipe, work=tmp_path, progress=lambda step, total: steps.append(step))
    assert steps[0] == 7  # step 7 was made but not saved before the kill
    assert state_digest(resumed) == whole


def test_every_weight_moves_in_full_fine_tuning(spec: ModelSpec, items: Labelled) -> None:
    before = dict(fresh_classifier(spec, 3, 0).named_parameters())
    after = dict(fitted(spec, items).named_parameters())
    still = [name for name, value in after.items() if torch.equal(value, before[name])]
    assert not still


def test_the_learning_rate_is_chosen_on_val_and_reported(spec: ModelSpec, items: Labelled) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=15, learning_rates=(1e-6, 0.02))
    truth = items.truth(3)
    tuned = finetune(spec, TrainVal(items, items, 3), lambda scores: METRICS["top1"](truth, scores), recipe, seed=0)
    assert tuned.details["learning_rate"] == 0.02
    assert set(tuned.details["tried"]) == {"1e-06", "0.02"}
    assert tuned.details["rates"] == [1e-6, 0.02]
    assert tuned.details["recipe"]["epochs"] == 15
    assert tuned.details["train_top1"] == METRICS["top1"](truth, tuned(items))
    assert tuned(items).shape == (11, 3)
    assert tuned(items).dtype == np.float32


def test_every_rate_is_tried_with_every_weight_decay_and_the_best_pair_is_trained(
    spec: ModelSpec, items: Labelled
) -> None:
    values = iter([0.1, 0.3, 0.2, 0.3])  # of rate 0.01 with both decays, then of 0.02
    recipe = dataclasses.replace(RECIPE, epochs=1, learning_rates=(0.01, 0.02), weight_decays=(0.0, 0.001))
    tuned = finetune(spec, TrainVal(items, items, 3), lambda scores: next(values), recipe, seed=0)
    assert (tuned.details["learning_rate"], tuned.details["weight_decay"]) == (0.01, 0.001)
    assert tuned.details["grid"] == [[0.01, 0.0, 0.1], [0.01, 0.001, 0.3], [0.02, 0.0, 0.2], [0.02, 0.001, 0.3]]
    assert tuned.details["tried"] == {"0.01": 0.3, "0.02": 0.3}
    alone = dataclasses.replace(RECIPE, epochs=1, learning_rates=(0.01,), weight_decay=0.001)
    assert state_digest(tuned.model) == state_digest(fitted(spec, items + items, alone))


def test_a_decay_over_the_rate_is_divided_by_each_rate() -> None:
    recipe = Recipe(learning_rates=(0.1, 0.01), weight_decays=(0.0, 1e-3), decay_over_rate=True)
    pairs = [(one.learning_rates, one.weight_decay) for one in recipe.candidates()]
    assert pairs == [((0.1,), 0.0), ((0.1,), 0.01), ((0.01,), 0.0), ((0.01,), 0.1)]
    assert all(one.candidates() == [one] for one in recipe.candidates())


def test_one_learning_rate_leaves_nothing_to_choose_and_val_unopened(spec: ModelSpec, items: Labelled) -> None:
    def never(scores: object) -> float:
        raise AssertionError("val was scored")

    finetune(spec, TrainVal(items, items, 3), never, dataclasses.replace(RECIPE, epochs=1), seed=0)


def test_checkpoints_go_when_the_training_is_done(spec: ModelSpec, items: Labelled, tmp_path: Path) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=1, learning_rates=(0.01, 0.02))
    finetune(spec, TrainVal(items, items, 3), lambda scores: 0.0, recipe, 0, Run(work=tmp_path))
    assert not list(tmp_path.glob("*.pt"))


def test_a_training_that_leaves_the_finite_numbers_says_so(spec: ModelSpec, items: Labelled) -> None:
    with pytest.raises(Diverged, match="lower"):
        fitted(spec, items, dataclasses.replace(RECIPE, learning_rates=(1e18,)))


def test_several_labels_train_with_a_loss_for_each_class(spec: ModelSpec, items: Labelled) -> None:
    both = dataclasses.replace(items, labels=tuple((label[0], 3) for label in items.labels))
    recipe = dataclasses.replace(RECIPE, epochs=10)
    tuned = finetune(spec, TrainVal(both, both, 4, multilabel=True), lambda scores: 0.0, recipe, seed=0)
    assert (tuned(both)[:, 3] > 0).all()


def test_a_pair_that_nobody_can_judge_has_no_part_in_the_loss() -> None:
    logits = torch.tensor([[0.3, -1.0], [2.0, 0.5]], requires_grad=True)
    truth = torch.tensor([[1, -1], [0, 1]], dtype=torch.int8)
    loss = binary_loss(logits, truth)
    loss.backward()
    assert logits.grad is not None
    assert (logits.grad == 0).tolist() == [[False, True], [False, False]]
    judged = torch.nn.functional.binary_cross_entropy_with_logits(
        logits.detach()[[0, 1, 1], [0, 0, 1]], torch.tensor([1.0, 0.0, 1.0])
    )
    assert loss.item() == pytest.approx(judged.item())
    whole = truth > 0
    assert binary_loss(logits, whole).item() == pytest.approx(
        torch.nn.functional.binary_cross_entropy_with_logits(logits, whole.float()).item()
    )


def test_batches_are_whole_so_that_no_image_stands_alone() -> None:
    assert Recipe(batch=4, epochs=3).total_steps(11) == 6
    assert Recipe(batch=64, epochs=3).total_steps(11) == 3
    assert Recipe(steps=7, epochs=3).total_steps(11) == 7


def test_the_rate_rises_and_then_falls_to_nothing() -> None:
    shares = [schedule(done / 100, 0.1) for done in range(100)]
    assert shares[10] == max(shares) == 1.0
    assert shares[0] < 0.02
    assert shares[99] < 0.001


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        ({"optimizer": "sdg"}, "no optimizer named 'sdg'; nearest: "),
        ({"optimizer": "kronw"}, "it draws random numbers that no checkpoint holds; choose another"),
        ({"epochs": 0}, "epochs: 0 found, expected at least 1"),
        ({"batch": 0}, "batch: 0 found"),
        ({"learning_rates": ()}, "expected one or more above 0"),
        ({"learning_rates": (-1.0,)}, "expected one or more above 0"),
        ({"learning_rates": (float("nan"),)}, "expected one or more above 0"),
        ({"schedule": "cos"}, "schedule: 'cos' found, expected one of cosine, step, constant; nearest: cosine"),
        ({"trained": "body"}, "trained: 'body' found, expected all, head, or how many"),
        ({"trained": 0}, "trained: 0 found"),
        ({"milestones": (0.5, 0.4)}, "rising shares"),
        ({"ema": 1.5}, "ema: 1.5 found, expected 0 to 1"),
    ],
)
def test_an_impossible_recipe_is_refused(wrong: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput) as caught:
        dataclasses.replace(RECIPE, **wrong)
    assert says in str(caught.value)


@pytest.mark.parametrize("wrong", [{"crop": "none"}, {"auto_augment": "rand"}, {"magnitude": 31}, {"operations": 0}])
def test_an_impossible_augmentation_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(BadInput, match="expected"):
        dataclasses.replace(GENTLE, **wrong)  # type: ignore[arg-type]


def test_settings_that_came_later_leave_the_names_of_earlier_cells() -> None:
    first = {
        "epochs": 20, "steps": None, "batch": 64, "learning_rates": [0.01], "weight_decay": 1e-4, "optimizer": "sgd",
        "momentum": 0.9, "warmup": 0.1, "label_smoothing": 0.0, "amp": False,
        "augmentation": {"scale": [0.08, 1.0], "ratio": [3 / 4, 4 / 3], "hflip": 0.5, "vflip": 0.0},
    }  # fmt: skip
    assert plain(Recipe()) == first
    assert plain(Recipe(ema=0.99)) == {**first, "ema": 0.99}


@pytest.mark.parametrize("rates", [(0.01, 0.02, 0.01), (1, 1.0), (0.01, 0.01 + 1e-12)])
def test_a_learning_rate_that_is_listed_twice_is_refused(rates: tuple[float, ...]) -> None:
    with pytest.raises(BadInput, match=r"found 2 times, each expected once.*remove"):
        Recipe(learning_rates=rates)


def test_an_untrained_start_gives_the_pretrained_features(spec: ModelSpec, items: Labelled) -> None:
    """Scores of the first step come from the very features that a probe would see."""
    model = fresh_classifier(spec, 3, 0).eval()
    model[-1] = nn.Identity()
    assert np.array_equal(predict(model, items, spec.view), predict(feature_model(spec), items, spec.view))


def test_sgd_without_momentum_trains(spec: ModelSpec, items: Labelled) -> None:
    plain = dataclasses.replace(RECIPE, optimizer="sgd", momentum=0.0, steps=1)
    finetune(spec, TrainVal(items, items, 3), lambda scores: 0.0, plain, seed=0)


def accuracy(data: TrainVal) -> Validation:
    truth = data.val.truth(3)
    return lambda scores: METRICS["top1"](truth, scores)


HARMFUL = dataclasses.replace(RECIPE, learning_rates=(0.7,), start="probe", keep="best", epochs=1)


def test_the_best_state_on_val_is_kept_where_training_only_harms(spec: ModelSpec, items: Labelled) -> None:
    """A short training of the default recipe lost to the frozen probe that it began with."""
    data = TrainVal(items, items, 3)
    kept = finetune(spec, data, accuracy(data), HARMFUL, 0)
    last = finetune(spec, data, accuracy(data), dataclasses.replace(HARMFUL, keep="last"), 0)
    start = finetune(spec, data, accuracy(data), dataclasses.replace(HARMFUL, learning_rates=(1e-9,)), 0)
    values = [accuracy(data)(each(items)) for each in (kept, last, start)]
    assert values[0] >= values[2] > values[1]
    assert kept.details["kept"]["value"] == values[0]
    assert [step for step, _ in kept.details["looks"]] == [0, kept.details["training"]["steps"]]
    assert kept.details["tried"] == {"0.7": values[0]}


def test_a_killed_training_that_keeps_its_best_ends_at_the_same_weights(
    spec: ModelSpec, items: Labelled, tmp_path: Path
) -> None:
    recipe, data = dataclasses.replace(RECIPE, keep="best", learning_rates=(0.02, 0.05)), TrainVal(items, items, 3)
    whole = finetune(spec, data, accuracy(data), recipe, 0)

    def kill_at(step: int, total: int) -> None:
        if step == 7:
            raise Killed

    with pytest.raises(Killed):
        finetune(spec, data, accuracy(data), recipe, 0, Run(work=tmp_path, save_seconds=0, progress=kill_at))
    resumed = finetune(spec, data, accuracy(data), recipe, 0, Run(work=tmp_path))
    assert state_digest(resumed.model) == state_digest(whole.model)
    assert [resumed.details[name] for name in ("kept", "looks")] == [whole.details[name] for name in ("kept", "looks")]
    assert resumed.details["learning_rate"] == whole.details["learning_rate"]


def test_a_finished_training_whose_start_was_best_can_be_made_again(
    spec: ModelSpec, items: Labelled, tmp_path: Path
) -> None:
    """Its weights are removed at the end, their record stays."""
    data = TrainVal(items, items, 3)
    first = finetune(spec, data, accuracy(data), HARMFUL, 0, Run(work=tmp_path))
    again = finetune(spec, data, accuracy(data), HARMFUL, 0, Run(work=tmp_path))
    assert first.details["kept"] == again.details["kept"]
    assert state_digest(first.model) == state_digest(again.model)
