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


DIVERGED = {"value": None, "error": "the loss is nan", "seconds": 1.0}
GOOD = {"value": 0.9, "error": None, "seconds": 1.0}


def begun(place: Path, *files: str) -> Folder:
    """The folder of a run WAS that has begun, with these files in its `work`; the folder as WANTED sees it."""
    Folder(place, WAS).claim()
    write_json(place / "work" / "energy.json", {})
    write_text(place / "work" / "net.jsonl", json.dumps({"step": 1, "loss": 1.0}) + "\n")
    write_json(place / "work" / "net-step5" / "step.json", {"step": 5})
    for name in files:
        write_text(place / "work" / name, "made")
    return Folder(place, WANTED)


def diverged(place: Path, trial: dict[str, object]) -> Folder:
    """As `begun`, of a run that ended without a model after this trial."""
    folder = begun(place, "net.pt")
    write_json(place / "work" / "trials" / "net.9.json", trial)
    write_json(place / "runs" / "net" / "row.json", {"value": None})
    Folder(place, WAS).end_without_model({"error": "the training diverged"})
    return folder


def test_a_folder_of_a_start_that_was_refused_takes_another_run(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folder = begun(tmp_path / "run")
    folder.claim()
    assert json.loads((folder.path / "run.json").read_text()) == WANTED
    assert "it held a run with another model and another seed, which came to nothing" in caplog.text
    assert str(folder.path / "work-1") in caplog.text
    assert (folder.path / "work-1" / "net.jsonl").exists()
    Folder(folder.path, WAS).claim()  # and again, where this one came to nothing too
    assert (folder.path / "work-2").is_dir()


@pytest.mark.parametrize("trial", [DIVERGED, GOOD], ids=["no trial had a value", "the refit diverged"])
def test_all_that_a_run_without_a_model_left_is_put_aside_but_its_kept_steps(
    trial: dict[str, object], tmp_path: Path
) -> None:
    folder = diverged(tmp_path / "run", trial)
    folder.claim()
    assert folder.result is None
    assert {each.name for each in folder.path.iterdir()} == {"run.json", "work", "work-1"}
    aside = folder.path / "work-1"
    assert {"result.json", "runs/net/row.json", "trials/net.9.json", "net.jsonl"} <= {
        str(each.relative_to(aside)) for each in aside.rglob("*")
    }
    assert [each.name for each in folder.work.iterdir()] == ["net-step5"]


@pytest.mark.parametrize("kept", ["net.pt", "frozen/0a.npy", "budget.json", "trials/net.9.json", "timing/timing.pt"])
def test_a_run_with_anything_to_go_on_with_keeps_its_folder(kept: str, tmp_path: Path) -> None:
    folder = begun(tmp_path / "run", kept)
    said = "it holds a run with another model and another seed, which is not at its end; give the options of that run"
    with pytest.raises(BadInput, match=said):
        folder.claim()
    assert (folder.work / kept).read_text() == "made"
    Folder(folder.path, WAS).claim()


def test_a_run_that_has_ended_keeps_its_folder_and_nobody_is_told_to_go_on_with_it(tmp_path: Path) -> None:
    folder = begun(tmp_path / "run")
    write_json(folder.path / "result.json", {"test": 1})
    with pytest.raises(BadInput, match=r"another seed, which has ended, with its model; give another --out$"):
        folder.claim()


@pytest.mark.parametrize("asked", [WAS, WANTED], ids=["of the same run", "of another run"])
def test_a_folder_that_another_process_works_in_is_refused_to_a_second_one(
    asked: dict[str, object], tmp_path: Path
) -> None:
    folder = begun(tmp_path / "run")
    said = "run: another process trains there; wait for it, or give another --out$"
    with claimed(Folder(folder.path, WAS)), pytest.raises(BadInput, match=said), claimed(Folder(folder.path, asked)):
        pass
    with claimed(folder) as (own, _):
        assert own is folder


def test_the_result_of_a_run_is_given_to_all_who_ask_at_once(tmp_path: Path) -> None:
    folder = Folder(begun(tmp_path / "run").path, WAS)
    write_json(folder.path / "result.json", {"test": 1})
    with claimed(folder) as (one, _), claimed(folder) as (two, _):
        assert one.ended() == two.ended() == {"test": 1}


def test_the_file_of_the_lock_stays_the_same_one(tmp_path: Path) -> None:
    folder, seen = Folder(tmp_path / "run", WAS), []
    for _ in range(2):
        with claimed(folder):
            seen.append((folder.path / ".run.lock").stat().st_ino)
    assert seen == [(folder.path / ".run.lock").stat().st_ino] * 2


def test_no_lock_is_left_in_a_folder_of_other_files(tmp_path: Path) -> None:
    write_text(tmp_path / "holiday.txt", "mine")
    with pytest.raises(BadInput, match=r"holiday\.txt found"), claimed(Folder(tmp_path, WAS)):
        pass
    assert [each.name for each in tmp_path.iterdir()] == ["holiday.txt"]


def test_what_differs_is_said_in_english(tmp_path: Path) -> None:
    was = {"settings of the recipe": "a", "minutes": 1, "data": "one", "scratch": False}
    Folder(tmp_path, was).claim()
    write_json(tmp_path / "result.json", {})
    said = "a run with other settings of the recipe, other minutes, other data, another choice of --scratch and another"
    with pytest.raises(BadInput, match=f"{said} number of processes"):
        Folder(tmp_path, dict.fromkeys(was, "") | {"processes": 2}).claim()
