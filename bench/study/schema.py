"""What a study file (YAML) may say, and how what it may not is told to the user."""

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import yaml
from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from featune.engine.errors import BadInput, nearest

from ..estimators import ESTIMATORS

Fraction = Annotated[float, Field(gt=0, lt=1)]
Statistics = Annotated[list[float], Field(min_length=1, max_length=4)]  # of each channel
Channels = Annotated[int, Field(ge=1, le=4)]


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", protected_namespaces=())


class ModelEntry(_Entry):
    """A timm name, or a local model: see `featune.engine.models.spec_from_entry`."""

    name: str | None = None
    architecture: str | None = None
    factory: str | None = None
    kwargs: dict[str, Any] = {}
    checkpoint: str | None = None
    pretrained: bool = True
    side: Annotated[int, Field(ge=8)] | None = None
    in_chans: Channels | None = None
    mean: Statistics | None = None
    std: Statistics | None = None
    crop_pct: Annotated[float, Field(gt=0, le=1)] | None = None
    crop_mode: Literal["center", "squash", "border"] | None = None
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"] | None = None
    tap: str | None = None
    family: str | None = None
    source_top1: Fraction | None = Field(None, validation_alias=AliasChoices("source_top1", "imagenet_top1"))
    source_n: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _one_constructor(self) -> "ModelEntry":
        if (self.architecture is None) == (self.factory is None):
            raise ValueError("give either architecture (a timm name) or factory (file.py:function)")
        return self


class TaskEntry(_Entry):
    """A folder of images, a table of them, or what `featune prepare` wrote; `seed` cuts what has no splits, or `folds`.

    `task: pets` with `data: DIR` means the prepared folder DIR/pets. `images` is a data string (`torch/`, `hfds/`,
    `wds/`, tars); the fields after it are its options. `in_chans`: as which the images are read, over what a prepared
    task says.
    """

    name: str | None = None
    folder: Path | None = None
    csv: Path | None = None
    parquet: Path | None = None
    prepared: Path | None = None
    task: str | None = None
    data: Path = Path("data")
    metric: str = "top1"
    seed: int = 0
    duplicates: Literal["warn", "refuse"] = "warn"
    in_chans: Channels | None = None
    folds: Annotated[int, Field(ge=2)] | None = None
    images: str | None = None
    splits: dict[Literal["train", "val", "test"], str] = {}
    input_key: str | None = None
    target_key: str | None = None
    root: Path | None = None
    download: bool = False

    @model_validator(mode="after")
    def _one_place(self) -> "TaskEntry":
        places = [self.folder, self.csv, self.parquet, self.prepared, self.task, self.images]
        if sum(place is not None for place in places) != 1:
            raise ValueError("give either folder or csv (or parquet, prepared, task, images)")
        options = {"splits", "input_key", "target_key", "root", "download"} & self.model_fields_set
        if options and not self.images:
            raise ValueError(f"{', '.join(sorted(options))}: an option of images only")
        fixed = {"metric", "seed", "duplicates", "folds"} & self.model_fields_set
        if (self.prepared or self.task) and fixed:
            raise ValueError(f"{', '.join(sorted(fixed))} of a prepared task cannot be set; prepare it otherwise")
        return self


class StudyEntry(_Entry):
    name: str
    models: Annotated[list[ModelEntry], Field(min_length=1)]
    tasks: Annotated[list[TaskEntry], Field(min_length=1)]
    regimes: list[str] | dict[str, dict[str, Any] | None] = ["probe", "finetune"]
    seeds: Annotated[list[int], Field(min_length=1)] = [0]
    backend: str = "onnxruntime"
    device: str = "cpu"
    source: str = "ImageNet"
    notes: list[str] = []
    estimators: list[str] = []

    @field_validator("models", mode="before")
    @classmethod
    def _names_are_entries(cls, value: Any) -> Any:
        """A bare timm name stands for an entry of that architecture."""
        if not isinstance(value, list):
            return value
        return [{"architecture": item} if isinstance(item, str) else item for item in value]

    @field_validator("estimators", mode="before")
    @classmethod
    def _all_are_every_one(cls, value: Any) -> Any:
        return list(ESTIMATORS) if value == "all" else value


def parsed(path: Path) -> StudyEntry:
    """The file as it stands, its keys and types checked; BadInput lists every one that is wrong."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; give the path of a study file") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(value, Mapping):
        raise BadInput(f"{path}: expected a mapping with name, models and tasks, found {type(value).__name__}")
    try:
        return StudyEntry.model_validate(value)
    except ValidationError as error:
        refuse(path, [_said(problem) for problem in error.errors()])
        raise


def _said(problem: Any) -> str:
    """One of pydantic's findings in our words, with the nearest key for a misspelt one."""
    place = problem["loc"]
    where = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in place).lstrip(".")
    if problem["type"] == "extra_forbidden":
        kinds: dict[str, type[_Entry]] = {"models": ModelEntry, "tasks": TaskEntry}
        kind = kinds.get(str(place[0]), StudyEntry) if len(place) > 1 else StudyEntry
        keys = {*kind.model_fields, *(["imagenet_top1"] if kind is ModelEntry else [])}
        return f"{where}: unknown key{nearest(str(place[-1]), keys) or '; one of ' + ', '.join(sorted(keys))}"
    if problem["type"] == "missing":
        return f"{where}: is missing"
    return f"{where}: {problem['msg'].removeprefix('Value error, ')}, found {problem['input']!r:.80}"


def refuse(path: Path, problems: list[str]) -> None:
    if problems:
        count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
        raise BadInput(f"{path}: {count}\n" + "\n".join(f"  {problem}" for problem in problems))
