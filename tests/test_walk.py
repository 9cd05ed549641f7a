"""One datum from its file to a number, by two backends, every step looked at."""

from collections.abc import Callable
from pathlib import Path

import numpy as np

from featune.bench.data import Source, prepare
from featune.engine.features import FeatureKey, FeatureStore
from featune.engine.images import batches, eval_view, read_image
from featune.engine.metrics import METRICS
from featune.engine.models import ModelSpec, feature_model
from featune.engine.probe import probe
from featune.engine.runners import torch_runner
from featune.export.backends import artefact, open_runner


def test_an_image_walks_from_its_file_to_an_accuracy(
    image_folder: Callable[..., Path], tmp_path: Path, spec: ModelSpec
) -> None:
    task = prepare(Source("colours", folder=image_folder()), tmp_path / "tasks")
    train, val, test = (task.load(split) for split in ("train", "val", "test"))
    assert task.classes == ("blue", "green", "red")
    assert train.paths[0] == "train/blue/0.png"

    pixels = eval_view(spec.view)(read_image(train.file(0)))
    assert (pixels.dtype, pixels.shape) == (np.uint8, (3, 32, 32))
    batch = next(batches(train, spec.view, 5))
    assert np.array_equal(batch[0].numpy(), pixels)

    def sample() -> object:
        return next(batches(train, spec.view, 16))

    with (
        torch_runner(feature_model(spec)) as by_torch,
        open_runner(spec, "onnxruntime", cache=tmp_path, sample=sample) as by_onnxruntime,  # type: ignore[arg-type]
    ):
        rows, others = by_torch(batch).numpy(), by_onnxruntime(batch).numpy()
    cosines = (rows * others).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(others, axis=1)
    assert cosines.min() >= 0.99999

    graph = artefact(spec, tmp_path, sample)  # type: ignore[arg-type]
    store = FeatureStore(tmp_path / "features")
    stored = []
    for items in (train, val, test):
        key = FeatureKey(spec.digest, spec.view, items.content_digest, "onnxruntime:cpu", "fp32", graph.digest, "exact")
        opened = lambda threads: open_runner(spec, "onnxruntime", cache=tmp_path, sample=sample, threads=threads)  # type: ignore[arg-type]  # noqa: E731
        stored.append(store.rows(key, items, opened))
    np.testing.assert_allclose(stored[0][:5], rows, rtol=1e-3, atol=1e-5)

    fitted = probe(stored[0], train.truth(3), stored[1], val.truth(3), METRICS["top1"], classes=3)
    scores = fitted(stored[2])
    assert scores.shape == (15, 3)
    assert METRICS["top1"](test.truth(3), scores) == 1.0  # plain colours are easy
