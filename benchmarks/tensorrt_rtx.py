"""Which architectures NVIDIA's parser and builder take, in each precision: a table, on a machine without a GPU.

    python benchmarks/tensorrt_rtx.py [--models test_resnet,test_vit] [--out docs/tensorrt-rtx.md]

Each model is exported with random weights, made into each precision for TensorRT, and handed to TensorRT for RTX
(`pip install 'featune[tensorrt-rtx]'`), which parses and builds without a GPU or driver. Loading and running a plan
need an RTX card and are not tried. A refittable build needs a GPU too. Deterministic but for the seconds.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

from featune.engine.models import spec_from_entry
from featune.engine.tensorrt import BuildSettings, build
from featune.export.gate import own_sample
from featune.export.graph import graph_from_spec
from featune.export.precision import variant

MODELS = (
    "test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_byobnet", "test_nfnet", "test_mambaout",
    "mobilenetv3_small_050", "mobilenetv2_050", "efficientvit_m0", "fastvit_t8", "repvit_m0_9", "pit_ti_224",
    "regnetx_002", "swin_tiny_patch4_window7_224",
)  # fmt: skip
PRECISIONS = ("fp32", "fp16", "bf16", "int8")
SETTINGS = BuildSettings(batches=(1, 4, 8))


def outcomes(name: str) -> Iterator[str]:
    """For each precision, what became of the model: `built` with seconds and size, or the step that refused it."""
    spec = spec_from_entry({"architecture": name, "pretrained": False})
    with tempfile.TemporaryDirectory() as folder:
        source = graph_from_spec(spec, Path(folder, "model.onnx"))
        for precision in PRECISIONS:
            graph = source
            try:
                if precision != "fp32":
                    graph = Path(folder, f"{precision}.onnx")
                    variant(source, graph, precision, "tensorrt", own_sample(spec.view, 8).images.numpy())
                began = time.perf_counter()
                plan, _ = build(graph, SETTINGS, by="tensorrt-rtx")
                yield f"built, {time.perf_counter() - began:.1f} s, {len(plan) / 1e6:.1f} MB"
            except Exception as error:  # a refusal is a cell of the table
                yield f"refused: {str(error).splitlines()[0][:160]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", default=",".join(MODELS))
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    lines = [
        "# What TensorRT for RTX builds",
        "",
        f"`python benchmarks/tensorrt_rtx.py`, TensorRT for RTX {version('tensorrt-rtx-cu13-libs')}, timm "
        f"{version('timm')}, torch {version('torch')}, no GPU: parsed and built, not loaded, not run. Random weights; "
        "seconds and size of the build.",
        "",
        f"| model | {' | '.join(PRECISIONS)} |",
        "|" + "---|" * (1 + len(PRECISIONS)),
    ]
    print("\n".join(lines), flush=True)
    for name in arguments.models.split(","):
        row = f"| {name} | {' | '.join(outcomes(name))} |"
        print(row, flush=True)
        lines.append(row)
        if arguments.out:
            arguments.out.write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
