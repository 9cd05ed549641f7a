"""Models that a study pre-trains before its cells."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from PIL import Image

from featune.bench.cli.studies import running as command
from featune.bench.pretrain import Asked, Made, made_in_cache, making
from featune.bench.progress import Silent
from featune.bench.study import Study, planned_cells, prepared, read_study, running, with_pretrained
from featune.bench.study.executors import in_process
from featune.bench.study.running import run
from featune.engine.errors import BadInput, CellFailed
from featune.engine.finetune import Diverged

TEXT = """
name: small
pretrain:
  source: {folder: images}
  model: {architecture: test_resnet, side: 32}
  recipe: {batch: 8, learning_rates: [0.01]}
  subsets: {all: {}, half: {images_per_class: 5}}
  lengths: {steps: {steps: 2}}
  seeds: [0, 1]
tasks:
  - {folder: images, shots: 3}
regimes: [means]
backend: torch
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 10), ("val", 4), ("test", 4)):
        for name, colour in (("blue", 2), ("green", 1), ("red", 0)):
            (tmp_path / "images" / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 80, (32, 32, 3), dtype=np.uint8)
                pixels[:, :, colour] += 120
                Image.fromarray(pixels).save(tmp_path / "images" / split / name / f"{number}.png")
    return tmp_path


def file_of(folder: Path, text: str = TEXT) -> Path:
    path = folder / "small.yaml"
    path.write_text(text)
    return path


def whole(folder: Path, text: str = TEXT) -> Study:
    study = prepared(*read_study(file_of(folder, text), folder / "out"))
    return with_pretrained(study, in_process, Silent())[0]


def test_models_are_made_first_and_then_measured_as_others(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert planned_cells(file_of(folder))["cells"] == 4
    study = whole(folder)
    assert [spec.name for spec in study.models] == ["all@0", "all@1", "half@0", "half@1"]
    assert [spec.family for spec in study.models] == ["all", "all", "half", "half"]
    assert len({spec.weights for spec in study.models}) == 4
    rows = run(study, in_process)
    assert all(row.error is None for row in rows)
    assert {row.source_n for row in rows} <= {12, None}
    monkeypatch.setattr(making, "train", lambda *_: pytest.fail("trained again"))
    assert whole(folder) == study


def test_a_pre_training_that_fails_leaves_the_other_models_to_be_measured(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(asked: Asked) -> Made:
        if asked.name == "half@0":
            raise Diverged("step 1: the loss is nan")
        return made_in_cache(asked)

    monkeypatch.setattr(running, "made_in_cache", failing)
    study, errors = with_pretrained(prepared(*read_study(file_of(folder), folder / "out")), in_process, Silent())
    assert [spec.name for spec in study.models] == ["all@0", "all@1", "half@1"]
    assert errors == {"half@0": "pre-training of half@0: step 1: the loss is nan"}
    assert all(row.error is None for row in run(study, in_process))
    monkeypatch.setattr(running, "made_in_cache", lambda _: (_ for _ in ()).throw(Diverged("nan")))
    text = TEXT.replace("steps: 2", "steps: 1")
    with pytest.raises(CellFailed, match=r"pre-training of all@0: nan\npre-training of all@1: nan"):
        whole(folder, text)


def test_the_command_ends_with_1_after_a_pre_training_that_failed_and_retry_trains_none(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(asked: Asked) -> Made:
        asked_for.append(asked.name)
        if asked.name == "all@2":
            raise Diverged("step 1: the loss is nan")
        return made_in_cache(asked)

    out, asked_for = folder / "out", list[str]()
    path = file_of(folder, TEXT.replace(", half: {images_per_class: 5}", "").replace("[0, 1]", "[0, 2]"))
    made_in_cache(read_study(path)[0].pretraining[0])
    monkeypatch.setattr(running, "made_in_cache", failing)
    monkeypatch.setattr(command, "executor", lambda _: in_process)
    for names in ("all@2", "all@?"):  # without a row to report of, and with one
        with pytest.raises(typer.Exit) as left:
            command.study_run(path, out, only=[f"model={names}"], quiet=True)
        assert left.value.exit_code == 1
        assert capsys.readouterr().err.splitlines() == [
            "featune: failed: pre-training of all@2: step 1: the loss is nan"
        ]
    assert asked_for == ["all@2", "all@0", "all@2"]
    assert (out / "report.html").exists()
    command.study_retry(path, out, quiet=True)
    assert asked_for == ["all@2", "all@0", "all@2"]


def test_only_the_models_that_are_wanted_are_trained_and_others_that_are_known_stay(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = TEXT.replace("batch: 8", "batch: 7")  # a training of its own

    def names(wanted: list[str]) -> list[str]:
        study = prepared(*read_study(file_of(folder, text), folder / "out"))
        return [spec.name for spec in with_pretrained(study, in_process, Silent(), wanted)[0].models]

    with pytest.raises(CellFailed, match="no model of the study is pre-trained yet"):
        names([])
    assert names(["all@1"]) == ["all@1"]
    assert names(["half@0"]) == ["all@1", "half@0"]
    monkeypatch.setattr(making, "train", lambda *_: pytest.fail("trained again"))
    assert names([]) == ["all@1", "half@0"]


def test_several_lengths_and_choices_are_in_the_names(folder: Path) -> None:
    text = TEXT.replace("{steps: {steps: 2}}", "{steps: {steps: 2}, passes: {epochs: 1}}")
    text = text.replace("seeds: [0, 1]", "choices: {plain: {}, smooth: {label_smoothing: 0.1}}")
    study, _ = read_study(file_of(folder, text))
    names = [asked.name for asked in study.pretraining]
    assert names[:3] == ["all-steps-plain@0", "all-steps-smooth@0", "all-passes-plain@0"]
    assert len(set(names)) == 8
    lengths = {asked.name: (asked.recipe.steps, asked.recipe.epochs) for asked in study.pretraining}
    assert lengths["all-steps-plain@0"][0] == 2
    assert lengths["all-passes-plain@0"] == (None, 1)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("images_per_class: 5", "images_per_class: 50", r"pretrain.subsets.half: 50 training images .* blue has 10"),
        ("images_per_class: 5", "images_per_clas: 5", r"pretrain.subsets.half.images_per_clas: unknown key"),
        ("images_per_class: 5", 'coarse: "leaf-to-root:2"', r"pretrain.subsets.half: .* needs a hierarchy"),
        ("{steps: {steps: 2}}", "{steps: {steps: 2, epochs: 1}}", "give either steps"),
        ("batch: 8", "batch: 8, steps: 4", "pretrain.recipe: steps found; say it under pretrain.lengths"),
        ("batch: 8", "batch: 0", "pretrain.recipe.batch: expected at least 1"),
        ("seeds: [0, 1]", "choices: {a: {auxiliary: 0.4}, b: {dropout: 2}}", "pretrain.choices.b"),
        ("test_resnet, side: 32", "test_vit, kwargs: {img_size: 32, patch_size: 8}}\n  choices: {x: {auxiliary: 0.4}",
         "pretrain.choices.x: auxiliary: test_vit.* has blocks of one size"),
        ("{folder: images}", "{folder: imagse}", "pretrain.source: .*imagse: no such folder"),
        ("{folder: images}", "{images: torch/dtd, download: true, root: /else}", "pretrain.source: root '/else' with"),
        ("test_resnet", "test_resnett", "pretrain.model: .*test_resnet"),
    ],
)  # fmt: skip
def test_every_fault_is_told_before_any_work(folder: Path, old: str, new: str, said: str) -> None:
    assert old in TEXT
    with pytest.raises(BadInput, match=said):
        read_study(file_of(folder, TEXT.replace(old, new, 1)))


def test_a_file_without_models_and_without_pretrain_is_refused(folder: Path) -> None:
    lines = TEXT.splitlines()
    text = "\n".join(lines[:2] + lines[lines.index("tasks:") :])
    with pytest.raises(BadInput, match="models: is missing"):
        read_study(file_of(folder, text))


def test_shots_are_few_images_of_each_class_in_train_and_val_and_nested(folder: Path) -> None:
    found: dict[int, Any] = {}
    for shots in (2, 3):
        study = prepared(*read_study(file_of(folder, TEXT.replace("shots: 3", f"shots: {shots}")), folder / "out"))
        (task,) = study.tasks
        found[shots] = {split: task.load(split) for split in ("train", "val", "test")}
        assert task.counts == {"train": 3 * shots, "val": 3 * shots, "test": 12}
        assert sorted(label for (label,) in found[shots]["train"].labels) == sorted([0, 1, 2] * shots)
    assert set(found[2]["train"].paths) < set(found[3]["train"].paths)
    with pytest.raises(BadInput, match="11 shots asked for, class blue has 10 training images"):
        read_study(file_of(folder, TEXT.replace("shots: 3", "shots: 11")))
