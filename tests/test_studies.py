"""The study files that ship: read whole without network, and runnable by anybody unless they say otherwise."""

from pathlib import Path

import pytest

from featune.bench.data import Request, Source
from featune.bench.data.torchvision_names import torch_splits
from featune.bench.progress import Silent
from featune.bench.study import read_study, study_file
from featune.bench.study.schema import parsed
from featune.engine.accuracies import timm_accuracies

STUDIES = {path.stem: path for path in sorted((Path(__file__).parent.parent / "studies").glob("*.yaml"))}
NEEDS_FILES = ("local-weights",)
PUBLIC = [name for name in STUDIES if name not in NEEDS_FILES]


@pytest.fixture
def without_data(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """Data sets are not fetched; the sources that would be are collected."""
    asked: list[Source] = []
    monkeypatch.setattr(study_file, "look", lambda source, progress: asked.append(source) or source)
    return asked


def test_what_ships_is_tested_and_holds_the_study_that_the_help_cites() -> None:
    assert {"quickstart", "imagenet-ladder", *NEEDS_FILES} == set(STUDIES)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_shipped_study_is_accepted_whole(name: str, without_data: list[Source]) -> None:
    study, sources = read_study(STUDIES[name])
    assert study.name == name
    assert sources == without_data
    assert all(spec.weights.startswith("hub:timm/") for spec in study.models)


@pytest.mark.parametrize("name", PUBLIC)
def test_a_shipped_study_names_public_weights_and_data_only(name: str) -> None:
    read = parsed(STUDIES[name])
    for _, model in read.models:
        assert model.architecture
        assert model.pretrained
        assert model.checkpoint is None
    for _, task in read.tasks:
        assert task.images
        assert task.images.startswith(("torch/", "hfds/"))
        assert task.download


@pytest.mark.parametrize("name", PUBLIC)
def test_a_shipped_study_states_the_accuracy_that_timm_publishes(name: str, without_data: list[Source]) -> None:
    study, _ = read_study(STUDIES[name])
    for spec in study.models:
        assert spec.source_top1 == timm_accuracies()[spec.name, spec.view.side]["top1"]
        assert spec.source_n == 50_000


@pytest.mark.parametrize("name", PUBLIC)
def test_torchvision_has_the_data_sets_with_a_train_and_a_test_split(name: str, tmp_path: Path) -> None:
    for _, task in parsed(STUDIES[name]).tasks:
        found = torch_splits(Request(str(task.images), root=tmp_path), Silent())
        assert {"train", "trainval"} & set(found), task.images
        assert "test" in found


@pytest.mark.parametrize("name", NEEDS_FILES)
def test_a_study_that_needs_given_files_says_so_in_its_first_line(name: str) -> None:
    assert "NEEDS YOUR OWN FILES" in STUDIES[name].read_text().splitlines()[0]
    assert not parsed(STUDIES[name]).faults.problems
    assert ".." not in STUDIES[name].read_text(), "paths stay inside the folder of the study"
