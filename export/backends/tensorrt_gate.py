"""The gate of plans: as strict as an artefact's own, on the GPU on which the plan runs; and what `auto` does there."""

import hashlib
import logging
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from featune.engine.errors import FeatuneError, Missing
from featune.engine.models import ModelSpec, feature_model, source_model
from featune.engine.runners import torch_runner
from featune.engine.store import plain

from ..contract import compare, failures, not_finite, parity, probe_change, rows_of
from ..gate import LEAST_LABELLED, REFERENCE, Sample, parity_record, scope_of, varied
from ..precision import AUTO, LADDER
from .tensorrt_plan import Gate, Running

LOGITS_OF = 64  # images; the logits' reference runs the whole classifier again
log = logging.getLogger("featune")


def gate_of_plan(spec: ModelSpec, sample: Callable[[], Sample], device: str) -> Gate:
    """Judges a plan by its precision's thresholds against torch fp32 on the same GPU: features, logits, probe.

    sample: images on which it was not calibrated; called when a plan is judged. It runs in uneven batches within
    those that it was built for.
    """

    def gate(plan: Running) -> dict[str, Any]:
        seen = varied(sample(), spec.view, plan.precision)
        images = seen.images.to(device)
        with torch_runner(feature_model(spec), device) as reference:
            rows = rows_of(reference, plan.features, images, plan.batches)
        found, scope = parity(rows.reference, rows.candidate), scope_of(spec, seen.images)
        change = None
        if seen.labels is not None and len(seen.labels) >= LEAST_LABELLED and math.isfinite(found.noise):
            change = probe_change(rows, seen.labels)
        words = not_finite(rows.reference)
        reasons, logits = [words] if words else failures(found, plan.precision, change), None
        reasons += scope.reasons
        if plan.logits is not None:
            with torch_runner(source_model(spec), device) as reference:
                logits = compare(reference, plan.logits, images[:LOGITS_OF], plan.batches)
            reasons += [f"logits: {reason}" for reason in failures(logits, plan.precision)]
        return {
            "passed": not reasons, "reasons": reasons, "parity": parity_record(found), "precision": plan.precision,
            "probe": plain(change) if change else None, "logits": parity_record(logits) if logits else None,
            "source": seen.source, "reference": REFERENCE, "judged": scope.judged, "not_judged": scope.not_judged,
            "images": hashlib.sha256(seen.images.contiguous().numpy().tobytes()).hexdigest()[:16],
        }  # fmt: skip

    return gate


def plan_down(
    precision: str,
    graph: Callable[[str], str],
    plan: Callable[[str], Path],
    faster: Callable[[Path, Path], Path] = lambda first, second: first,
) -> Path:
    """A plan of the precision; of `auto`, of the fastest one whose graph and plan are both the model.

    graph: makes the checked graph of a precision, and says which it came to; plan: the checked plan of that graph,
    given what it came to. Either raises ParityFailed, as this does where no precision is left. faster: measures two
    plans; int8 is often the slower one on a GPU, so `auto` compares it with fp16.
    """
    left = [precision]
    while True:
        asked = left.pop(0)
        try:
            made = graph(asked)
            if asked == AUTO:
                rungs = LADDER["tensorrt"]
                left = list(rungs[rungs.index(made) + 1 :])
            found = plan(made)
        except FeatuneError as error:  # a builder that refuses a precision's graph too
            if not left or isinstance(error, Missing):
                raise
            log.warning("%s; the next safer precision is tried", error)
            continue
        if asked != AUTO or made != "int8":
            return found
        try:
            return faster(found, plan(graph("fp16")))
        except FeatuneError as error:  # fp16 cannot be built, or not opened beside it
            if isinstance(error, Missing):
                raise
            log.warning("%s; int8 is kept", error)
            return found
