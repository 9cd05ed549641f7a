"""Everything that a machine with an NVIDIA GPU can tell: one command, resumable, a page at the end.

    python benchmarks/gpu.py --out runs/gpu
    python benchmarks/gpu.py --out runs/gpu --device cpu --models test_resnet,test_vit --batch 8   # to try it out

Each part runs in a process of its own with a time limit and leaves `<part>.json` in --out; a part that is there is not
run again, so the command goes on after a kill. A part that fails leaves its error in its place. `gpu.md` in --out is
written anew after each part. Random weights; the images are tiles of scikit-learn's photographs. No network is used.
"""

import argparse
import itertools
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from featune.engine.features import Options, extract
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, feature_model, spec_from_entry
from featune.engine.runners import BatchLimit, Runner, onnxruntime_runner, torch_runner
from featune.export.gate import own_sample
from featune.export.graph import graph_from_spec
from featune.export.precision import variant

MODELS = "resnet50,vit_base_patch16_224,mobilenetv3_large_100"
LIMIT = 170  # seconds of a part
CALLS = 20
Given = argparse.Namespace


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--batch", type=int, default=256)
    parser.add_argument("--images", type=int, default=2000, help="JPEG files of the parts that decode")
    parser.add_argument("--parts", default=",".join(PARTS))
    parser.add_argument("--one", help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    if given.one:
        found = attempted(PARTS[given.one], given)
        file = given.out / f"{given.one}.json"
        there = json.loads(file.read_text()) if file.exists() else {}
        file.write_text(json.dumps({**there, **found}, indent=1))
        return
    for part in given.parts.split(","):
        if not (given.out / f"{part}.json").exists():
            print(f"{time.strftime('%H:%M:%S')} {part}", flush=True)
            alone(part, given)
        (given.out / "gpu.md").write_text(page(given))
    print((given.out / "gpu.md").read_text())


class Saved(dict[str, Any]):
    """A part's results, written after each: a part that runs out of time leaves what it has."""

    def __init__(self, given: Given):
        super().__init__()
        self.path = given.out / f"{given.one}.json"

    def __setitem__(self, name: str, value: Any) -> None:
        super().__setitem__(name, value)
        self.path.write_text(json.dumps(self, indent=1))


def alone(part: str, given: Given) -> None:
    """The part in a process of its own; one that is killed or out of time leaves that beside what it has."""
    command = [sys.executable, __file__, *sys.argv[1:], "--one", part]
    out = given.out / f"{part}.json"
    try:
        code = subprocess.run(command, timeout=LIMIT).returncode
        why = f"ended with exit code {code}"
    except subprocess.TimeoutExpired:
        code, why = 1, f"no end within {LIMIT} s"
    if code or not out.exists():
        found = json.loads(out.read_text()) if out.exists() else {}
        out.write_text(json.dumps({**found, "error": found.get("error", why)}, indent=1))


def attempted(part: Callable[[Given], Any], given: Given) -> Any:
    try:
        return part(given)
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()[-2000:]}


def place(given: Given) -> dict[str, Any]:
    """Part a: card, driver, processors, versions."""
    names = ("torch", "torchvision", "timm", "onnx", "onnxruntime", "onnxruntime-gpu", "tensorrt", "numpy")
    found: dict[str, Any] = {"python": platform.python_version(), "processors": os.cpu_count(), "device": given.device}
    for name in names:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = None
    if given.device != "cpu":
        properties = torch.cuda.get_device_properties(given.device)
        found |= {
            "card": properties.name, "capability": f"{properties.major}.{properties.minor}",
            "memory_gib": round(properties.total_memory / 2**30, 1), "cuda": torch.version.cuda,
            "nvidia_smi": subprocess.run(["nvidia-smi"], capture_output=True, text=True).stdout[:3000],
        }  # fmt: skip
    return found


def tests(given: Given) -> dict[str, Any]:
    """Part b: the tests that need a GPU."""
    mark = "gpu" if given.device != "cpu" else "not gpu"
    where = "tests" if given.device != "cpu" else "tests/engine/runners"
    command = [sys.executable, "-m", "pytest", "-q", "-m", mark, where, "-p", "no:cacheprovider"]
    root = Path(__file__).parents[1]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT - 10, cwd=root)
    return {"exit": ran.returncode, "tail": ran.stdout[-3000:]}


def speeds(given: Given) -> dict[str, Any]:
    """Part c: images per second of each model, resident batch, scope (a)."""
    found = Saved(given)
    for spec in specs(given):
        images = pictures(spec, given.batch).to(given.device)
        for name, opened in ways(spec, given):
            with trying(found, f"{spec.name} {name}") as put, opened() as runner:
                put(given.batch / median_seconds(runner, images))
    return found


def ways(spec: ModelSpec, given: Given) -> Iterator[tuple[str, Callable[[], Any]]]:
    """(what is run, how it is opened) of a model: torch in each arithmetic, compiled, and ONNX Runtime."""
    on_gpu = given.device != "cpu"
    for precision in ("fp32", "bf16", *(("fp16",) if on_gpu else ())):
        yield f"torch {precision}", lambda p=precision: torch_runner(feature_model(spec), given.device, p)
    if on_gpu:
        yield "torch tf32", lambda: in_tf32(spec, given.device)
    yield "torch bf16 compiled", lambda: compiled(spec, given.device)
    for precision in ("fp32", *(("fp16",) if on_gpu else ())):
        yield f"onnxruntime {precision}", lambda p=precision: onnxruntime_runner(graph(spec, p, given), given.device)


@contextmanager
def in_tf32(spec: ModelSpec, device: str) -> Iterator[Runner]:
    """Torch with TF32 on, which no runner of ours is: the yardstick for what fp32 costs."""
    model = feature_model(spec).to(device).to(memory_format=torch.channels_last)
    torch.backends.cuda.matmul.fp32_precision = torch.backends.cudnn.conv.fp32_precision = "tf32"

    @torch.inference_mode()
    def run(images: Tensor, /) -> Tensor:
        return model(images).float()

    yield run


@contextmanager
def compiled(spec: ModelSpec, device: str) -> Iterator[Runner]:
    model = torch.compile(feature_model(spec).to(device).to(memory_format=torch.channels_last))

    @torch.inference_mode()
    def run(images: Tensor, /) -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16):
            return model(images).float()

    yield run


def decoding(given: Given) -> dict[str, Any]:
    """Part d: JPEG files to squares of 224 pixels, by threads of one process; nvJPEG where torchvision has it."""
    from featune.engine.features.squares import Seconds, decoded_squares

    found = Saved(given)
    with jpegs(given.images) as items:
        squares, view = decoded_squares(items, "fast"), specs(given)[0].view
        for threads in (1, 4, 8, 16):
            if threads > 2 * (os.cpu_count() or 1):
                continue
            with ThreadPoolExecutor(threads) as pool:
                began = time.perf_counter()
                list(pool.map(lambda index: squares(index, [view], Seconds()), range(len(items))))
                found[f"{threads} threads"] = len(items) / (time.perf_counter() - began)
        if given.device != "cpu":
            with trying(found, "nvJPEG, batches of 64, decoding alone") as put:
                put(by_nvjpeg(items, given.device))
    return found


def by_nvjpeg(items: Labelled, device: str) -> float:
    """Images per second."""
    from torchvision.io import decode_jpeg, read_file

    files = [read_file(str(items.file(index))) for index in range(len(items))]
    decode_jpeg(files[:64], device=device)
    torch.cuda.synchronize()
    began = time.perf_counter()
    for start in range(0, len(files), 64):
        decode_jpeg(files[start : start + 64], device=device)
    torch.cuda.synchronize()
    return len(files) / (time.perf_counter() - began)


def end_to_end(given: Given) -> dict[str, Any]:
    """Part e: from JPEG files to rows in memory, scope (c), with what limited it."""
    found = Saved(given)
    with jpegs(given.images) as items:
        for spec in specs(given):
            with trying(found, spec.name) as put:
                made = extract(spec, items, options=Options(device=given.device))
                verdict = made.verdict
                put({"images_per_second": verdict.images / verdict.wall, "limited_by": verdict.bottleneck})
    return found


def memory(given: Given) -> dict[str, Any]:
    """Part f: a batch that does not fit is halved and goes on; memory is given back when models are closed."""
    if given.device == "cpu":
        return {"skipped": "no GPU"}
    spec = specs(given)[0]
    with torch_runner(feature_model(spec), given.device) as runner:  # what the libraries keep for good
        runner(pictures(spec, 8).to(given.device))
    del runner
    torch.cuda.empty_cache()
    before = torch.cuda.mem_get_info()[0]
    for _ in range(6):
        with torch_runner(feature_model(spec), given.device) as runner:
            runner(pictures(spec, 8).to(given.device))
        del runner
    torch.cuda.empty_cache()
    kept = before - torch.cuda.mem_get_info()[0]
    torch.cuda.set_per_process_memory_fraction(2e9 / torch.cuda.get_device_properties(0).total_memory)
    said: list[str] = []
    with torch_runner(feature_model(spec), given.device) as runner:
        rows = BatchLimit(runner, said.append)(pictures(spec, 1024).to(given.device))
    return {"bytes_kept_after_six_models": kept, "rows": len(rows), "said": said}


def arithmetic(given: Given) -> dict[str, Any]:
    """Part g: worst cosine and noise of each way's rows against float64 on the CPU: which arithmetic ran."""
    found = Saved(given)
    for spec in specs(given):
        images = pictures(spec, 16)
        normalise, body = feature_model(spec)
        with torch.inference_mode():
            exact = body.double()(normalise(images).double()).numpy()
        for name, opened in ways(spec, given):
            with trying(found, f"{spec.name} {name}") as put, opened() as runner:
                rows = runner(images.to(given.device)).double().cpu().numpy()
                norms = np.linalg.norm(rows, axis=1) * np.linalg.norm(exact, axis=1)
                noise = np.linalg.norm(rows - exact) / np.linalg.norm(exact - exact.mean(0))
                put({"worst_cosine": float(((rows * exact).sum(1) / norms).min()), "noise": float(noise)})
    return found


def streams(given: Given) -> dict[str, Any]:
    """Part h: 300 batches from changing streams, with memory that is poisoned between them, give the same rows."""
    if given.device == "cpu":
        return {"skipped": "no GPU"}
    found = Saved(given)
    spec = specs(given)[0]
    images = pictures(spec, 8).to(given.device)
    three = [torch.cuda.Stream() for _ in range(3)]
    for name, opened in ways(spec, given):
        with trying(found, name) as put, opened() as runner:
            wanted, wrong = runner(images).clone(), 0
            torch.cuda.synchronize()
            for number in range(300):
                with torch.cuda.stream(three[number % 3]):
                    torch.full((8, wanted.shape[1]), float("nan"), device=given.device)  # freed, and found again
                    rows = runner(images)
                    wrong += int(not torch.allclose(rows, wanted, rtol=1e-2, atol=1e-2))
            put({"batches": 300, "wrong": wrong})
    return found


PARTS: dict[str, Callable[[Given], Any]] = {
    "place": place, "tests": tests, "speeds": speeds, "decoding": decoding, "end_to_end": end_to_end,
    "memory": memory, "arithmetic": arithmetic, "streams": streams,
}  # fmt: skip


@contextmanager
def trying(found: dict[str, Any], name: str) -> Iterator[Callable[[Any], None]]:
    """Puts the value, or the error, at `name`; the others go on."""
    try:
        yield lambda value: found.__setitem__(name, value)
    except Exception as error:
        found[name] = {"error": f"{type(error).__name__}: {str(error)[:300]}"}


def specs(given: Given) -> list[ModelSpec]:
    return [spec_from_entry({"architecture": name, "pretrained": False}) for name in given.models.split(",")]


def pictures(spec: ModelSpec, count: int) -> Tensor:
    """uint8 [count, 3, side, side], no two alike."""
    tiles = own_sample(spec.view, min(count, 32)).images
    return torch.stack([tiles[n % len(tiles)].roll(n // len(tiles), -1) for n in range(count)])


def graph(spec: ModelSpec, precision: str, given: Given) -> Path:
    folder = given.out / "graphs"
    folder.mkdir(exist_ok=True)
    path = folder / f"{spec.name}.{precision}.onnx"
    if not path.exists():
        if precision == "fp32":
            return graph_from_spec(spec, path)
        target = "cuda" if given.device != "cpu" else "cpu"
        variant(graph(spec, "fp32", given), path, precision, target, pictures(spec, 8).numpy())
    return path


@contextmanager
def jpegs(count: int) -> Iterator[Labelled]:
    """`count` names of 32 JPEG files of about 500 x 400 pixels."""
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    with tempfile.TemporaryDirectory() as folder:
        for number in range(32):
            pixels = photographs[number % 2][3 * number : 3 * number + 320, 4 * number : 4 * number + 500]
            Image.fromarray(pixels).save(Path(folder, f"{number:02}.jpg"), quality=90)
        yield Labelled(folder, tuple(f"{n % 32:02}.jpg" for n in range(count)), ((0,),) * count)


def median_seconds(runner: Runner, images: Tensor) -> float:
    """Of a call, by CUDA events on a GPU."""
    for _ in range(3):
        runner(images)
    if not images.is_cuda:
        times = []
        for _ in range(5):
            began = time.perf_counter()
            runner(images)
            times.append(time.perf_counter() - began)
        return statistics.median(times)
    torch.cuda.synchronize()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(CALLS + 1)]
    marks[0].record()
    for mark in marks[1:]:
        runner(images)
        mark.record()
    torch.cuda.synchronize()
    return statistics.median(a.elapsed_time(b) for a, b in itertools.pairwise(marks)) / 1000


def page(given: Given) -> str:
    """All parts so far as Markdown."""
    lines = ["# On a GPU", "", f"`python {' '.join(sys.argv)}`, {time.strftime('%Y-%m-%d')}"]
    for part, function in PARTS.items():
        file = given.out / f"{part}.json"
        if not file.exists():
            continue
        lines += ["", f"## {part}", "", (function.__doc__ or "").strip(), ""]
        value = json.loads(file.read_text())
        lines += [f"- {key}: {shown(each)}" for key, each in value.items() if key != "nvidia_smi"]
    return "\n".join(lines) + "\n"


def shown(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, dict):
        return ", ".join(f"{key} {shown(each)}" for key, each in value.items())
    return str(value).replace("\n", " / ")


if __name__ == "__main__":
    main()
