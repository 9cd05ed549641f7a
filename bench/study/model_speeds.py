"""The throughput of a study's models, measured once on each machine and kept; again where the machine was busy."""

import contextlib
import platform
from collections.abc import Callable
from pathlib import Path

from featune.engine.errors import FeatuneError, Missing
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, with_channels
from featune.engine.runners import require_device
from featune.engine.store import digest, write_json
from featune.export.backends import open_runner

from ..results import Speed, read_speed, speed_path
from ..throughput import LoadWatch, speed
from ..throughput import measure as measure_speed
from .definition import Study
from .measuring import _sampler, environment

SPEED_BATCH = 32


def speeds(study: Study, *, on_speed: Callable[[int, int], None] | None = None, remeasure: bool = False) -> list[Speed]:
    """Each model's throughput on each backend, on the first task's train images and channels; measured once, kept.

    To be run while nothing else does. One that was measured under load is measured again by every run, and the faster
    of the two is kept while the machine is still busy. remeasure: measure all again, whatever is kept.
    A backend that fails is left out here and reported by its cells.
    """
    pairs = _pairs(study)
    sample = study.tasks[0].load("train")
    for done, (spec, backend) in enumerate(pairs, 1):
        path = speed_path(Path(study.out), _key(study, spec, backend))
        kept = read_speed(path, spec.name)
        if remeasure or kept is None or kept.loaded:
            with contextlib.suppress(FeatuneError):
                found = _speed(study, spec, backend, sample)
                slower = found.loaded and kept and found.images_per_second <= kept.images_per_second
                if remeasure or not slower:
                    write_json(path, found)
        if on_speed:
            on_speed(done, len(pairs))
    return known_speeds(study)


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


def _pairs(study: Study) -> list[tuple[ModelSpec, str]]:
    backends = dict.fromkeys(("torch", study.backend))
    return [(with_channels(spec, study.tasks[0].channels), backend) for spec in study.models for backend in backends]


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
