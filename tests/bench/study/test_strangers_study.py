"""A study file that somebody sent: status and report only read, and nothing leaves the study's own folders."""

import dataclasses
import http.server
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import typer.testing

from featune.bench.cli.app import app
from featune.bench.results import Row, RunStore
from featune.bench.results.rows import row_from_json
from featune.bench.study import (
    known_plan,
    outlook_lines,
    planned,
    planned_cells,
    prepared,
    read_study,
    save_plan_of,
)
from featune.engine.errors import BadInput
from featune.engine.models import spec_from_entry

ROOT = Path(__file__).parents[3]
NET = "from torch import nn\ndef net(): return nn.Sequential(nn.Flatten(), nn.Linear(3 * 32 * 32, 2))\n"
RESNET = "{architecture: test_resnet, pretrained: false, side: 32}"


@pytest.fixture
def folder(tmp_path: Path, image_folder: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with images, in which the process works."""
    image_folder("colours")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def study_file(folder: Path, model: str = RESNET, task: str = "folder: colours", name: str = "s") -> Path:
    path = folder / "study.yaml"
    path.write_text(f"name: {name!r}\nmodels: [{model}]\ntasks: [{{{task}}}]\nregimes: [probe]\n")
    return path


def featune(*arguments: str) -> typer.testing.Result:
    return typer.testing.CliRunner().invoke(app, list(arguments))


FACTORIES = ["os:system", "subprocess:run", "posix:system", "builtins:exec", "timm:create_model", "featune.engine:x",
             f"{os.__file__}:system", "mine.py:system", "mine.py:partial_system", "../elsewhere.py:net", "nowhere:net",
             "mine.py:None", "os.path:join", "a b:c"]  # fmt: skip


@pytest.mark.parametrize("factory", FACTORIES)
def test_a_factory_that_is_no_function_of_the_users_own_folder_is_refused(factory: str, folder: Path) -> None:
    (folder / "sub").mkdir()
    (folder / "elsewhere.py").write_text(NET + f"open({str(folder / 'ran')!r}, 'w')\n")
    own = "import functools\nfrom os import system\npartial_system = functools.partial(system)\n"
    (folder / "sub" / "mine.py").write_text(own)
    model = f"{{factory: {factory!r}, kwargs: {{command: touch {folder / 'ran'}}}, side: 32}}"
    with pytest.raises(BadInput, match=r"--trust|no function"):
        read_study(study_file(folder / "sub", model, "folder: ../colours"))
    assert not (folder / "ran").exists()


def test_a_factory_in_a_file_or_module_of_the_users_own_folder_is_taken(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "own_nets.py").write_text(NET + "import functools\nsame = functools.partial(net)\n")
    monkeypatch.syspath_prepend(folder)
    for factory in ("own_nets.py:net", "own_nets.py:same", "own_nets:net"):
        study, _ = read_study(study_file(folder, f"{{factory: {factory!r}, side: 32, name: n}}"))
        assert [spec.name for spec in study.models] == ["n"]


def test_trust_lets_a_factory_lie_elsewhere(folder: Path) -> None:
    (folder / "elsewhere.py").write_text(NET)
    (folder / "sub").mkdir()
    path = study_file(folder / "sub", "{factory: '../elsewhere.py:net', side: 32}", "folder: ../colours")
    assert len(read_study(path, trusted=True)[0].models) == 1


def test_arguments_that_load_files_behind_a_models_name_are_refused() -> None:
    for key in ("checkpoint_path", "cache_dir", "pretrained_cfg", "pretrained_cfg_overlay"):
        with pytest.raises(BadInput, match=f"kwargs: {key} found"):
            spec_from_entry({"architecture": "test_resnet", "pretrained": False, "kwargs": {key: "x"}})


def test_a_download_goes_to_the_studys_own_folder_unless_it_is_trusted(folder: Path) -> None:
    (folder / "sub").mkdir()
    task = "images: torch/mnist, root: ../elsewhere, download: true"
    with pytest.raises(BadInput, match=r"root '../elsewhere' with download lies outside"):
        read_study(study_file(folder / "sub", task=task))
    assert not (folder / "elsewhere").exists()


@pytest.mark.parametrize("name", ["../../victim", "a/b", "..", "", "/etc", "x" * 256])
def test_names_that_leave_their_folder_are_refused_together_before_any_work(name: str, folder: Path) -> None:
    path = study_file(folder, task=f"folder: colours, name: {name!r}", name=name)
    with pytest.raises(BadInput) as refused:
        read_study(path)
    if name:
        assert "name: the study's name" in str(refused.value)
        assert "tasks[0]: the task's name" in str(refused.value)
    else:
        assert "name: expected text" in str(refused.value)
        assert "tasks[0].name: expected text" in str(refused.value)
    with pytest.raises(BadInput, match="the study's name" if name else "name: expected text"):
        known_plan(path)
    assert {entry.name for entry in folder.iterdir()} == {"study.yaml", "colours"}


@pytest.fixture
def asked() -> Iterator[tuple[str, list[str]]]:
    """(address of a server on this machine, what it was asked for)."""
    found: list[str] = []

    class Server(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found.append(self.path)
            self.send_error(404)

        def log_message(self, format: str, *arguments: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Server) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}", found
        server.shutdown()
        thread.join()


def test_status_and_report_run_no_code_and_fetch_nothing(folder: Path, asked: tuple[str, list[str]]) -> None:
    address, found = asked
    (folder / "mine.py").write_text(NET + f"open({str(folder / 'ran')!r}, 'w')\n")
    path = study_file(
        folder, "{factory: 'mine.py:net', side: 32}", f"images: 'wds/http://{address}/a.tar', download: true"
    )
    before = sorted(folder.rglob("*"))
    status = featune("study", "status", str(path))
    assert (status.exit_code, status.stdout) == (0, "1 cells, 0 done, 0 failed, 1 waiting\n")
    report = featune("study", "report", str(path))
    assert report.exit_code == 2
    assert "run the study first" in report.stderr
    assert sorted(folder.rglob("*")) == before
    assert found == []


def test_status_and_report_know_the_cells_of_the_last_run_without_its_code(folder: Path) -> None:
    (folder / "mine.py").write_text(NET)
    path = study_file(folder, f"{{factory: 'mine.py:net', side: 32, name: own}}, {RESNET}")
    study, sources = read_study(path, folder / "out")
    study = prepared(study, sources)
    save_plan_of(study, path)
    (folder / "mine.py").unlink()
    plan, out, remarks = known_plan(path, folder / "out")
    assert (plan.cells, out, remarks) == (tuple(study.cells()), folder / "out", [])
    assert plan.rows(out) == []
    path.write_text(path.read_text() + "notes: [read this]\nseeds: [0, 1]\n")
    plan, _, remarks = known_plan(path, folder / "out")
    assert len(plan.cells) == 2
    assert plan.notes == ("read this",)
    assert "was changed since its last run" in remarks[0]
    assert planned(path) == 4


def test_a_plan_does_not_count_rows_of_other_settings_as_done(folder: Path) -> None:
    """A folder kept the rows of earlier settings, and half of a study was called whole."""
    path = study_file(folder)
    path.write_text(path.read_text() + "seeds: [0, 1]\n")
    study, sources = read_study(path, folder / "out")
    save_plan_of(study := prepared(study, sources), path)
    one, other = study.cells()
    store = RunStore(folder / "out" / "runs")
    for cell in (one, dataclasses.replace(other, inputs="of earlier settings")):
        store.save(Row(cell, "top1", 0.5, 10, seconds=2.0))
    found = planned_cells(path, folder / "out")
    assert (found["regimes"]["probe"]["done"], found["done_is_exact"], found["seconds_left"]) == (1, True, 2.0)
    path.write_text(path.read_text() + "# changed\n")
    found = planned_cells(path, folder / "out")
    assert (found["regimes"]["probe"]["done"], found["done_is_exact"]) == (2, False)
    assert "probe: 2 cells, at most 2 done; 2.0 s" in "\n".join(outlook_lines(found))


def test_a_plan_reads_each_row_once(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = study_file(folder)
    path.write_text(path.read_text() + "seeds: [0, 1, 2]\n")
    study, sources = read_study(path, folder / "out")
    save_plan_of(study := prepared(study, sources), path)
    for cell in study.cells():
        RunStore(folder / "out" / "runs").save(Row(cell, "top1", 0.5, 10, seconds=2.0))
    read: list[Path] = []

    def counted(path: Path) -> Row:
        read.append(path)
        return row_from_json(path)

    monkeypatch.setattr("featune.bench.results.rows.row_from_json", counted)
    found = planned_cells(path, folder / "out")["regimes"]["probe"]
    assert (found["done"], found["seconds_each"]) == (3, 2.0)
    assert len(read) == 3


def test_the_plan_of_an_unchanged_file_is_read_without_torch(folder: Path) -> None:
    path = study_file(folder)
    study, sources = read_study(path, folder / "out")
    save_plan_of(prepared(study, sources), path)
    code = "import atexit, sys\nfrom featune.bench.cli.app import app\n"
    code += "atexit.register(lambda: print('torch' in sys.modules))\napp()"
    command = [sys.executable, "-c", code, "study", "status", str(path), "--out", str(folder / "out")]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
    assert (done.returncode, done.stderr) == (0, "")
    counted, left, torch_was_imported = done.stdout.splitlines()
    assert counted == "1 cells, 0 done, 0 failed, 1 waiting"
    assert left == "left: not known; no cell of probe has been measured yet"
    assert torch_was_imported == "False"


def test_rows_without_a_plan_are_not_counted_by_guess(folder: Path) -> None:
    path = study_file(folder)
    (folder / "out" / "runs" / "colours").mkdir(parents=True)
    (folder / "out" / "runs" / "colours" / "a.json").write_text("{}")
    with pytest.raises(BadInput, match=r"has rows, and no study\.cpu\.plan\.json .* measures nothing twice"):
        known_plan(path, folder / "out")


@pytest.mark.parametrize("task", ["folder", "csv", "prepared", "images"])
def test_a_path_that_no_file_can_have_is_a_problem_of_the_file_and_no_traceback(task: str, folder: Path) -> None:
    with pytest.raises(BadInput):
        read_study(study_file(folder, task=f"{task}: {'x' * 300}"))
    with pytest.raises(BadInput):
        read_study(study_file(folder, task=f"images: wds/{'x' * 300}"))


@pytest.mark.parametrize("key", ["folder", "csv", "parquet", "images", "task", "prepared"])
def test_a_nul_in_a_path_is_a_fault_of_the_file(key: str, folder: Path) -> None:
    with pytest.raises(BadInput, match="no name or path holds a NUL"):
        read_study(study_file(folder, task=f'{key}: "a\\0b"'))
