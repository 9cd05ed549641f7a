"""Work on Ray: what is done about deaths, interrupts and nodes that see other folders, by a fake; and Ray itself."""

import dataclasses
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer.testing

from featune.bench.cli.app import app
from featune.bench.cli.studies import running
from featune.bench.study import Killed, jobs_of
from featune.bench.study.cluster import Needs, ray_tasks
from featune.bench.study.cluster.on_ray import Place, _versions, worked
from featune.bench.study.executors import in_process
from featune.engine.errors import BadInput, Missing


class RayError(Exception):
    pass


class WorkerCrashedError(RayError):
    pass


class RayTaskError(RayError):
    def __init__(self, cause: Exception):
        super().__init__(str(cause))
        self.cause = cause


@dataclasses.dataclass(eq=False)
class Ref:
    work: Callable[[], Any]


class FakeRay:
    """Ray as far as it is used here. deaths: how often the worker of an item dies. room: what the nodes have."""

    exceptions = SimpleNamespace(RayError=RayError, RayTaskError=RayTaskError)

    def __init__(self, deaths: dict[Any, int] | None = None, **room: float):
        self.deaths, self.room = dict(deaths or {}), room or {"CPU": 2.0}
        self.started = self.ended = False
        self.declared: dict[str, Any] = {}
        self.most_in_flight = 0
        self.in_flight: list[Ref] = []
        self.cancelled: list[Ref] = []
        self.begun: list[Any] = []

    def is_initialized(self) -> bool:
        return self.started

    def init(self, **options: Any) -> None:
        if options.get("address") == "ray://nowhere:1":
            raise ConnectionError("no answer")
        self.started, self.options = True, options

    def shutdown(self) -> None:
        print("(raylet) A worker died")
        self.ended = True

    def cluster_resources(self) -> dict[str, float]:
        return self.room

    def nodes(self) -> list[dict[str, Any]]:
        """One, and another that is gone."""
        gone = {"Alive": False, "Resources": {"CPU": 64.0, "GPU": 8.0}}
        return [{"Alive": True, "Resources": self.room}, gone]

    def put(self, value: Any) -> Any:
        return value

    def remote(self, **declared: Any) -> Callable[[Callable[..., Any]], Any]:
        self.declared = declared

        def submit(function: Callable[..., Any]) -> Any:
            def start(*arguments: Any) -> Ref:
                ref = Ref(lambda: self._run(function, *arguments))
                self.in_flight.append(ref)
                self.most_in_flight = max(self.most_in_flight, len(self.in_flight))
                return ref

            return SimpleNamespace(remote=start)

        return submit

    def _run(self, function: Callable[..., Any], given: Any, item: Any, here: Place) -> Any:
        self.begun.append(item)
        if self.deaths.get(item, 0) > 0:
            self.deaths[item] -= 1
            raise WorkerCrashedError("the worker died unexpectedly")
        try:
            return function(given, item, here)
        except Exception as error:
            raise RayTaskError(error) from error

    def wait(self, refs: list[Ref], num_returns: int) -> tuple[list[Ref], list[Ref]]:
        return [refs[-1]], refs[:-1]  # out of order, as a cluster does

    def get(self, ref: Ref) -> Any:
        self.in_flight.remove(ref)
        return ref.work()

    def cancel(self, ref: Ref) -> None:
        self.cancelled.append(ref)


@pytest.fixture(autouse=True)
def threads_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featune.bench.study.cluster.on_ray.limit_threads", lambda threads: None)


def square(number: int) -> int:
    return number * number


def found(
    ray: FakeRay, out: Path, work: Callable[[Any], Any] = square, count: int = 7, **options: Any
) -> dict[int, Any]:
    with ray_tasks(out, ray=ray, **options) as execute:
        return dict(execute(work, range(count)))


def test_every_item_is_answered_once_and_no_more_are_sent_than_the_nodes_soon_take(tmp_path: Path) -> None:
    ray = FakeRay(CPU=2.0)
    assert found(ray, tmp_path) == {number: number**2 for number in range(7)}
    assert sorted(ray.begun) == list(range(7))
    assert ray.most_in_flight == 4
    assert ray.ended
    assert not list(tmp_path.glob(".*.ray"))  # the mark by which nodes see that the folder is shared


def test_what_ray_tells_while_it_stops_does_not_mix_with_results(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found(FakeRay(), tmp_path)
    assert capsys.readouterr().out == ""


def test_the_needs_of_a_cell_are_declared_and_say_how_many_run_at_once(tmp_path: Path) -> None:
    ray = FakeRay(CPU=16.0, GPU=2.0)
    with ray_tasks(tmp_path, "auto", Needs(cpus=1, gpus=0.5), ray=ray) as execute:
        assert jobs_of(execute) == 4
    assert (ray.declared["num_cpus"], ray.declared["num_gpus"]) == (1, 0.5)
    assert ray.options["address"] == "auto"


@pytest.mark.parametrize("needs", [Needs(cpus=3), Needs(gpus=1), Needs(gpus=0.5)])
def test_a_cell_that_no_living_node_has_room_for_is_refused_and_does_not_wait(tmp_path: Path, needs: Needs) -> None:
    ray = FakeRay(CPU=2.0, GPU=0.25)
    with pytest.raises(BadInput, match="no node"), ray_tasks(tmp_path, needs=needs, ray=ray):
        pass
    assert ray.ended


def test_a_death_is_tried_again_and_an_item_that_always_dies_is_isolated_after_so_many_tries(tmp_path: Path) -> None:
    ray = FakeRay({2: 2, 5: 99})
    rows = found(ray, tmp_path, tries=3)
    assert rows[2] == 4
    killed = rows.pop(5)
    assert isinstance(killed, Killed)
    assert "died 3 times, at the last WorkerCrashedError" in killed.reason
    assert ray.begun.count(5) == ray.begun.count(2) == 3
    assert len(rows) == 6


def test_an_error_of_the_work_reaches_the_caller_and_is_not_tried_again(tmp_path: Path) -> None:
    ray = FakeRay()

    def fails(number: int) -> int:
        raise ValueError(f"item {number}")

    with pytest.raises(ValueError, match="item"):
        found(ray, tmp_path, fails, count=1)
    assert len(ray.begun) == 1


def test_an_interrupt_cancels_what_is_at_work(tmp_path: Path) -> None:
    ray = FakeRay()
    with ray_tasks(tmp_path, ray=ray) as execute, pytest.raises(KeyboardInterrupt):
        for _ in execute(square, range(7)):
            raise KeyboardInterrupt
    del execute
    assert len(ray.cancelled) == 3


def test_no_cluster_at_an_address_and_no_ray_are_something_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(Missing, match="ray start --head"), ray_tasks(tmp_path, "ray://nowhere:1", ray=FakeRay()):
        pass
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(Missing, match=r"featune\[ray\]"), ray_tasks(tmp_path):
        pass


def test_a_cluster_that_was_there_before_is_left_running(tmp_path: Path) -> None:
    ray = FakeRay()
    ray.started = True
    found(ray, tmp_path)
    assert not ray.ended


def test_a_node_that_does_not_see_the_folder_or_has_other_versions_says_so_and_measures_nothing(tmp_path: Path) -> None:
    (tmp_path / "mark").touch()
    fine = Place(str(tmp_path / "mark"), str(Path.cwd()), _versions(), (), 1)
    assert worked(square, 3, fine) == 9
    with pytest.raises(BadInput, match="put --out on a disk that all nodes share"):
        worked(square, 3, dataclasses.replace(fine, mark=str(tmp_path / "elsewhere" / "mark")))
    other = tuple((name, "0.0.1") for name, _ in _versions())
    with pytest.raises(BadInput, match=r"featune .*, 0\.0\.1 expected; install the same versions"):
        worked(square, 3, dataclasses.replace(fine, versions=other))


def test_a_worker_sees_relative_paths_from_the_folder_where_the_command_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "driver").mkdir()
    (tmp_path / "raylet").mkdir()
    monkeypatch.chdir(tmp_path / "raylet")
    here = Place(str(tmp_path), str(tmp_path / "driver"), _versions(), (), 1)
    assert worked(os.path.abspath, "runs", here) == str(tmp_path / "driver" / "runs")  # type: ignore[type-var]
    with pytest.raises(BadInput, match="where the command was started"):
        worked(square, 3, dataclasses.replace(here, folder=str(tmp_path / "gone")))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--executor", "rey"], "nearest: ray"),
        (["--address", "auto"], "add --executor ray"),
        (["--executor", "ray", "--device", "cuda:1"], "give --device cuda"),
        (["--executor", "ray", "--gpus-per-cell", "1.5"], "a whole number"),
        (["--executor", "ray", "--shard", "1/2"], "leave --executor ray out"),
    ],
)
def test_options_that_do_not_go_together_are_refused_before_any_work(
    words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(running, "executor", lambda jobs: in_process)
    monkeypatch.setattr("featune.bench.study.cluster.on_ray.ray_library", FakeRay)
    monkeypatch.setattr("featune.bench.study.cluster.ray_library", FakeRay, raising=False)
    done = typer.testing.CliRunner().invoke(app, ["study", "run", "no.yaml", *words])
    assert done.exit_code == 2
    assert said in done.stderr


SCRIPT = """
import os, signal, sys
from pathlib import Path
from featune.bench.study import Killed
from featune.bench.study.cluster import ray_tasks
def work(number):
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return number * number
if __name__ == "__main__":
    with ray_tasks(Path(sys.argv[1]), jobs=1, tries=2) as execute:
        rows = dict(execute(work, range(6)))
    killed = [n for n, row in rows.items() if isinstance(row, Killed)]
    print(killed, sum(row for n, row in rows.items() if n not in killed))
"""


def test_ray_itself_answers_every_item_and_tells_of_a_worker_that_always_dies(tmp_path: Path) -> None:
    pytest.importorskip("ray", reason="ray is not installed; pip install 'featune[ray]'")
    (tmp_path / "script.py").write_text(SCRIPT)
    environment = os.environ | {"PYTHONPATH": f"{Path(__file__).parents[4]}:{tmp_path}"}
    command = [sys.executable, str(tmp_path / "script.py"), str(tmp_path / "out")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)
    assert done.stdout.split("\n")[0] == f"[3] {0 + 1 + 4 + 16 + 25}", done.stderr
