import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from featune.bench.data import Request, Source
from featune.bench.estimators import class_separation
from featune.bench.pretrain import Asked, Choices, Rule, check, made_in_cache, make
from featune.bench.pretrain import making as module
from featune.bench.tasks import read_table
from featune.bench.training_log import read_log
from featune.engine.errors import BadImages, BadInput
from featune.engine.finetune import Recipe, predict
from featune.engine.images import Labelled
from featune.engine.models import feature_model, source_model, spec_from_entry
from featune.engine.store import read_json

ALL = Rule()
RECIPE = Recipe(steps=3, batch=8, learning_rates=(0.01,))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three classes of plain colours, ten to train on and four to look at, without test, as ImageNet is."""
    folder, rng = tmp_path_factory.mktemp("source"), np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 4)):
        for name, colour in (("blue", 2), ("green", 1), ("red", 0)):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 80, (32, 32, 3), dtype=np.uint8)
                pixels[:, :, colour] += 120
                Image.fromarray(pixels).save(folder / split / name / f"{number}.png")
    return folder


def asked(source: Path, rule: Rule = ALL, **more: Any) -> Asked:
    spec = spec_from_entry({"architecture": "test_resnet", "pretrained": False, "side": 32, "mean": 0.5, "std": 0.25})
    return Asked("small", spec, Source("colours", folder=source), more.pop("recipe", RECIPE), rule, **more)


def test_what_is_left_is_a_model_with_its_source_accuracy_and_what_made_it(tmp_path: Path, source: Path) -> None:
    wanted = asked(source, Rule(images_per_class=8), choices=Choices(auxiliary=0.4, dropout=0.2))
    made = make(check(wanted), tmp_path / "out")
    spec = spec_from_entry(made.entry)
    assert dict(spec.kwargs).get("drop_rate") is None
    val = Labelled(str(source), tuple(f"val/{name}/{number}.png" for name in ("blue", "green", "red") for number in
                   range(4)), tuple((label,) for label in range(3) for _ in range(4)))  # fmt: skip
    right = predict(source_model(spec), val, spec.view).argmax(axis=1) == val.truth(3)
    assert made.result["val"]["top1"] == pytest.approx(right.mean())
    assert made.result["val"]["low"] <= right.mean() <= made.result["val"]["high"]
    assert made.result["val"]["n"] == 12
    assert "test" not in made.result
    rows = predict(feature_model(spec), val, spec.view)
    assert made.facts == {"class_separation": pytest.approx(class_separation(rows, val.truth(3)))}
    assert read_json(made.folder / "result.json") == made.result
    table = read_table(made.folder / "subset.csv")
    assert table["split"].count("train") == 24 == made.result["train_images"]
    assert [line["step"] for line in read_log(made.folder / "log.jsonl")] == [1, 2, 3]
    assert not (made.folder / "work").exists()
    assert spec.view.side == 32
    assert spec.mean == (0.5, 0.5, 0.5)


def test_it_is_made_once_and_another_one_is_not_written_over_it(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make(check(asked(source)), tmp_path)
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("trained again"))
    assert make(check(asked(source)), tmp_path) == first
    with pytest.raises(BadInput, match="holds another pre-training"):
        make(check(asked(source, seed=1)), tmp_path)


def test_a_killed_pre_training_ends_at_the_same_weights(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    found = check(asked(source, choices=Choices(auxiliary=0.4)))
    whole = make(found, tmp_path / "whole")
    real = module.train

    def killed(*given: Any) -> Any:
        real(*given[:-1], dataclasses.replace(given[-1], until=2))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        make(found, tmp_path / "killed")
    monkeypatch.setattr(module, "train", real)
    again = make(found, tmp_path / "killed")
    assert again.result["weights"] == whole.result["weights"]


def test_an_unreadable_image_of_val_is_told_before_the_training(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Path(shutil.copytree(source, tmp_path / "source"))
    (broken / "val" / "red" / "2.png").write_bytes(b"no image")
    monkeypatch.setattr(module, "train", lambda *_: pytest.fail("trained"))
    with pytest.raises(BadImages, match=r"red/2\.png"):
        make(check(asked(broken)), tmp_path / "out")


def test_a_training_goes_on_where_an_image_of_val_was_mended(
    tmp_path: Path, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mended = Path(shutil.copytree(source, tmp_path / "source"))
    wanted = asked(mended, recipe=dataclasses.replace(RECIPE, steps=4))
    real, steps = module.train, []

    def killed(*given: Any) -> Any:
        real(*given[:-1], dataclasses.replace(given[-1], until=2))
        raise KeyboardInterrupt

    def watched(*given: Any) -> Any:
        return real(*given[:-1], dataclasses.replace(given[-1], progress=lambda step, _: steps.append(step)))

    monkeypatch.setattr(module, "train", killed)
    with pytest.raises(KeyboardInterrupt):
        made_in_cache(wanted)
    (mended / "val" / "red" / "2.png").write_bytes((mended / "val" / "red" / "1.png").read_bytes())
    monkeypatch.setattr(module, "train", watched)
    made_in_cache(wanted)
    assert steps == [3, 4]


@pytest.mark.parametrize(
    "change",
    [
        lambda of: dataclasses.replace(of, seed=1),
        lambda of: dataclasses.replace(of, choices=Choices(label_smoothing=0.1)),
        lambda of: dataclasses.replace(of, rule=Rule(images_per_class=9)),
        lambda of: dataclasses.replace(of, recipe=dataclasses.replace(RECIPE, steps=4)),
    ],
)
def test_its_key_changes_with_what_the_weights_depend_on(source: Path, change: Callable[[Asked], Asked]) -> None:
    of = asked(source)
    assert module.opened(change(of)).key != module.opened(of).key
    assert module.opened(dataclasses.replace(of, name="other")).key == module.opened(of).key


def test_equal_steps_and_equal_passes_are_a_choice(tmp_path: Path, source: Path) -> None:
    results = {}
    for name, length in (("steps", {"steps": 4}), ("passes", {"epochs": 2, "steps": None})):
        recipe = dataclasses.replace(RECIPE, batch=4, **length)
        for each in (4, 8):
            of = asked(source, Rule(images_per_class=each), recipe=recipe)
            results[name, each] = make(check(of), tmp_path / f"{name}{each}").result
    assert results["steps", 4]["steps"] == results["steps", 8]["steps"] == 4
    assert results["passes", 4]["passes"] == results["passes", 8]["passes"] == 2
    assert results["passes", 8]["steps"] == 2 * results["passes", 4]["steps"]


def test_a_length_in_passes_and_the_same_one_in_steps_are_one_training(source: Path) -> None:
    passes, steps, more = (
        module.opened(asked(source, recipe=dataclasses.replace(RECIPE, **length))).key
        for length in ({"steps": None, "epochs": 2}, {"steps": 6, "epochs": 40}, {"steps": 7})  # of 30 // 8
    )
    assert passes == steps != more


def test_images_that_a_target_has_too_are_left_out(tmp_path: Path, source: Path) -> None:
    target = tmp_path / "target"
    for name in ("x", "y"):
        (target / name).mkdir(parents=True)
    (target / "x" / "0.png").write_bytes((source / "train" / "red" / "7.png").read_bytes())
    (target / "y" / "0.png").write_bytes((source / "val" / "red" / "1.png").read_bytes())
    found = module.opened(asked(source, Rule(near=-1), away_from=(Request(str(target)),)))
    assert found.subset.removed == 1
    assert "train/red/7.png" not in found.subset.splits["train"].paths
    assert len(found.subset.splits["train"]) == 29
    assert "of the same bytes of a target's" in found.asked.rule.words()


def test_a_vision_transformer_of_another_size_comes_back_as_it_was_built(tmp_path: Path, source: Path) -> None:
    kwargs = {"img_size": 32, "patch_size": 8}
    spec = spec_from_entry({"architecture": "test_vit", "pretrained": False, "side": 32, "kwargs": kwargs})
    made = make(check(dataclasses.replace(asked(source), spec=spec)), tmp_path)
    network = source_model(spec_from_entry(made.entry))[1]
    assert network.pos_embed.shape[1] == 17  # 16 patches of 8 pixels, and the class token
    assert torch.isfinite(network(torch.zeros(1, 3, 32, 32))).all()


def test_what_has_no_head_of_its_own_is_refused(source: Path) -> None:
    spec = dataclasses.replace(asked(source).spec, architecture="factory.py:make")
    with pytest.raises(BadInput, match="a timm architecture expected"):
        check(dataclasses.replace(asked(source), spec=spec))
    with pytest.raises(BadInput, match="one expected; nothing is chosen"):
        check(asked(source, recipe=Recipe(learning_rates=(0.1, 0.01))))
