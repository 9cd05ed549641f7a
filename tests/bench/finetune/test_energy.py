"""The energy of a run: of all its processes, and one number wherever it is told."""

import dataclasses
import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from featune.bench.cli.app import app
from featune.bench.finetune.command import cost_words
from featune.bench.finetune.several import energy_of_run, with_energy_of_all
from featune.bench.results import Cell, Row, RunStore
from featune.bench.throughput import WHOLE, EnergyMeter
from featune.engine.store import read_json


def test_the_result_and_its_row_tell_one_energy(colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(EnergyMeter):
        """3600 J more at each reading."""

        def __init__(self, device: str):
            super().__init__(device)
            readings = itertools.count()
            self._read = lambda: [(3600.0 * next(readings), 0.0)]

    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("featune.bench.throughput.energy_of_work.EnergyMeter", Counted)
    words = ["finetune", "test_resnet", str(colours), "--scratch", "--img-size", "32", "--batch-size", "8", "-q"]
    found = CliRunner().invoke(app, [*words, "--steps", "1", "--lr", "0.003", "--out", str(tmp_path / "run")])
    assert found.exit_code == 0, found.stderr
    cost: dict[str, Any] = read_json(tmp_path / "run" / "result.json")["cost"]  # type: ignore[index]
    [row] = RunStore(tmp_path / "run" / "runs").rows()
    assert (cost["kwh"], cost["kwh_said"]) == (row.kwh, row.kwh_said)
    assert 0 < cost["kwh"] <= 0.001
    assert "the processors" in cost["kwh_said"]


def told(kwh: float | None, said: str = "the GPU") -> Row:
    return Row(Cell("t", "m", "finetune", 0, "0" * 16), "top1", 0.5, 10, kwh=kwh, kwh_said=said)


def test_several_processes_tell_the_sum_of_theirs_or_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    own = told(0.25)
    assert with_energy_of_all(own) == own
    others = 0.5

    def summed(value: torch.Tensor) -> torch.Tensor:
        return value + others

    monkeypatch.setattr("featune.bench.finetune.several.place", lambda: (1, 2))
    monkeypatch.setattr("featune.bench.finetune.several.summed", summed)
    monkeypatch.setattr("featune.bench.finetune.several.any_of", lambda flag: flag)
    both = with_energy_of_all(own)
    assert (both.kwh, both.kwh_said) == (pytest.approx(0.75), "the GPU; the sum over 2 processes")
    assert energy_of_run(Path("run"), "cpu").path == Path("run/work/energy1.json"), "each has its own account"
    absent = told(None, "not told by this machine: no counter")
    assert with_energy_of_all(absent) == absent
    whole = with_energy_of_all(told(0.25, WHOLE))
    assert whole.kwh is None, "the machine would count as often as it has processes"
    monkeypatch.setattr("featune.bench.finetune.several.any_of", lambda flag: True)
    assert with_energy_of_all(own) == dataclasses.replace(
        own, kwh=None, kwh_said="not told: one of the processes does not know its energy"
    )


def test_the_cost_is_said_with_its_energy_or_that_it_is_unknown() -> None:
    cost = {"seconds": 90.0, "training_seconds": 60.0, "images_per_second": 12.0, "kwh": 0.0123}
    assert cost_words(cost) == "90 s, training 60 s, 12 images/s, 0.0123 kWh"
    assert "12 images/s, 0.042 Wh" in cost_words({**cost, "kwh": 4.2e-5})
    assert cost_words({**cost, "images_per_second": None, "kwh": None}) == "90 s, training 60 s; kWh unknown"
