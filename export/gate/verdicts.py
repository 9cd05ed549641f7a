"""The gate: an artefact's verdict is measured on real images, kept inside it, and asked for before it is used."""

import dataclasses
import hashlib
import math
import os
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from featune.engine.errors import FeatuneError, ParityFailed
from featune.engine.machine import vector_int8
from featune.engine.models import ModelSpec, feature_model, source_model
from featune.engine.runners import Runner, onnxruntime_runner, torch_runner
from featune.engine.store import plain, write_json

from ..contract import (
    CONTRACT,
    NOT_FINITE,
    VERDICT,
    Parity,
    ProbeChange,
    channels_of,
    content_digest,
    entry_of,
    failures,
    not_finite,
    parity,
    probe_change,
    read_graph,
    row_cosines,
    rows_of,
    write_verdict,
)
from ..graph import contract_differences, contract_errors
from .reasons import differing_layer_of, not_finite_at
from .samples import OWN, Sample, own_sample, varied
from .scope import scope_of

REFERENCE = "torch fp32, eager, TF32 off"
LEAST_LABELLED = 100  # fewer held-out images than 40 say nothing about accuracy
COLOUR_TILES = 8  # of the project's sample set, judged beside the user's images
Opener = Callable[[Path], AbstractContextManager[Runner]]


@dataclasses.dataclass(frozen=True)
class Verdict:
    """Whether an artefact is its model, with all that this was found from.

    content: `content_digest` of the artefact judged; another one voids the verdict. reasons: each threshold
    missed. departure: the first layer that differs, where it failed. stand_in: what ran in the artefact's place
    on a machine that cannot run it, or empty. images: digest of the pixels. judge: backend, device, versions.
    speed: how many times as fast as the fp32 artefact it ran here, where that was measured. judged, not_judged: of tap,
    view and weights, which both sides share, what was judged and how, and what was not and why; files of before have
    neither.
    """

    passed: bool
    precision: str
    parity: dict[str, Any]
    content: str
    images: str
    source: str
    judge: dict[str, Any]
    reasons: tuple[str, ...] = ()
    departure: str = ""
    probe: dict[str, Any] | None = None
    logits: dict[str, Any] | None = None
    reference: str = REFERENCE
    stand_in: str = ""
    speed: float | None = None
    judged: dict[str, str] = dataclasses.field(default_factory=dict)
    not_judged: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def report(self) -> str:
        """The verdict in one paragraph."""
        words = "; ".join(self.reasons) or "every threshold met"
        return f"{words}{'; ' + self.departure if self.departure else ''}"


def judge(
    spec: ModelSpec,
    path: str | os.PathLike[str],
    sample: Sample,
    *,
    opener: Opener = onnxruntime_runner,
    backend: str = "onnxruntime:cpu",
    stand_in: tuple[Path, str] | None = None,
    speed: float | None = None,
) -> Verdict:
    """Compare the artefact with torch on real images and write the verdict into it, passed or not.

    stand_in: a graph that computes what the artefact computes, and why it was run instead. The verdict is also
    written beside the artefact, as `<name>.verdict.json`. Raises nothing for a failed verdict: see `require_passing`.
    """
    path = Path(path)
    proto = read_graph(path)
    contract = entry_of(proto, CONTRACT) or {}
    precision = contract.get("precision", "fp32")
    sample = varied(sample, spec.view, precision)
    differences = contract_differences(contract, spec) if contract else ["the file carries no contract"]
    runs = stand_in[0] if stand_in else path
    logits = None
    shape = (contract["input"]["side"], channels_of(contract)) if contract else None
    if shape and shape != (spec.view.side, spec.view.channels):
        found, change, reasons = parity_failed(len(sample.images)), None, list[str]()  # it cannot see these images
    else:
        found, change, reasons = _measured(spec, runs, sample, opener, precision)
    if any(reason.startswith(NOT_FINITE) for reason in reasons):
        departure = not_finite_at(spec, sample.images)
    else:
        departure = differing_layer_of(spec, runs, sample, precision) if reasons else ""
    if "logits" in {value.name for value in proto.graph.output} and math.isfinite(found.noise):
        logits, missed = _logits_parity(spec, runs, sample, precision)
        wrong = [f"logits: {reason}" for reason in missed]
        departure = departure or ("the features agree, but the logits differ: the classifier is wrong" if wrong else "")
        reasons += wrong
    scope = scope_of(spec, sample.images)
    reasons = [*differences, *reasons, *scope.reasons]
    if contract and not differences:
        reasons += contract_errors(contract, spec, proto)
    verdict = Verdict(
        passed=not reasons,
        precision=precision,
        parity=parity_record(found),
        content=content_digest(path),
        images=hashlib.sha256(sample.images.contiguous().numpy().tobytes()).hexdigest()[:16],
        source=sample.source,
        judge={
            "backend": backend,
            "torch": version("torch"),
            "onnxruntime": _onnxruntime_version(),
            "vector_int8": vector_int8(),
        },
        reasons=tuple(reasons),
        departure=departure,
        probe=plain(change) if change else None,
        logits=parity_record(logits) if logits else None,
        stand_in=stand_in[1] if stand_in else "",
        speed=speed,
        judged=scope.judged,
        not_judged=scope.not_judged,
    )
    write_verdict(path, verdict)
    write_json(path.with_suffix(".verdict.json"), verdict)
    return verdict


def require_passing(path: str | os.PathLike[str], spec: ModelSpec | None = None) -> dict[str, Any]:
    """The artefact's verdict, or ParityFailed: where it has none, failed, was changed since, or is another model's.

    spec: the model that it is to be used as; its view, mean, std, tap and weights must be the contract's.
    """
    proto = read_graph(path)
    verdict, contract = entry_of(proto, VERDICT), entry_of(proto, CONTRACT)
    if not verdict or contract is None or not {"passed", "content", "parity", "judge"} <= verdict.keys():
        raise ParityFailed(f"{path} has no verdict; judge it with `featune verify {path} --data FOLDER`")
    if not verdict["passed"]:
        reasons = "; ".join(verdict.get("reasons", ["no reason given"]))
        raise ParityFailed(f"{path} is not its model: {reasons}; export the model again")
    if verdict["content"] != content_digest(path):
        raise ParityFailed(f"{path} was changed after its verdict; judge it again with `featune verify`")
    if differences := contract_differences(contract, spec) if spec else []:
        raise ParityFailed(f"{path} is of another model: {'; '.join(differences)}; export this model")
    if contract.get("precision") == "fp16" and not verdict.get("stand_in"):
        raise ParityFailed(f"{path} was judged without fp16's rounding; judge it again with `featune verify`")
    _check_machine(path, contract, verdict)
    return verdict


def _measured(
    spec: ModelSpec, path: Path, sample: Sample, opener: Opener, precision: str
) -> tuple[Parity, ProbeChange | None, list[str]]:
    with torch_runner(feature_model(spec)) as reference, opener(path) as candidate, torch.no_grad():
        try:
            rows = rows_of(reference, candidate, sample.images)
        except FeatuneError:
            raise
        except Exception as error:  # a graph that loads and does not run, such as one with a frozen batch
            bad = parity_failed(len(sample.images))
            return bad, None, [f"it does not run on batches of 1, 3 and 8: {str(error)[:300]}"]
    if words := not_finite(rows.reference):
        return parity_failed(len(sample.images)), None, [words]
    found = parity(rows.reference, rows.candidate)
    if rows.candidate.shape != rows.reference.shape:
        wanted, got = rows.reference.shape[1], rows.candidate.shape[1:]
        return found, None, [f"its rows have shape {got}, ({wanted},) expected: another layer, or logits"]
    change = None
    if sample.labels is not None and len(sample.labels) >= LEAST_LABELLED and math.isfinite(found.noise):
        change = probe_change(rows, sample.labels)
    missed = failures(found, precision, change)
    if not missed and sample.source != OWN:
        missed = _in_colour(spec, path, opener, precision)
    return found, change, missed


def _in_colour(spec: ModelSpec, path: Path, opener: Opener, precision: str) -> list[str]:
    """What grey images, or few, cannot show: whether colour photographs of the project's own agree as well.

    In fp32 by its thresholds. Another precision may be calibrated on images of another kind: of it no more is asked
    than to be nearer to the model than to the model with red and blue exchanged.
    """
    images = own_sample(spec.view, COLOUR_TILES).images
    with torch_runner(feature_model(spec)) as reference, opener(path) as candidate, torch.no_grad():
        rows = rows_of(reference, candidate, images)
        if precision == "fp32":
            return [
                f"on the project's photographs: {each}" for each in failures(parity(rows.reference, rows.candidate))
            ]
        exchanged = torch.cat([reference(each.flip(1)) for each in images.split(COLOUR_TILES)]).double().cpu().numpy()
    right, wrong = (float(row_cosines(each, rows.candidate).mean()) for each in (rows.reference, exchanged))
    return [] if right >= wrong else [
        f"colour photographs have cosine {right:.4f} with the model's features, {wrong:.4f} with red and blue exchanged"
    ]  # fmt: skip


def parity_failed(n: int) -> Parity:
    return Parity(n, -1.0, -1.0, math.inf, 0.0, math.inf)


def _logits_parity(spec: ModelSpec, path: Path, sample: Sample, precision: str) -> tuple[Parity, list[str]]:
    with (
        torch_runner(source_model(spec)) as reference,
        onnxruntime_runner(path, output="logits") as candidate,
        torch.no_grad(),
    ):
        rows = rows_of(reference, candidate, sample.images[:64])
    if words := not_finite(rows.reference):
        return parity_failed(len(rows.reference)), [words]
    found = parity(rows.reference, rows.candidate)
    return found, failures(found, precision)


def _check_machine(path: str | os.PathLike[str], contract: dict[str, Any], verdict: dict[str, Any]) -> None:
    """Full-range int8 sums overflow in silence on x86 processors without VNNI: the verdict is not theirs."""
    if contract.get("quantisation", {}).get("full_range") and verdict["judge"].get("vector_int8") and not vector_int8():
        raise ParityFailed(
            f"{path} was made for a processor with 8-bit dot products (VNNI), which this one lacks; "
            "its sums would overflow; export it on this machine"
        )


def parity_record(found: Parity) -> dict[str, Any]:
    """The measures in JSON's types, which know no infinity: null in its place."""
    return {
        key: None if isinstance(value, float) and math.isinf(value) else value for key, value in plain(found).items()
    }


def _onnxruntime_version() -> str:
    import onnxruntime

    return onnxruntime.__version__
