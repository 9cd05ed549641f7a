"""The script of a Slurm job array that measures a study, one share a task. Text alone: nothing of Slurm is needed here.

Options and variables: slurm.schedmd.com/sbatch.html (`--array`, `--signal`, SLURM_ARRAY_TASK_ID).
"""

import dataclasses
import re
import shlex
from collections.abc import Mapping
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.paths import as_name

OPTION = re.compile(r"[a-z][a-z0-9-]*(=[^\n\r]+)?")
TIME = re.compile(r"(?:(?P<days>\d{1,3})-)?(?P<first>\d{1,6})(?::(?P<second>\d{2}))?(?::(?P<third>\d{2}))?", re.ASCII)
LEAST = 60  # seconds of work before a task stops: less is spent on imports
OURS = ("job-name", "array", "signal", "time", "cpus-per-task", "gpus-per-task", "output", "chdir")


@dataclasses.dataclass(frozen=True)
class Job:
    """What a task of the array may use. time: as Slurm writes it. grace: seconds before the limit in which it stops.

    at_once: tasks that run at the same time, at most. options: further ones of sbatch, `mem=16G` for example.
    """

    shards: int
    time: str = "04:00:00"
    cpus: int = 4
    gpus: int = 0
    at_once: int | None = None
    grace: int = 300
    options: tuple[str, ...] = ()


def array_script(
    study_file: Path, out: Path, name: str, job: Job, *, python: str, folder: Path, cache: Path,
    environment: Mapping[str, str], device: str | None = None, trusted: bool = False,
) -> str:  # fmt: skip
    """The script, for `sbatch`. python: the interpreter; folder: where the study is run from, of relative paths.

    cache: the cache folder, which all nodes should share. environment: variables that the nodes get too. Raises
    BadInput for options that are none of sbatch's form, or that are set here.
    """
    _check(job)
    log = out / "slurm"
    run = [python, "-m", "featune", "study", "run", str(study_file), "--out", str(out)]
    run += [*(["--device", device] if device else []), *(["--trust"] if trusted else [])]
    checked = [python, "-m", "featune", "doctor", "--quick", *(["--device", device] if device else [])]
    lines = [f"#SBATCH --job-name={as_name(name)}"]
    lines += [f"#SBATCH --array=1-{job.shards}{f'%{job.at_once}' if job.at_once else ''}"]
    lines += [f"#SBATCH --time={job.time}", f"#SBATCH --cpus-per-task={job.cpus}"]
    lines += [f"#SBATCH --gpus-per-task={job.gpus}"] if job.gpus else []
    lines += [f"#SBATCH --signal=B:USR1@{job.grace}", f'#SBATCH --output="{_plain(log)}/%A_%a.log"']
    lines += [f"#SBATCH --{option}" for option in job.options]
    exports = {**environment, "FEATUNE_CACHE_DIR": str(cache)}
    return "\n".join([
        "#!/bin/bash",
        *lines,
        "# Written by `featune study slurm`. Each task measures one share of the cells, and each row is a file in the",
        "# output folder, so a task may be killed and started again. The shares that are still to run:",
        f"# featune study missing {shlex.quote(str(study_file))} --out {shlex.quote(str(out))} --shards {job.shards}",
        "set -eu",
        f"cd {shlex.quote(str(folder))}",
        *(f"export {key}={shlex.quote(value)}" for key, value in exports.items()),
        f"if [ ! -x {shlex.quote(python)} ]; then",
        f"  echo {shlex.quote(f'{python} is not on this node; put the environment on a disk that all nodes have')} >&2",
        "  exit 4",
        "fi",
        "# What this node lacks is told before any work, with exit code 4.",
        shlex.join(checked),
        "# In the shell's place, so that the signal before the limit reaches it.",
        f'exec {shlex.join(run)} --shard "$SLURM_ARRAY_TASK_ID/{job.shards}" \\',
        f'  --jobs "${{SLURM_CPUS_PER_TASK:-{job.cpus}}}"',
        "",
    ])  # fmt: skip


def _check(job: Job) -> None:
    limit = _seconds(job.time)
    if limit <= job.grace + LEAST:
        raise BadInput(
            f"--time {job.time} is {limit} s, of which a task stops {job.grace} s before the end; more than "
            f"{job.grace + LEAST} s expected; give a longer --time, or a shorter --grace"
        )
    for option in job.options:
        if not OPTION.fullmatch(option):
            raise BadInput(f"--sbatch {option!r:.60} found, NAME or NAME=VALUE expected, for example mem=16G")
        if option.partition("=")[0] in OURS:
            raise BadInput(
                f"--sbatch {option!r:.60}: the script sets it itself; use the option of `featune study slurm`"
            )


def _seconds(time: str) -> int:
    """Of a limit as sbatch takes it: M, MM:SS, HH:MM:SS, D-HH, D-HH:MM or D-HH:MM:SS. Raises BadInput for others."""
    found = TIME.fullmatch(time)
    if not found:
        raise BadInput(f"--time {time!r:.40} found, MINUTES, HH:MM:SS or D-HH:MM:SS expected")
    days, *parts = (int(part) if part else None for part in found.groups())
    given = [part for part in parts if part is not None]
    unit = 3600 if days is not None or len(given) == 3 else 60
    return (days or 0) * 86_400 + sum(part * unit // 60**place for place, part in enumerate(given))


def _plain(path: Path) -> str:
    """A path as part of a pattern of sbatch. Raises BadInput where it cannot be."""
    text = str(path)
    if any(letter in text for letter in '\n\r"\\'):
        raise BadInput(f"{text!r}: a line end, quote or backslash in the output folder's name; choose another --out")
    return text.replace("%", "%%")
