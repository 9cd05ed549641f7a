"""Whose the folder of a fine-tuning is, and when another run may have it."""

import json
from pathlib import Path

import pytest

from featune.bench.finetune.folder import Folder
from featune.bench.finetune.several import claimed
from featune.engine.errors import BadInput
from featune.engine.store import write_json, write_text

WAS = {"model": "resnet18", "seed": 0, "data": "photos"}
WANTED = {"model": "resnet50", "seed": 1, "data": "photos"}


def begun(place: Path, *, steps: int, trial: dict[str, object] | None = None) -> Folder:
    """The folder of a run WAS whose one training made so many steps; the folder as WANTED sees it."""
    Folder(place, WAS).claim()
    lines = [{"step": step, "loss": 1.0} for step in range(steps + 1)]
    write_text(place / "work" / "net.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    write_text(place / "work" / "net.pt", "a checkpoint")
    if trial:
        write_json(place / "work" / "trials" / "net.9.json", trial)
    return Folder(place, WANTED)


DIVERGED = {"value": None, "error": "the loss is nan", "seconds": 1.0}


@pytest.mark.parametrize(("steps", "trial"), [(0, None), (5, DIVERGED)])
def test_a_folder_of_a_run_that_came_to_nothing_takes_another_one(
    steps: int, trial: dict[str, object] | None, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = begun(tmp_path / "run", steps=steps, trial=trial)
    write_json(folder.work / "net-step5" / "step.json", {"step": 5})
    if trial:
        write_json(folder.path / "result.json", {"error": "the training diverged"})
    folder.claim()
    assert folder.result is None
    assert json.loads((folder.path / "run.json").read_text()) == WANTED
    assert "it held a run with another model and another seed, which came to nothing" in caplog.text
    assert str(folder.path / "work-1") in caplog.text
    assert (folder.path / "work-1" / "net.jsonl").exists()
    assert [each.name for each in folder.work.iterdir()] == ["net-step5"]
    Folder(folder.path, WAS).claim()  # and again, where this one came to nothing too
    assert (folder.path / "work-2").is_dir()
    assert (folder.work / "net-step5" / "step.json").exists()


@pytest.mark.parametrize("trial", [None, {"value": 0.9, "error": None, "seconds": 1.0}])
def test_a_run_that_can_go_on_or_has_a_value_keeps_its_folder(trial: dict[str, object] | None, tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", steps=5, trial=trial)
    said = "it holds a run with another model and another seed; give another --out, or .* or remove the folder"
    with pytest.raises(BadInput, match=said):
        folder.claim()
    assert (folder.work / "net.pt").read_text() == "a checkpoint"
    Folder(folder.path, WAS).claim()


def test_a_run_that_has_ended_keeps_its_folder(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", steps=0)
    write_json(folder.path / "result.json", {"test": 1})
    with pytest.raises(BadInput, match="give another --out"):
        folder.claim()


def test_a_folder_that_another_process_works_in_is_not_taken(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", steps=0)
    with claimed(Folder(folder.path, WAS)), pytest.raises(BadInput, match="it holds a run"), claimed(folder):
        pass
    with claimed(folder) as (own, _):
        assert own is folder
    assert not list(folder.path.glob(".*"))


def test_what_differs_is_said_in_english(tmp_path: Path) -> None:
    was = {"settings of the recipe": "a", "minutes": 1, "data": "one", "scratch": False}
    Folder(tmp_path, was).claim()
    write_json(tmp_path / "result.json", {})
    said = "a run with other settings of the recipe, other minutes, other data, another choice of --scratch and another"
    with pytest.raises(BadInput, match=f"{said} number of processes"):
        Folder(tmp_path, dict.fromkeys(was, "") | {"processes": 2}).claim()
