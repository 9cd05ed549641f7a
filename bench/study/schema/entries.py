"""The types and bounds of a study file's own keys, and of its models and tasks."""

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ...estimators import USUAL
from .settings import MOST, Side, Strict


def _without_nul(value: Any) -> Any:
    if isinstance(value, str) and "\0" in value:
        raise ValueError(f"expected text, found {value[:80]!r}: no name or path holds a NUL; remove it")
    return value


def _path(value: Any) -> Any:
    value = _without_nul(value)
    return Path(value) if isinstance(value, str) and value else value


def _views_are_square(value: Any) -> Any:
    if isinstance(value, (list, dict)):
        raise ValueError(
            f"expected a whole number, found {value}: a view is a square; give its side, or leave img_size out"
        )
    return value


Text = Annotated[str, Field(min_length=1, max_length=1_000), BeforeValidator(_without_nul)]
Place = Annotated[Path, BeforeValidator(_path)]
Fraction = Annotated[float, Field(gt=0, lt=1)]
Channels = Annotated[int, Field(ge=1, le=4)]
Mean = Annotated[list[float], Field(min_length=1, max_length=4)]  # of each channel
Deviation = Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1, max_length=4)]
Axis = Literal[  # of `featune.bench.study.axes`
    "imagenet_top1", "real", "v2", "a", "r", "sketch", "parameters", "macs", "throughput"
]
Seed = Annotated[int, Field(ge=0, le=2**32 - 1)]


class _Entry(BaseModel):
    model_config = Strict


class _Arguments(BaseModel):
    """Of a model's constructor: those that also say which images it sees; the others are the constructor's own."""

    model_config = ConfigDict(**{**Strict, "extra": "allow"})
    img_size: Annotated[Side, BeforeValidator(_views_are_square)] | None = None
    in_chans: Channels | None = None


class ModelEntry(_Entry):
    """A timm name, or a local model: see `featune.engine.models.spec_from_entry`."""

    name: Text | None = None
    architecture: Text | None = None
    factory: Text | None = None
    kwargs: _Arguments = _Arguments()
    checkpoint: Text | None = None
    pretrained: bool = True
    side: Side | None = None
    in_chans: Channels | None = None
    mean: Mean | None = None
    std: Deviation | None = None
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    crop_mode: Literal["center", "squash", "border"] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] | None = None
    tap: Text | None = None
    family: Text | None = None
    source_top1: Fraction | None = Field(None, validation_alias=AliasChoices("source_top1", "imagenet_top1"))
    source_n: Annotated[int, Field(ge=1, le=10**12)] | None = None
    measured: Place | None = None
    imagenet_kind: Literal["zero-shot", "linear-probe"] | None = None

    @model_validator(mode="after")
    def _one_constructor(self) -> "ModelEntry":
        if (self.architecture is None) == (self.factory is None):
            raise ValueError("give either architecture (a timm name) or factory (file.py:function)")
        if self.measured and self.source_top1 is not None:
            raise ValueError("imagenet_top1 and measured found; keep one of them")
        given = self.kwargs.in_chans
        if None not in (self.in_chans, given) and self.in_chans != given:
            raise ValueError(f"in_chans: {self.in_chans} and kwargs: {{in_chans: {given}}} found; keep one of them")
        return self


class TaskEntry(_Entry):
    """A folder of images, a table of them, or what `featune prepare` wrote; `seed` cuts what has no splits, or `folds`.

    `task: pets` with `data: DIR` means the prepared folder DIR/pets. `images` is a data string (`torch/`, `hfds/`,
    `wds/`, tars); the fields after it are its options. `in_chans`: as which the images are read, over what a prepared
    task says. `shots`: so many images of each class in train, and in val, drawn by `seed`; test stays whole.
    """

    name: Text | None = None
    folder: Place | None = None
    csv: Place | None = None
    parquet: Place | None = None
    prepared: Place | None = None
    task: Text | None = None
    data: Place = Path("data")
    metric: Text = "top1"
    classes: Annotated[list[Text], Field(min_length=2, max_length=100_000)] | None = None
    seed: Seed = 0
    duplicates: Literal["warn", "refuse"] = "warn"
    in_chans: Channels | None = None
    folds: Annotated[int, Field(ge=2, le=MOST)] | None = None
    shots: Annotated[int, Field(ge=1, le=1_000_000)] | None = None
    images: Text | None = None
    splits: dict[Literal["train", "val", "test"], Text] = {}
    input_key: Text | None = None
    target_key: str | None = None
    root: Place | None = None
    download: bool = False

    @model_validator(mode="after")
    def _one_place(self) -> "TaskEntry":
        places = [self.folder, self.csv, self.parquet, self.prepared, self.task, self.images]
        if sum(place is not None for place in places) != 1:
            raise ValueError("give either folder or csv (or parquet, prepared, task, images)")
        options = {"splits", "input_key", "target_key", "root", "download"} & self.model_fields_set
        if options and not self.images:
            raise ValueError(f"{', '.join(sorted(options))}: an option of images only")
        fixed = {"metric", "classes", "seed", "duplicates", "folds", "shots"} & self.model_fields_set
        if (self.prepared or self.task) and fixed:
            raise ValueError(f"{', '.join(sorted(fixed))} of a prepared task cannot be set; prepare it otherwise")
        return self


def _all_are_every_one(value: Any) -> Any:
    return list(USUAL) if value == "all" else value


def _one_is_a_list(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


class StudyEntry(_Entry):
    """Models, tasks and regimes are read one by one, so that a fault of one does not hide those of another."""

    name: Text
    models: Annotated[list[Any], Field(min_length=1, max_length=MOST)]
    tasks: Annotated[list[Any], Field(min_length=1, max_length=MOST)]
    pretrain: Any = None
    regimes: Any = None
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=MOST)] = [0]
    backend: Text = "onnxruntime"
    device: Text = "cpu"
    source: Text = "ImageNet"
    x: Annotated[list[Axis], Field(min_length=1, max_length=9), BeforeValidator(_one_is_a_list)] = ["imagenet_top1"]
    published: Annotated[list[Text], Field(max_length=MOST), BeforeValidator(_one_is_a_list)] = []
    notes: Annotated[list[Text], Field(max_length=MOST)] = []
    estimators: Annotated[list[Text], Field(max_length=MOST), BeforeValidator(_all_are_every_one)] = []
    source_images: Text | None = None
