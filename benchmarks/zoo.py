"""Which timm architectures export, and how exactly: docs/zoo.md, with random weights.

    python benchmarks/zoo.py [--only PATTERN] [--int8 none|convolutional|all] [--limit SECONDS]

Random weights tell whether a graph is right, not what a precision costs a trained model. Zero-initialised
parameters are made one and norms get the statistics of the sample images, since untrained residual branches are
dead otherwise and hide what is wrong in them. Each architecture's row is kept as it is made (runs/zoo/*.json), so
a killed run goes on; delete a file to measure its row again. Rows of graphs that the exporter no longer makes are
measured again, int8 only where the nodes have changed. Rows that lack int8 alone come smallest file first.
"""

import argparse
import collections
import contextlib
import datetime
import fnmatch
import json
import os
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import nn

from featune.engine.errors import FeatuneError
from featune.engine.models import ModelSpec, Normalise, classifier, feature_model, spec_from_entry
from featune.engine.runners import onnxruntime_runner, torch_runner
from featune.engine.store import read_json, write_json, write_text
from featune.export.backends import exported
from featune.export.commands.timm_models import ZOO
from featune.export.contract import compare, failures, parity
from featune.export.contract.thresholds import REQUIRED
from featune.export.gate import own_sample
from featune.export.graph import graph_from_spec
from featune.export.graph.onnx_export import REVISION

# One or two of each family, the small ones; the family is the module of timm that holds it.
ARCHITECTURES = """
beit_base_patch16_224 botnet26t_256 cait_xxs24_224 coat_lite_tiny coatnet_nano_rw_224 convit_tiny convmixer_768_32
convnext_atto convnextv2_atto crossvit_tiny_240 cspresnet50 darknet53 davit_tiny deit_tiny_patch16_224
deit_tiny_distilled_patch16_224 densenet121 dla34 dla46_c dpn48b edgenext_xx_small efficientformer_l1
efficientformerv2_s0 efficientnet_b0 efficientnet_lite0 efficientvit_b0 efficientvit_m0 eva02_tiny_patch14_224
fastvit_t8 fbnetc_100 focalnet_tiny_srf gcvit_xxtiny gernet_s ghostnet_050 ghostnetv2_100 halonet26t
hardcorenas_a hgnetv2_b0 hiera_tiny_224 hrnet_w18_small inception_next_atto inception_v3 lambda_resnet26t lcnet_050
levit_128s mambaout_femto maxvit_rmlp_pico_rw_256 mixer_s32_224 mixnet_s mnasnet_small mobilenetv1_100
mobilenetv2_050 mobilenetv3_small_050 mobilenetv4_conv_small mobileone_s0 mobilevit_xxs mobilevitv2_050 mvitv2_tiny
nest_tiny nextvit_small nf_regnet_b0 pit_ti_224 poolformer_s12 pvt_v2_b0 rdnet_tiny regnetx_002 regnety_002
repghostnet_050 repvgg_a0 repvit_m0_9 res2net50_14w_8s resmlp_12_224 resnest14d resnet18 resnetv2_50 resnext50_32x4d
rexnet_100 selecsls42 semnasnet_075 seresnext26d_32x4d shvit_s1 skresnet18 spnasnet_100 starnet_s1 swiftformer_xs
swin_tiny_patch4_window7_224 swinv2_cr_tiny_ns_224 tiny_vit_5m_224 tinynet_e tresnet_m twins_svt_small
vgg11 visformer_tiny vit_relpos_small_patch16_224 vit_tiny_patch16_224 volo_d1_224 vovnet39a xception41
xcit_nano_12_p8_224
"""
# TimmModel faults, each with the thread that tracks it.
UPSTREAM = {"Cannot view a tensor with shape": "pytorch#141107"}
COLUMNS = (
    "architecture", "family", "fp32", "1 - worst cosine", "export, s", "MB", "int8", "its noise",
    "a grey level's", "its MB", "its speed, of fp32", "note",
)  # fmt: skip
IMAGES = 12  # 1 + 3 + 8: the batch sizes that are checked


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--only", default="*", help="names to measure; the table holds all rows made so far")
    arguments.add_argument("--int8", choices=("none", "convolutional", "all"), default="convolutional")
    arguments.add_argument("--limit", type=int, default=0, help="CPU seconds for one architecture's int8; 0: none")
    arguments.add_argument("--rows", type=Path, default=Path("runs/zoo"))
    arguments.add_argument("--out", type=Path, default=Path("docs/zoo.md"))
    given = arguments.parse_args()
    torch.set_num_threads(1)
    known = {name: read_json(given.rows / f"{name}.json") for name in fnmatch.filter(ARCHITECTURES.split(), given.only)}
    for name in sorted(known, key=lambda name: (known[name] or {}).get("bytes", 0)):
        found = known[name]
        if found is None:
            made = row(name, given)
        elif found.get("revision") != REVISION and "error" not in found:
            made = renewed(found)
        elif given.int8 == "none":
            continue
        elif lacks_int8(found):
            made = found | {"int8": int8_alone(name, given.limit)}
        elif "int8" in found and "grey_level" not in found["int8"]:
            with tempfile.TemporaryDirectory() as folder:
                made = found | {"int8": found["int8"] | {"grey_level": grey_level(lively(name, Path(folder)))}}
        else:
            continue
        print(name, flush=True)
        write_json(given.rows / f"{name}.json", made)
        write_text(given.out, table(given.rows))
    write_text(given.out, table(given.rows))
    write_text(ZOO, summary(given.rows))


def lacks_int8(found: dict[str, Any]) -> bool:
    """Whether it was measured without int8 (`--int8 none`), which can be added."""
    return bool(found.get("passed") and found.get("convolutional") and "int8" not in found)


def renewed(found: dict[str, Any]) -> dict[str, Any]:
    """The row with fp32 measured on today's graph, and without int8 where that was of a graph of other nodes."""
    with tempfile.TemporaryDirectory() as folder:
        made = exported_row(lively(found["name"], Path(folder)), Path(folder))
    same = found.get("nodes") == made["nodes"]
    return {key: value for key, value in (found | made).items() if key != "int8" or same}


def int8_alone(name: str, limit: int) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        return int8_row(lively(name, Path(folder)), Path(folder), limit)


def row(name: str, given: argparse.Namespace) -> dict[str, Any]:
    """What became of one architecture; an error is part of the row."""
    import timm

    if not timm.is_model(name):
        return {"name": name, "family": "", "error": "not in this version of timm"}
    found: dict[str, Any] = {"name": name, "family": timm.models.model_entrypoint(name).__module__.rpartition(".")[2]}
    with tempfile.TemporaryDirectory() as folder:
        try:
            spec = lively(name, Path(folder))
            found |= exported_row(spec, Path(folder))
            if given.int8 == "all" or (given.int8 == "convolutional" and found["convolutional"]):
                found["int8"] = int8_row(spec, Path(folder), given.limit)
        except Exception as error:  # whatever an architecture raises is its row
            text = f"{type(error).__name__}: {error}".split("\n")[0][:200]
            known = next((thread for symptom, thread in UPSTREAM.items() if symptom in str(error)), "")
            found |= {"error": text, "upstream": known}
    return found


def lively(name: str, folder: Path) -> ModelSpec:
    """Random weights of which every layer has a part in the output, as a checkpoint."""
    entry = {"architecture": name, "pretrained": False}
    spec = spec_from_entry(entry)
    model = classifier(spec)
    with torch.no_grad():
        for key, value in model.named_parameters():
            if key.endswith("weight") and value.ndim == 1 and not value.any():
                value.fill_(1.0)
        norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
        for module in norms:
            module.momentum = None
            module.reset_running_stats()
        if norms:
            model.train()(Normalise(spec.mean, spec.std)(own_sample(spec.view, 16).images))
    torch.save(model.eval().state_dict(), folder / "lively.pth")
    return spec_from_entry(entry | {"checkpoint": "lively.pth"}, folder)


def exported_row(spec: ModelSpec, folder: Path) -> dict[str, Any]:
    import onnx

    images = own_sample(spec.view, IMAGES).images
    graph = folder / "model.onnx"
    began = time.perf_counter()
    graph_from_spec(spec, graph)
    seconds = time.perf_counter() - began
    kinds = collections.Counter(node.op_type for node in onnx.load(graph, load_external_data=False).graph.node)
    with torch_runner(feature_model(spec)) as reference, onnxruntime_runner(graph, threads=1) as candidate:
        found = compare(reference, candidate, images)
    return {
        "revision": REVISION,
        "seconds": seconds,
        "bytes": graph.stat().st_size,
        "worst_cosine": found.worst_cosine,
        "noise": found.noise,
        "passed": not failures(found),
        "convolutional": "Softmax" not in kinds and "Conv" in kinds,
        "nodes": dict(sorted(kinds.items())),
    }


@contextlib.contextmanager
def at_most(seconds: int) -> Iterator[None]:
    """Raises TimeoutError once this process has used that much CPU time, which waiting and pausing do not count."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds} s of CPU time; `--limit` sets how long one architecture may take")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def grey_level(spec: ModelSpec) -> float:
    """The noise that torch's own features get when each value of each pixel changes by -1, 0 or 1 at random."""
    images = own_sample(spec.view, IMAGES).images
    changes = torch.randint(-1, 2, images.shape, generator=torch.Generator().manual_seed(0))
    changed = (images.int() + changes).clamp(0, 255).to(torch.uint8)
    with torch_runner(feature_model(spec)) as run, torch.no_grad():
        rows = [torch.cat([run(batch) for batch in each.split(4)]).double().numpy() for each in (images, changed)]
    return parity(*rows).noise


def int8_row(spec: ModelSpec, folder: Path, limit: int) -> dict[str, Any]:
    try:
        with at_most(limit):
            verdict = exported(spec, folder / "int8.onnx", own_sample(spec.view, 24), precision="int8")
    except Exception as error:  # says nothing of the fp32 graph
        said = str(error) if isinstance(error, FeatuneError) else f"{type(error).__name__}: {error}"
        return {"passed": False, "error": said.split("\n")[0][:200]}
    return {
        "passed": verdict.passed,
        "grey_level": grey_level(spec),
        "worst_cosine": verdict.parity["worst_cosine"],
        "noise": verdict.parity["noise"],
        "speed": verdict.speed,
        "bytes": (folder / "int8.onnx").stat().st_size,
    }


def table(folder: Path) -> str:
    """The page of every row that was made, with the counts above it."""
    import onnxruntime
    import timm

    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    rows = [each for each in rows if each.get("error") != "not in this version of timm"]
    passed = [each for each in rows if each.get("passed")]
    quantised = [each["int8"] for each in rows if each.get("int8") and each.get("convolutional")]
    families = {each["family"] for each in rows}
    lines = [
        "# The zoo: which timm architectures export, and how exactly",
        "",
        f"{datetime.date.today()}, torch {torch.__version__}, timm {timm.__version__}, onnxruntime "
        f"{onnxruntime.__version__}. Made by `make zoo` (`benchmarks/zoo.py`), one thread, load average "
        f"{os.getloadavg()[0]:.1f}.",
        "",
        f"{len(passed)} of {len(rows)} architectures of {len(families)} families pass fp32 parity at batches 1, 3 "
        f"and 8; int8 for CPUs passes its threshold for {sum(q['passed'] for q in quantised)} of {len(quantised)} "
        f"convolutional ones that were tried.{aged(rows)}",
        "",
        "Weights are random, with live residual branches and norms (see the script): the table says whether graphs are",
        "right, not what a precision costs a trained model. Random weights magnify small changes: *a grey level's*",
        "noise is what torch's own features get when every value of every pixel changes by -1, 0 or 1, and int8 rounds",
        f"each layer by about as much. {calm(quantised)} Where int8 fails, the gate refuses the file. A file",
        "well above a quarter of the fp32 one has layers that went back to fp32, and its speed shows it. Speeds were",
        "measured in turns with fp32, and all times on a machine that did other work too.",
        "",
        f"| {' | '.join(COLUMNS)} |",
        "|" + "---|" * len(COLUMNS),
    ]
    return "\n".join([*lines, *map(line, rows)]) + "\n"


def aged(rows: list[dict[str, Any]]) -> str:
    """How many rows are of graphs that the exporter no longer makes."""
    older = sum(each.get("revision") != REVISION for each in rows)
    return f" The fp32 columns of {older} are of graphs before revision {REVISION} of the exporter." if older else ""


def calm(quantised: list[dict[str, Any]]) -> str:
    """How many pass among the networks that int8 could pass at all: those that magnify a grey level less."""
    allowed = REQUIRED["int8"].noise / 2
    found = [each for each in quantised if (each.get("grey_level") or 1.0) <= allowed]
    passed = sum(each["passed"] for each in found)
    return f"Of the {len(found)} in which a grey level's noise is at most {allowed:g}, {passed} pass."


def summary(folder: Path) -> str:
    """What `featune models` says of each architecture."""
    rows = [json.loads(path.read_text()) for path in sorted(folder.glob("*.json"))]
    return "architecture,fp32\n" + "".join(f"{each['name']},{fp32(each)}\n" for each in rows)


def fp32(found: dict[str, Any]) -> str:
    return "passed" if found.get("passed") else "refused" if "worst_cosine" in found else "fails"


def line(found: dict[str, Any]) -> str:
    int8 = found.get("int8") or {}
    note = " ".join(filter(None, (found.get("error"), found.get("upstream"), int8.get("error"))))
    cells = [
        found["name"],
        found["family"],
        fp32(found),
        f"{1 - found['worst_cosine']:.1e}" if "worst_cosine" in found else "",
        f"{found['seconds']:.1f}" if "seconds" in found else "",
        f"{found['bytes'] / 1e6:.1f}" if "bytes" in found else "",
        ("passed" if int8["passed"] else "refused") if int8 else "",
        f"{int8['noise']:.3f}" if int8.get("noise") is not None else "",
        f"{int8['grey_level']:.3f}" if int8.get("grey_level") is not None else "",
        f"{int8['bytes'] / 1e6:.1f}" if int8.get("bytes") else "",
        f"{int8['speed']:.2f}" if int8.get("speed") else "",
        note.replace("|", "/"),
    ]
    return "| " + " | ".join(cells) + " |"


if __name__ == "__main__":
    main()
