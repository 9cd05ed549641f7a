"""A training that was stopped ends at the bits of one that was not; a step that went wrong can be repeated."""

import dataclasses
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from featune.engine.errors import BadInput
from featune.engine.finetune import Diverged, Recipe, Run, Trained, TrainVal, finetune, replay, train
from featune.engine.finetune import checkpoints as module
from featune.engine.images import Augmentation, Labelled
from featune.engine.models import ModelSpec, fresh_classifier, spec_from_entry, state_digest
from featune.engine.recipe import parts as recipe_parts

FULL = Recipe(
    epochs=5, batch=4, learning_rates=(0.02,), augmentation=Augmentation(scale=(0.6, 1.0), auto_augment="randaugment"),
    ema=0.9, mixup=0.3, cutmix=1.0, accumulation=2, clip_norm=1.0, head_first=0.2, layer_decay=0.8,
)  # fmt: skip


class Killed(Exception):
    pass


@pytest.fixture(scope="module")
def vit() -> ModelSpec:
    """With stochastic depth, so that torch's random numbers matter."""
    kwargs = {"img_size": 32, "drop_path_rate": 0.2}
    return spec_from_entry({"architecture": "test_vit", "pretrained": False, "side": 32, "kwargs": kwargs})


def fitted(spec: ModelSpec, items: Labelled, recipe: Recipe = FULL, **options: Any) -> str:
    truth = torch.from_numpy(items.truth(3))
    model = train(fresh_classifier(spec, 3, 0), items, truth, spec.view, recipe, 0, Run(**options)).model
    return state_digest(model)


@pytest.mark.parametrize("at", [1, 7])
def test_a_kill_at_a_step_leaves_the_same_bits(vit: ModelSpec, items: Labelled, tmp_path: Path, at: int) -> None:
    def kill(step: int, total: int) -> None:
        if step == at:
            raise Killed

    with pytest.raises(Killed):
        fitted(vit, items, work=tmp_path, save_seconds=0, progress=kill)
    torch.rand(5)
    assert fitted(vit, items, work=tmp_path) == fitted(vit, items)


def test_the_tail_of_a_killed_training_has_the_same_bits_and_takes_no_part_in_it(
    spec: ModelSpec, items: Labelled, tmp_path: Path
) -> None:
    def trained(until: int, *, tail: bool = True, work: Path | None = None) -> Trained:
        recipe = Recipe(epochs=5, batch=4, learning_rates=(0.02,))
        truth, run = torch.from_numpy(items.truth(3)), Run(work=work, until=until, tail=tail)
        return train(fresh_classifier(spec, 3, 0), items, truth, spec.view, recipe, 0, run)

    whole = trained(8)
    assert whole.tail is not None
    trained(5, work=tmp_path)
    resumed = trained(8, work=tmp_path)
    assert resumed.tail is not None
    assert state_digest(resumed.tail) == state_digest(whole.tail) != state_digest(whole.model)
    assert state_digest(trained(8, tail=False).model) == state_digest(whole.model)
    assert trained(8, tail=False).tail is None
    assert state_digest(trained(9, tail=False, work=tmp_path).model) == state_digest(trained(9, tail=False).model)
    with pytest.raises(BadInput, match="without the average of its last weights found, one with it expected"):
        trained(10, work=tmp_path)


@pytest.mark.parametrize("optimizer", ["adamw", "lamb", "nadamw", "lion"])
def test_other_optimizers_resume_to_the_bit(vit: ModelSpec, items: Labelled, tmp_path: Path, optimizer: str) -> None:
    recipe = dataclasses.replace(FULL, optimizer=optimizer, learning_rates=(1e-3,), steps=4)
    fitted(vit, items, recipe, work=tmp_path, until=2)
    assert fitted(vit, items, recipe, work=tmp_path) == fitted(vit, items, recipe)


def test_a_training_stops_at_a_step_and_goes_on_from_there(vit: ModelSpec, items: Labelled, tmp_path: Path) -> None:
    truth, steps = torch.from_numpy(items.truth(3)), []
    for until in (3, 6, None):
        run = Run(work=tmp_path, until=until, progress=lambda step, total: steps.append(step))
        found = train(fresh_classifier(vit, 3, 0), items, truth, vit.view, FULL, 0, run)
        assert (found.steps, found.total) == (until or 10, 10)
    assert steps == list(range(1, 11))
    assert state_digest(found.model) == fitted(vit, items)


def test_a_kill_while_a_checkpoint_is_written_leaves_the_one_before(
    vit: ModelSpec, items: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = torch.save

    def half(values: dict[str, Any], path: Path) -> None:
        saved(values, path)
        if values["step"] == 3:
            path.write_bytes(path.read_bytes()[:1000])
            raise Killed

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(Killed):
        fitted(vit, items, work=tmp_path, save_seconds=0)
    monkeypatch.undo()
    assert torch.load(tmp_path / "model.pt", weights_only=True)["step"] == 2
    assert fitted(vit, items, work=tmp_path) == fitted(vit, items)


def test_an_interrupt_finishes_the_step_and_saves_it(vit: ModelSpec, items: Labelled, tmp_path: Path) -> None:
    def interrupt(step: int, total: int) -> None:
        if step == 3:
            os.kill(os.getpid(), signal.SIGINT)

    signal.signal(signal.SIGINT, signal.default_int_handler)  # who was started in the background ignores it
    with pytest.raises(KeyboardInterrupt):
        fitted(vit, items, work=tmp_path, progress=interrupt)
    assert torch.load(tmp_path / "model.pt", weights_only=True)["step"] == 3
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert fitted(vit, items, work=tmp_path) == fitted(vit, items)


def test_a_resumed_training_reports_the_seconds_and_the_rate_of_all_its_steps(
    vit: ModelSpec, items: Labelled, tmp_path: Path
) -> None:
    truth, details = torch.from_numpy(items.truth(3)), []
    for until in (3, 6, None, None):  # the last finds all steps made
        found = train(fresh_classifier(vit, 3, 0), items, truth, vit.view, FULL, 0, Run(work=tmp_path, until=until))
        spent = torch.load(tmp_path / "model.pt", weights_only=True)["spent"]
        details.append(found.details)
        assert spent["steps"] == found.steps
        assert found.details["images_per_second"] == pytest.approx(found.steps * 4 / spent["busy"])
        assert found.details["seconds"] == spent["seconds"]
    seconds = [each["seconds"] for each in details]
    assert seconds == sorted(seconds)


def test_a_checkpoint_of_other_layers_is_refused(
    vit: ModelSpec, items: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As of a version whose rule for layers was another one; its optimizer has other groups, or other rates."""
    usual = recipe_parts.layers_of

    def one_higher(body: nn.Module, images: torch.Tensor) -> tuple[dict[str, int], int]:
        layers, top = usual(body, images)
        return layers, top + 1

    def plainly(body: nn.Module, images: torch.Tensor) -> tuple[dict[str, int], int]:
        return dict.fromkeys(usual(body, images)[0], 0), 1

    for number, rule in enumerate((one_higher, plainly)):
        with monkeypatch.context() as patch:
            patch.setattr(recipe_parts, "layers_of", rule)
            fitted(vit, items, work=tmp_path / str(number), until=1)
        with pytest.raises(BadInput, match="it is of another training"):
            fitted(vit, items, work=tmp_path / str(number))


@pytest.mark.parametrize("change", ["recipe", "seed", "data"])
def test_a_checkpoint_of_another_training_is_refused(
    vit: ModelSpec, items: Labelled, tmp_path: Path, change: str
) -> None:
    fitted(vit, items, work=tmp_path, until=1)
    recipe = dataclasses.replace(FULL, ema=0.8) if change == "recipe" else FULL
    data = items.take(range(10)) if change == "data" else items
    with pytest.raises(BadInput, match=r"model.pt: it is of another training .*; remove it, or choose another folder"):
        train(
            fresh_classifier(vit, 3, 0), data, torch.from_numpy(data.truth(3)), vit.view, recipe,
            1 if change == "seed" else 0, Run(work=tmp_path),
        )  # fmt: skip


def test_a_full_disk_is_said_and_the_checkpoint_before_stays(
    vit: ModelSpec, items: Labelled, tmp_path: Path, files_of_at_most: Callable[[int], None]
) -> None:
    fitted(vit, items, work=tmp_path, until=2)
    files_of_at_most(200_000)
    with pytest.raises(BadInput, match=r"cannot write .*model.pt: File too large; choose another --out"):
        fitted(vit, items, work=tmp_path)
    assert torch.load(tmp_path / "model.pt", weights_only=True)["step"] == 2


def test_a_full_disk_leaves_the_best_state_of_before(
    vit: ModelSpec, tmp_path: Path, files_of_at_most: Callable[[int], None]
) -> None:
    model, best = fresh_classifier(vit, 3, 0), module.BestState(tmp_path, "net")
    best.look(model, 0, 0.5, {})
    files_of_at_most(200_000)
    with pytest.raises(BadInput, match=r"cannot write .*net.best.pt: File too large"):
        best.look(model, 9, 0.75, {})
    assert best.known["step"] == 0
    assert best.weights().keys() == model.state_dict().keys()


def test_a_step_that_went_wrong_is_kept_and_repeated(vit: ModelSpec, items: Labelled, tmp_path: Path) -> None:
    recipe = dataclasses.replace(FULL, learning_rates=(1e5,), clip_norm=None, warmup=0.0, head_first=0.0)
    told: list[Any] = []
    with pytest.raises(Diverged) as caught:
        finetune(vit, TrainVal(items, items.take([]), 3), lambda scores: 0.0, recipe, 0,
                 Run(work=tmp_path, log=told.append))  # fmt: skip
    folder = caught.value.kept
    assert folder is not None
    record = json.loads((folder / "step.json").read_text())
    assert record["files"] == sorted(record["files"], key=record["files"].index)
    assert len(record["files"]) == 4
    assert all(Path(file).exists() for file in record["files"])
    assert record["files"][0] in str(caught.value)
    assert f"kept in {folder}" in str(caught.value)
    again = replay(folder)
    assert repr(again.loss) == record["loss"]
    assert again.step == record["step"] == told[-1]["step"]


def test_a_replayed_step_names_the_first_layer_that_is_not_finite(
    vit: ModelSpec, items: Labelled, tmp_path: Path
) -> None:
    model, truth = fresh_classifier(vit, 3, 0), torch.from_numpy(items.truth(3))
    count: list[int] = []

    def spoil(step: int, total: int) -> None:
        count.append(step)
        if step == 2:
            with torch.no_grad():
                model[1].blocks[3].norm1.weight[0] = float("inf")  # type: ignore[index, union-attr]

    with pytest.raises(Diverged) as caught:
        train(model, items, truth, vit.view, FULL, 0, Run(work=tmp_path, progress=spoil))
    found = replay(caught.value.kept, fresh_classifier(vit, 3, 0))  # type: ignore[arg-type]
    assert found.step == 2
    assert found.layer is not None
    assert found.layer.startswith("1.blocks.3.norm1")
    with pytest.raises(BadInput, match="has no name by which to build it; give the model"):
        replay(caught.value.kept)  # type: ignore[arg-type]
    with pytest.raises(BadInput, match=r"step.json and step.pt expected"):
        replay(tmp_path / "elsewhere")


def test_a_step_found_wrong_some_steps_late_is_found_again_from_the_checkpoint(
    vit: ModelSpec, items: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As on a GPU, which is asked for its numbers every so many steps."""
    from featune.engine.finetune import health

    made = health.Health.__init__

    def late(self: Any, *arguments: Any) -> None:
        made(self, *arguments)
        self.every = arguments[-1] or 5

    monkeypatch.setattr(health.Health, "__init__", late)
    recipe = dataclasses.replace(FULL, learning_rates=(1e5,), clip_norm=None, warmup=0.0, head_first=0.0)
    fitted(vit, items, recipe, work=tmp_path, until=0)
    with pytest.raises(Diverged) as caught:
        fitted(vit, items, recipe, work=tmp_path, save_seconds=1e9)
    assert caught.value.kept is not None
    record = json.loads((caught.value.kept / "step.json").read_text())
    assert repr(replay(caught.value.kept, fresh_classifier(vit, 3, 0)).loss) == record["loss"]
