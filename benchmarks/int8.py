"""int8 on this CPU against fp32: speed in ONNX Runtime, and what a linear probe loses on real images.

    python benchmarks/int8.py --weights WEIGHTS --data DATA --out benchmarks/int8.md

WEIGHTS: a folder with `factory.py` (a function `architecture(name)`) and `<name>.pth` checkpoints.
DATA: images in class folders. Each artefact goes through the gate, which fits a probe on the fp32 torch
features and one on the int8 features of the same images, and compares them image by image.
"""

import argparse
import dataclasses
import datetime
import os
import platform
import tempfile
from pathlib import Path

import numpy as np
import torch

from featune.engine.machine import vector_int8
from featune.engine.models import ModelSpec, spec_from_entry
from featune.engine.store import write_text
from featune.export.backends import exported
from featune.export.contract import contract_of
from featune.export.gate import Sample, folder_sample

MODELS = {
    "mobilenetv1_025_128": 128,
    "mobilenetv1_050_160": 160,
    "mobilenetv1_100_224": 224,
    "mobilenetv2_100_qat_224": 224,
}
HEADER = """# int8 on a CPU: speed, and what it costs a probe

{date}, {processor}, VNNI {vnni}, one thread, batch 8, clock (a): data resident, best of 5 turns taken in turn.
Load average {load:.1f} when it began: ratios are of turns side by side, and move by a few percent with the load.

Command: `{command}`

{columns}
|---|---|---|---|---|---|---|---|---|---|---|---|
"""
COLUMNS = (
    "| model | precision | speed, of fp32 | worst cosine | noise | neighbours | probe fp32 | probe "
    "| change, 95 % paired | n | gate | calibration |"
)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--weights", type=Path, required=True)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("--images", type=int, default=600)
    arguments.add_argument("--kinds", default="int8/cpu,int8/tensorrt,fp16/tensorrt,bf16/tensorrt")
    arguments.add_argument("--out", type=Path, default=Path("benchmarks/int8.md"))
    given = arguments.parse_args()
    torch.set_num_threads(1)
    text = HEADER.format(
        date=datetime.date.today(), processor=processor(), vnni="yes" if vector_int8() else "no",
        load=os.getloadavg()[0], columns=COLUMNS,
        command=f"python benchmarks/int8.py --data {given.data.name} --images {given.images}",
    )  # fmt: skip
    for name, side in MODELS.items():
        spec = spec_from_entry(
            {
                "factory": "factory.py:architecture", "kwargs": {"name": name}, "checkpoint": f"{name}.pth",
                "side": side, "mean": (0.5, 0.5, 0.5), "std": (0.5, 0.5, 0.5), "name": name,
            },
            given.weights,
        )  # fmt: skip
        sample = thinned(folder_sample(given.data, spec.view), given.images)
        for kind in given.kinds.split(","):
            row = line(spec, sample, *kind.split("/"))
            print(row, end="", flush=True)
            text += row
        write_text(given.out, text)


def thinned(sample: Sample, count: int) -> Sample:
    chosen = np.linspace(0, len(sample.images) - 1, min(count, len(sample.images))).round().astype(int)
    assert sample.labels is not None
    return dataclasses.replace(sample, images=sample.images[chosen], labels=sample.labels[chosen])


def line(spec: ModelSpec, sample: Sample, precision: str, target: str) -> str:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "artefact.onnx")
        verdict = exported(spec, path, sample, precision=precision, target=target)
        made = contract_of(path).get("quantisation", {})
    probe = verdict.probe or {}
    speed = "" if verdict.speed is None else f"{verdict.speed:.2f}"
    found = verdict.parity
    gate = "passed" if verdict.passed else f"refused: {'; '.join(verdict.reasons)}"
    return (
        f"| {spec.name} | {precision} for {target} | {speed} | {found['worst_cosine']:.6f} | {found['noise']:.4f} "
        f"| {found['neighbours']:.3f} | {probe['reference']:.4f} | {probe['candidate']:.4f} "
        f"| {probe['difference']:+.4f} ({probe['low']:+.4f} to {probe['high']:+.4f}) | {probe['n']} "
        f"| {gate} | {made.get('calibration', '')} |\n"
    )


def processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(text.partition(":")[2].strip() for text in lines if text.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
