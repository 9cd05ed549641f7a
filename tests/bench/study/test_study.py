import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featune.bench.cache.limits import LOOKING
from featune.bench.data import Source, prepare
from featune.bench.progress import Silent
from featune.bench.regimes import MeansSetting, ProbeSetting, Setting
from featune.bench.results import Cell, Row, RunStore, Speed, only
from featune.bench.study import (
    Study,
    finished,
    known_speeds,
    known_tasks,
    processes,
    rights,
    run_whole,
    save_plan_of,
    with_failed_cells,
)
from featune.bench.study.executors import Killed, in_process
from featune.bench.study.measuring import brief, export_graph, measure, measured
from featune.bench.study.model_speeds import speeds
from featune.bench.study.running import Outlook, run
from featune.bench.throughput import EnergyMeter, EnergyOfWork
from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe
from featune.engine.images import Augmentation, Labelled
from featune.engine.metrics import METRICS
from featune.engine.models import ModelSpec

QUICK = Recipe(epochs=4, batch=8, learning_rates=(0.02,), augmentation=Augmentation(scale=(0.6, 1.0)))
REGIMES: dict[str, tuple[str, Setting]] = {
    "probe": ("probe", ProbeSetting(penalties=(0.01, 1.0, 100.0))),
    "finetune": ("finetune", QUICK),
    "scratch": ("scratch", QUICK),
}


@pytest.fixture
def study(image_folder: Callable[..., Path], tmp_path: Path, spec: ModelSpec) -> Study:
    task = prepare(Source("colours", folder=image_folder()), tmp_path / "out" / "tasks")
    models = tuple(
        dataclasses.replace(spec.with_random_weights(seed), name=f"net{seed}", source_top1=0.2 + seed / 10)
        for seed in (0, 1)
    )
    return Study("test", models, (task,), REGIMES, str(tmp_path / "out"), str(tmp_path / "cache"), threads=1)


def outcome(row: Row) -> tuple[object, ...]:
    return row.cell, row.value, row.low, row.high, row.n, row.scores_digest


def test_every_cell_becomes_a_row_with_n_interval_and_versions(study: Study) -> None:
    rows = run(study, in_process)
    assert [row.cell for row in rows] == study.cells()
    assert len(rows) == 6
    for row in rows:
        assert row.error is None
        assert row.n == 15
        assert row.low is not None
        assert row.low <= row.value <= row.high  # type: ignore[operator]
        assert {"torch", "timm", "python"} <= set(row.environment["versions"])
        assert row.source_top1 == study.spec(row.cell.model).source_top1


class Constant:
    """A scorer that knows nothing."""

    details: Mapping[str, Any] = {}

    def __call__(self, items: Labelled) -> Any:
        return np.full((len(items), 3), 0.5, dtype=np.float32)


def test_a_row_carries_the_energy_that_its_cell_took(study: Study, tmp_path: Path) -> None:
    zone = tmp_path / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("10000000000\n")
    (zone / "energy_uj").write_text("0\n")

    def regime(*given: Any) -> Constant:
        (zone / "energy_uj").write_text("3600000000\n")
        return Constant()

    row, scores = measured(study, study.cells()[0], regime, EnergyOfWork("cpu", EnergyMeter(root=tmp_path)))
    assert row.kwh is not None
    assert 0 < row.kwh <= 0.001
    assert "the processors" in row.kwh_said
    assert study.runs.load(study.runs.save(row, scores).cell).kwh == row.kwh  # type: ignore[union-attr]
    row, _ = measured(study, study.cells()[0], regime, EnergyOfWork("cpu", EnergyMeter(root=tmp_path / "none")))
    assert row.kwh is None
    assert "not told by this machine" in row.kwh_said


def test_a_row_tells_its_images_its_view_and_the_arithmetic_of_its_regime(study: Study) -> None:
    half = ("finetune", dataclasses.replace(QUICK, epochs=1, amp=True))
    few = dataclasses.replace(study, regimes={"means": ("means", MeansSetting()), "finetune": half})
    rows = run(few.narrowed(only(["model=net0"], few.axes())), in_process)
    assert [row.environment["backend"] for row in rows] == ["onnxruntime", "torch"]
    assert [row.environment["precision"] for row in rows] == ["fp32", "bfloat16 autocast"]
    assert all(row.details["images"] == study.tasks[0].images != {} for row in rows)
    assert all(row.details["view"]["side"] == study.models[0].view.side for row in rows)


def test_a_rows_number_is_the_metric_of_its_stored_scores(study: Study) -> None:
    for row in run(study, in_process):
        truth = study.tasks[0].load("test").truth(3)
        assert METRICS["top1"](truth, study.runs.scores(row)) == row.value


def test_finished_cells_are_never_measured_again(study: Study) -> None:
    first = run(study, in_process)

    def refuse(function: object, items: object) -> object:
        assert list(items) == []  # type: ignore[call-overload]
        return iter(())

    assert run(study, refuse) == first  # type: ignore[arg-type]


def test_a_killed_study_resumes_where_it_stopped(study: Study, tmp_path: Path) -> None:
    def killed_after_two(function: Callable[[Cell], Row], items: list[Cell]) -> object:
        for cell in items[:2]:
            yield cell, function(cell)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run(study, killed_after_two)  # type: ignore[arg-type]
    assert len(finished(study)) == 2
    resumed = [outcome(row) for row in run(study, in_process)]
    elsewhere = dataclasses.replace(study, out=str(tmp_path / "again"), cache=str(tmp_path / "cache2"))
    assert resumed == [outcome(row) for row in run(elsewhere, in_process)]


def test_the_numbers_do_not_depend_on_where_cells_run(study: Study, tmp_path: Path) -> None:
    alone, two = (
        dataclasses.replace(study, out=str(tmp_path / name), cache=str(tmp_path / name)) for name in ("one", "two")
    )
    for pair in two.graphs():  # torch's export is the same in every process, and slow
        assert export_graph(two, pair) is None
    rows = run(alone, in_process)
    assert [outcome(row) for row in rows] == [outcome(row) for row in run(two, processes(2))]


def test_a_failed_cell_is_a_row_with_its_error_and_is_tried_again(study: Study) -> None:
    image = study.tasks[0].load("test").file(0)
    good = image.read_bytes()
    image.write_bytes(b"no image")
    rows = run(study, in_process)
    assert all(row.value is None and "not an image" in (row.error or "") for row in rows)
    image.write_bytes(good)
    assert all(row.error is None for row in run(study, in_process))


def test_cells_that_failed_are_tried_again_left_alone_or_all_that_is_measured(study: Study) -> None:
    cells = study.cells()
    failed, waiting = cells[1], set(cells[3:])
    for cell in cells[:3]:
        study.runs.save(
            Row(cell, "top1", None if cell == failed else 0.5, 15, error="boom" if cell == failed else None)
        )
    measured: list[set[Cell]] = []

    def noted(function: object, items: Iterable[Cell]) -> Iterator[tuple[Cell, Row]]:
        asked = list(items)
        measured.append({*asked})
        return ((cell, Row(cell, "top1", 0.5, 15)) for cell in asked)

    assert len(run(study, noted, failed="keep")) == 6
    assert len(run(study, noted, failed="only")) == 3  # nothing was saved: those that have a row
    assert len(run(study, noted)) == 6
    assert [asked for asked in measured if asked] == [waiting, {failed}, waiting | {failed}]
    narrow = with_failed_cells(study)
    assert ([spec.name for spec in narrow.models], len(narrow.tasks)) == ([failed.model], 1)


def test_a_narrowed_study_has_the_cells_that_are_meant_and_no_others(study: Study) -> None:
    meant = only(["model=net1 regime=*tune"], study.axes())
    assert study.narrowed(meant).cells() == [cell for cell in study.cells() if cell in meant] != []
    assert study.narrowed(only([], study.axes())).cells() == study.cells()


def test_changed_settings_weights_or_rules_are_other_cells(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    cells = set(study.cells())
    recipe = dataclasses.replace(QUICK, epochs=5)
    changed = dataclasses.replace(study, regimes={**REGIMES, "finetune": ("finetune", recipe)})
    assert {cell.regime for cell in set(changed.cells()) - cells} == {"finetune"}
    torch_too = dataclasses.replace(study, backend="torch")
    assert {cell.regime for cell in set(torch_too.cells()) - cells} == {"probe"}
    other = dataclasses.replace(study, models=(study.models[0].with_random_weights(7), study.models[1]))
    assert {cell.model for cell in set(other.cells()) - cells} == {"net0"}
    renamed = dataclasses.replace(study, models=tuple(dataclasses.replace(m, source_top1=0.9) for m in study.models))
    assert set(renamed.cells()) == cells
    monkeypatch.setattr("featune.bench.study.definition.RULES", -1)
    assert not set(study.cells()) & cells


def test_a_test_split_is_opened_after_the_regime_has_chosen(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    from featune.bench.regimes import table as regimes
    from featune.bench.tasks import Task

    events: list[str] = []
    load = Task.load
    monkeypatch.setattr(Task, "load", lambda self, split: events.append(split) or load(self, split))  # type: ignore[func-returns-value]
    made = regimes.REGIMES["probe"]

    def make(bench: object, setting: object) -> object:
        regime = made.make(bench, setting)  # type: ignore[arg-type]

        def watched(*args: object) -> object:
            scorer = regime(*args)  # type: ignore[arg-type]
            events.append("chosen")
            return scorer

        return watched

    monkeypatch.setitem(regimes.REGIMES, "probe", dataclasses.replace(made, make=make))
    row = measure(study, study.cells()[0])
    assert row.error is None
    assert events == ["train", "val", "chosen", "test"]


def test_a_whole_run_measures_each_models_speed_on_both_backends(study: Study) -> None:
    probe_only = dataclasses.replace(study, regimes={"probe": REGIMES["probe"]})
    rows, found = run_whole(probe_only, in_process, Silent())
    assert len(rows) == 2
    assert [(s.model, s.backend) for s in found] == [(m, b) for m in ("net0", "net1") for b in ("torch", "onnxruntime")]
    assert all(s.images_per_second > 0 and s.scope == "a" for s in found)
    assert known_speeds(probe_only) == found


def test_a_study_of_a_gpu_is_reported_on_a_machine_without_one(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    assert known_speeds(dataclasses.replace(study, device="cuda")) == []


class Told(Silent):
    """Progress that keeps what is said."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def say(self, text: str) -> None:
        self.lines.append(text)


def test_a_failed_cell_is_told_when_it_fails_and_running_cells_are_named(study: Study) -> None:
    told = Told()
    study.tasks[0].load("test").file(0).write_bytes(b"no image")
    two = dataclasses.replace(study, regimes={"probe": REGIMES["probe"]})
    seen: list[int] = []

    def one_by_one(function: Callable[[Cell], Row], items: list[Cell]) -> object:
        for item in items:
            seen.append(len(told.lines))
            yield item, function(item)

    run_whole(two, one_by_one, told)  # type: ignore[arg-type]
    assert told.lines[0] == (
        "cells: 2 to measure, running colours net0 probe; time left not known before a cell of probe is done"
    )
    assert [
        line.startswith(f"failed: colours net{at} probe: 1 file is not a") for at, line in enumerate(told.lines[1:])
    ]
    assert seen[-1] == 2  # the first cell's failure was said before the second began


def test_the_time_left_goes_by_regime_and_model(study: Study) -> None:
    outlook = Outlook(study, 2)
    first, *_ = study.cells()
    assert outlook.about().startswith("running colours net0 probe, colours net0 finetune; time left not known before")
    for cell in study.cells():
        if cell.model == "net0":  # 1 s of probe, 20 s of training
            outlook.add(Row(cell, "top1", 0.5, 15, seconds=1.0 if cell.regime == "probe" else 20.0))
    assert outlook.about() == "running colours net1 probe, colours net1 finetune; about 20 s left"
    outlook.add(Row(next(cell for cell in study.cells() if cell.model == "net1"), "top1", None, 15, error="x"))
    assert outlook.about() == "running colours net1 finetune, colours net1 scratch; about 20 s left"
    assert outlook.seconds(first) == 1.0


@pytest.mark.parametrize(
    ("error", "line"),
    [("one: bad\n  two", "one: bad"), ("Traceback (most recent call last):\n  x\nValueError: y\n", "ValueError: y")],
)
def test_an_error_is_one_line(error: str, line: str) -> None:
    assert brief(error) == line


def test_a_row_survives_its_file(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    cell = Cell("t/../x", "a b", "probe", 0, "i")
    row = store.save(Row(cell, "top1", 0.5, 4, details={"k": [1]}), np.ones((4, 2), np.float32))
    assert store.load(cell) == row
    assert list(store.rows()) == [row]
    assert store.path(cell).resolve().is_relative_to(tmp_path.resolve())
    assert store.scores(row).shape == (4, 2)
    store.path(cell).with_suffix(".npy").write_bytes(b"")
    with pytest.raises(BadInput, match="measure again"):
        store.scores(row)


def test_a_damaged_row_is_named_with_its_remedy(tmp_path: Path) -> None:
    store = RunStore(tmp_path)
    cell = Cell("t", "m", "probe", 0, "i")
    store.save(Row(cell, "top1", 0.5, 4))
    store.path(cell).write_text(json.dumps({"cell": {}}))
    with pytest.raises(BadInput, match="remove it to measure again"):
        store.load(cell)


def test_rows_tell_what_an_accuracy_is_to_be_seen_beside(study: Study) -> None:
    for row in run(dataclasses.replace(study, models=study.models[:1]), in_process):
        assert row.details["majority_test"] == pytest.approx(1 / 3)
        assert row.details["test_classes"] == 3
        if row.cell.regime != "probe":
            assert row.details["recipe"]["epochs"] == 4
            assert 0 <= row.details["train_top1"] <= 1
            assert row.details["train_images"] == 24


def test_which_images_were_right_is_read_from_the_kept_scores(study: Study) -> None:
    probe_only = dataclasses.replace(study, regimes={"probe": REGIMES["probe"]})
    rows = run(probe_only, in_process)
    out, tasks = Path(probe_only.out), probe_only.tasks
    found = rights(out, tasks, rows)
    assert {cell: one.correct.mean() for cell, one in found.items()} == {row.cell: row.value for row in rows}
    assert (found[rows[0].cell].classes == study.tasks[0].load("test").truth(3)).all()
    probe_only.runs.path(rows[0].cell).with_suffix(".npy").unlink()
    assert set(rights(out, tasks, rows)) == {rows[1].cell}
    assert rights(out, tasks, [dataclasses.replace(row, scores_digest=None) for row in rows]) == {}


def test_scores_are_not_judged_by_other_labels_than_they_were_measured_on(study: Study) -> None:
    probe_only = dataclasses.replace(study, regimes={"probe": REGIMES["probe"]}, models=study.models[:1])
    rows = run(probe_only, in_process)
    other = [dataclasses.replace(row, value=0.5) for row in rows]  # as if the labels had been others then
    assert rights(Path(probe_only.out), probe_only.tasks, other) == {}


def test_a_task_that_was_prepared_anew_is_not_the_plans(study: Study, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("name: x")
    plan = save_plan_of(study, tmp_path / "study.yaml")
    assert [task.digest for task in known_tasks(plan)] == [task.digest for task in study.tasks]
    changed = dataclasses.replace(plan, folders=tuple((task, folder, "0" * 16) for task, folder, _ in plan.folders))
    assert known_tasks(changed) == []


def test_speeds_under_load_are_measured_again_and_quiet_ones_kept(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = iter([(29.5, True), (50.0, False), (20.0, True), (134.0, False), (99.0, False), (98.0, False)])
    one = dataclasses.replace(study, models=study.models[:1])
    measured = []

    def fake(study: Study, spec: ModelSpec, backend: str, sample: object) -> Speed:
        measured.append(backend)
        rate, loaded = next(rates)
        return Speed(spec.name, backend, "fp32", "cpu", 32, 1, "a", rate, 1.0, 1.0, 5, loaded)

    monkeypatch.setattr("featune.bench.study.model_speeds._speed", fake)
    assert [found.images_per_second for found in speeds(one)] == [29.5, 50.0]
    busy = speeds(one)  # the machine is still busy, and slower
    assert [(found.images_per_second, found.loaded) for found in busy] == [(29.5, True), (50.0, False)]
    assert [(found.images_per_second, found.loaded) for found in speeds(one)] == [(134.0, False), (50.0, False)]
    assert [found.images_per_second for found in speeds(one)] == [134.0, 50.0]
    assert measured == ["torch", "onnxruntime", "torch", "torch"]
    assert [found.images_per_second for found in speeds(one, remeasure=True)] == [99.0, 98.0]


def test_no_look_at_the_cache_is_taken_while_speeds_are_measured(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    paused = []

    def fake(study: Study, spec: ModelSpec, backend: str, sample: object) -> Speed:
        paused.append(LOOKING.locked())
        return Speed(spec.name, backend, "fp32", "cpu", 32, 1, "a", 10.0, 1.0, 1.0, 5)

    monkeypatch.setattr("featune.bench.study.model_speeds._speed", fake)
    speeds(study)
    assert paused == [True] * 4
    assert not LOOKING.locked()


def test_a_speed_whose_process_is_killed_is_left_out_and_said_and_the_others_are_measured(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fake(study: Study, spec: ModelSpec, backend: str, sample: object) -> Speed:
        if spec.name == "net1":
            raise RuntimeError("out of memory")
        return Speed(spec.name, backend, "fp32", "cpu", 32, 1, "a", 10.0, 1.0, 1.0, 5)

    def execute(function: Callable[..., Any], items: Iterable[Any]) -> Iterator[Any]:
        for item in items:
            yield item, Killed("killed") if item[1] == "torch" else function(item)

    monkeypatch.setattr("featune.bench.study.model_speeds._speed", fake)
    said: list[str] = []
    found = speeds(study, execute, on_failure=said.append)
    assert [(one.model, one.backend) for one in found] == [("net0", "onnxruntime")]
    assert said == [
        "failed: throughput of net0 on torch: killed",
        "failed: throughput of net1 on torch: killed",
        "failed: throughput of net1 on onnxruntime: RuntimeError: out of memory",
    ]


def test_speeds_of_before_load_was_watched_are_still_read(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    old = {"model": "x", "backend": "torch", "precision": "fp32", "device": "cpu", "batch": 32, "threads": 1,
           "scope": "a", "images_per_second": 5.0, "median_ms": 1.0, "p95_ms": 1.0, "iterations": 5}  # fmt: skip
    monkeypatch.setattr("featune.bench.results.plan.read_json", lambda path: old)
    assert {(found.loaded, found.others_busy) for found in known_speeds(study)} == {(False, None)}


def test_a_p95_that_was_kept_of_too_few_calls_is_not_shown(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = {"model": "x", "backend": "torch", "precision": "fp32", "device": "cpu", "batch": 32, "threads": 1,
            "scope": "a", "images_per_second": 5.0, "median_ms": 1.0, "p95_ms": 1.5}  # fmt: skip
    for calls, shown in ((71, None), (72, 1.5)):
        monkeypatch.setattr("featune.bench.results.plan.read_json", lambda path, n=calls: {**kept, "iterations": n})
        assert {found.p95_ms for found in known_speeds(study)} == {shown}
