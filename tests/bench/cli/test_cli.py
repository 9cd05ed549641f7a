"""The command line as a user meets it: another folder, a small study, and every kind of bad input."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import typer.testing

from featune.bench.cli.app import app
from featune.bench.cli.studies import running
from featune.bench.study.executors import in_process

COMMAND = [sys.executable, "-c", "from featune.bench.cli.app import app; app()"]
MODEL = "{architecture: test_resnet, pretrained: false, side: 32, source_top1: 0.5}"


Featune = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def featune(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Featune:
    """Runs the command in a folder of its own, in this process, which has imported torch; pools are none."""
    (tmp_path / "cwd").mkdir()
    monkeypatch.chdir(tmp_path / "cwd")
    monkeypatch.setattr(running, "executor", lambda jobs: in_process)
    environment = {"FEATUNE_CACHE_DIR": str(tmp_path / "cache")}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        done = typer.testing.CliRunner().invoke(app, list(arguments), env=environment)
        return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)

    return run


@pytest.fixture
def featune_alone(tmp_path: Path) -> Featune:
    """Runs the command in a folder of its own, in a process of its own."""
    (tmp_path / "cwd").mkdir(exist_ok=True)
    environment = {"FEATUNE_CACHE_DIR": str(tmp_path / "cache"), "PYTHONPATH": str(Path(__file__).parents[3])}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run([*COMMAND, *arguments], cwd=tmp_path / "cwd", env=os.environ | environment,
                              capture_output=True, text=True, timeout=300)  # fmt: skip

    return run


def study_file(folder: Path, text: str = "", regimes: str = "[probe]") -> Path:
    path = folder / "study.yaml"
    path.write_text(text or f"name: s\nmodels: [{MODEL}]\ntasks: [{{folder: colours}}]\nregimes: {regimes}\n")
    return path


def test_a_study_of_a_users_folder_runs_from_another_directory(
    featune: Featune, featune_alone: Featune, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    image_folder("colours")
    path = study_file(tmp_path)
    done = featune_alone("study", "run", str(path), "--json", "--jobs", "1")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [row["value"] for row in result["rows"]] == [1.0]
    out = tmp_path / "cwd" / "runs" / "s"
    for name in ("report.html", "results.csv", "correlations.csv", "throughput.csv"):
        assert (out / name).stat().st_size > 0
    assert list((out / "figures").glob("*.png"))

    status = featune("study", "status", str(path))
    assert status.stdout.strip() == "1 cells, 1 done, 0 failed, 0 waiting"
    (out / "report.html").unlink()
    table = featune("study", "report", str(path), "-q")
    assert table.returncode == 0
    assert "100.0" in table.stdout
    assert table.stderr == ""
    assert (out / "report.html").exists()


def test_only_the_cells_that_are_meant_are_measured_counted_and_reported(
    featune: Featune, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    image_folder("colours")
    path = study_file(tmp_path, regimes="{probe: {penalties: [1.0]}, means: {}}")
    none = featune("study", "run", str(path), "-q", "--only", "regime=finetune")
    assert none.returncode == 2
    assert "no regime of this name; the study has probe, means" in none.stderr
    some = featune("study", "run", str(path), "-q", "--json", "--only", "regime=mean*")
    assert [row["cell"]["regime"] for row in json.loads(some.stdout)["rows"]] == ["means"], some.stderr
    status = featune("study", "status", str(path)).stdout.splitlines()
    assert status[0] == "2 cells, 1 done, 0 failed, 1 waiting"
    assert status[1] == "left: not known; no cell of probe has been measured yet"
    status = featune("study", "status", str(path), "--only", "regime=means").stdout.splitlines()
    assert status == ["1 cells, 1 done, 0 failed, 0 waiting"]
    assert len(json.loads(featune("study", "run", str(path), "-q", "--json").stdout)["rows"]) == 2
    report = featune("study", "report", str(path), "-q", "--json", "--only", "regime=probe")
    assert [row["cell"]["regime"] for row in json.loads(report.stdout)["rows"]] == ["probe"]
    assert "only regime=probe" in (tmp_path / "cwd" / "runs" / "s" / "report.html").read_text()


def test_failed_cells_can_be_kept_or_be_all_that_is_measured(
    featune: Featune, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder("colours")
    path = study_file(tmp_path, regimes="{means: {}, finetune: {epochs: 1, learning_rates: [1.0e+18]}}")
    first = featune("study", "run", str(path), "-q", "--only", "regime=finetune")
    assert first.returncode == 1
    assert f"1 of 1 cells failed; `featune study retry {path}` measures them again" in first.stderr
    rows = sorted((tmp_path / "cwd" / "runs" / "s" / "runs").rglob("*.json"))
    before = rows[0].stat().st_mtime_ns
    assert featune("study", "run", str(path), "-q", "--keep-failed", "--only", "regime=finetune").returncode == 1
    assert rows[0].stat().st_mtime_ns == before
    assert featune("study", "retry", str(path), "-q").returncode == 1
    assert sorted((tmp_path / "cwd" / "runs" / "s" / "runs").rglob("*.json")) == rows  # means was not measured
    assert rows[0].stat().st_mtime_ns > before
    assert featune("study", "run", str(path), "-q", "--only", "regime=means").returncode == 0
    nothing = featune("study", "retry", str(path), "--only", "regime=means")
    assert nothing.returncode == 0, nothing.stderr
    assert "no cell has failed: nothing to measure" in nothing.stderr
    assert folder.exists()


def test_an_unreadable_image_stops_before_any_work(
    featune: Featune, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    folder = image_folder("colours")
    (folder / "train" / "red" / "note.jpg").write_text("a text file")
    (folder / "test" / "blue" / "0.png").write_bytes(b"")
    done = featune("study", "run", str(study_file(tmp_path)))
    assert done.returncode == 2
    assert done.stdout == ""
    assert "2 files are not readable images" in done.stderr
    assert "note.jpg: not an image of a known format" in done.stderr
    assert "0.png: empty file" in done.stderr
    assert "Traceback" not in done.stderr


def test_an_output_that_cannot_be_written_is_named(
    featune: Featune, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    image_folder("colours")
    (tmp_path / "file").write_text("")
    done = featune("study", "run", str(study_file(tmp_path)), "--out", str(tmp_path / "file" / "out"))
    assert done.returncode == 2
    assert done.stderr.startswith("featune: cannot write")
    assert "choose another --out" in done.stderr


def test_a_failed_cell_leaves_with_one_and_says_why(
    featune: Featune, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    image_folder("colours")
    path = study_file(tmp_path, regimes="{finetune: {epochs: 1, learning_rates: [1.0e+18]}, probe: {}}")
    done = featune("study", "run", str(path), "-q", "--jobs", "1")
    assert done.returncode == 1
    assert "1 of 2 cells failed" in done.stderr
    assert "lower it" in done.stderr
    assert "report.html" in done.stdout


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: s\nmodels: [resnet19]\ntasks: [{folder: colours}]\n", "nearest: resnet18"),
        (f"name: s\nmodel: [{MODEL}]\ntasks: [{{folder: colours}}]\n", "model: unknown key; nearest: models"),
        (f"name: s\nmodels: [{MODEL}]\ntasks: [{{folder: colours/train}}]\nbackend: torchh\n", "nearest: torch"),
    ],
)
def test_a_wrong_study_file_leaves_with_two_and_one_clear_message(
    featune: Featune,
    image_folder: Callable[..., Path],
    tmp_path: Path,
    text: str,
    message: str,
) -> None:
    image_folder("colours")
    done = featune("study", "run", str(study_file(tmp_path, text)))
    assert done.returncode == 2
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_help_and_version_answer_without_importing_torch() -> None:
    script = "import sys; from featune.bench.cli.app import app\ntry: app(['--help'])\nexcept SystemExit: pass\n"
    script += "sys.exit(any(name in sys.modules for name in ('torch', 'numpy', 'timm')))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    for word in ("demo", "study", "--version", "Exit codes"):
        assert word in done.stdout
    version = [sys.executable, "-m", "featune.bench.cli.app", "--version"]
    done = subprocess.run(version, capture_output=True, text=True, timeout=60, cwd=Path(__file__).parents[3])
    assert done.stdout.startswith("featune 0.")


@pytest.mark.parametrize(
    "command", [["demo"], ["study", "run"], ["study", "status"], ["study", "report"], ["study", "index"]]
)
def test_every_commands_help_has_an_example(command: list[str], featune: Featune) -> None:
    done = featune(*command, "--help")
    assert done.returncode == 0
    assert "Example: featune " + " ".join(command) in " ".join(done.stdout.split())


def test_a_study_is_begun_planned_and_compared_with_itself(
    featune: Featune, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    begun = featune("study", "init", "own.yaml")
    assert begun.stdout.strip() == "own.yaml"
    assert "name: own\n" in Path("own.yaml").read_text()
    assert featune("study", "init", "own.yaml").returncode == 2
    image_folder("colours")
    path = str(study_file(tmp_path))
    before = featune("study", "plan", path)
    assert "1 model x 1 task x 1 regime x 1 seed = 1 cell" in before.stdout
    assert "cost not known before one is done" in before.stdout
    assert featune("study", "run", path, "-q").returncode == 0
    after = json.loads(featune("study", "plan", path, "--json").stdout)
    assert after["regimes"]["probe"]["done"] == 1
    assert after["seconds_left"] == 0
    assert after["disk_bytes"] > 0
    found = featune("study", "compare", path, "runs/s")
    assert "1 cell in both, 1 of them comparable" in found.stdout
    empty = featune("study", "compare", path, str(tmp_path / "colours"))
    assert empty.returncode == 2
    assert "no row found" in empty.stderr
    both = featune("study", "report", path, "runs/s", "--compare", "--out", "both")
    assert both.stdout.strip() == "report: both/compare.html"
    alone = featune("study", "report", path, "runs/s")
    assert alone.returncode == 2
    assert "--compare" in alone.stderr
    index = featune("study", "index", ".")
    assert "runs/s/report.html: Take " in index.stdout
    assert Path("index.html").exists()


def test_the_schema_of_study_files_is_json(featune: Featune) -> None:
    assert json.loads(featune("study", "schema").stdout)["title"] == "Featune study"
