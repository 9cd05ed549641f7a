"""The winner: scored once on test, left as a folder and as a checked ONNX file with the names of the classes."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from featune.engine.errors import FeatuneError, ParityFailed
from featune.engine.finetune import Finetuned, Recipe
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, checkpoint_name, fresh_classifier, spec_from_module, with_channels
from featune.engine.store import written_whole
from featune.export.backends import exported
from featune.export.commands import SAMPLE, sample_images, spec_of_model
from featune.export.gate import Sample

from ..finetune import MODEL, Candidate, write_model, write_recipe
from ..regimes import REGIMES, Bench, Scorer
from ..results import Row, RunStore
from ..study import Study, measured, study_of
from ..tasks import Task
from .probing import Splits
from .rules import FROZEN
from .screening import Place

ONNX, HEAD, FOLDER, ROWS = "model.onnx", "head.npz", "model", "runs"


@dataclasses.dataclass(frozen=True)
class Winner:
    """What was chosen. splits: of the last round of probes. candidate: its training, None for frozen features."""

    spec: ModelSpec
    regime: str
    splits: Splits
    candidate: Candidate | None = None


class Regime:
    """The winner as a regime: a scorer from train and val alone; `measured` opens test after it, once."""

    def __init__(self, winner: Winner, place: Place, work: Path):
        self.winner, self.place, self.work = winner, place, work
        self.scorer: Any = None  # of frozen features: its head becomes the file's

    def __call__(self, spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
        winner = self.winner
        if winner.candidate is not None:
            own, best = winner.candidate, winner.candidate.best()
            details = {
                "learning_rate": own.recipe.learning_rates[0], "step": best["step"], "steps": own.recipe.steps,
                "val": best["value"], **best["details"],
            }  # fmt: skip
            return Finetuned(own.model(), own.spec.view, details, self.place.device, own.spec)
        kind = REGIMES["probe"]
        bench = Bench(self.place.cache, self.place.backend, self.place.device, None, self.work)
        used = winner.splits
        self.scorer = kind.make(bench, kind.default)(spec, task, used.train, used.val, seed)
        counts = {"n_train": len(used.train), "n_val": len(used.val)}
        return dataclasses.replace(self.scorer, details={**self.scorer.details, **counts})


def scored(winner: Winner, task: Task, place: Place, out: Path, seed: int) -> Row:
    """The winner's row on test, read where it was measured before."""
    kind = "probe" if winner.regime == FROZEN else "finetune"
    setting = REGIMES["probe"].default if winner.candidate is None else winner.candidate.recipe
    backend = place.backend if winner.candidate is None else "torch"
    study: Study = dataclasses.replace(
        study_of(backend, place.device, seed), models=(winner.spec,), tasks=(task,), out=str(out),
        regimes={kind: (kind, setting)}, cache=str(place.cache),
    )  # fmt: skip
    (cell,) = study.cells()
    store = RunStore(out / ROWS)
    known = store.load(cell)
    if known is not None and known.error is None:
        return known
    row, scores = measured(study, cell, Regime(winner, place, out / "work"))
    return store.save(row, scores)


def files(winner: Winner, task: Task, place: Place, out: Path, seed: int) -> dict[str, Any]:
    """Writes the folder, the ONNX file and, where that gives features alone, the head; what is to be known of them.

    The file is compared with torch on SAMPLE images of train: on all of a folder it would take minutes.
    """
    model = classifier_of(winner, task, place, out, seed)
    spec = winner.candidate.spec if winner.candidate else with_channels(winner.spec, task.channels)
    folder = out / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    loads = write_model(spec, model, task.classes, folder)
    recipe = winner.candidate.recipe if winner.candidate else Recipe(trained="head", start="probe")
    said = "fine-tuned" if winner.candidate else "frozen features; the head is a logistic regression on them"
    write_recipe(folder / "recipe.yaml", recipe, said)
    whole = (folder / "config.json").exists()
    found: dict[str, Any] = {"timm": FOLDER if whole else None, "timm_said": loads, "onnx": ONNX, "head": None}
    if whole:
        exported_as = _of_folder(spec, folder.resolve())
        found["gives"] = "logits"
    else:
        exported_as = spec if winner.candidate is None else _in_memory(spec, model)
        found |= {"gives": "features", "head": HEAD}
        head = model[2]  # type: ignore[index]
        with written_whole(out / HEAD) as temporary:
            np.savez(
                temporary, weights=head.weight.detach().numpy(), bias=head.bias.detach().numpy(),
                classes=np.array(task.classes),
            )  # fmt: skip
    pictures = sample_images(winner.splits.train, exported_as.view, SAMPLE)
    images = Sample(pictures, f"{len(pictures)} images of {task.name}")
    try:
        verdict = exported(exported_as, out / ONNX, images, logits=whole)
        if not verdict.passed:
            raise ParityFailed(f"{exported_as.name}: {verdict.report}; {ONNX} is kept and refused")
    except FeatuneError as error:
        return {**found, "onnx": None, "error": str(error), "exit_code": error.exit_code}
    return {**found, "bytes": (out / ONNX).stat().st_size, "verdict": _short(dataclasses.asdict(verdict))}


def _of_folder(spec: ModelSpec, folder: Path) -> ModelSpec:
    """The model of a folder just written. The user named a factory's code: it may be anywhere."""
    if not spec.is_factory:
        return spec_of_model(str(folder), say=lambda text: None)
    weights = str(folder / MODEL)
    return dataclasses.replace(spec, checkpoint=weights, weights=checkpoint_name(weights))


def classifier_of(winner: Winner, task: Task, place: Place, out: Path, seed: int) -> nn.Module:
    """[Normalise, body, head] on the CPU: the fine-tuned network, or the frozen one with the probe as its head."""
    if winner.candidate is not None:
        return winner.candidate.model().cpu()
    regime = Regime(winner, place, out / "work")
    regime(winner.spec, task, winner.splits.train, winner.splits.val, seed)
    fitted = regime.scorer.head
    model = fresh_classifier(with_channels(winner.spec, task.channels), len(task.classes), seed)
    with torch.no_grad():
        model[2].weight.copy_(torch.from_numpy(fitted.weights))  # type: ignore[index]
        model[2].bias.copy_(torch.from_numpy(fitted.bias))  # type: ignore[index]
    return model.eval()


def _in_memory(spec: ModelSpec, model: nn.Module) -> ModelSpec:
    view = spec.view
    said = {
        "side": view.side, "mean": spec.mean, "std": spec.std, "crop_pct": view.crop_pct, "crop_mode": view.crop_mode,
        "interpolation": view.interpolation, "in_chans": view.channels,
    }  # fmt: skip
    return spec_from_module(nn.Sequential(model[1], model[2]), said, f"{spec.name} fine-tuned")  # type: ignore[index]


def _short(verdict: Mapping[str, Any]) -> dict[str, Any]:
    parity = verdict["parity"]
    return {
        "passed": verdict["passed"], "precision": verdict["precision"], "source": verdict["source"],
        "images": parity["n"], "worst_cosine": parity["worst_cosine"], "max_error": parity["max_error"],
    }  # fmt: skip
