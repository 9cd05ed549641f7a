"""Checked graph files: made of a spec where absent, and opened in ONNX Runtime."""

import contextlib
import dataclasses
import functools
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from featune.engine.errors import BadInput, FeatuneError, ParityFailed
from featune.engine.models import ModelSpec, View
from featune.engine.runners import Runner, device_kind, onnxruntime_runner
from featune.engine.store import cache_dir, digest, locked, made_beside, note_use

from ..contract import Parity, check_versions, contract_of, parity_of, read_graph
from ..gate import Sample, Verdict, halves, judge, own_sample, require_passing, varied
from ..graph import graph_from_spec, graph_key
from ..precision import AUTO, LADDER, check_precision, image_digests, speed_against, stand_in, variant
from .judged_here import Identity, require_agreement

log = logging.getLogger("featune")


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A graph file with its passing verdict. digest: SHA-256 of its content, verdict aside."""

    path: Path
    digest: str
    parity: Parity


def artefact(
    spec: ModelSpec, cache: Path, sample: Callable[[], Tensor], *, precision: str = "fp32", target: str = "cpu"
) -> Artefact:
    """The spec's checked graph file in a precision, exported where absent.

    sample: gives uint8 images [n, channels, side, side] of the user's data, the model's eval view; called only
    when a verdict is needed, and for int8, whose ranges are those of the images: other images get another file.
    Raises ParityFailed where the graph is not the model; it is then not kept.
    """
    check_precision(precision, target)
    sample = functools.cache(sample)
    suffix = "" if precision == "fp32" else f".{precision}-{target}"
    if precision in ("int8", AUTO):
        suffix += f"-{digest(image_digests(sample().numpy()))}"
    path = cache / "graphs" / f"{graph_key(spec)}{suffix}.onnx"
    found = _passing(path, spec)
    if found is None:  # a cache that cannot be written serves what it has
        with locked(path):
            found = _passing(path, spec) or _added(spec, path, sample(), precision, target)
    note_use(path)
    return Artefact(path, found["content"], parity_of(found["parity"]))


def _added(spec: ModelSpec, path: Path, images: Tensor, precision: str, target: str) -> dict[str, Any]:
    verdict = exported(spec, path, Sample(images, "the user's images"), precision=precision, target=target)
    if not verdict.passed:
        path.unlink()
        raise ParityFailed(f"{spec.name} {verdict.precision}: {verdict.report}; do not use this artefact")
    return require_passing(path, spec)


def exported(
    spec: ModelSpec,
    path: Path,
    sample: Sample,
    *,
    precision: str = "fp32",
    target: str = "cpu",
    logits: bool = False,
) -> Verdict:
    """Make one artefact at `path` and judge it; the verdict is in the file, whether it passed or not.

    What was at `path` before is replaced by a judged file alone, so that a kill leaves the old one with its verdict.

    `auto` goes from the fastest precision of the target to the next safer one, until one passes and is no
    slower than fp32. int8 is calibrated on some of the images and judged on the others.
    Raises ParityFailed where the fp32 graph that they are made from fails itself.
    """
    check_precision(precision, target)
    sample = varied(sample, spec.view, precision)  # also for what int8 is calibrated on
    with made_beside(path) as made:
        return _made(spec, made, sample, precision, target, logits)


def _made(spec: ModelSpec, path: Path, sample: Sample, precision: str, target: str, logits: bool) -> Verdict:
    if precision == "fp32":
        graph_from_spec(spec, path, logits=logits)
        return judge(spec, path, sample)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "fp32.onnx")
        graph_from_spec(spec, source, logits=logits)
        if len(sample.images) < 4:
            raise BadInput(
                f"{len(sample.images)} images found; {precision} needs at least 4, half of them to calibrate on"
            )
        first = judge(spec, source, sample)
        if not first.passed:
            raise ParityFailed(f"{spec.name} fp32: {first.report}; no other precision is made of a wrong graph")
        for name in LADDER[target] if precision == AUTO else (precision,):
            if name == "fp32":
                graph_from_spec(spec, path, logits=logits)
                return judge(spec, path, sample)
            try:
                verdict = _variant_judged(spec, source, path, sample, name, target)
            except FeatuneError as error:  # a precision that cannot be made of this graph
                if precision != AUTO:
                    raise
                log.warning("%s %s: %s; the next safer precision is tried", spec.name, name, error)
                continue
            slower = target == "cpu" and verdict.speed is not None and verdict.speed < 1
            if precision != AUTO or (verdict.passed and not slower):
                return verdict
            reason = f"{verdict.speed:.2f} times as fast as fp32" if verdict.passed else verdict.report
            log.warning("%s %s: %s; the next safer precision is tried", spec.name, name, reason)
    raise AssertionError("every ladder ends with fp32")


def _variant_judged(spec: ModelSpec, source: Path, path: Path, sample: Sample, precision: str, target: str) -> Verdict:
    calibration, judged_on = halves(sample)
    variant(source, path, precision, target, calibration.images.numpy())
    speed = speed_against(path, source, judged_on.images) if (precision, target) == ("int8", "cpu") else None
    with stand_in(path, precision) as instead:
        return judge(spec, path, judged_on, stand_in=instead, speed=speed)


@contextlib.contextmanager
def open_artefact(
    path: str | os.PathLike[str],
    device: str = "cpu",
    *,
    spec: ModelSpec | None = None,
    threads: int | None = None,
    output: str | None = None,
    allow_fallback: bool = False,
) -> Iterator[Runner]:
    """A runner of an artefact file, refused without a passing verdict that is its own.

    spec: the model as which it is used; its contract must be that model's. On a GPU its rows are compared with those of
    the file itself on the CPU, where the verdict was measured. Raises ParityFailed, exit code 3.
    """
    proto = read_graph(path)
    check_versions(proto, path)
    verdict, contract = require_passing(path, spec), contract_of(path)
    kind = device_kind(device)
    if kind == "cuda":
        check_precision(str(contract["precision"]), "cuda")
    with onnxruntime_runner(path, device, threads=threads, output=output, allow_fallback=allow_fallback) as runner:
        if kind == "cuda":
            _require_same_rows(runner, Path(path), output, contract, str(verdict["content"]), device)
        yield runner


def _require_same_rows(
    runner: Runner, path: Path, output: str | None, contract: dict[str, Any], content: str, device: str
) -> None:
    """A file's rows on a GPU against its own on the CPU, kept; the model that it was made of may not be at hand."""
    view = View(**contract["spec"]["view"])
    require_agreement(
        runner,
        Identity(str(contract["model"]), f"{content} {output or ''}", "onnxruntime", str(contract["precision"])),
        device=device,
        cache=cache_dir(),
        images=lambda: own_sample(view).images,
        reference=lambda: onnxruntime_runner(path, output=output),
    )


def _passing(path: Path, spec: ModelSpec) -> dict[str, Any] | None:
    """The verdict of a file that may be used, or None where it must be made."""
    if not path.exists():
        return None
    try:
        return require_passing(path, spec)
    except FeatuneError:
        return None
