"""Extraction over 4 index ranges against one run, to the byte, and its rate against Ray Data's map_batches.

    python benchmarks/ray_data.py --data FOLDER [--images 2000] [--few 200] [--model mobilenetv3_small_100] [--rounds 2]

Both sides have the same network (random weights), photographs and two processors. Ray Data reads the files and runs,
in two actors of one thread, timm's own eval transform and eager torch in inference mode by batches of 32. Ours makes
four files of features on ONNX Runtime in two threads, one after the other, and merges them; exporting is left out, as
loading the weights is on the other side. No start counts in a rate: ours is that of the images beyond the first `--few`
by the difference of two runs, which write, digest and merge all their rows; that of Ray Data is counted from the moment
when each actor has given its first batch to the last row. Whole calls are told too. Needs ray with its data extra
(pyarrow, pandas).
"""

import argparse
import dataclasses
import functools
import hashlib
import os
import shutil
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from ray_study import tree_seconds

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")


class TimmRows:
    """An actor of Ray Data: bytes of files to rows, as a timm user writes it."""

    def __init__(self, name: str):
        import timm

        torch.set_num_threads(1)
        torch.manual_seed(0)
        self.model = timm.create_model(name, pretrained=False, num_classes=0).eval()
        self.transform = timm.data.create_transform(**timm.data.resolve_model_data_config(self.model))

    def __call__(self, batch: dict[str, Any]) -> dict[str, Any]:
        import io

        from PIL import Image

        images = [self.transform(Image.open(io.BytesIO(data)).convert("RGB")) for data in batch["bytes"]]
        with torch.inference_mode():
            rows = self.model(torch.stack(images)).numpy()
        return {"rows": rows, "ended": np.full(len(rows), time.time()), "actor": np.full(len(rows), os.getpid())}


def by_ray_data(paths: list[str], name: str) -> tuple[float, float, float]:
    """(images per second once both actors work, wall seconds of the call, processor seconds of all processes)."""
    import ray

    used, began = tree_seconds(), time.perf_counter()
    data = ray.data.read_binary_files(paths, override_num_blocks=8, num_cpus=0.25)
    actors = ray.data.ActorPoolStrategy(size=2)
    made = data.map_batches(TimmRows, fn_constructor_args=(name,), batch_size=32, compute=actors, num_cpus=1).take_all()
    wall = time.perf_counter() - began
    assert len(made) == len(paths)
    ends = np.array([one["ended"] for one in made])
    firsts = [min(one["ended"] for one in made if one["actor"] == actor) for actor in {one["actor"] for one in made}]
    assert len(firsts) == 2, "one actor had all the work"
    return float((ends > max(firsts)).sum() / (ends.max() - max(firsts))), wall, tree_seconds() - used


def _opened(graph: Path, threads: int) -> Any:
    from featune.engine.runners import onnxruntime_runner

    return onnxruntime_runner(graph, threads=threads)


def by_ranges(items: Any, name: str, folder: Path, shards: int, batch: int) -> tuple[tuple[float, float], str]:
    """((processor seconds, wall seconds) of extraction and merge, SHA-256 of the file)."""
    from featune.engine.features import FeatureKey, FeatureStore, Options, index_range, merge
    from featune.engine.models import spec_from_entry
    from featune.export.graph import graph_from_spec

    options = Options(batch=batch, workers=2)
    spec = spec_from_entry({"architecture": name, "pretrained": False})
    graph = folder.parent / "graph.onnx"
    if not graph.exists():
        graph_from_spec(spec, graph)
    shutil.rmtree(folder, ignore_errors=True)
    used, began = tree_seconds(), time.perf_counter()
    whole = FeatureKey(spec.digest, spec.view, items.content_digest, "onnxruntime:cpu")
    parts = []
    for number in range(1, shards + 1):
        indices = index_range(len(items), number, shards, batch)
        part = items.take(indices)
        key = dataclasses.replace(whole, images=part.content_digest)
        opened = functools.partial(_opened, graph)
        FeatureStore(folder).rows(key, part, opened, options=options)
        parts.append((key, indices))
    if shards > 1:
        merge(folder, whole, items, parts)
    seconds = (tree_seconds() - used, time.perf_counter() - began)
    return seconds, hashlib.sha256((folder / f"{whole.name}.npy").read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--images", type=int, default=2000, help="At most.")
    parser.add_argument("--few", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8, help="Of ours; ranges are cut at its multiples.")
    parser.add_argument("--model", default="mobilenetv3_small_100")
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    import ray

    from featune.engine.images import folder_items

    items = folder_items(options.data)
    chosen = np.linspace(0, len(items) - 1, min(options.images, len(items))).astype(int).tolist()
    items = items.take(chosen)
    ray.init(num_cpus=3, include_dashboard=False, log_to_driver=False)
    ray.data.DataContext.get_current().enable_progress_bars = False
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place, "store")
        one, four = (by_ranges(items, options.model, folder, shards, options.batch)[1] for shards in (1, 4))
        said = "the bytes of one run" if one == four else "OTHER BYTES"
        print(f"{len(items)} photographs, 4 index ranges merged: {said}", flush=True)
        few = items.take(range(options.few))
        paths = [str(items.file(i)) for i in range(len(items))]
        for _ in range(options.rounds):
            (_, start), _ = by_ranges(few, options.model, folder, 4, options.batch)
            (used, wall), _ = by_ranges(items, options.model, folder, 4, options.batch)
            ours = (len(items) - len(few)) / (wall - start)
            print(f"ours: {ours:.0f} images/s, the whole {wall:.1f} s, {used:.1f} s of processor time", flush=True)
            theirs, wall, used = by_ray_data(paths, options.model)
            print(f"Ray Data: {theirs:.0f} images/s, the call {wall:.1f} s, {used:.1f} s of processor time; "
                  f"ours is {ours / theirs:.2f} times as fast", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
