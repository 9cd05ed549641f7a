"""torchvision's published accuracies (AlexNet, SqueezeNet and others), from the records that it ships."""

from typing import Any

from ..errors import BadInput, nearest


def torchvision_accuracy(model: str, weights: str = "DEFAULT") -> float | None:
    """acc@1 on ImageNet-1k as a fraction; None for weights that have none.

    model: a name of `torchvision.models.list_models()`, `alexnet` for example; weights: a member of its enum,
    `IMAGENET1K_V1`, or DEFAULT for torchvision's best. Nothing is fetched. Raises BadInput for unknown names.
    """
    found = _record(model, weights).get("_metrics", {}).get("ImageNet-1K", {}).get("acc@1")
    return None if found is None else found / 100


def torchvision_facts(model: str, weights: str = "DEFAULT") -> tuple[int | None, float | None]:
    """(side that the accuracy was measured at, million parameters), None where torchvision's record has none."""
    record = _record(model, weights)
    parameters = record.get("num_params")
    return record["transforms"].get("crop_size"), None if parameters is None else parameters / 1e6


def _record(model: str, weights: str) -> dict[str, Any]:
    """What torchvision says of these weights; `transforms`: the arguments of their preprocessing."""
    from torchvision.models import get_model_weights, list_models

    if model not in list_models():
        raise BadInput(f"torchvision has no model {model!r:.80}{nearest(model, list_models())}")
    known = get_model_weights(model)
    if weights not in known.__members__:
        raise BadInput(f"{model}: no weights {weights!r:.80}; torchvision has {', '.join(known.__members__) or 'none'}")
    of = known[weights]
    return {**of.meta, "transforms": of.transforms.keywords}
