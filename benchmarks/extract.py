"""Images per second from JPEG files to stored features, against the loop that a timm user writes today.

    python benchmarks/extract.py --data FOLDER [--models resnet18,...] [--precision fp32] [--rounds 3]

The rival is timm's own create_dataset, create_loader and eager torch in inference mode, at its best number of loader
workers of 0, 1 and 2 (one more than the processors on larger machines), batch 64. Ours is FeatureStore.extract with
defaults on ONNX Runtime, hashing of the files, opening of the session and writing of the rows included; exporting is
not, as loading the weights is not on the other side. Each measurement is a process of its own. In each round the rival,
ours and the bound take turns; ratio and shares are medians of the rounds' own, since the speed of a shared host changes
within minutes. The bound is processors / (seconds of one image's decoding and view +
of one image's row at the pass's batch, each measured alone on one thread). "All at once" is the same with every
processor at that work: what they share (memory, the last cache, power, Python's lock) is then in it.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featune.engine.images import Labelled, folder_items
from featune.engine.machine import processors

BATCH = 64


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--data", type=Path, default=Path("../shared/data/datasets/clothing_small"))
    arguments.add_argument("--images", type=int, default=1500)
    arguments.add_argument("--models", default="mobilenetv3_small_100,resnet18,vit_tiny_patch16_224")
    arguments.add_argument("--precision", default="fp32")
    arguments.add_argument("--rounds", type=int, default=3)
    arguments.add_argument("--cache", type=Path, default=Path("runs/extract"), help="exported graphs")
    arguments.add_argument("--one", help=argparse.SUPPRESS)
    arguments.add_argument("--batch", type=int, default=8, help=argparse.SUPPRESS)
    given = arguments.parse_args()
    if given.one:
        print(json.dumps(ONE[given.one](given)))
        return
    items = chosen(given)
    size = statistics.mean(items.file(i).stat().st_size for i in range(len(items)))
    print(f"{len(items)} JPEG files of {size / 1000:.0f} kB, {os.cpu_count()} processors, {given.precision}")
    print(
        "| model | timm, images/s (workers) | Featune, images/s (batch) | ratio | worst cosine | bound | share | "
        "all at once | share |"
    )
    print("|---|---|---|---|---|---|---|---|---|")
    for name in given.models.split(","):
        print(line(given, name), flush=True)


def line(given: argparse.Namespace, name: str) -> str:
    """One model's row: every worker count of the rival once, then rounds of the best one and ours in turn."""
    tried = {workers: measured(given, name, f"timm{workers}")["rate"] for workers in loader_workers()}
    best = max(tried, key=tried.__getitem__)
    measured(given, name, "ours")  # exports the graph
    rounds = [a_round(given, name, best) for _ in range(given.rounds)]
    theirs, ours = (statistics.median(each[who]["rate"] for each in rounds) for who in ("timm", "ours"))
    ratio = statistics.median(each["ours"]["rate"] / each["timm"]["rate"] for each in rounds)
    rival_rows, rows = (np.load(Path(given.cache, f"{name}.{who}.npy")) for who in ("timm", "ours"))
    cosines = (rows * rival_rows).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(rival_rows, axis=1)
    batches = "/".join(sorted({str(each["ours"]["batch"]) for each in rounds}))
    cells = [name, f"{theirs:.0f} ({best})", f"{ours:.0f} ({batches})", f"{ratio:.2f}", f"{cosines.min():.7f}"]
    for kind in ("", "busy_"):
        rate, decode, model = (
            statistics.median(each["bound"][f"{kind}{what}"] for each in rounds)
            for what in ("rate", "decode_ms", "model_ms")
        )
        share = statistics.median(each["ours"]["rate"] / each["bound"][f"{kind}rate"] for each in rounds)
        cells += [f"{rate:.0f} ({decode:.2f} + {model:.2f} ms)", f"{share:.0%}"]
    return f"| {' | '.join(cells)} |"


def a_round(given: argparse.Namespace, name: str, workers: int) -> dict[str, dict[str, Any]]:
    """The rival, ours and the bound, one after the other."""
    found = {who: measured(given, name, what) for who, what in (("timm", f"timm{workers}"), ("ours", "ours"))}
    return found | {"bound": measured(given, name, "bound", found["ours"]["batch"])}


def measured(given: argparse.Namespace, name: str, who: str, batch: int = 8) -> dict[str, Any]:
    options = ["--data", given.data, "--images", given.images, "--models", name, "--cache", given.cache]
    options += ["--batch", batch]
    command = [sys.executable, __file__, "--one", who, "--precision", given.precision, *map(str, options)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def loader_workers() -> tuple[int, ...]:
    count = os.cpu_count() or 1
    return (0, 1, 2) if count <= 2 else (0, count // 2, count)


def chosen(given: argparse.Namespace) -> Labelled:
    """JPEG files of about 500 x 375 pixels; where more are asked for than there are, all of them again."""
    from PIL import Image

    items = folder_items(given.data)
    sizes = [Image.open(items.file(i)).size for i in range(len(items))]
    suited = [i for i, (w, h) in enumerate(sizes) if 150_000 <= w * h <= 260_000 and items.paths[i].endswith(".jpg")]
    return items.take([suited[i % len(suited)] for i in range(given.images)])


def model_spec(given: argparse.Namespace) -> Any:
    from featune.engine.models import spec_from_entry

    return spec_from_entry({"architecture": given.models, "pretrained": False})


def timm_loop(workers: int) -> Any:
    def run(given: argparse.Namespace) -> dict[str, Any]:
        """The loop of timm's inference.py, features in place of logits."""
        import timm
        from timm.data import create_dataset, create_loader, resolve_data_config

        from featune.engine.models import classifier

        items = chosen(given)
        model = timm.create_model(given.models, pretrained=False, num_classes=0).eval()
        state = classifier(model_spec(given)).state_dict()
        model.load_state_dict({key: state[key] for key in model.state_dict()})
        config = resolve_data_config({}, model=model)
        with tempfile.TemporaryDirectory() as folder:
            place = Path(folder, "one")
            place.mkdir()
            for i in range(len(items)):
                (place / f"{i:06}.jpg").symlink_to(items.file(i).absolute())
            dataset = create_dataset("", root=folder)
            began = time.perf_counter()
            loader = create_loader(
                dataset, input_size=config["input_size"], batch_size=BATCH, is_training=False, use_prefetcher=False,
                interpolation=config["interpolation"], mean=config["mean"], std=config["std"],
                crop_pct=config["crop_pct"], num_workers=workers, device=torch.device("cpu"),
            )  # fmt: skip
            rows = []
            with torch.inference_mode():
                for images, _ in loader:
                    rows.append(model(images).numpy())
            seconds = time.perf_counter() - began
        given.cache.mkdir(parents=True, exist_ok=True)
        np.save(given.cache / f"{given.models}.timm.npy", np.concatenate(rows))
        return {"rate": len(items) / seconds}

    return run


def ours(given: argparse.Namespace) -> dict[str, Any]:
    from featune.engine.features import FeatureKey, FeatureRequest, FeatureStore
    from featune.engine.images import batches
    from featune.export.backends import artefact, open_artefact

    items, spec = chosen(given), model_spec(given)
    graph = artefact(spec, given.cache, lambda: next(batches(items, spec.view, 64)), precision=given.precision)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FEATUNE_CACHE_DIR"] = folder  # nothing is remembered from the last run
        began = time.perf_counter()
        key = FeatureKey(spec.digest, spec.view, items.content_digest, "onnxruntime:cpu", given.precision, graph.digest)
        wanted = FeatureRequest(key, lambda threads: open_artefact(graph.path, spec=spec, threads=threads))
        found = FeatureStore(folder).extract(items, [wanted])[0]
        seconds = time.perf_counter() - began
        np.save(given.cache / f"{given.models}.ours.npy", found.rows)
    print("\n".join(found.verdict.lines()), file=sys.stderr)
    return {
        "rate": len(items) / seconds,
        "batch": found.verdict.setting.batch,
        "stages": dataclasses.asdict(found.verdict.seconds),
    }


def bound(given: argparse.Namespace) -> dict[str, Any]:
    """Seconds of decoding and of the model for one image: alone on one thread, and with all processors at it."""
    from featune.engine.features.squares import Seconds, decoded_squares
    from featune.engine.images import batches
    from featune.export.backends import artefact, open_artefact

    torch.set_num_threads(1)
    items, spec = chosen(given), model_spec(given)
    items = items.take(range(min(300, len(items))))
    squares = decoded_squares(items, "fast")
    images = next(batches(items, spec.view, 64))
    graph = artefact(spec, given.cache, lambda: images, precision=given.precision)
    found: dict[str, Any] = {}
    with open_artefact(graph.path, spec=spec, threads=1) as runner:

        def decode() -> None:
            for i in range(len(items)):
                squares(i, [spec.view], Seconds())

        def model() -> None:
            for part in images.split(given.batch):
                runner(part)

        for kind, workers in (("", 1), ("busy_", processors())):
            each = [seconds_each(work, workers) / n for work, n in ((decode, len(items)), (model, len(images)))]
            found |= {f"{kind}rate": processors() / sum(each)}
            found |= {f"{kind}decode_ms": 1000 * each[0], f"{kind}model_ms": 1000 * each[1]}
    return found


def seconds_each(work: Any, workers: int) -> float:
    """Of the work by each of several threads that all do it at once: the best of four times."""
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        return min(timed(lambda: list(pool.map(lambda _: work(), range(workers)))) for _ in range(4))


def timed(work: Any) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


ONE = {"ours": ours, "bound": bound} | {f"timm{n}": timm_loop(n) for n in loader_workers()}

if __name__ == "__main__":
    main()
