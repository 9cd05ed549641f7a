"""Shares without communication, the script of a job array, announced stops, and what is still to run."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.testing
from hypothesis import given
from hypothesis import strategies as st

from featune.bench.cli.app import app
from featune.bench.cli.studies import running
from featune.bench.progress import Silent
from featune.bench.results import Cell, Row, RunStore
from featune.bench.study import Study
from featune.bench.study.cluster import (
    Job,
    Shard,
    array_script,
    missing_shards,
    parsed_shard,
    ranges,
    share,
    stopping_on_signals,
    work_on_share,
)
from featune.bench.study.executors import in_process
from featune.engine.errors import BadInput

MODEL = "{{architecture: test_resnet, pretrained: false, side: 32, name: net{0}}}"


def cells(models: int, tasks: int, regimes: int = 2, seeds: int = 2) -> list[Cell]:
    return [
        Cell(f"task{t}", f"model{m}", f"regime{r}", seed, "0" * 16)
        for m in range(models) for t in range(tasks) for r in range(regimes) for seed in range(seeds)
    ]  # fmt: skip


@given(st.integers(0, 6), st.integers(1, 5), st.integers(1, 40))
def test_every_cell_is_in_one_share_and_sizes_differ_by_one_at_most(models: int, tasks: int, count: int) -> None:
    whole = cells(models, tasks)
    parts = [share(whole, Shard(number, count)) for number in range(1, count + 1)]
    assert sorted(cell.name for part in parts for cell in part) == sorted(cell.name for cell in whole)
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1


@given(st.permutations(cells(3, 2)))
def test_the_shares_do_not_depend_on_the_order_of_the_study_file(shuffled: list[Cell]) -> None:
    assert share(shuffled, Shard(2, 5)) == share(cells(3, 2), Shard(2, 5))


def test_cells_of_one_model_and_task_share_their_features_in_one_share() -> None:
    whole = cells(5, 4)  # 20 pairs of 4 cells each
    for number in range(1, 11):
        part = share(whole, Shard(number, 10))
        assert len({(cell.model, cell.task) for cell in part}) == len(part) / 4


@pytest.mark.parametrize("text", ["0/3", "4/3", "3", "1/0", "a/b", "-1/3", "1/3/5", "1.0/2"])
def test_a_share_that_is_none_is_refused_with_the_form_that_is_expected(text: str) -> None:
    with pytest.raises(BadInput, match="I from 1 to N expected"):
        parsed_shard(text)
    assert parsed_shard("3/8") == Shard(3, 8)


def test_ranges_are_those_of_sbatch() -> None:
    assert ranges([7, 1, 4, 5, 6]) == "1,4-7"
    assert ranges([]) == ""
    assert ranges([2, 3]) == "2-3"


def test_the_missing_shares_are_those_of_the_cells_that_are_not_done() -> None:
    whole = cells(3, 3)
    lost = share(whole, Shard(4, 7))[0]
    assert missing_shards(whole, [cell for cell in whole if cell != lost], 7) == [4]
    assert missing_shards(whole, whole, 7) == []
    assert missing_shards(whole, [], 7) == list(range(1, 8))


def test_a_signal_before_the_limit_is_an_interrupt_and_the_next_one_nothing() -> None:
    before = signal.getsignal(signal.SIGTERM)
    saved = []
    with pytest.raises(KeyboardInterrupt), stopping_on_signals():
        try:
            os.kill(os.getpid(), signal.SIGUSR1)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)  # at the limit, while the work is saved
            saved.append("row")
    assert saved == ["row"]
    assert signal.getsignal(signal.SIGTERM) == before


def test_a_signal_while_modules_are_imported_stops_after_the_import(monkeypatch: pytest.MonkeyPatch) -> None:
    done = []

    def slow_import(name: str) -> None:
        os.kill(os.getpid(), signal.SIGUSR1)
        done.append(name)

    monkeypatch.setattr("importlib.import_module", slow_import)
    with pytest.raises(KeyboardInterrupt), stopping_on_signals(["torch", "timm"]):
        done.append("the block")
    assert done == ["torch", "timm"]


def test_outside_the_main_thread_nothing_is_changed() -> None:
    found: list[bool] = []

    def work() -> None:
        with stopping_on_signals():
            found.append(True)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [True]


# --- The script


def script(tmp_path: Path, python: str = sys.executable, **job: Any) -> str:
    return array_script(
        tmp_path / "my study.yaml", tmp_path / "out put", "my study", Job(**{"shards": 4, **job}), python=python,
        folder=tmp_path, cache=tmp_path / "cache", environment={"HF_HUB_OFFLINE": "1"},
    )  # fmt: skip


def fake_python(tmp_path: Path, code: int = 0) -> Path:
    """A python that writes down how it was called; `doctor` ends with `code`."""
    path = tmp_path / "fake python"
    path.write_text(
        f'#!/bin/bash\nexec >> "{tmp_path}/calls"\nprintf "%s|" "$PWD" "$FEATUNE_CACHE_DIR" "$@"; echo\n'
        f'[ "$3" = doctor ] && exit {code}\nexit 0\n'
    )
    path.chmod(0o755)
    return path


def submitted(tmp_path: Path, text: str, task: int = 3) -> int:
    (tmp_path / "job.sbatch").write_text(text)
    environment = {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_CPUS_PER_TASK": "2", "PATH": os.environ["PATH"]}
    return subprocess.run(["bash", str(tmp_path / "job.sbatch")], env=environment, capture_output=True).returncode


def test_the_script_checks_the_node_and_then_runs_the_tasks_share_whatever_the_names(tmp_path: Path) -> None:
    assert submitted(tmp_path, script(tmp_path, str(fake_python(tmp_path)))) == 0
    doctor, run = (line.split("|") for line in (tmp_path / "calls").read_text().splitlines())
    assert doctor[:2] == run[:2] == [str(tmp_path), str(tmp_path / "cache")]
    assert doctor[2:-1] == ["-m", "featune", "doctor", "--quick"]
    assert run[2:-1] == [
        "-m", "featune", "study", "run", str(tmp_path / "my study.yaml"), "--out", str(tmp_path / "out put"),
        "--shard", "3/4", "--jobs", "2",
    ]  # fmt: skip


def test_a_node_that_lacks_something_ends_with_4_before_any_work(tmp_path: Path) -> None:
    assert submitted(tmp_path, script(tmp_path, str(fake_python(tmp_path, code=4)))) == 4
    assert (tmp_path / "calls").read_text().count("\n") == 1
    assert submitted(tmp_path, script(tmp_path, str(tmp_path / "not there"))) == 4


def test_the_scripts_head_asks_for_what_was_given_and_a_signal_to_the_shell_before_the_limit(tmp_path: Path) -> None:
    text = script(tmp_path, time="1-00:00:00", at_once=2, gpus=1, grace=60, options=("mem=16G", "exclusive"))
    head = [line.removeprefix("#SBATCH ") for line in text.splitlines() if line.startswith("#SBATCH")]
    assert {"--array=1-4%2", "--time=1-00:00:00", "--signal=B:USR1@60", "--gpus-per-task=1"} <= set(head)
    assert {"--mem=16G", "--exclusive", "--job-name=my_study"} <= set(head)
    assert f'--output="{tmp_path}/out put/slurm/%A_%a.log"' in head
    # sbatch reads no line after the first command
    assert text.index("#SBATCH --exclusive") < text.index("set -eu")


@pytest.mark.parametrize("time", ["1440", "7", "06:01", "0-01", "1-00:00", "200-00:00:00"])
def test_every_form_of_a_limit_that_sbatch_takes_is_taken(tmp_path: Path, time: str) -> None:
    assert f"#SBATCH --time={time}\n" in script(tmp_path, time=time)


def test_the_place_of_the_logs_is_quoted_whatever_its_letters(tmp_path: Path) -> None:
    text = array_script(
        tmp_path / "s.yaml", tmp_path / "a#b", "s", Job(1), python="python", folder=tmp_path, cache=tmp_path,
        environment={},
    )  # fmt: skip
    assert f'#SBATCH --output="{tmp_path}/a#b/slurm/%A_%a.log"\n' in text


@pytest.mark.parametrize(
    "wrong",
    [
        {"time": "4h"},
        {"time": "5"},
        {"time": "0-00:06:00"},
        {"time": "7", "grace": 361},
        {"options": ("mem=16G\nrm -rf",)},
        {"options": ("array=1-3",)},
        {"options": ("--mem=1",)},
    ],
)
def test_options_that_would_break_the_script_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    with pytest.raises(BadInput):
        script(tmp_path, **wrong)


# --- Shares of a study


@pytest.fixture
def study_file(image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    image_folder(train=4, val=2, test=2)
    models = ", ".join(MODEL.format(seed) for seed in (0, 1))
    path = tmp_path / "s.yaml"
    path.write_text(
        f"name: s\nmodels: [{models}]\ntasks: [{{folder: colours}}]\nseeds: [0, 1]\n"
        "regimes: {probe: {penalties: [1.0]}}\n"
    )
    return path


def outcomes(folder: Path) -> set[tuple[Any, ...]]:
    rows = RunStore(folder / "runs").rows()
    return {(row.cell, row.value, row.low, row.high, row.n, row.scores_digest, row.error) for row in rows}


def test_all_shares_together_leave_the_rows_of_a_plain_run(study_file: Path, tmp_path: Path) -> None:
    for number in (2, 1, 3):
        rows, counts = work_on_share(study_file, Shard(number, 3), in_process, Silent(), out=tmp_path / "array")
        assert (counts.cells, counts.failed) == (len(rows), 0)
    work_on_share(study_file, Shard(1, 1), in_process, Silent(), out=tmp_path / "plain")
    assert outcomes(tmp_path / "array") == outcomes(tmp_path / "plain")
    assert len(outcomes(tmp_path / "plain")) == 4


@pytest.fixture
def featune(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Any]:
    monkeypatch.setattr(running, "executor", lambda jobs: in_process)
    monkeypatch.chdir(tmp_path)
    return lambda *words: typer.testing.CliRunner().invoke(app, [*words])


def fake(study: Study, cell: Cell) -> tuple[Row, None]:
    return Row(cell, "top1", 0.5, 6), None


def test_a_share_that_is_stopped_leaves_what_is_done_and_missing_names_it_until_it_ran_again(
    study_file: Path, featune: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featune.bench.study.running.export_graph", lambda study, pair: None)
    at_work: list[Cell] = []

    def stopped_at_the_second(study: Study, cell: Cell) -> tuple[Row, None]:
        at_work.append(cell)
        if len(at_work) == 2:
            os.kill(os.getpid(), signal.SIGUSR1)
        return fake(study, cell)

    assert featune("study", "missing", "s.yaml", "-n", "2").stdout == "1-2\n"
    monkeypatch.setattr("featune.bench.study.measuring.measured", stopped_at_the_second)
    assert featune("study", "run", "s.yaml", "--shard", "2/2", "-q").exit_code == 130
    monkeypatch.setattr("featune.bench.study.measuring.measured", fake)
    assert featune("study", "run", "s.yaml", "--shard", "1/2", "-q").exit_code == 0
    left = json.loads(featune("study", "missing", "s.yaml", "-n", "2", "--json").stdout)
    assert left == {"array": "2", "shards": [2], "cells_left": 1}
    done = featune("study", "run", "s.yaml", "--shard", "2/2", "-q", "--json")
    assert (done.exit_code, json.loads(done.stdout)["done"]) == (0, 2)
    assert featune("study", "missing", "s.yaml", "-n", "2").stdout == ""


def test_a_failed_cell_ends_its_share_with_1_and_is_missing(
    study_file: Path, featune: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(study: Study, cell: Cell) -> tuple[Row, None]:
        if cell.model == "net0" and cell.seed == 0:
            raise BadInput("no such thing; do this")
        return fake(study, cell)

    monkeypatch.setattr("featune.bench.study.running.export_graph", lambda study, pair: None)
    monkeypatch.setattr("featune.bench.study.measuring.measured", failing)
    done = featune("study", "run", "s.yaml", "--shard", "1/1", "-q")
    assert done.exit_code == 1
    assert "no such thing; do this" in done.stderr
    assert featune("study", "missing", "s.yaml", "-n", "1").stdout == "1\n"


def test_the_command_writes_a_script_that_bash_accepts_and_no_token(
    study_file: Path, featune: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_neverwritten")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    done = featune("study", "slurm", "s.yaml", "-n", "5", "--sbatch", "mem=8G")
    file = Path(done.stdout.strip())
    assert done.exit_code == 0
    assert file == Path("runs/s/slurm/s.sbatch")
    text = file.read_text()
    assert "hf_neverwritten" not in text
    assert f"export HF_HOME={tmp_path / 'hub'}" in text
    assert subprocess.run(["bash", "-n", str(file)]).returncode == 0
