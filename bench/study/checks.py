"""What can be known before any work of a study: whether the device is there, and whether each model can be built."""

from collections import Counter
from collections.abc import Sequence

import torch
from torch import nn

from featune.engine.errors import BadInput, FeatuneError, first_line
from featune.engine.models import ModelSpec, classifier, feature_model, feature_width
from featune.export.backends import backend_named

from ..estimators import ESTIMATORS, USUAL
from .definition import Study
from .estimates import require_source_classes

SHOWN = 24  # layers that are listed


def check_place(backend: str, device: str) -> None:
    """Raises BadInput for a backend or device that does not exist, Missing for what this machine lacks of them."""
    found = backend_named(backend)
    found.check(backend, device, "fp32")
    found.require(device)


def check_model(spec: ModelSpec) -> None:
    """Build the model once and show it one image's shape: its arguments, side, tap and local weights fit together.

    Without the hub's weights, on torch's meta device, which has no memory; where an operation is not to be had there,
    on the CPU. Weights that neither hub nor cache had when the model was resolved are fetched here, or Missing raised.
    """
    untrained = _without_hub_weights(spec)
    if untrained is not None and not spec.is_factory:
        try:
            with torch.device("meta"):
                feature_width(feature_model(untrained), spec.view.side, spec.view.channels)
            return
        except Exception:  # what is said there may be the device's fault
            pass
    try:
        feature_width(feature_model(untrained or spec), spec.view.side, spec.view.channels)
    except FeatuneError as error:
        if "name a layer with `tap`" not in str(error):  # others list the layers themselves
            raise
        raise BadInput(f"{error}; {_layers(untrained or spec)}") from error
    except Exception as error:  # of a factory, or of an architecture with such arguments
        raise BadInput(
            f"{spec.name}: it cannot be built ({type(error).__name__}: {first_line(error)}); check its code, kwargs, "
            "side and in_chans"
        ) from error


def _without_hub_weights(spec: ModelSpec) -> ModelSpec | None:
    """The spec with random weights where the hub's bytes are known to be there; None where its own are to be tried."""
    if spec.weights.startswith("random:"):
        return spec
    return spec.with_random_weights(0) if spec.weights.startswith("hub:") and "#" in spec.weights else None


def _layers(spec: ModelSpec) -> str:
    names = [name for name, _ in _near(classifier(spec)) if name]
    return f"its layers are {', '.join(names[:SHOWN])}{', ...' if len(names) > SHOWN else ''}"


def _near(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Layers, and layers in these."""
    return [(name, layer) for name, layer in model.named_modules() if name.count(".") < 2]


def check_settings(study: Study) -> None:
    """Raises BadInput for what a task cannot meet: more shots than a class has, more neighbours than images."""
    found = []
    for task in study.tasks:
        train = task.load("train")
        sizes = Counter(label for labels in train.labels for label in labels)
        rare = min(range(len(task.classes)), key=lambda at: sizes[at])
        for name, (_, setting) in study.regimes.items():
            shots, counts = getattr(setting, "shots", None), getattr(setting, "counts", ())
            if shots and task.multilabel:
                has = f"images of {task.name} have several labels"
                found.append(f"{name}: {shots} shots asked for, {has}; leave shots out")
            elif shots and sizes[rare] < shots:
                has = f"{task.name} has {sizes[rare]} training images of class {task.classes[rare]}"
                found.append(f"{name}: {shots} shots asked for, {has}; lower shots or add images")
            if counts and min(counts) > len(train):
                has = f"{task.name} has {len(train)} training images"
                found.append(f"{name}: counts of {min(counts)} and more found, {has}; give smaller counts")
    if found:
        raise BadInput("\n  ".join(found))


def check_source_images(names: Sequence[str], source_images: str) -> None:
    """Raises BadInput where one of `estimators` and `source_images` lacks the other."""
    wanting = [name for name in names if name in ESTIMATORS and ESTIMATORS[name].needs == "source images"]
    if wanting and not source_images:
        raise BadInput(f"{' and '.join(wanting)}: images of the source task are needed; give `source_images`")
    if source_images and not wanting:
        raise BadInput("source_images found, and no estimator that takes them; name `frechet` among the estimators")


def check_estimators(names: Sequence[str], models: Sequence[ModelSpec]) -> list[str]:
    """Sentences on the models that have no source classes for the estimators that need them.

    Raises BadInput where none has, and the estimators were chosen one by one.
    """
    wanting = [name for name in names if ESTIMATORS[name].needs == "source"]
    reasons: list[str] = []
    for spec in models if wanting else ():
        try:
            require_source_classes(spec)
        except BadInput as error:
            reasons.append(str(error))
    if reasons and len(reasons) == len(models) and set(names) != set(USUAL):
        raise BadInput(f"{' and '.join(wanting)} of no model can be computed: {reasons[0]}")
    return [f"not computed: {reason}" for reason in reasons]
