"""Two processes on one output, one cache and one feature key: every cell is measured once and no row is lost."""

import dataclasses
import multiprocessing
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from featune.bench.data import Source, prepare
from featune.bench.regimes import ProbeSetting
from featune.bench.results import Row, RunStore
from featune.bench.study import Study
from featune.bench.study.executors import in_process
from featune.bench.study.measuring import export_graph, measure, save_failed
from featune.bench.study.running import run
from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe
from featune.engine.models import ModelSpec

QUICK = Recipe(epochs=1, batch=8, learning_rates=(0.01, 0.02))


@pytest.fixture
def study(image_folder: Callable[..., Path], tmp_path: Path, spec: ModelSpec) -> Study:
    task = prepare(Source("colours", folder=image_folder()), tmp_path / "out" / "tasks")
    regimes = {"finetune": ("finetune", QUICK), "probe": ("probe", ProbeSetting(penalties=(1.0,)))}
    return Study("test", (spec,), (task,), regimes, str(tmp_path / "out"), str(tmp_path / "cache"), threads=1)


def slowly(study: Study, seconds: float, told: "multiprocessing.Queue[object]") -> None:
    """The study, each save of a checkpoint or row taking some time longer."""
    from featune.bench.study import measuring
    from featune.engine.finetune import checkpoints

    save, measured, count = checkpoints.save, measuring.measured, []

    def late(*arguments: object) -> None:
        save(*arguments)  # type: ignore[arg-type]
        time.sleep(seconds)

    def counted(*arguments: object) -> object:
        count.append(arguments)
        return measured(*arguments)  # type: ignore[arg-type]

    checkpoints.save, measuring.measured = late, counted  # type: ignore[assignment]
    told.put(([row.error for row in run(study, in_process)], len(count)))


def test_two_processes_measure_every_cell_once_and_lose_no_row(study: Study) -> None:
    assert export_graph(study, study.graphs()[0]) is None  # slow, and locked by itself
    context = multiprocessing.get_context("spawn")
    told: multiprocessing.Queue[object] = context.Queue()
    workers = [context.Process(target=slowly, args=(study, 0.3, told)) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    found = [told.get(timeout=10) for _ in workers]
    assert [errors for errors, _ in found] == [[None, None]] * 2  # type: ignore[misc]
    assert sum(count for _, count in found) == 2  # type: ignore[misc]
    assert not list(Path(study.out, "work").glob("*"))


def test_a_cell_that_another_process_is_at_is_left_to_it_and_asked_for_last(
    study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    from featune.bench.study import measuring

    first, second = study.cells()
    with measuring._lock(study, first, wait=True):
        assert measure(study, first, wait=False) is None
        row = measure(study, second, wait=False)
    assert row is not None
    assert row.cell == second
    other = dataclasses.replace(row, cell=first)
    study.runs.save(other)
    monkeypatch.setattr(measuring, "measured", lambda study, cell: pytest.fail("measured again"))
    assert measure(study, first) == other


def test_a_false_error_does_not_replace_what_another_process_measured(study: Study) -> None:
    cell = study.cells()[0]
    row = RunStore(Path(study.out, "runs")).save(Row(cell, "top1", 0.5, 15))
    assert save_failed(study, cell, "no such file: lr0.01.pt") == row
    assert study.runs.load(cell) == row


def test_a_task_that_another_study_prepared_anew_is_not_measured_as_this_ones(
    study: Study, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    prepare(Source("colours", folder=image_folder("others", train=9, val=4, test=5)), tmp_path / "out" / "tasks")
    with pytest.raises(BadInput, match="other images or labels were prepared there"):
        from featune.bench.study import measured

        measured(study, study.cells()[0])
