"""What is frozen is computed once, and the training is the one that computes it at each step."""

import dataclasses
import json
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from featune.engine.finetune import (
    Diverged,
    Recipe,
    Run,
    TrainVal,
    finetune,
    forget,
    loop,
    prefix,
    replay,
    train,
    watch,
    why_not,
)
from featune.engine.images import Augmentation, Labelled
from featune.engine.models import ModelSpec, fresh_classifier, spec_from_entry, state_digest

FIXED = Augmentation(crop="eval", hflip=0.0)
RECIPE = Recipe(epochs=6, batch=4, learning_rates=(0.05,), augmentation=FIXED, trained=1)


@pytest.fixture(scope="session")
def vit() -> ModelSpec:
    kwargs = {"img_size": 32, "drop_path_rate": 0.3}
    return spec_from_entry({"architecture": "test_vit", "pretrained": False, "side": 32, "kwargs": kwargs})


def fitted(spec: ModelSpec, items: Labelled, recipe: Recipe, /, **options: Any) -> tuple[nn.Module, Any, int]:
    """(the trained model, its account, images that the first layer took)."""
    model, calls = fresh_classifier(spec, 3, 0), [0]

    def count(_: nn.Module, given: tuple[torch.Tensor], __: torch.Tensor) -> None:
        calls[0] += len(given[0])

    first = next(module for module in model[1].modules() if isinstance(module, nn.Conv2d))  # type: ignore[index, union-attr]
    hook = first.register_forward_hook(count)
    found = train(model, items, torch.from_numpy(items.truth(3)), spec.view, recipe, 0, Run(**options))
    hook.remove()
    return found.model, found.details, calls[0]


def plainly(monkeypatch: pytest.MonkeyPatch, *arguments: Any) -> tuple[nn.Module, Any, int]:
    with monkeypatch.context() as patch:
        patch.setattr(prefix, "kept_rows", lambda *_: "switched off")
        return fitted(*arguments)


def close(one: nn.Module, other: nn.Module) -> bool:
    values = other.state_dict()
    return all(torch.allclose(each, values[name], rtol=0, atol=1e-5) for name, each in one.state_dict().items())


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"trained": "head"},
        {"trained": 2, "ema": 0.8, "clip_norm": 1.0, "head_first": 0.4, "layer_decay": 0.8},
        {"accumulation": 2, "channels_last": True},
        {"channels_last": False, "amp": True, "optimizer": "adamw", "learning_rates": (1e-3,)},
    ],
    ids=str,
)
def test_the_training_is_that_of_the_plain_loop(
    spec: ModelSpec, items: Labelled, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    recipe = dataclasses.replace(RECIPE, **fields)
    once, details, calls = fitted(spec, items, recipe)
    plain, said, each_time = plainly(monkeypatch, spec, items, recipe)
    assert details["frozen"]["rows"] == 11
    assert said["frozen"] == "computed at each step: switched off"
    assert calls < each_time
    assert details["last_loss"] == pytest.approx(said["last_loss"], rel=1e-4)
    assert close(once, plain) or recipe.amp
    before = fresh_classifier(spec, 3, 0)
    assert not close(once, before)


@pytest.mark.parametrize("fields", [{}, {"start": "probe", "layer_decay": 0.8, "ema": 0.8}, {"trained": 1}], ids=str)
def test_while_the_head_learns_first_all_below_it_is_computed_once(
    spec: ModelSpec, items: Labelled, monkeypatch: pytest.MonkeyPatch, fields: dict[str, Any]
) -> None:
    recipe = dataclasses.replace(RECIPE, **{"epochs": 10, "trained": "all", "head_first": 0.5, **fields})
    once, details, images = fitted(spec, items, recipe)
    plain, said, each_time = plainly(monkeypatch, spec, items, recipe)
    assert details["frozen_head_first"] == {"rows": 11, "width": 96, "bytes": 11 * 96 * 4}
    assert ("frozen" in details) == (recipe.trained != "all")
    assert said["frozen_head_first"] == "computed at each step: switched off"
    # Ten of twenty steps need no images of their own; the rows are of eleven, and nine find a cut.
    assert images <= each_time - 10 * 4 + 11 + 9
    assert close(once, plain)
    assert not close(once, fresh_classifier(spec, 3, 0))


def test_the_head_alone_moves_nothing_else_and_batch_norm_keeps_its_statistics(
    spec: ModelSpec, items: Labelled
) -> None:
    recipe = dataclasses.replace(RECIPE, trained="all", head_first=0.5)
    found, before = fitted(spec, items, recipe, until=6)[0].state_dict(), fresh_classifier(spec, 3, 0).state_dict()
    moved = {name for name, value in found.items() if not torch.equal(value, before[name])}
    assert moved == {name for name in found if name.startswith("2.")}
    assert any(name.endswith("running_mean") for name in found)


def test_what_lies_between_two_phases_is_no_part_of_the_steps(
    spec: ModelSpec, items: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a clock that stands still but for the save, the rows and the first batch of the second phase."""
    now, saved, usual, begins = [0.0], list[int](), loop.checkpoints.save, loop.begun
    monkeypatch.setattr(watch.time, "monotonic", lambda: now[0])

    def save(path: Path, state: Any) -> None:
        saved.append(state.step)
        now[0] += 100 * (state.step == 6)
        usual(path, state)

    def begun(model: nn.Module, phase: Any, steps: Any, *rest: Any) -> Any:
        whole, source, said = begins(model, phase, steps, *rest)
        images = source.images

        def slow(first: int, last: int) -> Any:
            for image in images(first, last):
                now[0] += 1000 * (first == 6)
                first = -1
                yield image

        source.images = slow
        now[0] += 10000
        return whole, source, said

    monkeypatch.setattr(loop.checkpoints, "save", save)
    monkeypatch.setattr(loop, "begun", begun)
    recipe = dataclasses.replace(RECIPE, head_first=0.5)
    details = fitted(spec, items, recipe, work=tmp_path, save_seconds=15000)[1]
    spent = torch.load(tmp_path / "model.pt", weights_only=True)["spent"]
    assert spent == {"seconds": 21100, "busy": 0, "waited": 0, "steps": 12}
    assert details["seconds"] == 21100
    assert saved == [6, 12]


def test_rows_of_the_first_phase_are_let_go_before_those_of_the_second_are_made(
    spec: ModelSpec, items: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    begins, rows = loop.begun, list[Any]()

    def begun(*arguments: Any) -> Any:
        assert all(each() is None for each in rows)
        found = begins(*arguments)
        rows.append(weakref.ref(found[1]))
        return found

    monkeypatch.setattr(loop, "begun", begun)
    fitted(spec, items, dataclasses.replace(RECIPE, head_first=0.5))
    assert len(rows) == 2


@pytest.mark.parametrize("trained", ["all", 1])
def test_a_training_killed_in_either_phase_ends_at_the_same_bits(
    spec: ModelSpec, items: Labelled, tmp_path: Path, trained: Any
) -> None:
    recipe = dataclasses.replace(RECIPE, epochs=3, trained=trained, head_first=0.5)
    model, uninterrupted, _ = fitted(spec, items, recipe)
    whole, accounts = state_digest(model), {"frozen", "frozen_head_first"}
    for killed in (2, 3, 4, 6):
        fitted(spec, items, recipe, work=tmp_path / str(killed), until=killed)
        resumed, details, _ = fitted(spec, items, recipe, work=tmp_path / str(killed))
        assert state_digest(resumed) == whole
        assert [details.get(name) for name in accounts] == [uninterrupted.get(name) for name in accounts]


def test_images_that_change_are_computed_at_each_step_while_the_head_learns_first(
    spec: ModelSpec, items: Labelled
) -> None:
    recipe = dataclasses.replace(RECIPE, trained="all", head_first=0.5, augmentation=Augmentation())
    details = fitted(spec, items, recipe)[1]
    assert "at random" in details["frozen_head_first"]
    assert "frozen" not in details


@pytest.mark.parametrize(("steps", "frozen"), [(2, "computed at each step: fewer steps than one pass"), (3, "rows")])
def test_rows_are_made_for_a_phase_that_takes_as_many_images_as_there_are(
    spec: ModelSpec, items: Labelled, tmp_path: Path, steps: int, frozen: str
) -> None:
    """Of eleven images two steps of four take eight; where a call stops within the phase does not matter."""
    recipe = dataclasses.replace(RECIPE, steps=2 * steps, trained="all", head_first=0.5)
    for until in (1, None):
        found = fitted(spec, items, recipe, work=tmp_path, until=until)[1]["frozen_head_first"]
        assert found == frozen or frozen in found
    assert (tmp_path / prefix.FOLDER).exists() == (frozen == "rows")


def test_random_depth_above_the_cut_is_drawn_as_in_the_plain_loop(
    vit: ModelSpec, items: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = dataclasses.replace(RECIPE, trained=2, learning_rates=(0.5,))
    assert close(fitted(vit, items, recipe)[0], plainly(monkeypatch, vit, items, recipe)[0])


def test_a_killed_training_takes_its_rows_from_the_file_and_ends_at_the_same_bits(
    spec: ModelSpec, items: Labelled, tmp_path: Path
) -> None:
    whole = state_digest(fitted(spec, items, RECIPE)[0])
    _, _, calls = fitted(spec, items, RECIPE, work=tmp_path, until=2)
    assert calls > 0
    resumed, _, again = fitted(spec, items, RECIPE, work=tmp_path)
    # The eleven images; not what finds the cut.
    assert again == calls - 11
    assert state_digest(resumed) == whole
    forget(tmp_path)  # its checkpoint and rows
    assert [each.name for each in tmp_path.iterdir()] == ["items"]


def test_a_kill_while_rows_are_computed_keeps_those_that_are_there(
    spec: ModelSpec, items: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usual = prefix._computed

    def killed(*arguments: Any) -> Any:
        yield next(usual(*arguments))
        raise KeyboardInterrupt

    monkeypatch.setattr(prefix, "_computed", killed)
    monkeypatch.setattr(prefix, "SAVE_SECONDS", 0)
    with pytest.raises(KeyboardInterrupt):
        fitted(spec, items, RECIPE, work=tmp_path)
    monkeypatch.undo()
    asked: list[int] = []
    monkeypatch.setattr(prefix, "_computed", lambda frozen, left, *rest: asked.append(len(left)) or usual(
        frozen, left, *rest))  # fmt: skip
    assert state_digest(fitted(spec, items, RECIPE, work=tmp_path)[0]) == state_digest(fitted(spec, items, RECIPE)[0])
    assert asked == [7, 11]


def test_rows_are_computed_by_as_many_images_at_a_time_as_the_steps_are(
    vit: ModelSpec, items: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The parts are those of the checkpoint: a GPU's memory may have asked for more than the recipe's two."""
    taken: list[int] = []
    usual = prefix.eval_batches

    def noted(*arguments: Any) -> Any:
        for images in usual(*arguments):
            taken.append(len(images))
            yield images

    monkeypatch.setattr(prefix, "eval_batches", noted)
    recipe = dataclasses.replace(RECIPE, accumulation=2, head_first=0.5)
    fitted(vit, items, recipe, work=tmp_path, until=2)
    assert max(taken) == 2
    path = tmp_path / "model.pt"
    torch.save({**torch.load(path, weights_only=True), "parts": 4}, path)
    taken.clear()
    fitted(vit, items, recipe, work=tmp_path)
    assert set(taken) == {1}


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"augmentation": Augmentation()}, "at random"),
        ({"augmentation": dataclasses.replace(FIXED, hflip=0.5)}, "at random"),
        ({"mixup": 0.2}, "mixed"),
        ({"start_size": 24}, "grow"),
    ],
)
def test_images_that_change_are_computed_at_each_step_and_it_is_said(
    spec: ModelSpec, items: Labelled, fields: dict[str, Any], says: str
) -> None:
    recipe = dataclasses.replace(RECIPE, steps=1, **fields)
    assert says in str(why_not(recipe))
    assert says in fitted(spec, items, recipe)[1]["frozen"]
    assert why_not(RECIPE) is None


def test_rows_that_do_not_fit_are_computed_at_each_step_and_it_is_said(
    spec: ModelSpec, items: Labelled, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(prefix, "KEPT_BYTES", 1000)
    details = fitted(spec, items, dataclasses.replace(RECIPE, steps=3))[1]
    assert "GB of rows, room for 0.0 GB" in details["frozen"]
    assert "what is frozen is computed at each step" in caplog.text


def test_all_rates_of_a_search_share_the_rows_and_the_features_of_their_start(
    spec: ModelSpec, items: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[int] = []
    usual = prefix._computed
    monkeypatch.setattr(prefix, "_computed", lambda frozen, left, *rest: asked.append(len(left)) or usual(
        frozen, left, *rest))  # fmt: skip
    data = TrainVal(items, items.take([0, 1, 2]), 3)
    recipe = dataclasses.replace(RECIPE, steps=4, start="probe", learning_rates=(1e-3, 1e-2))
    finetune(spec, data, lambda scores: float(np.mean(scores)), recipe, 0, Run(work=tmp_path))
    # Features of train and val, rows of train, once for two rates; then of both for the last training.
    assert asked == [11, 3, 11, 14]


@pytest.mark.parametrize("fields", [{}, {"head_first": 0.5, "trained": 2}], ids=str)
def test_a_bad_step_on_rows_is_kept_and_repeated(
    spec: ModelSpec, items: Labelled, tmp_path: Path, fields: dict[str, Any]
) -> None:
    recipe = dataclasses.replace(RECIPE, learning_rates=(1e30,), warmup=0.0, **fields)
    with pytest.raises(Diverged) as caught:
        fitted(spec, items, recipe, work=tmp_path, spec=spec)
    assert caught.value.kept is not None
    record = json.loads((caught.value.kept / "step.json").read_text())
    assert repr(replay(caught.value.kept).loss) == record["loss"]


def test_rows_that_are_there_need_no_more_room(
    spec: ModelSpec, items: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The second rate of a search found the disk full of the first one's rows, and computed them at each step."""
    _, first, made = fitted(spec, items, RECIPE, work=tmp_path, name="first")
    usage = prefix.shutil.disk_usage(tmp_path)
    monkeypatch.setattr(prefix.shutil, "disk_usage", lambda _: usage._replace(free=usage.total // 20))
    _, second, calls = fitted(spec, items, dataclasses.replace(RECIPE, learning_rates=(0.01,)), work=tmp_path, name="b")
    assert second["frozen"] == first["frozen"]
    assert calls < made, "the rows were not made again"
