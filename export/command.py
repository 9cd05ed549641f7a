"""What `featune export`, `featune verify` and `featune models` do, as functions of plain values."""

import dataclasses
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from engine.errors import BadInput, ParityFailed
from engine.hub import HUB_NAMES, LOCAL
from engine.models import ModelSpec, View, feature_model, spec_from_entry
from engine.store import cache_dir, digest, file_digest, written_whole
from engine.tensorrt_runner import BuildSettings, check_settings, library
from engine.weights import state_digest
from export.backends import exported
from export.contract import channels_of, check_versions, contract_of, read_graph
from export.gate import Verdict, judge
from export.graph import contract_differences
from export.plan import check_machine, judged, plan_from_graph, read_plan, refitted, require_plan, write_plan
from export.plan_gate import gate_of_plan, plan_down
from export.precision import check_precision, image_digests, stand_in
from export.samples import Sample, folder_sample, held_out, own_sample

log = logging.getLogger("featune")
SUFFIX = {"onnx": ".onnx", "tensorrt": ".plan"}
TUNED = re.compile(r"1\.")  # a fine-tuned run's body is the second part of its Sequential


@dataclasses.dataclass(frozen=True)
class Export:
    """What was made: the file, the precision that it has in the end, and its verdict."""

    path: str
    model: str
    precision: str
    target: str
    bytes: int
    verdict: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Product:
    """What to make of a model. to: onnx, or tensorrt for a plan of this GPU. target: whose int8, by `to` unless given.

    logits: the source task's too. batches: least, usual and most of a plan; refittable: its weights can be replaced;
    refit: a refittable plan of the same architecture, which gets this model's weights in place of a build.
    hardware, version_compatible: where else the plan runs, see `engine.tensorrt_runner.BuildSettings`.
    """

    precision: str = "fp32"
    to: str = "onnx"
    target: str | None = None
    logits: bool = False
    batches: tuple[int, int, int] = (1, 64, 256)
    refittable: bool = False
    device: str = "cuda"
    refit: Path | None = None
    hardware: str = "same_gpu"
    version_compatible: bool = False


def export_model(
    spec: ModelSpec,
    product: Product,
    *,
    data: Path | None = None,
    out: Path | None = None,
    progress: Callable[[str, int, int], bool] | None = None,
) -> Export:
    """Make an artefact of a model and judge it on real images.

    data: a folder of the user's images; without it the project's sample set. progress: of a plan's build, called with
    the phase, its step and its steps; returns whether to go on. Raises ParityFailed, with the report, where the
    artefact is not its model; the file then stays for a look, and no runner opens it.
    """
    target = checked_target(product, out)
    sample = sample_of(spec, data)
    stem = (
        spec.name.replace("/", "_")
        if product.precision == "fp32"
        else f"{spec.name.replace('/', '_')}.{product.precision}-{target}"
    )
    path = out or Path(f"{stem}{SUFFIX[product.to]}")
    # Beside a plan, not in the place of an artefact that may bear the plan's name.
    graph = path if product.to == "onnx" else path.with_suffix(f".{product.precision}-{target}.onnx")

    def graph_of(precision: str) -> Verdict:
        verdict = exported(spec, graph, sample, precision=precision, target=target, logits=product.logits)
        if not verdict.passed:
            raise ParityFailed(f"{spec.name} {verdict.precision}: {verdict.report}; {graph} is kept and refused")
        return verdict

    def plan_of(precision: str) -> Path:
        gate = gate_of_plan(spec, lambda: held_out(sample, precision), product.device)
        if product.refit is not None:
            return refitted(product.refit, graph, path, gate, product.device)
        return plan_from_graph(
            graph, cache_dir() / "plans", settings_of(product), gate, device=product.device, progress=progress
        )

    if product.to == "onnx":
        verdict = graph_of(product.precision)
        if product.precision == "int8" and verdict.speed is not None and verdict.speed < 1:
            log.warning("%s int8 runs %.2f times as fast as fp32 on this CPU; keep fp32", spec.name, verdict.speed)
        return Export(
            str(graph), spec.name, verdict.precision, target, graph.stat().st_size, dataclasses.asdict(verdict)
        )
    if product.refit is None:
        made = plan_down(product.precision, lambda precision: graph_of(precision).precision, plan_of)
    else:  # of the precision that the plan has
        made = plan_of(graph_of(product.precision).precision)
    header, blob = read_plan(made)
    if made != path:
        write_plan(path, header, blob)
    return Export(str(path), spec.name, header.precision, target, path.stat().st_size, header.verdict)


def checked_target(product: Product, out: Path | None = None) -> str:
    """The target of a product that this machine can make, before minutes of work on one that it cannot."""
    if product.to not in SUFFIX:
        raise BadInput(f"no format named {product.to!r}; onnx or tensorrt")
    if out is not None and out.suffix != SUFFIX[product.to]:
        raise BadInput(f"--out {out}: a file named *{SUFFIX[product.to]} expected; `featune verify` goes by the name")
    target = product.target or ("tensorrt" if product.to == "tensorrt" else "cpu")
    check_precision(product.precision, target)
    if product.to == "tensorrt":
        library()
        check_settings(settings_of(product))
        if product.refit is not None:
            read_plan(product.refit)
    elif of_plans := _of_plans(product):
        raise BadInput(f"{', '.join(of_plans)}: for plans only; give --to tensorrt too")
    return target


def _of_plans(product: Product) -> list[str]:
    """The options given that an ONNX file has no use for."""
    usual = Product()
    names = ("batches", "refittable", "refit", "hardware", "version_compatible")
    return [f"--{name.replace('_', '-')}" for name in names if getattr(product, name) != getattr(usual, name)]


def settings_of(product: Product) -> BuildSettings:
    return BuildSettings(
        batches=product.batches, refittable=product.refittable, hardware=product.hardware,
        version_compatible=product.version_compatible,
    )  # fmt: skip


def verify(
    path: Path,
    data: Path | None = None,
    *,
    model: str | None = None,
    checkpoint: Path | None = None,
    device: str = "cuda",
) -> dict[str, Any]:
    """Judge an artefact or a plan again and write the new verdict into it. Raises ParityFailed where it fails.

    model, checkpoint: what it should be, where the contract alone does not tell (local weights, own factories) or
    is not to be believed.
    """
    if path.suffix == ".plan":
        return _verify_plan(path, data, model, checkpoint, device)
    check_versions(read_graph(path), path)
    contract = contract_of(path)
    spec = spec_of_contract(contract, path, checkpoint) if model is None else spec_of_model(model, checkpoint)
    spec = spec.with_channels(channels_of(contract))
    if differences := contract_differences(contract, spec):
        # Its own verdict stays: it is not this file that is wrong.
        raise ParityFailed(f"{path} is not {spec.name}: {'; '.join(differences)}; give the model that it was made of")
    if model is None:
        _tell_of_another_view(spec, path)
    sample = _not_calibrated_on(contract, sample_of(spec, data))
    with stand_in(path, contract["precision"]) as instead:
        verdict = judge(spec, path, sample, stand_in=instead)
    if not verdict.passed:
        raise ParityFailed(f"{path} is not {spec.name}: {verdict.report}")
    return dataclasses.asdict(verdict)


def _tell_of_another_view(spec: ModelSpec, path: Path) -> None:
    """A contract is what says how images are cropped; where that is not timm's way, someone chose it or changed it."""
    if ":" in spec.architecture:
        return
    usual = spec_from_entry({"architecture": spec.architecture, "pretrained": False}).with_channels(spec.view.channels)
    pairs = zip(dataclasses.fields(View), dataclasses.astuple(spec.view), dataclasses.astuple(usual.view), strict=True)
    if other := [f"{field.name} {ours}, timm's is {timms}" for field, ours, timms in pairs if ours != timms]:
        log.warning("%s has a view of its own: %s", path, "; ".join(other))


def _not_calibrated_on(contract: Mapping[str, Any], sample: Sample) -> Sample:
    """The images that int8's ranges were not taken from, where two are left."""
    known = set(contract.get("calibrated_on", ()))
    new = torch.tensor([digest not in known for digest in image_digests(sample.images.numpy())])
    if new.all() or int(new.sum()) < 2:
        return sample
    labels = None if sample.labels is None else sample.labels[new.numpy()]
    return Sample(sample.images[new], f"{sample.source}, {int(new.sum())} not calibrated on", labels)


def verdict_lines(path: str, verdict: Mapping[str, Any]) -> list[str]:
    """A verdict as the few lines that a terminal shows."""
    found = verdict["parity"]
    lines = [
        f"{path}: passed, {verdict['precision']}, {found['n']} images ({verdict['source']})",
        f"worst cosine {found['worst_cosine']:.7f}, mean {found['mean_cosine']:.7f}, largest error "
        f"{found['max_error']:.3g}, noise {found['noise']:.2g}, same neighbour {found['neighbours']:.1%}",
    ]
    if verdict.get("probe"):
        probe = verdict["probe"]
        lines.append(
            f"probe accuracy {probe['reference']:.4f} to {probe['candidate']:.4f}, change {probe['difference']:+.4f} "
            f"(95 % {probe['low']:+.4f} to {probe['high']:+.4f}, n = {probe['n']})"
        )
    if verdict.get("speed"):
        lines.append(f"{verdict['speed']:.2f} times as fast as fp32 on this CPU, one thread, batch 8")
    if verdict.get("stand_in"):
        lines.append(f"checked by a stand-in: {verdict['stand_in']}")
    return lines


def spec_of_model(model: str, checkpoint: Path | None = None, untrained: bool = False) -> ModelSpec:
    """A timm name, a factory `file.py:function`, with its own weights, a local file's, or none."""
    key = "factory" if ":" in model and not model.startswith(HUB_NAMES) else "architecture"
    entry: dict[str, Any] = {key: model, "pretrained": not untrained}
    if checkpoint is not None:
        body = body_of_tuned(checkpoint)
        entry |= {"checkpoint": str((body or checkpoint).resolve())}
        if body is not None:
            entry |= {"kwargs": {"num_classes": 0}, "name": f"{model}.{checkpoint.stem}"}
    return spec_from_entry(entry)


def spec_of_contract(contract: Mapping[str, Any], path: Path, checkpoint: Path | None = None) -> ModelSpec:
    """The model that an artefact says it is of. Raises BadInput where its weights or code are not at hand."""
    record = dict(contract["spec"])
    if record.pop("factory_code", None):
        raise BadInput(f"{path} is of the local code {record['architecture']}; give it with --model file.py:function")
    if str(record.get("architecture")).startswith(LOCAL):
        raise BadInput(f"{path} is of a local folder; give it with --model {record['architecture']}")
    try:
        record |= {
            "view": View(**record["view"]),
            "mean": tuple(record["mean"]),
            "std": tuple(record["std"]),
            "kwargs": tuple((key, value) for key, value in record["kwargs"]),
        }
        spec = ModelSpec(**record)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: the spec of its contract is damaged ({error}); export the model again") from error
    local = re.fullmatch(r"[0-9a-f]{64}", spec.weights) is not None
    if local and checkpoint is None:
        raise BadInput(f"{path} was made from a local weight file (SHA-256 {spec.weights[:12]}...); give --checkpoint")
    if not local:
        return spec
    assert checkpoint is not None
    file = body_of_tuned(checkpoint) or checkpoint
    if file.is_file() and (found := file_digest(file)) != spec.weights:
        raise BadInput(
            f"{path} was made from a weight file of SHA-256 {spec.weights[:12]}..., {checkpoint} has {found[:12]}...; "
            "give the one that it was made from"
        )
    return dataclasses.replace(spec, checkpoint=str(file.resolve()))


def sample_of(spec: ModelSpec, data: Path | None) -> Sample:
    return folder_sample(data, spec.view) if data else own_sample(spec.view)


def body_of_tuned(checkpoint: Path) -> Path | None:
    """The body's weights out of a checkpoint of Featune's own fine-tuning, as a file; None for any other file.

    Such a checkpoint holds the whole training: `model` with normalisation, body and head, and the optimiser.
    Loaded without running code; the head is left out, since an artefact gives features.
    """
    from safetensors.torch import save_file

    if checkpoint.suffix not in (".pt", ".pth") or not checkpoint.is_file():
        return None
    try:
        state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    except Exception:  # a file that is refused here is refused with its reason where it is loaded
        return None
    if not isinstance(state, dict) or not {"model", "optimizer", "step"} <= state.keys():
        return None
    body = {TUNED.sub("", key, count=1): value for key, value in state["model"].items() if TUNED.match(key)}
    path = cache_dir() / "tuned" / f"{digest([str(checkpoint.resolve()), checkpoint.stat().st_mtime_ns])}.safetensors"
    if not path.exists():
        with written_whole(path) as temporary:
            save_file({key: value.contiguous() for key, value in body.items()}, os.fspath(temporary))
    return path


def _verify_plan(
    path: Path, data: Path | None, model: str | None, checkpoint: Path | None, device: str
) -> dict[str, Any]:
    """As `verify`. A plan that is of another model than the one given keeps the verdict that it has."""
    header, blob = read_plan(path)
    check_machine(header.key, path, device)
    contract = header.contract
    spec = spec_of_contract(contract, path, checkpoint) if model is None else spec_of_model(model, checkpoint)
    spec = spec.with_channels(channels_of(contract))
    differences = contract_differences(contract, spec)
    if not differences and state_digest(feature_model(spec)) != contract["weights"]:
        differences = ["the weights are other ones"]
    if differences:
        raise ParityFailed(f"{path} is not {spec.name}: {'; '.join(differences)}; its own verdict is left as it was")
    sample = _not_calibrated_on(contract, sample_of(spec, data))
    header = judged(header, blob, gate_of_plan(spec, lambda: sample, device), device)
    write_plan(path, header, blob)
    require_plan(header, path)
    return header.verdict
