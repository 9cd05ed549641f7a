"""The study files that ship: read whole without network, and runnable by anybody unless they say otherwise."""

from pathlib import Path

import pytest

from featune.bench.catalogue import TASKS
from featune.bench.data import Request, Source
from featune.bench.data.torchvision_names import torch_splits
from featune.bench.progress import Silent
from featune.bench.results import curves_of
from featune.bench.study import read_study, study_file
from featune.bench.study.schema import parsed
from featune.engine.accuracies import timm_accuracies

STUDIES = {path.stem: path for path in sorted((Path(__file__).parent.parent / "studies").glob("*.yaml"))}
NEEDS_FILES = ("local-weights", "kornblith2019", "fang2023", "huh2016")
CURVES = "kornblith2019-curves-mini"
# Their images are drawn, their models pre-trained here.
OFFLINE = ("huh2016-mini", "kornblith2019-choices-mini", "kornblith2019-smoothing-mini", CURVES)
PUBLIC = [name for name in STUDIES if name not in (*NEEDS_FILES, *OFFLINE)]


@pytest.fixture
def without_data(monkeypatch: pytest.MonkeyPatch) -> list[Source]:
    """Data sets are not fetched; the sources that would be are collected."""
    asked: list[Source] = []
    monkeypatch.setattr(study_file, "look", lambda source, progress: asked.append(source) or source)
    return asked


def test_what_ships_is_tested_and_holds_the_study_that_the_help_cites() -> None:
    assert {"quickstart", "imagenet-ladder", *NEEDS_FILES, *OFFLINE} == set(STUDIES)


@pytest.mark.parametrize("name", OFFLINE)
def test_an_offline_study_pre_trains_its_models_from_three_seeds_or_more(name: str) -> None:
    study, sources = read_study(STUDIES[name])
    assert study.name == name
    assert not study.models
    assert {source.images.text.partition("/")[0] for source in sources if source.images} == {"generated"}
    variants = {asked.name.partition("@")[0] for asked in study.pretraining}
    assert len(variants) > 2 or name == CURVES
    assert len(study.pretraining) >= 3 * len(variants)


def test_the_study_of_curves_has_two_tasks_of_three_sizes() -> None:
    tasks = [task.name or "" for _, task in parsed(STUDIES[CURVES]).tasks]
    assert [len(of) for of in curves_of(tasks).values()] == [3, 3]


def test_huh2016_asks_for_the_subsets_of_the_paper() -> None:
    """Counts of classes and images: the models that the authors released, github.com/minyoungg/wmigftl."""
    read = parsed(STUDIES["huh2016"])
    assert not read.faults.problems
    assert read.pretrain
    assert len(set(read.pretrain[0].seeds)) > 1  # variants of one seed are not compared
    subsets = read.pretrain[0].subsets.values()
    assert {of.images_per_class for of in subsets} >= {500, 250, 125, 50}
    assert {of.coarse for of in subsets} >= {f"leaf-to-root:{count}" for count in (918, 753, 486, 79, 9)}
    assert "root-to-leaf:127" in {of.coarse for of in subsets}
    assert {of.choose for of in subsets} == {"random", "minimal"}


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


@pytest.mark.parametrize(("name", "models", "tasks"), [("kornblith2019", 13, 12), ("fang2023", 15, 6)])
def test_a_papers_study_names_weights_whose_accuracy_timm_publishes_and_tasks_that_there_are(
    name: str, models: int, tasks: int
) -> None:
    read = parsed(STUDIES[name])
    assert (len(read.models), len(read.tasks)) == (models, tasks)
    listed = {model for model, _ in timm_accuracies()}
    assert {one.architecture for _, one in read.models} <= listed
    assert {one.task for _, one in read.tasks} <= set(TASKS)


@pytest.mark.parametrize("name", NEEDS_FILES)
def test_a_study_that_needs_given_files_says_so_in_its_first_line(name: str) -> None:
    assert "NEEDS YOUR OWN FILES" in STUDIES[name].read_text().splitlines()[0]
    assert not parsed(STUDIES[name]).faults.problems
    assert ".." not in STUDIES[name].read_text(), "paths stay inside the folder of the study"
