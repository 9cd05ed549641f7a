import dataclasses
import inspect
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from featune.bench.data import Source, prepare
from featune.bench.estimators import ESTIMATORS, class_separation, estimator, frechet_distance, leep, logme
from featune.bench.progress import Silent
from featune.bench.regimes import Bench, ProbeSetting, stored_features
from featune.bench.results import Estimate
from featune.bench.study import Study, estimates, known_estimates, processes, run_estimates
from featune.bench.study.estimates import logits_by_head, source_logits
from featune.bench.study.executors import in_process
from featune.bench.study.running import run
from featune.engine.errors import BadInput
from featune.engine.features import FeatureStore
from featune.engine.images import batches
from featune.engine.metrics import softmax
from featune.engine.models import ModelSpec, classifier, feature_model, source_model, spec_from_entry


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory, spec: ModelSpec) -> ModelSpec:
    """A model whose weights come from a file, as trained ones do."""
    path = tmp_path_factory.mktemp("weights") / "net.safetensors"
    state = classifier(spec.with_random_weights(3)).state_dict()
    save_file({name: value.contiguous() for name, value in state.items()}, path)
    entry = {"architecture": "test_resnet", "pretrained": False, "side": 32, "checkpoint": path, "name": "net"}
    return spec_from_entry(entry)


@pytest.fixture
def study(image_folder: Callable[..., Path], tmp_path: Path, trained: ModelSpec) -> Study:
    folder = image_folder()
    task = prepare(Source("colours", folder=folder), tmp_path / "out" / "tasks")
    regimes = {"probe": ("probe", ProbeSetting(penalties=(1.0,)))}
    return Study("test", (trained,), (task,), regimes, str(tmp_path / "out"), str(tmp_path / "cache"), threads=1,
                 backend="torch", estimators=tuple(ESTIMATORS), source_images=f"{folder}/test")  # fmt: skip


def refuse(function: object, items: object) -> object:
    raise AssertionError(f"nothing is left to measure, {items} asked")


def values(found: list[Estimate]) -> dict[str, float | None]:
    return {one.name: one.value for one in found}


def test_every_estimator_gives_one_value_per_model_and_task_with_its_n_and_time(study: Study) -> None:
    found = run_estimates(study, in_process, Silent())
    assert [one.name for one in found] == list(ESTIMATORS)
    for one in found:
        assert one.error is None
        assert np.isfinite(one.value)  # type: ignore[arg-type]
        assert (one.model, one.task, one.n) == ("net", "colours", 24)
        assert one.seconds > 0


def test_values_are_those_of_the_stored_train_rows_and_of_the_models_own_head(study: Study) -> None:
    found = values(run_estimates(study, in_process, Silent()))
    train, spec = study.tasks[0].load("train"), study.models[0]
    rows = stored_features(Bench(Path(study.cache), "torch"), spec, study.tasks[0], train)(train, "train")
    assert found["logme"] == logme(rows, train.truth(3))
    with torch.inference_mode():
        logits = torch.cat([source_model(spec)(images) for images in batches(train, spec.view, 5)])
    assert found["leep"] == pytest.approx(leep(softmax(logits.numpy()), train.truth(3)), abs=1e-5)


def test_the_nearness_is_of_the_train_features_to_those_of_the_source_images(study: Study) -> None:
    found = values(run_estimates(study, in_process, Silent()))
    train, spec, task = study.tasks[0].load("train"), study.models[0], study.tasks[0]
    features = stored_features(Bench(Path(study.cache), "torch"), spec, task, train)
    rows, source = features(train, "train"), features(task.load("test"), "test")
    assert found["frechet"] == pytest.approx(-frechet_distance(rows, source), rel=1e-6)
    assert found["frechet"] < 0
    assert found["class_separation"] == class_separation(rows, train.truth(3))
    other = dataclasses.replace(study, source_images=f"{Path(study.source_images).parent}/train")
    again = values(run_estimates(dataclasses.replace(other, estimators=("frechet",)), in_process, Silent()))
    assert again["frechet"] == pytest.approx(0, abs=1e-4)  # of themselves


def test_estimates_are_measured_once_and_a_killed_run_keeps_what_it_had(study: Study) -> None:
    part = dataclasses.replace(study, estimators=("logme", "nce"))
    first = run_estimates(part, in_process, Silent())
    assert run_estimates(part, refuse, Silent()) == first  # type: ignore[arg-type]
    assert known_estimates(study) == first
    assert [one for one in run_estimates(study, in_process, Silent()) if one.name in values(first)] == first


def test_features_are_extracted_once_for_the_probe_and_all_estimators(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(study, in_process)

    def extracted(*_: object) -> None:
        raise AssertionError("features were extracted again")

    monkeypatch.setattr(FeatureStore, "_compute", extracted)
    assert all(one.error is None for one in run_estimates(study, in_process, Silent()))


class Curved(torch.nn.Module):
    """A classifier whose logits are not its linear layer's output."""

    num_classes = 6

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(1)
        self.fc = torch.nn.Linear(3, 6)

    def get_classifier(self) -> torch.nn.Linear:
        return self.fc

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        return self.fc(images.mean((2, 3))).square()


def test_a_head_that_is_not_linear_runs_with_the_whole_model_once(study: Study) -> None:
    spec = spec_from_entry({"factory": f"{__file__}:Curved", "side": 32, "name": "curved"})
    train = study.tasks[0].load("train")

    def features() -> np.ndarray:
        raise AssertionError("not wanted")

    assert logits_by_head(spec, train, features) is None
    logits = source_logits(spec, study.tasks[0], train, Path(study.cache))
    with torch.inference_mode():
        expected = source_model(spec)(next(batches(train, spec.view, 24))).numpy()
    assert np.allclose(logits, expected, rtol=1e-3, atol=1e-3)  # the fast view is within a grey level
    curved = dataclasses.replace(study, models=(spec,), estimators=("leep",))
    (one,) = run_estimates(curved, in_process, Silent())
    assert one.value == pytest.approx(leep(softmax(expected), train.truth(3)), abs=1e-6)


@pytest.mark.parametrize("architecture", ["test_resnet", "test_vit", "test_convnext", "test_efficientnet"])
def test_the_head_on_features_gives_the_logits_of_the_whole_model(study: Study, architecture: str) -> None:
    spec = spec_from_entry({"architecture": architecture, "pretrained": False})
    train = study.tasks[0].load("train")
    images = next(batches(train, spec.view, 24))
    with torch.inference_mode():
        rows, expected = feature_model(spec)(images).numpy(), source_model(spec)(images).numpy()
    found = logits_by_head(spec, train, lambda: rows)
    assert found is not None
    assert np.allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_other_weights_or_labels_are_other_estimates(study: Study, image_folder: Callable[..., Path]) -> None:
    run_estimates(dataclasses.replace(study, estimators=("logme",)), in_process, Silent())
    other = dataclasses.replace(study.models[0].with_random_weights(9), name="net")
    known = known_estimates(dataclasses.replace(study, models=(other,)))
    assert {(one.name, one.value) for one in known} == {("leep", None), ("nce", None)}  # random weights have no classes
    task = prepare(Source("colours", folder=image_folder("fewer", train=5, val=2, test=2)), Path(study.out, "again"))
    assert known_estimates(dataclasses.replace(study, tasks=(task,))) == []


def test_values_do_not_depend_on_where_they_are_measured(study: Study, tmp_path: Path) -> None:
    elsewhere = dataclasses.replace(study, out=str(tmp_path / "two"), cache=str(tmp_path / "two"))
    assert values(run_estimates(study, processes(1), Silent())) == values(
        run_estimates(elsewhere, in_process, Silent())
    )


def test_a_failed_estimate_says_why_and_is_tried_again(study: Study) -> None:
    image = study.tasks[0].load("train").file(0)
    good = image.read_bytes()
    image.write_bytes(b"no image")
    found = run_estimates(study, in_process, Silent())
    assert all(one.value is None and "not an image" in (one.error or "") for one in found)
    image.write_bytes(good)
    assert all(one.error is None for one in run_estimates(study, in_process, Silent()))


def test_a_model_without_source_classes_has_no_leep_but_a_logme(study: Study, trained: ModelSpec) -> None:
    headless = spec_from_entry({"factory": f"{__file__}:body_alone", "side": 32})
    with pytest.raises(BadInput, match="no classifier of source classes"):
        source_logits(headless, study.tasks[0], study.tasks[0].load("train"), Path(study.cache))
    untrained = dataclasses.replace(study, models=(trained.with_random_weights(1),), estimators=("leep", "logme"))
    by_leep, by_logme = run_estimates(untrained, in_process, Silent())
    assert "random weights" in (by_leep.error or "")
    assert by_logme.error is None


def body_alone() -> torch.nn.Module:
    import timm

    return timm.create_model("test_resnet", num_classes=0)


def test_of_several_labels_per_image_only_what_takes_them_is_defined_and_the_others_say_so(study: Study) -> None:
    several = dataclasses.replace(study.tasks[0], multilabel=True)
    found = run_estimates(dataclasses.replace(study, tasks=(several,)), in_process, Silent())
    for one in found:
        assert (one.value is None) == (one.name not in ("logme", "frechet"))
        assert one.value is not None or "several labels" in (one.error or "")


def test_an_unknown_estimator_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(BadInput, match=r"'lepp'.*leep"):
        estimator("lepp")


def test_estimators_are_shown_the_train_split_and_no_other() -> None:
    source = inspect.getsource(estimates)
    assert source.count(".load(") == source.count('.load("train")') == 1
