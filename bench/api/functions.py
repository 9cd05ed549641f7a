"""Featune in a notebook: each function takes a model and images as they are at hand."""

import contextlib
import dataclasses
import os
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Unpack

from torch import nn

from featune.engine.errors import BadInput
from featune.engine.features import FeatureStore, Options, check_on_error
from featune.engine.finetune import Finetuned, Recipe, Run, TrainVal
from featune.engine.finetune import finetune as train_all_weights
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, is_in_memory
from featune.engine.runners import require_device
from featune.engine.store import cache_dir
from featune.export.commands import RunSettings, ViewOptions, entry_of, refuse_options, request_of_spec, spec_of

from ..cache import limit_kept, limit_of
from ..data import Data, Request, open_data, prepare
from ..features import FeatureTable, Models, note_origin, request_of_model, table_of
from ..finetune import Asked, finetuned_model
from ..progress import progress_for
from ..regimes import Goodness, ProbeSetting, Setting
from ..study import (
    BACKEND_OF,
    Probed,
    check_file_alone,
    probe_artefact,
    probe_model,
    probe_tables,
    regime_of_frozen_features,
    source_of,
    study_of,
)
from ..tasks import WHOLE

Model = str | os.PathLike[str] | ModelSpec | nn.Module
Images = str | os.PathLike[str] | Labelled | Data


def extract(
    model: Model,
    data: Images,
    *,
    split: str | None = None,
    backend: str | None = None,
    precision: str = "fp32",
    device: str = "cpu",
    view: Mapping[str, Any] | None = None,
    on_error: str = "stop",
    progress: bool = False,
    **options: Unpack[ViewOptions],
) -> FeatureTable:
    """Penultimate features of images, one row each: `extract("resnet50", "photos/").rows`.

    model: a timm name, `file.py:function`, a file of `featune export`, a ModelSpec, or a torch module. data: a folder,
    a table, any other data string, or labelled items; `split` is of data that have splits, `all` joins them.
    backend: onnxruntime unless given, and torch for a module. options: fields of `ViewOptions`, such as img_size=128,
    mean=0.5, which go before what the model says of itself (or all of them as `view`, with side for img_size). Rows
    are kept in the cache under all that they depend on, and not computed again; those of a module are not kept.
    Raises BadImages with every file that cannot be read, unless on_error is "skip".
    """
    given = entry_of(options, view)
    require_device(device)
    found = _data(data, split, given.get("in_chans"))
    passing = Options(device=device, on_error=check_on_error(on_error))
    said = progress_for(quiet=not progress)
    with _places(model) as (root, cache):
        if isinstance(model, nn.Module | ModelSpec):
            spec = spec_of(model, given)
            usual = "torch" if is_in_memory(spec) else RunSettings.backend
            request = request_of_spec(spec, found.items, RunSettings(backend or usual, device, precision), cache)
        else:
            how = RunSettings(backend or RunSettings.backend, device, precision)
            request = request_of_model(os.fspath(model), Models((os.fspath(model),), view=given), found, how)
        note_origin(root, [request.key], found)
        with said.stage("extract") as advance:
            (features,) = FeatureStore(root).extract(found.items, [request], options=passing, progress=advance)
        return table_of(found, features, request.label)


def probe(
    model: Model | FeatureTable,
    data: str | os.PathLike[str] | None = None,
    *,
    test: FeatureTable | None = None,
    metric: str = "top1",
    regime: str = "probe",
    shots: int | None = None,
    standardise: bool = False,
    seed: int = 0,
    backend: str | None = None,
    device: str = "cpu",
    view: Mapping[str, Any] | None = None,
    progress: bool = False,
    **options: Unpack[ViewOptions],
) -> Probed:
    """The score of a classifier on frozen features, with its 95 % interval: `probe("resnet50", "images/flowers")`.

    model: as in `extract`, with `data` a folder, table, prepared task or data string; or a FeatureTable, with a second
    one as `test`. A table without `test` is cut by the seed: 60 % train, 20 % val, 20 % test. The classifier is fitted
    on train, chosen on val and scored once on test. regime: probe (logistic regression), knn, ridge or means.
    view, options: as in `extract`.
    """
    given = entry_of(options, view)
    setting = _setting(regime, shots, standardise)
    if isinstance(model, FeatureTable):
        if data is not None:
            raise BadInput(f"features and data {data!r} found; features have their images, leave data out")
        refuse_options("features", given, "were taken already")
        model.labels  # noqa: B018 - raises where there are none
        if test is not None:
            return probe_tables(model, None, lambda: test, metric, regime, setting, seed)
        parts = model.cut(WHOLE, seed)
        return probe_tables(parts["train"], parts["val"], lambda: parts["test"], metric, regime, setting, seed)
    if data is None:
        raise BadInput("a model and no data found; give a folder of labelled images, or features of `extract`")
    require_device(device)
    source = source_of(Request(os.fspath(data), channels=given.get("in_chans")), metric, seed, {})
    said = progress_for(quiet=not progress)
    if isinstance(model, str | os.PathLike) and (file := Path(model)).suffix in BACKEND_OF:
        refuse_options(file, given, "a file has its own view")
        check_file_alone(file, backend, None, False)
        study = study_of(BACKEND_OF[file.suffix], device, seed)
        return probe_artefact(file, source, regime, setting, study, said)
    spec = spec_of(model, given)
    with _places(model) as (_, cache):
        usual = "torch" if is_in_memory(spec) else RunSettings.backend
        study = dataclasses.replace(study_of(backend or usual, device, seed), cache=str(cache))
        return probe_model(spec, source, regime, setting, study, said)


def finetune(
    model: Model,
    data: str | os.PathLike[str],
    recipe: Recipe | str | None = None,
    *,
    metric: str = "top1",
    seed: int = 0,
    device: str = "cpu",
    view: Mapping[str, Any] | None = None,
    work: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str] | None = None,
    minutes: float | None = None,
    progress: bool = False,
    **options: Unpack[ViewOptions],
) -> Finetuned:
    """The model with all weights trained on the data: a classifier that is called with items.

    recipe: a Recipe, whose learning rate is chosen on val and which is then trained on train + val; test is not
    touched. work: a folder for its checkpoints; a killed training resumes from it.
    Or a name of `featune finetune --recipe`, or a recipe.yaml; so too where `out` or `minutes` is given: then this does
    what the command does. out: the folder that is left, for timm and `featune export`. `.details` has the score on
    test with its interval. `.model` is the trained torch module: uint8 images [b, channels, side, side] to logits.
    view, options: as in `extract`.
    """
    require_device(device)
    given, said = entry_of(options, view), progress_for(quiet=not progress)
    spec = spec_of(model, given)
    source = source_of(Request(os.fspath(data), channels=given.get("in_chans")), metric, seed, {})
    if isinstance(recipe, str | os.PathLike) or out is not None or minutes is not None:
        if work is not None:
            raise BadInput("work and a recipe by name, out or minutes found; the folder `out` keeps checkpoints too")
        name = os.fspath(recipe) if isinstance(recipe, os.PathLike) else recipe or "default"
        with contextlib.ExitStack() as stack:
            folder = Path(out) if out is not None else Path(stack.enter_context(tempfile.TemporaryDirectory()))
            asked = Asked(recipe=name, minutes=minutes, seed=seed, device=device, out=folder)
            return finetuned_model(spec, source, asked, said)
    task = prepare(source, cache_dir() / "finetune", said)
    train, val = task.load("train"), task.load("val")
    classes = len(task.classes)
    goodness = Goodness(task.metric, val.truth(classes, task.multilabel, masked=True))
    with said.stage("fine-tune") as advance:
        run = Run(device, Path(work) if work else None, progress=advance)
        return train_all_weights(
            spec, TrainVal(train, val, classes, task.multilabel), goodness, recipe or Recipe(), seed, run,
            try_all=goodness.has_threshold,
        )  # fmt: skip


def _data(data: Images, split: str | None, channels: int | None) -> Data:
    if isinstance(data, Labelled):
        return Data(str(data.root), data)
    return data if isinstance(data, Data) else open_data(Request(os.fspath(data), split, channels=channels))


def _setting(regime: str, shots: int | None, standardise: bool) -> Setting:
    setting = regime_of_frozen_features(regime).default
    if isinstance(setting, ProbeSetting):
        return dataclasses.replace(setting, shots=shots, standardise=standardise)
    if shots is not None or standardise:
        raise BadInput(f"shots and standardise are of the regime probe, {regime} chosen")
    return setting


@contextlib.contextmanager
def _places(model: Any) -> Iterator[tuple[Path, Path]]:
    """(folder of features, cache): the user's; for a module of this process ones that go with the call."""
    if isinstance(model, nn.Module) or (isinstance(model, ModelSpec) and is_in_memory(model)):
        with tempfile.TemporaryDirectory() as folder:
            yield Path(folder, "features"), Path(folder)
    else:
        with limit_kept(cache_dir(), limit_of(os.environ), every=None):
            yield cache_dir() / "features", cache_dir()
