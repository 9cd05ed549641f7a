"""`featune throughput`: options, one run, and the comparison of its report with itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from featune.bench.cli.app import app
from featune.bench.throughput import Configuration
from featune.bench.throughput.session import Asked
from featune.bench.throughput.session.identity import Identity
from featune.bench.throughput.session.serving import Bench


def featune(*words: object) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--batch", "1,x"), "auto, or numbers such as 1,8,64 expected"),
        (("--batch", "0"), "auto, or numbers"),
        (("--backend", "tensort"), "nearest: tensorrt"),
        (("--backend", "torch", "--precision", "int8"), "compute none of int8"),
        (("--rounds", "3"), "an even number"),
    ],
)
def test_a_wrong_option_is_said_before_anything_is_measured(
    options: tuple[str, ...], message: str, tmp_path: Path
) -> None:
    found = featune("throughput", "test_vit", "--untrained", *options, "--out", tmp_path)
    assert found.exit_code == 2
    assert message in found.stderr
    assert not (tmp_path / "rows.jsonl").exists()


def test_a_model_that_nobody_knows_is_no_row(tmp_path: Path) -> None:
    found = featune("throughput", "resnet19", "--untrained", "--out", tmp_path, "-q")
    assert found.exit_code == 2
    assert "nearest: resnet18" in found.stderr
    assert not (tmp_path / "rows.jsonl").exists()


def test_compare_takes_two_reports(tmp_path: Path) -> None:
    found = featune("throughput", "compare", tmp_path / "a.json")
    assert found.exit_code == 2
    assert "1 reports found, two expected" in found.stderr


class InProcess(Bench):
    """A worker without a process: a process takes seconds to import what this one has."""

    def ask(self, request: str, **options: Any) -> Any:
        return getattr(self, request)(**options)


def test_a_run_writes_its_report_which_compares_with_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def processes(asked: Asked, identity: Identity) -> Callable[[Configuration], InProcess]:
        return lambda one: InProcess(asked.source, one, tmp_path / "cache")

    monkeypatch.setattr("featune.bench.throughput.session.running._processes", processes)
    out = tmp_path / "speed"
    found = featune("throughput", "test_mambaout", "--untrained", "--backend", "torch", "--batch", 2, "--rounds", 2,
                    "--seconds", 0.02, "--threads", 1, "--out", out, "-q")  # fmt: skip
    assert found.exit_code == 0, found.output
    assert "test_mambaout, batch 2, scope (a): torch at batch 2" in found.stdout
    assert {"report.html", "report.json", "results.csv", "rows.jsonl"} <= {path.name for path in out.iterdir()}
    row = json.loads((out / "report.json").read_text())["rows"][0]
    assert (row["error"], len(row["blocks"]) >= 2) == (None, True)
    again = featune("throughput", "compare", out / "report.json", out / "report.json")
    assert again.exit_code == 0
    assert "test_mambaout torch, batch 2" in again.stdout
