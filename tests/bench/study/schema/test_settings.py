"""Every key of a study file has a type and bounds, and all faults are told together with the paths of their keys."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest

from featune.bench.regimes import REGIMES
from featune.bench.study.schema import SETTINGS, parsed
from featune.bench.study.schema.settings import AugmentationEntry
from featune.engine.finetune import Recipe
from featune.engine.images import Augmentation
from featune.engine.search import Facts, recipe_named

FOLDER = "{folder: a}"


def faults(tmp_path: Path, text: str) -> list[str]:
    path = tmp_path / "study.yaml"
    path.write_text(text)
    return parsed(path).faults.problems


def of_regimes(tmp_path: Path, regimes: str) -> list[str]:
    return faults(tmp_path, f"name: x\nmodels: [resnet18]\ntasks: [{FOLDER}]\nregimes: {regimes}\n")


@pytest.mark.parametrize("name", REGIMES)
def test_every_setting_of_a_regime_has_a_type_and_its_default_is_allowed(name: str, tmp_path: Path) -> None:
    default = REGIMES[name].default
    assert set(SETTINGS[name].model_fields) == {field.name for field in dataclasses.fields(default)}
    assert set(AugmentationEntry.model_fields) == {field.name for field in dataclasses.fields(Augmentation)}
    written = json.dumps(dataclasses.asdict(default))
    assert not of_regimes(tmp_path, f"{{own: {{kind: {name}, {written[1:-1]}}}}}")


def test_a_regime_takes_a_recipe_of_finetune_by_its_name_and_changes_it(tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    regimes = (
        "{finetune: {recipe: default, steps: 40}, scratch: {recipe: default}, lp: {kind: finetune, recipe: lp-ft}}"
    )
    path.write_text(f"name: x\nmodels: [resnet18]\ntasks: [{FOLDER}]\nregimes: {regimes}\n")
    found = parsed(path)
    assert not found.faults.problems
    default = {scratch: recipe_named("default").candidates(Facts(0, scratch=scratch))[0] for scratch in (False, True)}
    assert found.regimes["finetune"] == ("finetune", dataclasses.replace(default[False], steps=40, keep="best"))
    assert found.regimes["scratch"] == ("scratch", dataclasses.replace(default[True], keep="best"))
    lp = found.regimes["lp"][1]
    assert isinstance(lp, Recipe)
    own = recipe_named("lp-ft").candidates(Facts(0))
    assert lp.candidates() == [dataclasses.replace(one, keep="best") for one in own]


@pytest.mark.parametrize("name", ["kornblith2019", "fang2023"])
def test_the_papers_studies_search_the_grids_of_the_papers_recipes(name: str) -> None:
    found = parsed(Path(__file__).parents[4] / "studies" / f"{name}.yaml")
    assert not found.faults.problems
    for scratch in {kind == "scratch" for kind, _ in found.regimes.values() if kind != "probe"}:
        kind = "scratch" if scratch else "finetune"
        settings = [setting for of, setting in found.regimes.values() if of == kind]
        ours = {
            (one.optimizer, one.learning_rates[0], round(one.weight_decay, 10))
            for setting in settings
            if isinstance(setting, Recipe)
            for one in setting.candidates()
        }
        theirs = recipe_named(name).candidates(Facts(10_000, scratch=scratch))
        assert ours == {(one.optimizer, one.learning_rates[0], round(one.weight_decay, 10)) for one in theirs}


@pytest.mark.parametrize(
    ("regime", "setting", "says"),
    [
        ("finetune", "recipe: bit-hyperrule", "bit-hyperrule follows from the number of images"),
        ("finetune", "recipe: kornblith2019", "kornblith2019 is a grid of more than rates; write learning_rates"),
        ("finetune", "recipe: defualt", "no recipe named 'defualt'; nearest: default"),
        ("finetune", "recipe: 3", "recipe: expected text, found 3"),
        ("scratch", "recipe: lp-ft", "lp-ft starts from the probe of pre-trained features"),
        ("finetune", "weight_decays: [0.1, 0.1]", "weight_decays: [0.1, 0.1] found, expected different ones"),
        ("finetune", "weight_decays: [-1]", "weight_decays[0]: expected at least 0, found -1"),
        ("finetune", "epochs: 1.5", "epochs: expected a whole number, found 1.5"),
        ("finetune", "epochs: '3'", "epochs: expected a whole number, found '3'; write digits without quotes"),
        ("finetune", "epochs: true", "epochs: expected a whole number, found true"),
        ("finetune", "epochs: 0", "epochs: expected at least 1, found 0"),
        ("finetune", "epochs:", "epochs: expected a whole number, found nothing"),
        ("finetune", "epochs: 1000000000", "epochs: expected at most 1,000,000, found 1000000000"),
        ("finetune", "steps: -1", "steps: expected at least 1, found -1"),
        ("finetune", "batch: [64]", "batch: expected a whole number, found [64]"),
        ("finetune", "weight_decay: '1e-4'", "weight_decay: expected a number, found '1e-4'; write digits"),
        ("finetune", "weight_decay: -1", "weight_decay: expected at least 0, found -1"),
        ("finetune", "momentum: .inf", "momentum: expected a finite number, found inf"),
        ("finetune", "momentum: 1", "momentum: expected a number below 1, found 1"),
        ("finetune", "learning_rates: 0.0005", "learning_rates: expected a list, found 0.0005; write [0.0005]"),
        ("finetune", "learning_rates: []", "learning_rates: expected at least 1 of them, found 0"),
        ("finetune", "learning_rates: [0.1, 0]", "learning_rates[1]: expected a number above 0, found 0"),
        ("finetune", "learning_rates: [0.1, 0.1]", "regimes.finetune: learning rate 0.1 found 2 times"),
        ("finetune", "label_smoothing: 2", "label_smoothing: expected a number below 1, found 2"),
        ("finetune", "warmup: 50", "warmup: expected at most 1, found 50"),
        ("finetune", "optimizer: sgdd", "no optimizer named 'sgdd'; nearest: "),
        ("finetune", "accumulation: 0", "accumulation: expected at least 1, found 0"),
        ("finetune", "schedule: cos", "schedule: expected one of cosine, step, constant, found 'cos'; nearest: cosine"),
        ("finetune", "schedule_by: batch", "schedule_by: expected one of step, epoch, found 'batch'"),
        ("finetune", "milestones: [0.5, 2]", "milestones[1]: expected a number below 1, found 2"),
        ("finetune", "milestones: [0.5, 0.2]", "milestones: [0.5, 0.2] found, expected rising shares"),
        ("finetune", "decay_factor: 10", "decay_factor: expected at most 1, found 10"),
        ("finetune", "layer_decay: 75", "layer_decay: expected at most 1, found 75"),
        ("finetune", "clip_norm: 0", "clip_norm: expected a number above 0, found 0"),
        ("finetune", "ema: true", "ema: expected a number, found true"),
        ("finetune", "ema_warmup: 1", "ema_warmup: expected true or false, found 1"),
        ("finetune", "loss: mse", "loss: expected one of auto, cross_entropy, bce, asymmetric, ordinal, found 'mse'"),
        ("finetune", "class_weights: balance", "class_weights: expected one of none, balanced, found 'balance'"),
        ("finetune", "mixup: -0.2", "mixup: expected at least 0, found -0.2"),
        ("finetune", "cutmix: '1'", "cutmix: expected a number, found '1'; write digits without quotes"),
        ("finetune", "mixup_prob: 2", "mixup_prob: expected at most 1, found 2"),
        ("finetune", "mixup_switch_prob: 2", "mixup_switch_prob: expected at most 1, found 2"),
        (
            "finetune",
            "trained: heads",
            "trained: expected all, head, or a number of blocks, found 'heads'",
        ),
        ("finetune", "trained: true", "trained: expected all, head, or a number of blocks, found true"),
        ("finetune", "trained: 0", "trained: expected all, head, or a number of blocks, found 0"),
        ("finetune", "head_first: 5", "head_first: expected at most 1, found 5"),
        ("finetune", "freeze_embedding: 1", "freeze_embedding: expected true or false, found 1"),
        ("finetune", "start: head", "start: expected one of zero, probe, found 'head'"),
        ("finetune", "batch_norm: freeze", "batch_norm: expected one of train, frozen, kornblith2019, found 'freeze'"),
        ("finetune", "drop_path: 1", "drop_path: expected a number below 1, found 1"),
        ("finetune", "image_size: 4", "image_size: expected at least 8, found 4"),
        ("finetune", "start_size: 10000", "start_size: expected at most 8,192, found 10000"),
        ("finetune", "amp_dtype: fp16", "amp_dtype: expected one of bfloat16, float16, found 'fp16'"),
        ("finetune", "compile: 1", "compile: expected true or false, found 1"),
        ("finetune", "channels_last: 1", "channels_last: expected true or false, found 1"),
        ("finetune", "augmentation: {crop: centre}", "augmentation.crop: expected one of random, eval, found 'centre'"),
        ("finetune", "augmentation: {auto_augment: rand}", "augmentation.auto_augment: expected one of none, randaug"),
        ("finetune", "augmentation: {operations: 0}", "augmentation.operations: expected at least 1, found 0"),
        ("finetune", "augmentation: {magnitude: 31}", "augmentation.magnitude: expected at most 30, found 31"),
        ("finetune", "augmentation: {color_jitter: 2}", "augmentation.color_jitter: expected at most 1, found 2"),
        ("finetune", "augmentation: {erasing: 25}", "augmentation.erasing: expected at most 1, found 25"),
        ("finetune", "amp: 'false'", "amp: expected true or false, found 'false'; write true or false without quotes"),
        ("finetune", "amp: 1", "amp: expected true or false, found 1"),
        ("finetune", "augmentation: none", "augmentation: expected keys and values, found 'none'"),
        ("finetune", "augmentation: {hflop: 0}", "augmentation.hflop: unknown key; nearest: hflip"),
        ("finetune", "augmentation: {hflip: 50}", "augmentation.hflip: expected at most 1, found 50"),
        ("finetune", "augmentation: {scale: 0.5}", "augmentation.scale: expected a list, found 0.5"),
        ("finetune", "augmentation: {scale: [1, 0.5]}", "augmentation.scale: expected the smaller number first"),
        ("finetune", "augmentation: {scale: [0.5, 1, 1]}", "augmentation.scale: expected at most 2 of them, found 3"),
        ("scratch", "epochs: 3 epochs", "epochs: expected a whole number, found '3 epochs'"),
        ("knn", "counts: 5", "counts: expected a list, found 5; write [5]"),
        ("knn", "counts: [5, 0]", "counts[1]: expected at least 1, found 0"),
        ("knn", "distance: cosin", "distance: expected one of cosine, euclidean, found 'cosin'; nearest: cosine"),
        ("knn", "weighting: no", "weighting: expected one of temperature, uniform, distance, found false"),
        ("knn", "temperature: 0", "temperature: expected a number above 0, found 0"),
        ("means", "distance: [cosine]", "distance: expected one of cosine, euclidean, found ['cosine']"),
        ("ridge", "penalties: [1, x]", "penalties[1]: expected a number, found 'x'"),
        ("probe", "penalties: [-1]", "penalties[0]: expected a number above 0, found -1"),
        ("probe", "shots: -1", "shots: expected at least 1, found -1"),
        ("probe", "standardise: 'no'", "standardise: expected true or false, found 'no'"),
        ("probe", "shot: 5", "shot: unknown key; nearest: shots"),
        ("probe", "kind: 5", "kind: expected text, found 5"),
        ("probe", "kind: prob", "no regime named 'prob'; nearest: probe"),
    ],
)
def test_a_setting_of_another_type_or_out_of_bounds_is_refused(
    regime: str, setting: str, says: str, tmp_path: Path
) -> None:
    (found,) = of_regimes(tmp_path, f"{{{regime}: {{{setting}}}}}")
    assert found.startswith(f"regimes.{regime}")
    assert says in found


@pytest.mark.parametrize(
    "setting",
    [
        "{weight_decay: 1e-4, momentum: 9e-1, learning_rates: [1e-2]}",
        "{epochs: 3, steps: 10, augmentation: {scale: [0.3, 1], ratio: [0.75, 1.4]}}",
        "{optimizer: lamb, trained: 2, clip_norm: 1, ema: 0.99, milestones: [0.4, 0.8], mixup: 1}",
    ],
)
def test_numbers_are_numbers_however_they_are_written(setting: str, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(f"name: x\nmodels: [resnet18]\ntasks: [{FOLDER}]\nregimes: {{finetune: {setting}}}\n")
    found = parsed(path)
    assert not found.faults.problems
    kind, recipe = found.regimes["finetune"]
    assert kind == "finetune"
    assert {type(value) for value in (recipe.weight_decay, *recipe.learning_rates)} == {float}  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("key", "value", "says"),
    [
        ("seeds", "[-1]", "seeds[0]: expected at least 0, found -1"),
        ("seeds", "0", "seeds: expected a list, found 0; write [0]"),
        ("seeds", "[1.5]", "seeds[0]: expected a whole number, found 1.5"),
        ("seeds", "[99999999999]", "seeds[0]: expected at most 4,294,967,295"),
        ("seeds", str(list(range(1_001))), "seeds: expected at most 1,000 of them, found 1,001"),
        ("backend", "[torch]", "backend: expected text, found ['torch']"),
        ("device", "0", "device: expected text, found 0; put it in quotes"),
        ("notes", "a sentence", "notes: expected a list, found 'a sentence'; write [a sentence]"),
        ("estimators", "logme", "estimators: expected a list, found 'logme'; write [logme]"),
        ("regimes", "probe", "regimes: expected a list, found 'probe'"),
        ("regimes", "[]", "regimes: none named; expected 1 to 1000, probe"),
        ("regimes", "[1]", "regimes: expected text, found 1; put it in quotes"),
        ("regimes", "{probe: 5}", "regimes.probe: expected keys and values, found 5"),
        ("regimes", "{no: {kind: probe}}", "regimes: expected text, found false; put it in quotes"),
        ("regimes", "{probe: {1: 2}}", "regimes.probe"),
        ("5", "5", "expected a key of text, found 5; put it in quotes"),
    ],
)
def test_a_key_of_the_file_has_a_type_and_bounds(key: str, value: str, says: str, tmp_path: Path) -> None:
    found = faults(tmp_path, f"name: x\nmodels: [resnet18]\ntasks: [{FOLDER}]\n{key}: {value}\n")
    assert len(found) == 1
    assert says in found[0]


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        # https://github.com/torchgeo/terratorch/issues/188
        ("kwargs: {img_size: [96, 160]}", "models[0].kwargs.img_size: expected a whole number, found [96, 160]"),
        ("kwargs: {img_size: {height: 96}}", "models[0].kwargs.img_size: expected a whole number"),
        ("kwargs: {img_size: '96'}", "models[0].kwargs.img_size: expected a whole number, found '96'"),
        ("kwargs: {in_chans: [3]}", "models[0].kwargs.in_chans: expected a whole number, found [3]"),
        ("kwargs: {in_chans: 3}, in_chans: 1", "models[0]: in_chans: 1 and kwargs: {in_chans: 3} found; keep one"),
        ("kwargs: [3]", "models[0].kwargs: expected keys and values, found [3]"),
        ("kwargs: {1: 3}", "models[0].kwargs"),
        ("pretrained: 'false'", "models[0].pretrained: expected true or false, found 'false'"),
        ("pretrained: 0", "models[0].pretrained: expected true or false, found 0"),
        ("side: 224.0", "models[0].side: expected a whole number, found 224.0"),
        ("side: [224, 224]", "models[0].side: expected a whole number, found [224, 224]"),
        ("side: 1000000000", "models[0].side: expected at most 8,192"),
        ("mean: 0.5", "models[0].mean: expected a list, found 0.5; write [0.5]"),
        ("std: [0.5, 0, 0.5]", "models[0].std[1]: expected a number above 0, found 0"),
        ("std: [.nan, 1, 1]", "models[0].std[0]: expected a finite number, found nan"),
        ("crop_pct: '0.9'", "models[0].crop_pct: expected a number, found '0.9'"),
        ("crop_mode: centre", "models[0].crop_mode: expected one of center, squash, border, found 'centre'; nearest: "),
        ("name: 18", "models[0].name: expected text, found 18; put it in quotes"),
        ("name: ''", "models[0].name: expected text, found ''"),
        ("imagenet_top1: 76.1", "models[0].imagenet_top1: expected a number below 1, found 76.1"),
        ("source_n: 5e4", "models[0].source_n: expected a whole number, found 50000.0"),
        ("tap: no", "models[0].tap: expected text, found false"),
    ],
)
def test_a_key_of_a_model_has_a_type_and_bounds(entry: str, says: str, tmp_path: Path) -> None:
    found = faults(tmp_path, f"name: x\nmodels: [{{architecture: resnet18, {entry}}}]\ntasks: [{FOLDER}]\n")
    assert len(found) == 1
    assert found[0].startswith(says)


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("folder: 5", "tasks[0].folder: expected text, found 5; put it in quotes"),
        ("folder: a, folds: 1e9", "tasks[0].folds: expected a whole number, found 1000000000.0"),
        ("folder: a, folds: 1000000000", "tasks[0].folds: expected at most 1,000, found 1000000000"),
        ("folder: a, seed: -1", "tasks[0].seed: expected at least 0, found -1"),
        ("folder: a, metric: [top1]", "tasks[0].metric: expected text, found ['top1']"),
        ("folder: a, in_chans: 5", "tasks[0].in_chans: expected at most 4, found 5"),
        ("folder: a, duplicates: refused", "tasks[0].duplicates: expected one of warn, refuse, found 'refused'"),
        ("images: torch/dtd, download: 'no'", "tasks[0].download: expected true or false, found 'no'"),
        ("images: torch/dtd, splits: {dev: x}", "tasks[0].splits.dev"),
        ("images: torch/dtd, splits: {val: 5}", "tasks[0].splits.val: expected text, found 5"),
        ("folder: a, csv: b", "tasks[0]: give either folder or csv"),
    ],
)
def test_a_key_of_a_task_has_a_type_and_bounds(entry: str, says: str, tmp_path: Path) -> None:
    found = faults(tmp_path, f"name: x\nmodels: [resnet18]\ntasks: [{{{entry}}}]\n")
    assert len(found) == 1
    assert found[0].startswith(says)


def test_faults_of_all_kinds_are_told_together(tmp_path: Path) -> None:
    found = faults(
        tmp_path,
        "nam: x\nmodels: [resnet18, 5, {architecture: resnet18, sidee: 5, side: x}]\ntasks: {folder: a}\n"
        "regimes: {finetune: {epochs: x, batch: y, epoch: 3}}\nseeds: [-1]\nseeds: [-2]\n",
    )
    for says in (
        "line 6: key 'seeds' found again", "name: is missing", "nam: unknown key; nearest: name",
        "models[1]: expected keys and values, found 5", "models[2].sidee: unknown key; nearest: side",
        "models[2].side: expected a whole number, found 'x'", "tasks: expected a list",
        "regimes.finetune.epochs", "regimes.finetune.batch", "regimes.finetune.epoch: unknown key",
        "seeds[0]: expected at least 0, found -2",
    ):  # fmt: skip
        assert len([each for each in found if each.startswith(says)]) >= 1, (says, found)
    assert len(found) == 11


def test_keys_and_values_keep_their_written_form(tmp_path: Path) -> None:
    """A cell's name is of the text of its numbers: 1 stays 1."""
    path = tmp_path / "study.yaml"
    path.write_text(f"name: x\nmodels: [resnet18]\ntasks: [{FOLDER}]\nregimes: {{probe: {{penalties: [1, 2.0]}}}}\n")
    setting: Any = parsed(path).regimes["probe"][1]
    assert [type(value) for value in setting.penalties] == [int, float]
