"""A ModelSpec as an ONNX file: uint8 images in, features out, the preprocessing contract in the metadata."""

import json
import os
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from engine.errors import BadInput, FeatuneError
from engine.models import ModelSpec, feature_model, feature_width
from engine.store import digest, plain, written_whole

OPSET = 20  # what torch exports by default, and within what ONNX Runtime (<= 26) and TensorRT 10 and 11 parse
CONTRACT = "featune"  # the metadata entry that holds the contract
MAKERS = ("torch", "timm", "onnx", "onnxscript")


def graph_key(spec: ModelSpec) -> str:
    """Names a graph file by all that it depends on: the spec, the opset, and the versions that make it."""
    return digest({"spec": spec.digest, "opset": OPSET, "makers": _versions()})


def graph_from_spec(spec: ModelSpec, path: str | os.PathLike[str]) -> Path:
    """Write the spec's feature graph to `path`, whole or not at all.

    Input `images` uint8 [batch, 3, side, side], output `features` float32 [batch, width]; scaling and
    normalisation are the first nodes. Raises FeatuneError with the exporter's words where it fails.
    """
    model = feature_model(spec)
    side = spec.view.side
    width = feature_width(model, side)
    example = torch.zeros(2, 3, side, side, dtype=torch.uint8)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own deprecations; what matters raises
            program = torch.onnx.export(
                model, (example,), input_names=["images"], output_names=["features"],
                opset_version=OPSET, dynamic_shapes=({0: "batch"},), verbose=False,
            )  # fmt: skip
    except Exception as error:  # the exporter raises many kinds
        raise FeatuneError(f"{spec.name} does not export to ONNX: {str(error)[:500]}") from error
    assert program is not None
    proto = program.model_proto
    _strip_paths(proto)
    contract = {
        "spec": plain(spec) | {"checkpoint": None},
        "width": width,
        "opset": OPSET,
        "tap": spec.tap or "pre_logits",
        "makers": _versions(),
    }
    entry = proto.metadata_props.add()
    entry.key, entry.value = CONTRACT, json.dumps(contract, sort_keys=True)
    with written_whole(path) as temporary:
        _save(proto, temporary)
    return Path(path)


def contract_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """What the graph file says of itself. Raises BadInput for a file that Featune did not write."""
    import onnx

    try:
        proto = onnx.load(os.fspath(path), load_external_data=False)
    except Exception as error:  # protobuf's own errors
        raise BadInput(f"{path} is not an ONNX file ({str(error)[:200]}); export the model again") from error
    for entry in proto.metadata_props:
        if entry.key == CONTRACT:
            return json.loads(entry.value)
    raise BadInput(f"{path} carries no preprocessing contract; use a file that `featune export` wrote")


def _save(proto: Any, path: Path) -> None:
    import onnx

    onnx.checker.check_model(proto, full_check=True)
    path.write_bytes(proto.SerializeToString())


def _strip_paths(proto: Any) -> None:
    """Remove the exporter's notes from every node and value: stack traces with this machine's paths."""
    graph = proto.graph
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
    for node in graph.node:
        node.ClearField("doc_string")


def _versions() -> dict[str, str]:
    return {name: version(name) for name in MAKERS}
