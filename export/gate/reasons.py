"""Why an artefact failed, in words: the first layer that differs, or rounding that the model magnifies."""

import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featune.engine.errors import FeatuneError
from featune.engine.models import ModelSpec, feature_model
from featune.engine.runners import onnxruntime_runner, torch_runner

from ..contract import (
    Parity,
    compare,
    failures,
    first_differing_layer,
    row_cosines,
    rows_of,
)
from ..graph import graph_from_spec
from .samples import Sample

LOOKED_AT = 4  # images with which the first differing layer is searched
AS_NEAR = 4  # times torch's own distance from float64, within which an artefact differs by rounding alone


def differing_layer_of(spec: ModelSpec, path: Path, sample: Sample, precision: str) -> str:
    """The first layer whose output differs from that of a fresh and correct fp32 export, in words.

    The fresh export is optimised as artefacts are; should that one be wrong too, the exporter's optimiser is
    left out. Where neither is right the exporter is at fault and no layer can be named. Nor can one where the
    artefact is as near to float64 as torch's fp32 is.
    """
    if precision == "fp32" and (words := rounding_of(spec, path, sample.images)):
        return words
    images = sample.images[:LOOKED_AT]
    with tempfile.TemporaryDirectory() as folder:
        for optimise in (True, False):
            fresh = Path(folder, f"fresh{int(optimise)}.onnx")
            try:
                graph_from_spec(spec, fresh, optimise=optimise)
                if failures(_parity_of_graph(spec, fresh, sample.images[:LOOKED_AT])):
                    continue
                found = first_differing_layer(fresh, path, images.numpy(), precision)
            except FeatuneError as error:
                return f"no fresh export to compare layers with: {error}"
            except Exception as error:  # a graph that ONNX Runtime cannot run with more outputs
                return f"its layers could not be looked at: {str(error)[:200]}"
            if found is None:
                return "every layer shared with a fresh export agrees: the output itself is another value"
            return str(found)
    return "a fresh export of this model is wrong as well: torch's exporter or ONNX Runtime is at fault"


@torch.no_grad()
def not_finite_at(spec: ModelSpec, images: torch.Tensor) -> str:
    """The first weight or layer of the model that holds NaN or infinity, in words; empty where its rows are finite."""
    model = feature_model(spec, exportable=True)
    seen: list[str] = []

    def hook(name: str) -> Any:
        def look(layer: Any, given: Any, made: Any) -> None:
            if isinstance(made, torch.Tensor) and not torch.isfinite(made).all():
                seen.append(name)

        return look

    for name, layer in model.named_modules():
        if name and not any(layer.children()):
            layer.register_forward_hook(hook(name.partition(".")[2] or name))
    rows = torch.cat([model(part) for part in images.split(LOOKED_AT)])
    if torch.isfinite(rows).all():
        return ""
    weights = [name.partition(".")[2] for name, value in model.state_dict().items() if not torch.isfinite(value).all()]
    if weights:
        return f"the model's own weight {weights[0]} holds NaN or infinity ({len(weights)} such weights)"
    return f"from the model's own layer {seen[0]} on, values are NaN or infinity" if seen else "the model gives NaN"


def rounding_of(spec: ModelSpec, path: Path, images: torch.Tensor) -> str:
    """In words, how far torch's and the artefact's rows are from float64, where rounding is all that parts them.

    Judged on the images whose rows agree least. Empty where the artefact is further off than torch's own rounding.
    """
    try:
        with torch_runner(feature_model(spec)) as reference, onnxruntime_runner(path) as candidate, torch.no_grad():
            rows = rows_of(reference, candidate, images)
        if rows.reference.shape != rows.candidate.shape:
            return ""
        worst = np.argsort(row_cosines(rows.reference, rows.candidate))[:LOOKED_AT]
        with torch.no_grad():
            exact = feature_model(spec).double()(images[torch.from_numpy(worst)]).numpy()
        ours, its = (float(1 - row_cosines(exact, each[worst]).min()) for each in (rows.reference, rows.candidate))
    except Exception:  # a graph that does not run; a model that float64 does not suit
        return ""
    if not its <= AS_NEAR * max(ours, 1e-12):
        return ""
    return (
        f"no layer is wrong: in float64 the worst row is {ours:.1e} (1 - cosine) from torch's fp32 and {its:.1e} from "
        "the artefact's, so this model magnifies rounding and either is as right; use --backend torch to have torch's"
    )


def _parity_of_graph(spec: ModelSpec, graph: Path, images: torch.Tensor) -> Parity:
    with torch_runner(feature_model(spec)) as reference, onnxruntime_runner(graph) as run, torch.no_grad():
        return compare(reference, run, images)
