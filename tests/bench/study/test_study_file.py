import json
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent

import pytest

from featune.bench.estimators import USUAL
from featune.bench.progress import Silent
from featune.bench.published import published_rows
from featune.bench.study import prepared, read_study
from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe


@pytest.fixture
def write(tmp_path: Path, image_folder: Callable[..., Path]) -> Callable[[str], Path]:
    image_folder("colours")

    def write(text: str) -> Path:
        path = tmp_path / "study.yaml"
        path.write_text(dedent(text))
        return path

    return write


GOOD = """
    name: small
    models:
      - {architecture: test_resnet, pretrained: false, side: 32, imagenet_top1: 0.5, source_n: 500}
      - {architecture: test_vit, pretrained: false, kwargs: {img_size: 32, patch_size: 8}, name: vit}
    tasks:
      - folder: colours
    regimes:
      probe: {penalties: [0.1, 1.0]}
      long: {kind: finetune, epochs: 7, augmentation: {hflip: 0.0}}
    seeds: [0, 1]
"""


def test_a_study_file_becomes_a_study(write: Callable[[str], Path], tmp_path: Path) -> None:
    study, sources = read_study(write(GOOD), tmp_path / "out")
    assert [spec.name for spec in study.models] == ["test_resnet.r160_in1k", "vit"]
    assert (study.models[0].source_top1, study.models[0].source_n) == (0.5, 500)
    assert (study.models[1].source_top1, study.models[1].source_n) == (None, None)
    assert study.models[1].view.side == 32
    kind, recipe = study.regimes["long"]
    assert kind == "finetune"
    assert isinstance(recipe, Recipe)
    assert (recipe.epochs, recipe.augmentation.hflip) == (7, 0.0)
    tasks = prepared(study, sources).tasks
    assert [(task.name, dict(task.counts)) for task in tasks] == [("colours", {"train": 24, "val": 12, "test": 15})]
    assert len(prepared(study, sources).cells()) == 2 * 1 * 2 * 2


def test_estimators_are_none_unless_named_and_all_are_every_one(write: Callable[[str], Path]) -> None:
    assert read_study(write(GOOD))[0].estimators == ()
    assert read_study(write(GOOD + "    estimators: [nce, logme, nce]"))[0].estimators == ("nce", "logme")
    assert read_study(write(GOOD + "    estimators: all"))[0].estimators == USUAL
    with pytest.raises(BadInput, match=r"estimators\[1\]: no estimator named 'log_me'; nearest: logme"):
        read_study(write(GOOD + "    estimators: [nce, log_me]"))
    with pytest.raises(BadInput, match=r"estimators: .*list, found 'logme'"):
        read_study(write(GOOD + "    estimators: logme"))


def test_paths_are_seen_from_the_files_folder(
    write: Callable[[str], Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    path = write(GOOD)
    monkeypatch.chdir(elsewhere)
    study, sources = read_study(path, None)
    assert sources[0].folder == tmp_path / "colours"
    assert study.out == "runs/small"


def test_every_problem_is_listed_at_once(write: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    path = write(
        """
        name: wrong
        models: [resnet19, {architecture: test_resnet, checkpoint: absent.pth}]
        tasks: [{folder: absent, folds: 5}, {folder: empty}, {folder: colours, metric: top2}]
        regimes: {proby: {}, finetune: {epoch: 3}}
        backend: tensort
        """
    )
    with pytest.raises(BadInput) as caught:
        read_study(path)
    text = str(caught.value)
    assert "8 problems" in text
    for part in (
        "models[0]: no timm model named 'resnet19'; nearest: resnet18",
        "models[1]:", "no such weight file",
        "tasks[0]:", "no such folder",
        "tasks[1]:", "no images found",
        "tasks[2]: no metric named 'top2'; nearest: top",
        "regimes.proby: no regime named 'proby'; nearest: probe",
        "regimes.finetune.epoch: unknown key; nearest: epochs",
        "backend: no backend named 'tensort'",
    ):  # fmt: skip
        assert part in text


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("seeds:", "seedz:"), "seedz: unknown key; nearest: seeds"),
        (("seeds:", "qqq:"), "qqq: unknown key; one of backend, device, estimators, models, "),
        (("folder: colours", "foldr: colours"), "tasks[0].foldr: unknown key; nearest: folder"),
        (("side: 32,", "sidee: 32,"), "models[0].sidee: unknown key; nearest: side"),
        (("imagenet_top1: 0.5", "imagenet_top1: 50"), "imagenet_top1: expected a number below 1, found 50"),
        (("architecture: test_resnet, ", ""), "give either architecture (a timm name) or factory"),
        (("name: small", "nam: small"), "name: is missing"),
        (("name: vit}", "name: test_resnet.r160_in1k}"), "named twice"),
    ],
)
def test_a_misspelt_key_is_named_with_the_nearest(
    write: Callable[[str], Path], change: tuple[str, str], message: str
) -> None:
    assert change[0] in GOOD
    with pytest.raises(BadInput) as caught:
        read_study(write(GOOD.replace(*change)))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"), [("- a\n- b", "expected a mapping"), ("a: [", "is not YAML"), ("", "expected a mapping")]
)
def test_what_is_no_study_is_refused(write: Callable[[str], Path], text: str, message: str) -> None:
    with pytest.raises(BadInput, match=message):
        read_study(write(text))


def test_an_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="No such file"):
        read_study(tmp_path / "absent.yaml")


def test_a_task_states_the_order_of_its_classes(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    image_folder("grades")
    study = (
        "name: x\nmodels: [{architecture: test_resnet, pretrained: false, side: 32}]\ntasks: [{folder: grades, %s}]\n"
    )
    (tmp_path / "study.yaml").write_text(study % "metric: quadratic_kappa")
    with pytest.raises(BadInput, match="list them from the lowest grade to the highest as `classes` of the task"):
        read_study(tmp_path / "study.yaml")
    (tmp_path / "study.yaml").write_text(study % "metric: quadratic_kappa, classes: [red, green, blue]")
    read, sources = read_study(tmp_path / "study.yaml", tmp_path / "out")
    assert prepared(read, sources).tasks[0].classes == ("red", "green", "blue")


def test_published_tables_are_checked_with_the_file_and_seen_from_its_folder(
    write: Callable[[str], Path], tmp_path: Path
) -> None:
    (tmp_path / "mine.csv").write_text("model,imagenet_top1,pets\nnet,0.7,0.9\n")
    study, _ = read_study(write(GOOD + "    published: [sfda2022, mine.csv]"))
    assert study.published == ("sfda2022", str(tmp_path / "mine.csv"))
    assert [row.value for row in published_rows(study.published[1:])] == [0.9]
    with pytest.raises(BadInput, match=r"published\[0\]: no published table named 'sfda'; nearest: sfda2022"):
        read_study(write(GOOD + "    published: [sfda]"))
    with pytest.raises(BadInput, match=r"published\[0\]: .*absent.csv cannot be read"):
        read_study(write(GOOD + "    published: absent.csv"))


def test_an_axis_by_name_changes_what_the_figures_are_called(write: Callable[[str], Path]) -> None:
    study, _ = read_study(write(GOOD + "    x: [real, parameters]"))
    assert study.source_name == "ImageNet ReaL"
    assert [spec.source_top1 for spec in study.models] == [None, None]  # of random weights nothing is published
    assert read_study(write(GOOD))[0].source_name == "ImageNet"
    with pytest.raises(BadInput, match=r"x\[0\]: expected one of imagenet_top1, .*found 'flops'"):
        read_study(write(GOOD + "    x: flops"))


def test_a_timm_models_published_accuracy_is_looked_up_and_told(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    monkeypatch.setattr(Silent, "say", lambda self, text: told.append(text))
    text = GOOD.replace("{architecture: test_resnet, pretrained: false, side: 32, imagenet_top1: 0.5, source_n: 500}",
                        "resnet18.a1_in1k")  # fmt: skip
    study, _ = read_study(write(text))
    assert (study.models[0].source_top1, study.models[0].source_n) == (0.71504, 50_000)
    assert study.facts["resnet18.a1_in1k"] == {"parameters": 11.69}
    assert any("0.71504 at 224 pixels, by timm's published results" in line for line in told)


def test_measured_source_accuracies_are_taken_from_their_file(write: Callable[[str], Path], tmp_path: Path) -> None:
    share = {"value": 0.625, "low": 0.6, "high": 0.65, "n": 1600}
    record = {
        "format": "featune-imagenet-1",
        "model": "vit",
        "data": "val",
        "kind": "val",
        "fault": None,
        "shares": {"top1": share, "top5": share | {"value": 0.9}, "real": share | {"value": 0.75, "n": 1500}},
    }
    file = tmp_path / "measured.json"
    file.write_text(json.dumps([record]))
    text = GOOD.replace("name: vit}", "name: vit, measured: measured.json, imagenet_kind: linear-probe}")
    study, _ = read_study(write(text + "    x: [real, imagenet_top1]"))
    assert (study.spec("vit").source_top1, study.spec("vit").source_n) == (0.75, 1500)
    assert study.facts["vit"] == {"imagenet_top1": 0.625, "source_linear_probe": 1.0}
    assert study.source_name == "ImageNet ReaL"
    file.write_text(json.dumps([record | {"model": "other"}, record | {"model": "another"}]))
    with pytest.raises(BadInput, match=r"models\[1\].measured: .*vit was not measured there"):
        read_study(write(text))
    file.write_text(json.dumps([record | {"fault": {"order": "devkit-ids"}}]))
    with pytest.raises(BadInput, match="in a wrong order"):
        read_study(write(text))
    with pytest.raises(BadInput, match="keep one of them"):
        read_study(write(GOOD.replace("source_n: 500", "source_n: 500, measured: measured.json")))


def test_the_distance_from_the_source_and_its_images_go_together(write: Callable[[str], Path], tmp_path: Path) -> None:
    study, _ = read_study(write(GOOD + "    estimators: [frechet]\n    source_images: colours/train"))
    assert study.source_images == str(tmp_path / "colours/train")
    with pytest.raises(BadInput, match="give `source_images`"):
        read_study(write(GOOD + "    estimators: [frechet]"))
    with pytest.raises(BadInput, match="name `frechet`"):
        read_study(write(GOOD + "    source_images: colours/train"))
