"""Pre-training on a source task by the project's own loop, to a weight file that everything else loads."""

import dataclasses
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import nn

from featune.engine.finetune import Progress, Recipe, Run, predict, train
from featune.engine.images import Labelled
from featune.engine.metrics import METRICS
from featune.engine.models import ModelSpec, Normalise, classifier, source_model, with_channels
from featune.engine.store import digest, read_json, write_json, written_whole


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A weight file and the accuracy of its model on the source task's validation images, of which there are n."""

    checkpoint: str
    source_top1: float
    n: int


def pretrain(
    spec: ModelSpec,
    train_items: Labelled,
    val_items: Labelled,
    recipe: Recipe,
    seed: int,
    folder: Path,
    *,
    progress: Progress | None = None,
) -> Pretrained:
    """Train the spec's whole classifier from random weights; done once per spec, data, recipe and seed.

    `<folder>/<name>.safetensors` holds the weights, `<name>.json` vouches for them. A killed training goes on
    from its checkpoint and ends at the same weights.
    """
    spec = with_channels(spec, train_items.channels)
    untrained = spec.with_random_weights(seed)
    key = digest([untrained.digest, train_items.content_digest, train_items.labels, val_items.content_digest, recipe])
    path, record = folder / f"{spec.name}.safetensors", folder / f"{spec.name}.json"
    found = read_json(record)
    if found and found["key"] == key and path.exists():
        return Pretrained(str(path), found["source_top1"], found["n"])
    model = nn.Sequential(Normalise(spec.mean, spec.std), classifier(untrained))
    truth = torch.from_numpy(train_items.truth(0))
    run = Run(work=folder, name=f"{spec.name}.{key}", save_seconds=5.0, progress=progress)
    train(model, train_items, truth, spec.view, recipe, seed, run)
    with written_whole(path) as temporary:
        save_file({name: value.contiguous() for name, value in model[1].state_dict().items()}, temporary)
    result = Pretrained(str(path), source_accuracy(model, spec, val_items), len(val_items))
    write_json(record, {"key": key, "source_top1": result.source_top1, "n": result.n})
    if run.checkpoint:
        run.checkpoint.unlink()
    return result


def source_accuracy(model: nn.Module | None, spec: ModelSpec, items: Labelled) -> float:
    """Top-1 of a model (by default the spec's own) on source-task images, a fraction."""
    scores = predict(model or source_model(spec), items, spec.view)
    return METRICS["top1"](items.truth(scores.shape[1]), scores)
