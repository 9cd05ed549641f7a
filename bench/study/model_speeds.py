"""The throughput of a study's models, measured once on each machine and kept; again where the machine was busy."""

import functools
import logging
import platform
import traceback
from collections.abc import Callable
from pathlib import Path

from featune.engine.errors import FeatuneError, Missing
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, with_channels
from featune.engine.runners import require_device
from featune.engine.store import digest, write_json
from featune.export.backends import open_runner

from ..cache import looks_paused
from ..results import Speed, read_speed, speed_path
from ..throughput import LoadWatch, speed
from ..throughput import measure as measure_speed
from .definition import Study
from .executors import Executor, Killed, in_process
from .measuring import _sampler, brief, environment

SPEED_BATCH = 32
Pair = tuple[ModelSpec, str]  # model, backend
log = logging.getLogger("featune")


def speeds(
    study: Study,
    execute: Executor = in_process,
    *,
    on_speed: Callable[[int, int], None] | None = None,
    on_failure: Callable[[str], None] = log.info,
    remeasure: bool = False,
) -> list[Speed]:
    """Each model's throughput on each backend, on the first task's train images and channels; measured once, kept.

    To be run while nothing else does. One that was measured under load is measured again by every run, and the faster
    of the two is kept while the machine is still busy. remeasure: measure all again, whatever is kept.
    execute: where they are measured, one at a time. A backend that fails, or whose process is killed, is left out here,
    told to on_failure, and reported by its cells.
    """
    pairs = _pairs(study)
    if not pairs or not study.tasks:
        return []
    kept = {pair: read_speed(_path(study, pair), pair[0].name) for pair in pairs}
    wanted = [pair for pair, one in kept.items() if remeasure or one is None or one.loaded]
    if not wanted:  # a study of no cell has no task
        return known_speeds(study)
    work = functools.partial(_speed_or_error, study, study.tasks[0].load("train"))
    with looks_paused():
        for done, (pair, found) in enumerate(execute(work, wanted), 1 + len(pairs) - len(wanted)):
            known = kept[pair]
            if isinstance(found, (Killed, str)):
                reason = found.reason if isinstance(found, Killed) else found
                on_failure(f"failed: throughput of {pair[0].name} on {pair[1]}: {brief(reason)}")
            elif remeasure or not (found.loaded and known and found.images_per_second <= known.images_per_second):
                write_json(_path(study, pair), found)
            if on_speed:
                on_speed(done, len(pairs))
    return known_speeds(study)


def _speed_or_error(study: Study, sample: Labelled, pair: Pair) -> Speed | str:
    try:
        return _speed(study, *pair, sample)
    except FeatuneError as error:
        return str(error)
    except Exception as error:  # a library's; the cells say the same at more length
        return "".join(traceback.format_exception(error))


def known_speeds(study: Study) -> list[Speed]:
    """The throughput that was measured on this machine so far; none where it lacks the study's device."""
    try:
        require_device(study.device)
    except Missing:
        return []
    found = [read_speed(speed_path(Path(study.out), key), model) for model, key in speed_keys(study)]
    return [one for one in found if one]


def speed_keys(study: Study) -> list[tuple[str, str]]:
    """(model, key of the file that keeps its throughput here) for each backend."""
    return [(spec.name, _key(study, spec, backend)) for spec, backend in _pairs(study)]


def _pairs(study: Study) -> list[Pair]:
    backends = dict.fromkeys(("torch", study.backend))
    return [(with_channels(spec, study.tasks[0].channels), backend) for spec in study.models for backend in backends]


def _path(study: Study, pair: Pair) -> Path:
    return speed_path(Path(study.out), _key(study, *pair))


def _key(study: Study, spec: ModelSpec, backend: str) -> str:
    return digest([spec.digest, backend, study.device, study.threads, platform.node(), environment(study)])


def _speed(study: Study, spec: ModelSpec, backend: str, sample: Labelled) -> Speed:
    images = _sampler(sample, spec)
    batch = images()[:SPEED_BATCH].to(study.device)
    with (
        open_runner(
            spec, backend, device=study.device, cache=Path(study.cache), sample=images, threads=study.threads
        ) as runner,
        LoadWatch() as watch,
    ):
        samples = measure_speed(runner, batch)
    return speed(spec.name, backend, study.device, study.threads or 0, batch, samples, watch=watch)
