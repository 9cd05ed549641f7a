"""Every official layout to a checked task, what a wrong download is told, and the commands."""

import csv
import json
from collections import Counter
from pathlib import Path

import pytest
from make_layouts import LAYOUTS, cifar10, hpa, pets
from typer.testing import CliRunner

from featune.bench.catalogue import TASKS, entry
from featune.bench.cli.app import app
from featune.bench.datasets import prepare_official
from featune.bench.datasets.preparation import LOADERS
from featune.bench.tasks import load_task
from featune.engine.errors import BadImages, BadInput
from featune.engine.images import read_image
from featune.engine.metrics import METRICS


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_download_becomes_csvs_of_readable_images(name: str, tmp_path: Path) -> None:
    counts = LAYOUTS[name](tmp_path / "raw")
    made = prepare_official(name, tmp_path / "raw", tmp_path / "data", counts=counts)
    assert load_task(tmp_path / "data" / name) == made
    trained = TASKS[name].collection != "ImageNet"
    assert {"train", "val", "test"} <= set(made.counts) if trained else set(made.counts) == {"test"}
    seen: dict[str, set[str]] = {}
    for split, count in made.counts.items():
        items = made.load(split)
        assert len(items) == count > 0
        assert all(0 <= label < len(made.classes) for labels in items.labels for label in labels)
        assert {len(labels) for labels in items.labels} == {1} or made.multilabel
        read_image(items.file(0)).load()
        seen[split] = set(items.paths)
    assert sum(map(len, seen.values())) == len(set().union(*seen.values())), "an image is in two splits"
    if trained and name not in ("cct20", "hpa", "voc2007"):
        kinds = {label for labels in made.load("train").labels for label in labels}
        assert kinds == set(range(len(made.classes)))


@pytest.mark.parametrize("name", LAYOUTS)
def test_a_download_of_another_size_is_refused_with_the_steps(name: str, tmp_path: Path) -> None:
    LAYOUTS[name](tmp_path / "raw")
    with pytest.raises(BadInput, match=r"\d+ expected, \d+ found") as caught:
        prepare_official(name, tmp_path / "raw", tmp_path / "data")
    assert TASKS[name].steps[0] in str(caught.value)
    assert not (tmp_path / "data" / name / "task.json").exists()


@pytest.mark.parametrize("name", LAYOUTS)
def test_an_empty_folder_is_refused_with_what_was_expected_in_it(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"expected|no such file") as caught:
        prepare_official(name, tmp_path, tmp_path / "data")
    assert TASKS[name].steps[0] in str(caught.value)


def test_the_catalogue_has_a_loader_a_metric_and_a_layout_for_every_task() -> None:
    assert set(TASKS) == set(LOADERS) == set(LAYOUTS)
    for facts in TASKS.values():
        metric = METRICS[facts.metric]
        assert metric.multilabel if facts.multilabel else metric.single
        assert facts.sources
        assert facts.steps
        assert "default" not in facts.variants
    sizes = Counter(facts.collection for facts in TASKS.values())
    assert (sizes["Fang et al. 2023"], sizes["Kornblith et al. 2019"], sizes["ImageNet"]) == (6, 12, 3)


def test_a_missing_image_is_named(tmp_path: Path) -> None:
    counts = pets(tmp_path)
    (tmp_path / "oxford-iiit-pet" / "images" / "american_bulldog_3.jpg").unlink()
    with pytest.raises(BadInput, match=r"listed images expected.*american_bulldog_3\.jpg is not there"):
        prepare_official("pets", tmp_path, tmp_path / "data", counts=counts)
    assert not (tmp_path / "data").exists()


def test_a_truncated_image_is_named(tmp_path: Path) -> None:
    counts = pets(tmp_path)
    file = tmp_path / "oxford-iiit-pet" / "images" / "Bengal_100.jpg"
    file.write_bytes(file.read_bytes()[:-200])
    with pytest.raises(BadImages, match=r"Bengal_100\.jpg"):
        prepare_official("pets", tmp_path, tmp_path / "data", counts=counts)


def test_a_variant_is_a_task_of_its_own(tmp_path: Path) -> None:
    counts = hpa(tmp_path / "raw")
    first = prepare_official("hpa", tmp_path / "raw", tmp_path / "data", counts=counts)
    other = prepare_official("hpa", tmp_path / "raw", tmp_path / "data", counts=counts, variant="mixed")
    assert (first.name, other.name) == ("hpa", "hpa-mixed")
    assert first.digest != other.digest


def test_unknown_names_are_answered_with_near_ones(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no task named 'cifar1'; nearest: cifar10"):
        entry("cifar1")
    with pytest.raises(BadInput, match="lists them; a study file or `featune probe MODEL my/birds` takes a path"):
        entry("my/birds")
    with pytest.raises(BadInput, match="hpa: no variant 'relesed'; nearest: released"):
        prepare_official("hpa", tmp_path, tmp_path, variant="relesed")


def test_images_that_two_splits_share_become_a_note(tmp_path: Path) -> None:
    counts = cifar10(tmp_path / "raw")  # each of its batches begins with the same plain picture
    made = prepare_official("cifar10", tmp_path / "raw", tmp_path / "data", counts=counts)
    (note,) = made.notes
    assert "byte for byte in another split" in note
    assert "test/test/00000.png" in note


def test_preparing_again_changes_no_file(tmp_path: Path) -> None:
    counts = cifar10(tmp_path / "raw")
    made = prepare_official("cifar10", tmp_path / "raw", tmp_path / "data", counts=counts)
    files = {path: path.stat().st_mtime_ns for path in (tmp_path / "data").rglob("*.*") if path.name != "task.json"}
    assert prepare_official("cifar10", tmp_path / "raw", tmp_path / "data", counts=counts) == made
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_the_tasks_command_lists_every_task_in_three_ways() -> None:
    plain = CliRunner().invoke(app, ["tasks"])
    found = json.loads(CliRunner().invoke(app, ["tasks", "--json"]).stdout)
    markdown = CliRunner().invoke(app, ["tasks", "--markdown"]).stdout
    assert plain.exit_code == 0
    assert [one["name"] for one in found] == list(TASKS)
    for name in TASKS:
        assert name in plain.stdout
        assert f"### {name}\n" in markdown


def test_the_documented_table_is_the_catalogues() -> None:
    page = (Path(__file__).parents[3] / "docs" / "tasks.md").read_text(encoding="utf-8")
    assert CliRunner().invoke(app, ["tasks", "--markdown"]).stdout in page


def test_the_prepare_command_says_what_is_wrong_and_leaves_with_2(tmp_path: Path) -> None:
    pets(tmp_path)
    result = CliRunner().invoke(app, ["prepare", "pets", "--raw", str(tmp_path), "--out", str(tmp_path / "out"), "-q"])
    assert result.exit_code == 2
    assert "train: 3680 expected, 30 found" in result.stderr
    assert not result.stdout


def test_the_prepare_command_prints_the_task(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    counts = pets(tmp_path)
    small = {"classes": counts["classes"], "counts": {k: v for k, v in counts.items() if k != "classes"}}
    for field, value in small.items():
        monkeypatch.setitem(TASKS["pets"].__dict__, field, value)
    command = ["prepare", "pets", "--raw", str(tmp_path), "--out", str(tmp_path / "out"), "-q"]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "pets: 3 classes, 24 train, 6 val, 12 test, metric mean_per_class" in shown.stdout
    found = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert (found["train"], found["val"], found["test"]) == (24, 6, 12)
    with open(tmp_path / "out" / "pets" / "test.csv", newline="") as file:
        assert len(list(csv.DictReader(file))) == 12
