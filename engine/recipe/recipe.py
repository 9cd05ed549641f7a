"""A Recipe says how to train; its digest is part of a cell's name."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from ..errors import BadInput, nearest
from ..images import Augmentation
from ..store import added

BOUNDS: dict[str, tuple[float, float]] = {  # of numbers, the ends allowed
    "epochs": (1, math.inf), "steps": (1, math.inf), "batch": (1, math.inf), "accumulation": (1, math.inf),
    "weight_decay": (0, math.inf), "momentum": (0, 1), "warmup": (0, 1), "label_smoothing": (0, 1),
    "mixup": (0, math.inf), "cutmix": (0, math.inf), "mixup_prob": (0, 1), "mixup_switch_prob": (0, 1),
    "ema": (0, 1), "layer_decay": (0, 1), "clip_norm": (0, math.inf), "drop_path": (0, 1), "head_first": (0, 1),
    "decay_factor": (0, 1), "image_size": (8, 8192), "start_size": (8, 8192),
}  # fmt: skip

REFUSED = {
    "adahessian": "it needs second derivatives, which are not taken",
    **dict.fromkeys(("kron", "kronc", "kronw"), "it draws random numbers that no checkpoint holds"),
}


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train. Its digest is part of a cell's name.

    Length: epochs: passes over the data, unless `steps` is given. batch: images of a step, of all processes together;
    accumulation: parts in which they are computed, one after the other.
    Rate: learning_rates: tried in turn and chosen on val, each once; with one there is nothing to choose.
    weight_decays: tried with each rate, in place of weight_decay; decay_over_rate: both are divided by the rate, as
    in papers whose optimizer multiplies them by it (`candidates` has the numbers that are used). warmup: share
    of the steps with a rising rate. schedule: `cosine` to zero, `step` (times decay_factor at each of `milestones`,
    shares of the steps) or `constant`; schedule_by: whether the rate changes with every step or with every epoch.
    layer_decay: each layer's rate is this times that of the layer above it, the head's being the full one.
    Optimizer: `sgd` (Nesterov's momentum), `adamw`, or a name of timm's. clip_norm: the gradient's largest norm.
    ema: decay of an average of the weights, which is what comes out; ema_warmup: its decay grows from 0 as in timm.
    Loss: `auto` is cross-entropy for one label per image and binary cross-entropy for several; `asymmetric` is for
    several, `ordinal` for classes that are grades. class_weights: `balanced` weighs a class by its rarity.
    mixup, cutmix: the alphas of their beta distributions, 0 for neither; mixup_prob: of a step to be mixed;
    mixup_switch_prob: of cutmix where both are on.
    Network: trained: `all` of it, the new `head`, or the head and the last so many blocks; head_first: share of the
    steps in which the head alone learns. freeze_embedding: the patch embedding, or the stem, keeps its weights.
    start: of the head, `zero` weights or those of the `probe` on frozen features. batch_norm: statistics of the batch
    (`train`), the pre-trained ones (`frozen`), or of the batch with Kornblith's momentum. drop_path: of the last block.
    image_size: the square's side, by default the model's; start_size: its side in the first epoch, growing from there.
    shrink_on_load: images with more pixels than the smallest random crop can use are made smaller when decoded, once.
    Arithmetic: amp: autocast, to amp_dtype; float16 with a scaler. compile: by torch.compile. channels_last: the order
    of the numbers in memory, of images and weights alike; None: on a CPU images lie as the weights do, on a GPU each
    as it comes, and optimizers are not fused on a CPU. All of them change the last bits. sync_bn: of several
    processes on GPUs, batch norm's statistics are those of all images of a step, not of each process's own.
    keep: the `last` weights of a training on train + val at the chosen rate, or those that were `best` on val.
    """

    epochs: int = 20
    steps: int | None = None
    batch: int = 64
    learning_rates: tuple[float, ...] = (0.01,)
    weight_decay: float = 1e-4
    optimizer: str = "sgd"
    momentum: float = 0.9
    warmup: float = 0.1
    label_smoothing: float = 0.0
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    amp: bool = False
    accumulation: int = added(1)
    schedule: Literal["cosine", "step", "constant"] = added("cosine")
    schedule_by: Literal["step", "epoch"] = added("step")
    milestones: tuple[float, ...] = added((0.5, 0.7, 0.9))
    decay_factor: float = added(0.1)
    layer_decay: float = added(1.0)
    clip_norm: float | None = added(None)
    ema: float | None = added(None)
    ema_warmup: bool = added(True)
    loss: Literal["auto", "cross_entropy", "bce", "asymmetric", "ordinal"] = added("auto")
    class_weights: Literal["none", "balanced"] = added("none")
    mixup: float = added(0.0)
    cutmix: float = added(0.0)
    mixup_prob: float = added(1.0)
    mixup_switch_prob: float = added(0.5)
    trained: int | str = added("all")
    head_first: float = added(0.0)
    freeze_embedding: bool = added(False)
    start: Literal["zero", "probe"] = added("zero")
    batch_norm: Literal["train", "frozen", "kornblith2019"] = added("train")
    drop_path: float = added(0.0)
    image_size: int | None = added(None)
    start_size: int | None = added(None)
    shrink_on_load: bool = added(False)
    amp_dtype: Literal["bfloat16", "float16"] = added("bfloat16")
    compile: bool = added(False)
    channels_last: bool | None = added(None)
    sync_bn: bool = added(False)
    weight_decays: tuple[float, ...] = added(())
    decay_over_rate: bool = added(False)
    keep: Literal["last", "best"] = added("last")

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            if get_origin(kind) is Literal:
                _one_of(name, getattr(self, name), get_args(kind))
        for name, (least, most) in BOUNDS.items():
            _within(name, getattr(self, name), least, most)
        _check_optimizer(self.optimizer)
        if self.trained not in ("all", "head") and (not isinstance(self.trained, int) or self.trained < 1):
            raise BadInput(
                f"trained: {self.trained!r} found, expected all, head, or how many of the last blocks learn, 1 or more"
            )
        _check_milestones(self.milestones)
        _check_rates(self.learning_rates)
        _check_decays(self.weight_decays)

    def candidates(self) -> "list[Recipe]":
        """Every rate with every weight decay, the rates outermost: recipes between which val decides."""
        return [
            dataclasses.replace(
                self, learning_rates=(rate,), weight_decays=(), decay_over_rate=False,
                weight_decay=float(f"{decay / rate:.6g}") if self.decay_over_rate else decay,
            )
            for rate in self.learning_rates
            for decay in self.weight_decays or (self.weight_decay,)
        ]  # fmt: skip

    def total_steps(self, n: int) -> int:
        return self.steps or self.epochs * self.steps_per_epoch(n)

    def steps_per_epoch(self, n: int) -> int:
        """Whole batches only: a last batch of one image would ruin batch statistics."""
        return max(1, n // self.batch)


def recipe_of(values: Mapping[str, Any]) -> Recipe:
    """The recipe of what `plain` made of one: the fields that were not at their defaults are enough."""
    known = {field.name for field in dataclasses.fields(Recipe)}
    for name in values:
        if name not in known:
            raise BadInput(f"a recipe has no field {name!r}{nearest(name, known)}; remove it or mend its name")
    fields, augmentation = _tuples(values), _tuples(values.get("augmentation", {}))
    return Recipe(**{**fields, "augmentation": Augmentation(**augmentation)})


def _tuples(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}


def _one_of(name: str, value: Any, known: Iterable[Any]) -> None:
    if value not in known:
        raise BadInput(f"{name}: {value!r} found, expected one of {', '.join(known)}{nearest(str(value), known)}")


def _within(name: str, value: Any, least: float, most: float) -> None:
    if value is not None and not least <= value <= most:
        ends = f"{least:g} to {most:g}" if most < math.inf else f"at least {least:g}"
        raise BadInput(f"{name}: {value} found, expected {ends}; change it in the recipe")


def _check_optimizer(name: str) -> None:
    if name in ("sgd", "adamw"):
        return
    if name in REFUSED:
        raise BadInput(f"optimizer {name}: {REFUSED[name]}; choose another, sgd or adamw for example")
    from timm.optim import list_optimizers

    known = list_optimizers()
    if name not in known:
        raise BadInput(f"no optimizer named {name!r}{nearest(name, known)}; sgd, adamw, or one of timm's {len(known)}")


def _check_milestones(shares: tuple[float, ...]) -> None:
    if not all(0 < share < 1 for share in shares) or list(shares) != sorted(set(shares)):
        raise BadInput(f"milestones: {list(shares)} found, expected rising shares of the steps between 0 and 1")


def _check_rates(rates: tuple[float, ...]) -> None:
    if not rates or not all(0 < rate < math.inf for rate in rates):
        raise BadInput(f"learning_rates: {list(rates)} found, expected one or more above 0; give [0.01] for example")
    names = [f"{rate:g}" for rate in rates]  # of checkpoints and in the details of a row
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise BadInput(
            f"learning rate {twice} found {names.count(twice)} times, each expected once (rates of the same six "
            "digits count as one); remove the others"
        )


def _check_decays(decays: tuple[float, ...]) -> None:
    if not all(0 <= decay < math.inf for decay in decays) or len({f"{decay:g}" for decay in decays}) < len(decays):
        raise BadInput(f"weight_decays: {list(decays)} found, expected different ones of at least 0; remove the others")
