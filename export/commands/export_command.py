"""What `featune export`, `featune verify` and `featune models` do, as functions of plain values."""

import dataclasses
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from featune.engine.errors import BadInput, ParityFailed, nearest
from featune.engine.models import LOCAL, ModelSpec, is_finetuned, spec_from_module, with_channels
from featune.engine.store import cache_dir
from featune.engine.tensorrt import LIBRARIES, BuildSettings, check_settings, library

from ..backends import (
    PLAN_BATCHES,
    exported,
    faster_plan,
    gate_of_plan,
    plan_down,
    plan_from_graph,
    read_plan,
    refitted,
    write_plan,
)
from ..contract import contract_of
from ..gate import Verdict, held_out
from ..precision import check_precision
from .named_models import sample_of, spec_of_model
from .view_options import NAMES, entry_of, refuse_options

log = logging.getLogger("featune")
SUFFIX = {"onnx": ".onnx"} | dict.fromkeys(LIBRARIES, ".plan")


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
    """What to make of a model. to: onnx; tensorrt or tensorrt-rtx for a plan of this GPU. target: whose int8, by `to`.

    logits: the source task's too. batches: least, usual and most of a plan; refittable: its weights can be replaced;
    refit: a refittable plan of the same architecture, which gets this model's weights in place of a build.
    hardware, version_compatible: where else the plan runs, see `featune.engine.tensorrt.BuildSettings`.
    """

    precision: str = "fp32"
    to: str = "onnx"
    target: str | None = None
    logits: bool = False
    batches: tuple[int, int, int] = PLAN_BATCHES
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

    A folder that `featune finetune` left gives its logits too, with the names of its classes in the contract.
    data: a folder of the user's images; without it the project's sample set. progress: of a plan's build, called with
    the phase, its step and its steps; returns whether to go on. Raises ParityFailed, with the report, where the
    artefact is not its model; the file then stays for a look, and no runner opens it.
    """
    target = checked_target(product, out)
    sample = sample_of(spec, data)
    if is_finetuned(spec):
        product = dataclasses.replace(product, logits=True)
    stem = _file_name(spec)
    if product.precision != "fp32":
        stem = f"{stem}.{product.precision}-{target}"
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
            graph,
            cache_dir() / "plans",
            settings_of(product),
            gate,
            device=product.device,
            by=product.to,
            progress=progress,
        )

    if product.to == "onnx":
        verdict = graph_of(product.precision)
        if product.precision == "int8" and verdict.speed is not None and verdict.speed < 1:
            log.warning("%s int8 runs %.2f times as fast as fp32 on this CPU; keep fp32", spec.name, verdict.speed)
        return Export(
            str(graph), spec.name, verdict.precision, target, graph.stat().st_size, dataclasses.asdict(verdict)
        )
    if product.refit is None:
        plans = cache_dir() / "plans"
        made = plan_down(
            product.precision, lambda precision: graph_of(precision).precision, plan_of,
            lambda first, second: faster_plan(first, second, plans, product.device),
        )  # fmt: skip
        if contract_of(graph)["precision"] != (chosen := read_plan(made)[0].precision):
            graph_of(chosen)  # the plan's graph stays beside it, and not the last one tried
    else:  # of the precision that the plan has
        made = plan_of(graph_of(product.precision).precision)
    header, blob = read_plan(made)
    if made != path:
        write_plan(path, header, blob)
    return Export(str(path), spec.name, header.precision, target, path.stat().st_size, header.verdict)


def _file_name(spec: ModelSpec) -> str:
    """What the file is called by default, without its suffix: after the model, or after the folder that it is in."""
    if spec.name == spec.architecture and spec.architecture.startswith(LOCAL):
        return Path(spec.architecture.removeprefix(LOCAL)).resolve().name
    return spec.name.replace("/", "_")


def export(
    model: str | os.PathLike[str] | ModelSpec | nn.Module,
    out: str | os.PathLike[str] | None = None,
    *,
    data: str | os.PathLike[str] | None = None,
    view: Mapping[str, Any] | None = None,
    **product: Any,
) -> Export:
    """Write a model as a file that was compared with torch on real images: `featune.export("resnet50", "r50.onnx")`.

    model: a timm name, `file.py:function`, a ModelSpec, or a torch module. out: by default named after the model.
    data: a folder of your images; without it the project's sample set. product: fields of `Product`, such as
    precision="int8", to="tensorrt", logits=True; and fields of `ViewOptions`, such as img_size=128, mean=0.5, which go
    before what the model says of itself (or all of them as `view`, with side for img_size).
    Raises ParityFailed where the file does not agree with torch.
    """
    options = {name: product.pop(name) for name in NAMES if name in product}
    known = {field.name for field in dataclasses.fields(Product)}
    wrong = [name for name in product if name not in known]
    if wrong:
        raise BadInput(
            f"no option {wrong[0]!r}{nearest(wrong[0], {*known, *NAMES})}; one of {', '.join(sorted({*known, *NAMES}))}"
        )
    spec = spec_of(model, entry_of(options, view))
    return export_model(
        spec, Product(**product), data=Path(data) if data is not None else None, out=Path(out) if out else None
    )


def spec_of(model: str | os.PathLike[str] | ModelSpec | nn.Module, view: Mapping[str, Any]) -> ModelSpec:
    """The spec of what a program has at hand. view: parts of an entry. Raises BadInput for a view of a spec."""
    if isinstance(model, ModelSpec):
        refuse_options(model.name, view, "a ModelSpec has its view")
        return model
    if isinstance(model, nn.Module):
        refuse_options(type(model).__name__, {"model_kwargs": view.get("kwargs")}, "a module is made already")
        return spec_from_module(model, view)
    spec = spec_of_model(os.fspath(model), view={key: value for key, value in view.items() if key != "in_chans"})
    return with_channels(spec, view.get("in_chans") or spec.view.channels)


def checked_target(product: Product, out: Path | None = None) -> str:
    """The target of a product that this machine can make, before minutes of work on one that it cannot."""
    if product.to not in SUFFIX:
        raise BadInput(f"no format named {product.to!r}; one of {', '.join(SUFFIX)}")
    if out is not None and out.suffix != SUFFIX[product.to]:
        raise BadInput(f"--out {out}: a file named *{SUFFIX[product.to]} expected; `featune verify` goes by the name")
    target = product.target or ("tensorrt" if product.to in LIBRARIES else "cpu")
    check_precision(product.precision, target)
    if product.to in LIBRARIES:
        library(product.to)
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
