"""`featune finetune`, as a user runs it, and the folder that it leaves."""

import csv
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from commands import run

from featune.bench.data import Source, prepare
from featune.bench.finetune import budget, training
from featune.bench.finetune.recipes import read_recipe
from featune.bench.regimes import Goodness
from featune.bench.results import RunStore
from featune.bench.tasks import Task, save_task
from featune.bench.training_log import read_log
from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe, Run, TrainVal, fit_once, predict
from featune.engine.images import Labelled
from featune.engine.models import spec_from_entry
from featune.export.contract import contract_of

TINY = ("--scratch", "--img-size", "32", "--batch-size", "8", "-q")


@pytest.fixture(autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))


def finetuned(data: Path, out: Path, *more: object) -> dict[str, Any]:
    code, stdout, stderr = run("finetune", "test_resnet", data, *TINY, "--out", out, "--json", *more)
    assert code == 0, stderr
    return json.loads(stdout)


@pytest.fixture(scope="module")
def left(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A folder that a fine-tuning left, and what the command printed."""
    out = tmp_path_factory.mktemp("left") / "run"
    return out, finetuned(colours, out, "--epochs", "3", "--lr", "0.003")


def test_timm_alone_loads_the_folder_in_three_lines(left: tuple[Path, dict[str, Any]], colours: Path) -> None:
    from PIL import Image

    out, result = left
    model = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    view = timm.data.create_transform(**timm.data.resolve_data_config({}, model=model))
    names = model.pretrained_cfg["label_names"]
    files = sorted((colours / "test").rglob("*.png"))
    with torch.inference_mode():
        told = [names[int(model(view(Image.open(file))[None]).argmax())] for file in files]
    right = sum(name == file.parent.name for name, file in zip(told, files, strict=True))
    assert right / len(files) == pytest.approx(result["test"]["value"])
    assert names == ["blue", "green", "red"]


def test_the_folder_becomes_a_gated_onnx_with_its_classes_and_its_view(
    left: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    import numpy as np
    import onnxruntime

    out, _ = left
    code, stdout, stderr = run("export", out, "--out", tmp_path / "net.onnx", "-q")
    assert code == 0, stderr
    assert "passed" in stdout
    contract = contract_of(tmp_path / "net.onnx")
    assert contract["class_names"] == ["blue", "green", "red"]
    assert (contract["spec"]["view"]["side"], contract["classes"]) == (32, 3)
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 32, 32), dtype=np.uint8)
    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (found,) = session.run(["logits"], {"images": images})
    model = timm.create_model(f"local-dir:{out}", pretrained=True).eval()
    mean, std = (torch.tensor(model.pretrained_cfg[key]).view(1, 3, 1, 1) for key in ("mean", "std"))
    with torch.inference_mode():
        wanted = model((torch.from_numpy(images) / 255 - mean) / std)
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-4)


def test_the_log_has_every_step_and_every_look_at_val(left: tuple[Path, dict[str, Any]]) -> None:
    lines = read_log(left[0] / "log.jsonl")
    steps = [line["step"] for line in lines if "loss" in line]
    assert steps == list(range(1, 10))  # 3 epochs of 24 // 8
    assert {"step", "epoch", "lr", "loss", "grad_norm", "seconds"} == set(lines[1])
    assert [line["step"] for line in lines if "val" in line] == [0, 3, 6, 9]


def test_the_kept_weights_are_those_of_the_best_look_at_val(left: tuple[Path, dict[str, Any]]) -> None:
    out, result = left
    looks = {line["step"]: line["val"] for line in read_log(out / "log.jsonl") if "val" in line}
    best = max(looks.values())
    assert result["val"]["value"] == best
    assert result["kept"]["step"] == min(step for step, value in looks.items() if value == best)


def test_confusion_and_mistakes_add_up_to_the_test_images(left: tuple[Path, dict[str, Any]]) -> None:
    out, result = left
    rows = list(csv.reader((out / "confusion.csv").read_text().splitlines()))
    counts = [[int(each) for each in row[1:]] for row in rows[1:]]
    assert sum(map(sum, counts)) == result["test"]["n"] == 12
    right = sum(counts[at][at] for at in range(3))
    assert right / 12 == pytest.approx(result["test"]["value"])
    mistakes = list(csv.DictReader((out / "mistakes.csv").read_text().splitlines()))
    assert len(mistakes) == 12 - right
    sure = [float(each["confidence"]) for each in mistakes]
    assert sure == sorted(sure, reverse=True)


def test_the_row_of_a_study_is_left_too(left: tuple[Path, dict[str, Any]]) -> None:
    out, result = left
    (row,) = RunStore(out / "runs").rows()
    assert row.value == result["test"]["value"]
    assert row.details["learning_rate"] == 0.003
    assert RunStore(out / "runs").scores(row).shape == (12, 3)


def test_the_page_is_one_file_with_curves_and_mistakes(left: tuple[Path, dict[str, Any]]) -> None:
    text = (left[0] / "report.html").read_text()
    assert text.count("<svg") == 4
    assert "http" not in text
    assert "<h2>Confusion of the test images</h2>" in text


def test_a_finished_run_is_not_trained_again(
    left: tuple[Path, dict[str, Any]], colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, result = left
    monkeypatch.setattr(training, "fit_once", None)
    assert finetuned(colours, out, "--epochs", "3", "--lr", "0.003") == result


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--epochs", "3", "--lr", "0.01"), "a run with other settings of the recipe, which has ended"),
        (("--epochs", "3", "--lr", "0.003", "--seed", "1"), "and another seed, which has ended, with its model; give"),
    ],
)
def test_the_folder_of_another_run_is_refused_and_left_alone(
    left: tuple[Path, dict[str, Any]], colours: Path, more: tuple[str, ...], said: str
) -> None:
    out, _ = left
    before = {file: file.read_bytes() for file in out.rglob("*") if file.is_file()}
    code, _, stderr = run("finetune", "test_resnet", colours, *TINY, "--out", out, *more)
    assert code == 2
    assert said in stderr
    assert {file: file.read_bytes() for file in out.rglob("*") if file.is_file()} == before


def test_a_folder_of_other_files_is_refused(colours: Path, tmp_path: Path) -> None:
    (tmp_path / "holiday.txt").write_text("mine")
    code, _, stderr = run("finetune", "test_resnet", colours, *TINY, "--out", tmp_path)
    assert code == 2
    assert "holiday.txt found, an empty or a new one expected" in stderr


def test_a_recipe_file_of_a_run_repeats_it(left: tuple[Path, dict[str, Any]], colours: Path, tmp_path: Path) -> None:
    out, result = left
    code, stdout, stderr = run(
        "finetune", "test_resnet", colours, "--scratch", "--img-size", "32", "-q", "--json",
        "--out", tmp_path / "again", "--recipe", out / "recipe.yaml",
    )  # fmt: skip
    assert code == 0, stderr
    assert json.loads(stdout)["test"] == result["test"]
    assert (tmp_path / "again" / "model.safetensors").read_bytes() == (out / "model.safetensors").read_bytes()
    assert read_recipe(out / "recipe.yaml").learning_rates == (0.003,)


def test_a_recipe_file_of_a_run_has_the_side_that_it_was_given(
    left: tuple[Path, dict[str, Any]], colours: Path, tmp_path: Path
) -> None:
    out, result = left
    words = ("finetune", "test_resnet", colours, "--scratch", "-q", "--json", "--recipe", out / "recipe.yaml")
    code, stdout, stderr = run(*words, "--out", tmp_path / "again")
    assert code == 0, stderr
    assert json.loads(stdout)["test"] == result["test"]
    for name in ("model.safetensors", "config.json", "recipe.yaml"):
        again = (tmp_path / "again" / name).read_bytes()
        assert again.partition(b"\n")[2] == (out / name).read_bytes().partition(b"\n")[2], name


def test_a_search_that_is_interrupted_goes_on_to_the_same_weights(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = ("--set", "learning_rates=[0.0001,0.001,0.003,0.01,0.03,0.1]", "--steps", "80", "--search", "halving")
    whole = finetuned(colours, tmp_path / "whole", *rates)
    original, asked = training.fit_once, []

    def killed(*arguments: Any) -> Any:
        asked.append(arguments)
        if len(asked) == 9:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(training, "fit_once", killed)
    code, _, stderr = run("finetune", "test_resnet", colours, *TINY, "--out", tmp_path / "cut", *rates)
    assert (code, "interrupted" in stderr) == (130, True)
    resumed = finetuned(colours, tmp_path / "cut", *rates)
    assert resumed["test"] == whole["test"]
    for name in ("model.safetensors", "config.json"):
        assert (tmp_path / "cut" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    trials = [{**trial, "seconds": 0} for trial in whole["search"]["trials"]]
    assert [{**trial, "seconds": 0} for trial in resumed["search"]["trials"]] == trials
    assert whole["search"]["steps"] <= 0.25 * 6 * 80


def test_a_round_is_judged_ahead_and_leaves_the_training_as_it_would_have_been(colours: Path, tmp_path: Path) -> None:
    task = prepare(Source("colours", folder=colours), tmp_path / "task")
    train, val = task.load("train"), task.load("val")
    spec = spec_from_entry({"architecture": "test_resnet", "pretrained": False, "side": 32})
    truth, recipe = val.truth(3), Recipe(batch=8, steps=9, learning_rates=(0.01,))

    def candidate(name: str) -> training.Candidate:
        return training.Candidate(
            training.Job(spec, TrainVal(train, val, 3), Goodness("top1", truth), 0, tmp_path / name), recipe
        )

    halved, whole = candidate("halved"), candidate("whole")
    ahead = halved.train(4)
    tail = fit_once(spec, halved.job.data, train, Goodness("top1", truth), recipe, 0, Run(until=4, tail=True)).tail
    assert tail is not None
    scores = torch.from_numpy(predict(tail, val, spec.view))
    loss = torch.nn.functional.cross_entropy(scores.double(), torch.from_numpy(truth))
    assert ahead == pytest.approx(-loss.item(), rel=1e-6)
    assert halved.train(9) == whole.train(9)
    assert halved.best() == whole.best()
    assert [step for step, _ in whole.best()["looks"]] == [0, 3, 6, 9]


def test_a_refit_trains_on_train_and_val(colours: Path, tmp_path: Path) -> None:
    result = finetuned(colours, tmp_path / "run", "--steps", "2", "--refit")
    assert result["kept"] == {"of": 2, "step": 2, "trained_on": "train + val"}
    assert result["val"]["value"] is None


def test_minutes_become_steps_by_a_clock_and_are_kept(colours: Path, tmp_path: Path) -> None:
    task = prepare(Source("colours", folder=colours), tmp_path / "task")
    train, val = task.load("train"), task.load("val")
    spec = spec_from_entry({"architecture": "test_resnet", "pretrained": False, "side": 32})
    job = training.Job(spec, TrainVal(train, val, 3), Goodness("top1", val.truth(3)), 0, tmp_path / "work")
    times = itertools.count(0.0, 8.0)  # each interval is 8 s, so that a step takes 1 s and a look at val 8 s
    steps = budget.within_minutes(job, [Recipe(batch=8)], "halving", False, 10, lambda: next(times))
    # 540 s, less 9 intervals until then, the start and its look; 3 steps an epoch and then a look: 1 + 8 / 3 s a step.
    assert steps == int((540 - 9 * 8 - 8 - 8) / (1 + 8 / 3))
    assert budget.within_minutes(job, [Recipe(batch=8)], "halving", False, 10, lambda: 1 / 0) == steps
    with pytest.raises(BadInput, match="give more minutes"):
        budget.within_minutes(job, [Recipe(batch=8)], "halving", False, 1, lambda: next(times))


def test_a_training_that_diverges_says_so_and_leaves_the_step(colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, stdout, stderr = run(
        "finetune", "test_resnet", colours, *TINY, "--out", out, "--lr", "1e30", "--steps", "9",
        "--set", "clip_norm=null", "--opt", "sgd", "--json",
    )  # fmt: skip
    assert code == 1
    assert "diverged" in stderr
    assert f"; its result is in {out / 'result.json'}\n" in stderr
    assert json.loads(stdout) == {"folder": str(out), **json.loads((out / "result.json").read_text())}
    folders = [file.parent for file in (out / "work").rglob("step.json")]
    assert folders
    code, stdout, stderr = run("finetune", "--replay", folders[0])
    assert code == 0, stderr
    assert "not finite" in stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "MODEL and DATA expected"),
        (("test_resnet",), "MODEL and DATA expected"),
        (("test_resnet", "DATA", "--steps", "3", "--epochs", "2"), "give one of them"),
        (("test_resnet", "DATA", "--search", "random"), "halving or grid expected"),
        (("test_resnet", "DATA", "--amp-dtype", "float16"), "found without --amp, whose type it is; give --amp too"),
        (("test_resnet", "DATA", "--momentum", "0.5"), "--momentum 0.5 found, adamw takes none"),
        (("test_resnet", "DATA", "--minutes", "-1"), "--minutes -1 found, a number above 0 expected"),
        (("test_resnet", "DATA", "--checkpoint", "w.pth"), "--checkpoint w.pth and --untrained (--scratch) found"),
        (("test_resnet", "DATA", "--recipe", "defualt"), "nearest: default"),
        (("test_resnet", "DATA", "--opt", "sgdd", "--scratch"), "no optimizer named 'sgdd'"),
        (("test_resnet", "DATA", "--set", "batch", "--scratch"), "field=value expected"),
    ],
)
def test_a_wrong_command_line_gets_one_sentence(colours: Path, arguments: tuple[str, ...], said: str) -> None:
    more = [] if "--scratch" in arguments or len(arguments) < 2 else ["--scratch"]
    code, _, stderr = run("finetune", *(str(colours) if each == "DATA" else each for each in arguments), *more)
    assert code == 2
    assert said in stderr
    assert stderr.count("\n") <= 2


def test_data_without_a_val_split_get_one_and_are_told_so(colours: Path, tmp_path: Path) -> None:
    import shutil

    shutil.copytree(colours / "train", tmp_path / "data" / "train")
    shutil.copytree(colours / "test", tmp_path / "data" / "test")
    result = finetuned(tmp_path / "data", tmp_path / "run", "--steps", "1")
    assert result["data"]["counts"]["val"] > 0
    assert "val is 80% train / 20% val of train" in result["data"]["source"]


def test_one_class_is_refused(colours: Path, tmp_path: Path) -> None:
    import shutil

    for split in ("train", "val", "test"):
        shutil.copytree(colours / split / "red", tmp_path / "data" / split / "red")
    code, _, stderr = run("finetune", "test_resnet", tmp_path / "data", *TINY, "--out", tmp_path / "run")
    assert code == 2
    assert "class" in stderr


def test_several_labels_per_image_keep_the_threshold_that_val_chose(colours: Path, tmp_path: Path) -> None:
    splits = {}
    for split in ("train", "val", "test"):
        files = sorted((colours / split).rglob("*.png"))
        labels = tuple((("blue", "green", "red").index(file.parent.name), 3) for file in files)
        splits[split] = Labelled(str(colours), tuple(str(file.relative_to(colours)) for file in files), labels)
    classes = ("blue", "green", "red", "any")
    save_task(Task("two", classes, "f1_macro", {}, str(tmp_path / "two"), str(colours), multilabel=True), splits)
    result = finetuned(tmp_path / "two", tmp_path / "run", "--steps", "2")
    (row,) = RunStore(tmp_path / "run" / "runs").rows()
    assert "threshold" in row.details
    assert row.value == result["test"]["value"]
    assert not (tmp_path / "run" / "confusion.csv").exists()
