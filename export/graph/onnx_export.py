"""A ModelSpec as an ONNX file: uint8 images in, features (and logits) out, the contract in its metadata."""

import ast
import contextlib
import math
import os
import tempfile
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featune.engine.errors import BadInput, FeatuneError
from featune.engine.models import (
    LOCAL,
    ModelSpec,
    Normalise,
    View,
    classifier,
    classifier_layer,
    feature_model,
    feature_width,
    label_names,
    sources_digest,
    state_digest,
    timms_way,
)
from featune.engine.store import digest, plain, refusals_of, written_whole

from ..contract import CONTRACT, LAYER, set_entry
from .linear_fusion import with_biases_inside, with_parts_apart
from .unused_tokens import without_unused_tokens

OPSET = 20  # what torch exports by default, and within what ONNX Runtime (<= 26) and TensorRT 10 and 11 parse
IR = 10  # onnx itself would write 14, ONNX Runtime 1.31 takes at most 13
MAKERS = ("torch", "timm", "onnx", "onnxscript")
REVISION = 4  # of the graphs that this module makes; part of their names
# A protobuf message ends at 2 GiB; 128 MiB are left for the graph around the weights.
EXTERNAL_ABOVE = 2**31 - 2**27
LAYOUTS = {
    1: "grey, [batch, 1, side, side]",
    2: "the file's grey and alpha, [batch, 2, side, side]",
    3: "RGB, [batch, 3, side, side]",
    4: "the file's RGB and alpha, [batch, 4, side, side]",
}
DESCRIPTIVE = ("name", "family", "checkpoint", "source_top1", "source_n")  # of a spec; no number depends on them


def graph_key(spec: ModelSpec, logits: bool = False) -> str:
    """Names a graph file by all that it depends on: the spec, the opset, and the versions that make it."""
    parts = {"spec": spec.digest, "opset": OPSET, "makers": _versions(), "logits": logits, "revision": REVISION}
    if spec.view.crop_mode != "center":
        parts["resize"] = resize_rule(spec.view)  # contracts of before described the center crop
    return digest(parts)


def graph_from_spec(
    spec: ModelSpec,
    path: str | os.PathLike[str],
    *,
    logits: bool = False,
    optimise: bool = True,
    external_above: int = EXTERNAL_ABOVE,
) -> Path:
    """Write the spec's graph to `path`, whole or not at all.

    Input `images` uint8 [batch, channels, side, side]; output `features` float32 [batch, width], and with `logits`
    also `logits` float32 [batch, source classes]; scaling and normalisation are the first nodes. Models whose
    weights exceed `external_above` bytes get them in `<path>.data`, which belongs to the file.
    Raises FeatuneError with the exporter's words where it fails.
    """
    path = Path(path)
    model: nn.Module = feature_model(spec, exportable=True)
    side, channels = spec.view.side, spec.view.channels
    facts = _facts(spec, model)
    if logits:
        model = _WithLogits(spec, model)
    model, fused = _reparameterised(model)
    example = torch.zeros(2, channels, side, side, dtype=torch.uint8)
    program = _exported(spec, model, example, ["features", "logits"] if logits else ["features"], optimise)
    contract = {
        "spec": spec_record(spec),
        "model": spec_record(spec)["name"],
        **facts,
        "classes": _classes(program.model_proto),
        "precision": "fp32",
        "target": "any",
        "reparameterised": fused,
        "opset": OPSET,
        "makers": _versions(),
    }
    if logits and (names := label_names(spec)):
        contract["class_names"] = names  # of the logits, in their order
    large = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values()) > external_above
    return _written(program, contract, path, large)


def _facts(spec: ModelSpec, model: nn.Module) -> dict[str, Any]:
    """What a contract says of the features beside the spec that they follow from."""
    side, channels = spec.view.side, spec.view.channels
    return {
        "weights": state_digest(model),
        "width": feature_width(model, side, channels),
        "input": {"name": "images", "type": "uint8", "layout": LAYOUTS[channels], "side": side},
        "resize": resize_rule(spec.view),
        "tap": spec.tap or "pre_logits",
    }


def _classes(proto: Any) -> int | None:
    """Of the logits that a graph gives, None where it gives none."""
    found = [value for value in proto.graph.output if value.name == "logits"]
    return int(found[0].type.tensor_type.shape.dim[1].dim_value) if found else None


def contract_errors(contract: dict[str, Any], spec: ModelSpec, proto: Any) -> list[str]:
    """Where a contract says of its graph what does not follow from its spec, or is not in the graph, in words."""
    opset = next((entry.version for entry in proto.opset_import if entry.domain in ("", "ai.onnx")), None)
    wanted = {**_facts(spec, feature_model(spec)), "classes": _classes(proto), "opset": opset}
    return [
        f"its contract says {key} is {contract.get(key)}, {value} is right"
        for key, value in wanted.items()
        if plain(contract.get(key)) != plain(value)
    ]


def spec_record(spec: ModelSpec) -> dict[str, Any]:
    """The spec without local paths: a factory file is named by its last part and its bytes, a folder by its bytes."""
    record = plain(spec) | {"checkpoint": None}
    if spec.architecture.startswith(LOCAL):
        folder = f"{LOCAL}{Path(spec.architecture.removeprefix(LOCAL)).name}"
        record["name"] = folder if spec.name == spec.architecture else spec.name
        record["architecture"] = folder
        record["weights"] = spec.weights.rpartition("#")[2]
    if spec.is_factory:
        module, _, function = spec.architecture.rpartition(":")
        record["architecture"] = f"{Path(module).name}:{function}"
        record["name"] = record["architecture"] if spec.name == spec.architecture else spec.name
        record["factory_code"] = sources_digest(spec.architecture)
    return record


def contract_differences(contract: dict[str, Any], spec: ModelSpec) -> list[str]:
    """Where the artefact's contract is not the model's, in words: another crop, mean, tap or weight file."""
    found, wanted = dict(contract["spec"]), spec_record(spec)
    for side in (found, wanted):
        side.update({"channels": 3} | side.pop("view"))
        for label in DESCRIPTIVE:
            side.pop(label, None)
        if side["architecture"].startswith(LOCAL):
            side["architecture"] = LOCAL  # `weights` names the files, wherever they lie
    keys = sorted(found.keys() | wanted.keys())
    return [
        f"{key} is {found.get(key)} in the artefact, {wanted.get(key)} in the model"
        for key in keys
        if plain(found.get(key)) != plain(wanted.get(key))
    ]


class _WithLogits(nn.Module):
    """uint8 images to features and to the logits made of them, in one pass. features: for a module not timm's."""

    def __init__(self, spec: ModelSpec, features: nn.Module):
        super().__init__()
        model = classifier(spec, exportable=True)
        self.timm = timms_way(model)
        if spec.tap:
            raise BadInput(f"{spec.name}: no logits are made of the features of a tap; export its features alone")
        if not self.timm:
            self.features, self.classifier = features, classifier_layer(model, spec)
        elif not getattr(model, "num_classes", 0):
            raise BadInput(f"{spec.name} has no classifier, so no logits; export its features alone")
        else:
            self.normalise, self.model = Normalise(spec.mean, spec.std), model
        self.eval()

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        if not self.timm:
            return (rows := self.features(images)), self.classifier(rows)
        found, head = self.model.forward_features(self.normalise(images)), self.model.forward_head  # type: ignore[operator]
        return head(found, pre_logits=True), head(found)  # type: ignore[operator]


def _reparameterised(model: nn.Module) -> tuple[nn.Module, bool]:
    """The model with parallel branches and their norms fused into single layers, where timm can; and whether."""
    from timm.utils import reparameterize_model

    names = ("fuse", "reparameterize", "switch_to_deploy")
    if not any(hasattr(module, name) for module in model.modules() for name in names):
        return model, False
    return reparameterize_model(model).eval(), True


def _exported(spec: ModelSpec, model: nn.Module, example: Tensor, outputs: list[str], optimise: bool) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of torch's own deprecations; what matters raises
            program = torch.onnx.export(
                model, (example,), input_names=["images"], output_names=outputs, opset_version=OPSET,
                dynamic_shapes=({0: "batch"},), verbose=False, optimize=optimise,
            )  # fmt: skip
    except Exception as error:  # the exporter raises many kinds
        raise FeatuneError(f"{spec.name} does not export to ONNX: {str(error)[:500]}") from error
    assert program is not None
    if optimise:
        with_parts_apart(program.model)
        without_unused_tokens(program.model)
        with_biases_inside(program.model)
    return program


def _written(program: Any, contract: dict[str, Any], path: Path, large: bool) -> Path:
    """Save the program with its contract; the data file first, since the graph file vouches for it."""
    import onnx

    if not large:
        proto = program.model_proto
        _finish(proto, contract)
        onnx.checker.check_model(proto, full_check=True)
        with written_whole(path) as temporary:
            temporary.write_bytes(proto.SerializeToString(deterministic=True))
        return path
    data = path.with_name(f"{path.name}.data")
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        made = Path(folder, path.name)
        with refusals_of(path, Path(folder)):
            program.save(str(made), external_data=True)
            proto = onnx.load(str(made), load_external_data=False)
            _finish(proto, contract)
            made.write_bytes(proto.SerializeToString(deterministic=True))
        onnx.checker.check_model(str(made))
        os.replace(made.with_name(data.name), data)
        with written_whole(path) as temporary:
            temporary.write_bytes(made.read_bytes())
    return path


def _finish(proto: Any, contract: dict[str, Any]) -> None:
    proto.ir_version = IR
    _strip_paths(proto)
    set_entry(proto, CONTRACT, contract)


def _strip_paths(proto: Any) -> None:
    """Remove the exporter's notes from every node and value: stack traces with this machine's paths.

    What stays is the torch module that a node came from, so that a parity report can name a layer.
    """
    graph = proto.graph
    layers = [_layer_of(node) for node in graph.node]
    for part in (graph, *graph.node, *graph.value_info, *graph.input, *graph.output, *graph.initializer):
        del part.metadata_props[:]
        part.ClearField("doc_string")
    for function in proto.functions:
        del function.metadata_props[:]
    del proto.metadata_props[:]
    for node, layer in zip(graph.node, layers, strict=True):
        if layer:
            entry = node.metadata_props.add()
            entry.key, entry.value = LAYER, layer


def _layer_of(node: Any) -> str:
    """The path of the torch module that a node came from, as `named_modules` of the model says it."""
    for entry in node.metadata_props:
        if entry.key == "pkg.torch.onnx.name_scopes":
            with contextlib.suppress(ValueError, SyntaxError):
                scopes = [str(scope) for scope in ast.literal_eval(entry.value)]
                module = scopes[-2] if len(scopes) > 1 else ""
                first, _, rest = module.partition(".")
                if first in ("0", "normalise"):
                    return "normalise"
                return rest or ("model" if first in ("1", "model") else module)
    return ""


def resize_rule(view: View) -> str:
    """What timm does to an image before it is a square, in words.

    Source: timm.data.transforms_factory.transforms_imagenet_eval.
    """
    scaled = math.floor(view.side / view.crop_pct)
    first = {
        "center": f"shorter side to {scaled} pixels",
        "squash": f"both sides to {scaled} pixels, whatever their ratio,",
        "border": f"longer side to {scaled} pixels",
    }
    last = f", padded with {list(view.fill)} where it reaches beyond" if view.crop_mode == "border" else ""
    return (
        f"timm {view.crop_mode}: {first[view.crop_mode]} by {view.interpolation}, "
        f"then a {view.side} x {view.side} crop{last}; EXIF orientation not applied"
    )


def _versions() -> dict[str, str]:
    return {name: version(name) for name in MAKERS}
