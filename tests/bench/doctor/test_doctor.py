"""Machines that lack one thing each, as fakes: what the doctor says of them, and the command's exit code."""

import dataclasses
import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from featune.bench.cli.app import app
from featune.bench.doctor import Check, Machine, examined, faults_of, self_test
from featune.bench.doctor.folders import Limits, Room
from featune.bench.doctor.gpu import gpu_checks, listed
from featune.bench.doctor.providers import ran_on
from featune.bench.doctor.versions import LEAST_DRIVER, cuda_checks, linked_tensorrt, tensorrt_checks

CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
INSTALLED = {"featune": "0.1.0", "torch": "2.15.0", "onnxruntime-gpu": "1.31.1", "tensorrt": "10.16.1"}
ONE_GPU = "0, NVIDIA H100 80GB HBM3, 580.65.06, 0, 12, 81559\n"


@dataclasses.dataclass(frozen=True)
class Roomy(Limits):
    """A machine with room; `free` and `refused` say otherwise by folder."""

    free: Mapping[str, Room] = dataclasses.field(default_factory=dict)
    refused: tuple[str, ...] = ()
    files: int = 65_536

    def room(self, folder: Path) -> Room:
        return self.free.get("shm" if "shm" in str(folder) else "disk", Room(int(50e9), 10**6))

    def open_files(self) -> int:
        return self.files

    def refusal(self, folder: Path) -> str:
        return os.strerror(errno.EROFS) if str(folder) in self.refused else ""


def version_of(installed: Mapping[str, str]) -> Callable[[str], str]:
    def version(name: str) -> str:
        if name not in installed:
            raise PackageNotFoundError(name)
        return installed[name]

    return version


def runs_where(*providers: str) -> Callable[[str], str]:
    return lambda name: "" if name in providers else f"{CPU} took its place"


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A sound machine without a GPU."""
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    return Machine(
        version=version_of(INSTALLED),
        requires=lambda name: ["torch>=2.11", "pytest; extra == 'dev'"] if name == "featune" else None,
        environment={"FEATUNE_CACHE_DIR": str(tmp_path / "cache"), "HOME": str(tmp_path)},
        limits=Roomy(),
        smi=lambda: None,
        torch=lambda: ("13.2", 92600, 0),
        onnxruntime=lambda: ([TENSORRT, CUDA, CPU], "13.0", tmp_path),
        run=runs_where(CPU),
        known_numbers=lambda device: [Check("self-test", "fine", device)],
    )


def with_gpu(machine: Machine, **changes: Any) -> Machine:
    changes = {"smi": lambda: ONE_GPU, "torch": lambda: ("13.2", 92600, 1), "run": runs_where(CPU, CUDA), **changes}
    return dataclasses.replace(machine, **changes)


def faults(machine: Machine, device: str | None = None) -> dict[str, Check]:
    found = faults_of(examined(device, machine))
    assert all(check.remedy for check in found)
    return {check.subject: check for check in found}


def found(checks: Iterable[Check], subject: str) -> Check:
    return next(check for check in checks if check.subject == subject)


def test_a_sound_machine_has_no_fault_with_and_without_a_gpu(machine: Machine) -> None:
    assert not faults(machine)
    assert not faults(machine, "cpu")
    assert not faults(with_gpu(machine))
    assert not faults(with_gpu(machine), "cuda")


def test_both_onnxruntime_packages_are_a_fault_and_the_remedy_removes_both(machine: Machine) -> None:
    both = dataclasses.replace(machine, version=version_of(INSTALLED | {"onnxruntime": "1.31.1"}))
    assert list(faults(both)) == ["onnxruntime"]
    check = faults(both)["onnxruntime"]
    assert "onnxruntime 1.31.1 and onnxruntime-gpu 1.31.1" in check.found
    assert "pip uninstall -y onnxruntime onnxruntime-gpu" in check.remedy


def test_a_requirement_that_is_not_met_names_what_is_installed_and_extras_are_nobodys_need(machine: Machine) -> None:
    old = dataclasses.replace(machine, version=version_of(INSTALLED | {"torch": "2.4.0"}))
    check = faults(old)["packages"]
    assert check.found == "featune needs torch>=2.11, torch 2.4.0 is installed"
    assert check.remedy == "pip install 'torch>=2.11'"


def test_a_gpu_that_is_asked_for_and_absent_is_a_fault_and_one_that_nobody_asked_for_a_note(machine: Machine) -> None:
    asked = faults(machine, "cuda")
    assert "cuda was asked for" in asked["GPU"].found
    assert "--gpus all" in asked["GPU"].remedy
    lying = dataclasses.replace(machine, run=runs_where(CPU))
    assert faults(lying, "cuda")["providers"].remedy == "this follows from the line on the GPU"
    assert found(examined(None, machine), "GPU").state == "note"


def test_a_gpu_that_torch_cannot_use_is_a_fault_though_the_driver_lists_it(machine: Machine) -> None:
    blind = with_gpu(machine, torch=lambda: ("13.2", 92600, 0))
    assert "the driver lists 1, torch can use none" in faults(blind)["GPU"].found


def test_a_second_gpu_where_there_is_one_is_a_fault(machine: Machine) -> None:
    assert "cuda:1 was asked for, torch sees 1" in faults(with_gpu(machine), "cuda:1")["GPU"].found


def test_a_provider_that_lists_but_does_not_run_is_a_fault_where_there_is_a_gpu(machine: Machine) -> None:
    lying = with_gpu(machine, run=runs_where(CPU))
    check = faults(lying)["providers"]
    assert f"{CUDA} is listed, but does not run a session: {CPU} took its place" in check.found
    assert "constraints.txt of Featune's repository" in check.remedy  # an installed Featune has no such file
    notes = [c.found for c in examined(None, machine) if c.subject == "providers" and c.state == "note"]
    assert [text.split()[0] for text in notes] == [TENSORRT, CUDA]  # without a GPU nobody expected more


def test_a_processor_that_no_session_runs_on_is_a_fault_everywhere(machine: Machine) -> None:
    broken = dataclasses.replace(machine, run=lambda name: "[1.0] computed, [27.0] expected")
    assert CPU in faults(broken)["providers"].found


def test_a_disk_without_room_or_without_inodes_is_a_fault(machine: Machine) -> None:
    full = dataclasses.replace(machine, limits=Roomy(free={"disk": Room(3_000_000, 10)}))
    assert "3.0 MB free" in faults(full)["disk"].found
    none_left = dataclasses.replace(machine, limits=Roomy(free={"disk": Room(int(50e9), 0)}))
    assert "no free inodes" in faults(none_left)["disk"].found


def test_little_shared_memory_is_a_note_with_the_option_of_docker(machine: Machine) -> None:
    small = dataclasses.replace(machine, limits=Roomy(free={"shm": Room(64_000_000)}))
    check = found(examined(None, small), "shared memory")
    assert (check.state, "--shm-size" in check.remedy) == ("note", True)


def test_a_low_limit_of_open_files_is_told_with_its_remedy(machine: Machine) -> None:
    assert "64 at a time" in faults(dataclasses.replace(machine, limits=Roomy(files=64)))["open files"].found


def test_a_cache_that_cannot_be_written_is_a_fault(machine: Machine, tmp_path: Path) -> None:
    refused = dataclasses.replace(machine, limits=Roomy(refused=(str(tmp_path / "cache"),)))
    check = faults(refused)["cache"]
    assert "Read-only file system" in check.found
    assert "FEATUNE_CACHE_DIR" in check.remedy


def test_a_folder_that_is_not_there_yet_is_judged_by_the_one_above_and_not_made(tmp_path: Path) -> None:
    assert Limits().refusal(tmp_path / "a" / "b") == ""
    assert not (tmp_path / "a").exists()
    assert Limits().refusal(Path("/proc/none"))


def test_a_token_is_told_by_its_place_and_never_shown(machine: Machine, tmp_path: Path) -> None:
    secret = "hf_neverprinted"
    by_name = dataclasses.replace(machine, environment={"HF_TOKEN": secret, "HF_HUB_OFFLINE": "1"})
    (tmp_path / "token").write_text(secret)
    (tmp_path / "token").chmod(0o644)
    by_file = dataclasses.replace(machine, environment={"HF_HOME": str(tmp_path)})
    told = [list(examined(None, each)) for each in (by_name, by_file)]
    assert secret not in repr(told)
    assert found(told[0], "token").found == "given by HF_TOKEN"
    assert "other users can read" in found(told[1], "token").found
    assert "chmod 600" in found(told[1], "token").remedy
    assert found(told[0], "hub").state == "note"


@pytest.mark.parametrize(
    ("torch", "onnxruntime", "cudnn", "driver", "wrong"),
    [
        ("13.2", "13.0", 92600, "580.65.06", []),
        ("12.8", "12.8", 91002, "535.104.05", []),
        ("12.8", "13.0", 92600, "580.65.06", ["CUDA"]),
        ("13.2", "13.0", 92600, "550.54.14", ["driver"]),
        ("13.2", "13.0", 8907, "580.65.06", ["cuDNN"]),
        (None, "13.0", None, "580.65.06", ["CUDA"]),
        ("12.8", "13.0", 8907, "", []),  # no GPU, so nothing fails
    ],
)
def test_cuda_majors_cudnn_and_driver_must_fit(
    torch: str | None, onnxruntime: str, cudnn: int | None, driver: str, wrong: list[str]
) -> None:
    assert [check.subject for check in faults_of(cuda_checks(torch, onnxruntime, cudnn, driver))] == wrong


def test_the_driver_that_cuda_13_needs_is_the_one_that_the_image_names() -> None:
    page = (Path(__file__).parents[3] / "Dockerfile.gpu").read_text()
    assert LEAST_DRIVER[13] == 580
    assert "580" in page


def test_tensorrt_11_beside_a_provider_that_loads_10_is_a_note_and_9_a_fault(tmp_path: Path) -> None:
    (tmp_path / "libonnxruntime_providers_tensorrt.so").write_bytes(b"\x7fELF..libnvinfer.so.10\0libcudart.so.13\0")
    assert linked_tensorrt(tmp_path) == 10
    states = [tensorrt_checks(version_of({"tensorrt": v}), 10)[0].state for v in ("10.16.1", "11.4.0", "9.3.0")]
    assert states == ["fine", "note", "fault"]
    assert linked_tensorrt(tmp_path / "none") is None


def test_a_busy_gpu_is_a_note_a_full_one_a_fault_and_numbers_that_are_not_told_are_none() -> None:
    gpus = listed(
        "0, A, 580.1, 93, 100, 8000\n1, B, 580.1, 0, 7900, 8000\n2, C MIG, 580.1, [N/A], [N/A], [N/A]\nerror\n"
    )
    assert [gpu.busy for gpu in gpus] == [93, 0, None]
    assert [check.state for check in gpu_checks(gpus, "cuda:1", 3)] == ["note", "fault", "fine"]
    assert [check.state for check in gpu_checks(gpus[1:2], None, 1)] == ["fault"]


@pytest.mark.parametrize("asked", [None, "cuda", "cuda:0", "cuda:2", "cpu"])
def test_a_full_gpu_beside_others_is_a_note_unless_it_is_the_one_that_was_asked_for(asked: str | None) -> None:
    gpus = listed("0, A, 580.1, 0, 100, 8000\n1, B, 580.1, 0, 7900, 8000\n2, C, 580.1, 0, 100, 8000\n")
    assert [check.state for check in gpu_checks(gpus, asked, 3)] == ["fine", "note", "fine"]


def test_where_the_processor_is_asked_for_nothing_of_a_gpu_is_a_fault(machine: Machine) -> None:
    old_and_full = "0, A, 450.1, 0, 7900, 8000\n"
    unfit = with_gpu(
        machine, smi=lambda: old_and_full, torch=lambda: ("12.8", 8907, 0), run=runs_where(CPU),
        version=version_of(INSTALLED | {"tensorrt": "9.3.0"}),
    )  # fmt: skip
    assert {"GPU", "CUDA", "cuDNN", "driver", "providers", "TensorRT"} <= faults(unfit).keys()
    assert not faults(unfit, "cpu")


@pytest.mark.parametrize("name", ["HF_HOME", "TORCH_HOME"])
def test_a_folder_of_weights_that_can_only_be_read_is_a_note_and_one_that_is_absent_a_fault(
    machine: Machine, tmp_path: Path, name: str
) -> None:
    folder = tmp_path / "weights"
    given = dataclasses.replace(
        machine, environment={**machine.environment, name: str(folder)}, limits=Roomy(refused=(str(folder),))
    )
    assert list(faults(given)) == [name]
    folder.mkdir()
    assert not faults(given)
    assert found(examined(None, given), name).state == "note"


def test_a_torch_that_does_not_load_is_a_fault_with_its_remedy_and_exit_code_4(tmp_path: Path) -> None:
    (tmp_path / "torch").mkdir()
    (tmp_path / "torch" / "__init__.py").write_text("raise OSError('libcudart.so.13: cannot open shared object file')")
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}:{Path(__file__).parents[3]}"}
    command = [sys.executable, "-m", "featune", "doctor", "--quick"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 4, done.stderr
    assert done.stdout.startswith("ok    packages: ")
    assert "FAULT torch: cannot be imported: libcudart.so.13" in done.stdout
    assert "pip install --force-reinstall" in done.stderr


def test_the_processor_really_runs_the_graph_of_known_sums_and_an_unknown_provider_is_told() -> None:
    assert ran_on(CPU) == ""
    assert ran_on("NoSuchExecutionProvider")


def test_the_self_test_finds_the_known_numbers_and_one_that_is_not_known(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not faults_of(self_test())
    monkeypatch.setattr("featune.bench.doctor.known_numbers.MARGIN", 1.05)
    monkeypatch.setattr("featune.bench.doctor.known_numbers._exported_rows", lambda folder, device: 1 / 0)
    wrong = faults_of(self_test())
    assert [check.found.split(":")[0] for check in wrong] == ["export and ONNX Runtime on cpu", "probe"]
    assert "ZeroDivisionError" in wrong[0].found


@pytest.fixture
def command(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    def run(there: Machine, *arguments: str) -> Any:
        def examine(device: str | None, quick: bool) -> Iterator[Check]:
            return examined(device, there, quick=quick)

        monkeypatch.setattr("featune.bench.doctor.examined", examine, raising=False)
        return typer.testing.CliRunner().invoke(app, ["doctor", *arguments])

    return run


def test_the_command_ends_with_0_where_all_is_well_and_with_4_and_the_remedy_where_not(
    command: Callable[..., Any], machine: Machine
) -> None:
    assert command(machine).exit_code == 0
    done = command(machine, "--device", "cuda")
    assert done.exit_code == 4
    assert "--gpus all" in done.stderr
    assert "FAULT GPU" in done.stdout
    assert command(machine, "--device", "gpu").exit_code == 2


def test_json_holds_every_check_and_whether_the_machine_is_fit(command: Callable[..., Any], machine: Machine) -> None:
    done = command(machine, "--json", "--device", "cuda", "--quick")
    value = json.loads(done.stdout)
    assert (done.exit_code, value["fit"]) == (4, False)
    assert {"GPU", "providers", "cache", "disk", "self-test"} <= {check["subject"] for check in value["checks"]}
