"""A run: what is measured, what is kept, and what a killed run still has to do. Workers are functions."""

import contextlib
import dataclasses
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from featune.bench.progress import Silent
from featune.bench.throughput import Configuration, Effort, Refused, WorkerDied
from featune.bench.throughput.session import Asked, Journal, Result, Source, run
from featune.bench.throughput.session.identity import Identity
from featune.bench.throughput.session.request import artefact_folder
from featune.bench.throughput.session.running import build_key
from featune.engine.errors import BadInput

HERE = {"machine": "m", "processor": "p", "versions": {"torch": "2"}}
RATES = {"torch": 100.0, "onnxruntime": 200.0, "torch-compile": 300.0}


@dataclasses.dataclass
class Workers:
    """Starts fakes and counts what they are asked. broken: backends that cannot be opened, or die in a block.

    dies_after: blocks, after which the run is killed.
    """

    broken: Mapping[str, BaseException] = dataclasses.field(default_factory=dict)
    asked: Counter[str] = dataclasses.field(default_factory=Counter)
    dies_after: int | None = None

    def __call__(self, configuration: Configuration) -> "Fake":
        return Fake(self, configuration)


class Fake:
    def __init__(self, workers: Workers, configuration: Configuration):
        self.workers, self.configuration, self.size = workers, configuration, configuration.batch

    def ask(self, request: str, **options: Any) -> Any:
        self.workers.asked[request] += 1
        if request == "peak":
            return {"gmacs_per_second": 50.0, "gigabytes_per_second": 10.0, "loaded": False}
        if request == "batch":
            self.size = options["batch"]
            return {}
        return self.open(options["most"])

    def open(self, most: float) -> Mapping[str, Any]:
        error = self.workers.broken.get(self.configuration.setup.backend)
        if error:
            raise error
        return {
            "seconds": {"load": 1.0, "export": 2.0, "open": 0.5, "first_call": 0.1},
            "bytes": 1000, "gate": {"passed": True}, "side": 160, "architecture": "test_resnet",
            "no_energy": "none", "warm": {"calls": 3, "seconds": 0.1, "settled": True},
        }  # fmt: skip

    def block(self, seconds: float, calls: int) -> Mapping[str, Any]:
        self.workers.asked["block"] += 1
        if self.workers.dies_after is not None and self.workers.asked["block"] > self.workers.dies_after:
            raise KeyboardInterrupt
        one = (0.01 + self.size) / RATES[self.configuration.setup.backend]
        return {"samples": [one] * calls, "images": self.size, "wall": one * calls}

    def memory(self) -> Mapping[str, Any]:
        return {"peak_resident": 5_000_000}

    def close(self) -> None: ...


def asked(out: Path, **options: Any) -> Asked:
    return Asked(["test_resnet"], effort=Effort(rounds=6), out=out, threads=1, **options)


def ran(one: Asked, workers: Workers) -> Result:
    return run(one, Silent(), workers, HERE)


def test_each_batch_asked_for_is_a_row_on_each_backend_with_a_twin(tmp_path: Path) -> None:
    found = ran(asked(tmp_path, batches=(1, 8)), Workers())
    rows = [(row.configuration.mode, row.configuration.setup.backend, row.configuration.twin) for row in found.rows]
    assert rows == [
        (f"batch {batch}", backend, twin)
        for batch in (1, 8)
        for backend, twin in (("torch", False), ("onnxruntime", False), ("torch", True))
    ]
    assert [pair["word"] for group in found.document["verdicts"] for pair in group["pairs"]] == ["slower", "slower"]


def test_without_batches_there_is_a_latency_mode_and_the_fastest_batch(tmp_path: Path) -> None:
    found = ran(asked(tmp_path), Workers())
    modes = {row.configuration.mode: row.configuration.batch for row in found.rows}
    assert modes == {"latency": 1}  # no larger batch is faster, so there is no second mode
    assert [each["batch"] for each in found.document["searches"]] == [1, 1]


def test_a_finished_run_measures_nothing_again(tmp_path: Path) -> None:
    first, workers = ran(asked(tmp_path, batches=(4,)), Workers()), Workers()
    again = ran(asked(tmp_path, batches=(4,)), workers)
    assert workers.asked == Counter()
    assert again.document["rows"] == first.document["rows"]


def test_a_finished_run_keeps_its_date_until_it_is_measured_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    dates = (f"2026-01-{day:02d}" for day in range(1, 32))
    monkeypatch.setattr("featune.bench.throughput.session.running.now", lambda: next(dates))
    first = ran(asked(tmp_path, batches=(4,)), Workers()).document
    again = run(asked(tmp_path, batches=(4,)), Silent(), Workers(), {**HERE, "date": "today"}).document
    assert again["measured"] == first["measured"]
    assert again["made"] > first["made"]
    assert (first["kept"], again["kept"]) == (0, 1)
    assert again["environment"] == first["environment"] == HERE
    workers = Workers()
    anew = run(asked(tmp_path, batches=(4,)), Silent(), workers, HERE, remeasure=True).document
    assert workers.asked["block"] == 18
    assert (anew["kept"], anew["measured"] > first["measured"]) == (0, True)
    assert ran(asked(tmp_path, batches=(4,)), Workers()).document["measured"] == anew["measured"]


def test_other_content_under_the_same_path_is_measured_again(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    data, weights = tmp_path / "images", tmp_path / "w.safetensors"
    data.mkdir()
    source = Source(data=data, untrained=True)

    def blocks(one: Source) -> int:
        workers = Workers()
        ran(asked(tmp_path / "out", batches=(4,), source=one), workers)
        return workers.asked["block"]

    (data / "a.png").write_bytes(b"one")
    assert [blocks(source), blocks(source)] == [36, 0]  # scopes (a) and (c)
    (data / "a.png").write_bytes(b"other")
    assert blocks(source) == 36
    for value in (1.0, 2.0):
        save_file({"weight": torch.tensor([value])}, weights)
        assert blocks(Source(checkpoint=weights)) == 18
    moved = weights.rename(tmp_path / "moved.safetensors")
    assert blocks(Source(checkpoint=moved)) == 0


def test_every_build_begins_without_an_artefact(tmp_path: Path) -> None:
    """So its seconds are of making one: after a kill in the middle of a build, and with another number of threads."""
    there: list[bool] = []

    class Making(Fake):
        def ask(self, request: str, **options: Any) -> Any:
            if request == "open":
                folder = artefact_folder(tmp_path, build_key(identity, self.configuration.setup))
                there.append(folder.exists())
                folder.mkdir(parents=True, exist_ok=True)
            return super().ask(request, **options)

    class Makers(Workers):
        def __call__(self, configuration: Configuration) -> Fake:
            return Making(self, configuration)

    source = Source(untrained=True)
    identity = Identity(source, HERE)
    for threads, broken in ((1, {"onnxruntime": KeyboardInterrupt()}), (1, {}), (2, {}), (1, {})):
        one = Asked(["test_resnet"], ("onnxruntime",), batches=(4,), effort=Effort(rounds=6), threads=threads,
                    source=source, out=tmp_path)  # fmt: skip
        with contextlib.suppress(KeyboardInterrupt):
            ran(one, Makers(broken))
    assert there == [False, False, False]


def test_a_killed_run_goes_on_with_the_groups_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        ran(asked(tmp_path, batches=(1, 8)), Workers(dies_after=20))
    lines = [json.loads(line) for line in (tmp_path / "rows.jsonl").read_text().splitlines()]
    assert Counter(line["kind"] for line in lines) == {"peak": 1, "build": 2, "block": 20, "group": 1}
    workers = Workers()
    found = ran(asked(tmp_path, batches=(1, 8)), workers)
    assert workers.asked["block"] == 18  # three workers, six rounds
    assert all(row.error is None for row in found.rows)


def test_another_machine_or_version_is_measured_again(tmp_path: Path) -> None:
    ran(asked(tmp_path, batches=(4,)), Workers())
    workers = Workers()
    run(asked(tmp_path, batches=(4,)), Silent(), workers, {**HERE, "versions": {"torch": "3"}})
    assert workers.asked["block"] == 18


@pytest.mark.parametrize("error", [WorkerDied("ended by SIGKILL"), Refused("differs from torch")])
def test_a_backend_that_cannot_be_built_is_a_row_with_its_reason(tmp_path: Path, error: Exception) -> None:
    found = ran(asked(tmp_path, batches=(4,)), Workers({"onnxruntime": error}))
    failed = [row for row in found.rows if row.error]
    assert [(row.configuration.setup.backend, row.error) for row in failed] == [("onnxruntime", str(error))]
    assert {row.configuration.setup.backend for row in found.rows if not row.error} == {"torch"}


def test_a_backend_is_asked_for_the_precisions_that_it_computes(tmp_path: Path) -> None:
    one = asked(tmp_path, precisions=("fp32", "int8"))
    assert [each.name for each in one.setups("m")] == ["torch", "onnxruntime", "onnxruntime int8"]
    with pytest.raises(BadInput, match="int8"):
        asked(tmp_path, backends=("torch",), precisions=("int8",)).setups("m")


def test_files_are_measured_where_there_is_a_folder_of_them(tmp_path: Path) -> None:
    one = asked(tmp_path, batches=(1,), source=Source(data=tmp_path))
    assert one.scopes() == ["a", "c"]
    assert asked(tmp_path).scopes() == ["a"]


def test_what_cannot_be_measured_is_refused_before_the_work(tmp_path: Path) -> None:
    for wrong, message in (
        ({"latency_limit_ms": 5.0, "batches": (1,)}, "--batch auto"),
        ({"backends": ("tensort",)}, "no backend named"),
        ({"effort": Effort(rounds=3)}, "an even number"),
    ):
        with pytest.raises(BadInput, match=message):
            Asked(["m"], out=tmp_path, **wrong)


def test_a_line_that_a_kill_cut_short_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    Journal(path).add("group", "a", {"n": 1})
    with open(path, "a") as file:
        file.write('{"kind": "group", "key": "b", "val')
    again = Journal(path)
    again.add("group", "c", {"n": 3})
    found = Journal(path)
    assert [found.find("group", key) for key in "abc"] == [{"n": 1}, None, {"n": 3}]
