"""A study file (YAML) checked whole before any work, and the Study that it describes."""

import dataclasses
import errno
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, nearest
from featune.engine.images import Augmentation
from featune.engine.models import ModelSpec, require_own, spec_from_entry
from featune.engine.paths import check_name, is_below, is_there
from featune.engine.store import cache_dir
from featune.export.backends import check_backend

from ..data import Request, Source, library_of, look, prepare, task_name
from ..estimators import estimator
from ..progress import Progress
from ..regimes import Setting, regime_named
from .definition import Study
from .schema import ModelEntry, TaskEntry, parsed, refuse


def read_study(
    path: Path,
    out: Path | None = None,
    *,
    device: str | None = None,
    progress: Progress | None = None,
    trusted: bool = False,
) -> tuple[Study, list[Source]]:
    """The study that a file describes, with tasks still to be prepared (`prepared`), and where they lie.

    Paths in the file are seen from its folder. Raises one BadInput that lists every problem: unknown keys,
    unknown models (nearest names), missing folders, classes without images.

    A factory is executed here. trusted: it may be of any installed module, and downloads may go to any folder;
    otherwise both lie below the file's folder.
    """
    entry = parsed(path)
    problems: list[str] = []
    folder = path.parent

    def attempt(where: str, make: Callable[[], Any]) -> Any:
        try:
            return make()
        except BadInput as error:
            problems.append(f"{where}: {error}")
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            problems.append(f"{where}: a name of more than 255 bytes found, which no file can have")
        return None

    attempt("name", partial(check_name, "the study's name", entry.name))
    models = [attempt(f"models[{i}]", partial(_spec, given, folder, trusted)) for i, given in enumerate(entry.models)]
    sources = []
    for i, given in enumerate(entry.tasks):
        if not trusted and attempt(f"tasks[{i}]", partial(_require_root_below, given, folder)) is None:
            continue
        folds = _folds(_source(given, folder), given.folds)
        for source in folds:
            if attempt(f"tasks[{i}]", partial(look, source, progress)) is None:
                break  # what is wrong with one fold is wrong with all
        sources += folds
    names = entry.regimes if isinstance(entry.regimes, dict) else dict.fromkeys(entry.regimes)
    regimes = {name: attempt(f"regimes.{name}", partial(_regime, name, fields or {})) for name, fields in names.items()}
    attempt("backend", lambda: check_backend(entry.backend))
    for i, name in enumerate(entry.estimators):
        attempt(f"estimators[{i}]", partial(estimator, name))
    problems += _twice("models", [spec.name for spec in models if spec])
    problems += _twice("tasks", [source.name for source in sources])
    if not regimes:
        problems.append("regimes: none named; probe and finetune for example")
    refuse(path, problems)
    out = out or Path("runs", entry.name)
    study = Study(
        name=entry.name,
        models=tuple(models),
        tasks=(),
        regimes=regimes,
        out=str(out),
        cache=str(cache_dir()),
        seeds=tuple(dict.fromkeys(entry.seeds)),
        backend=entry.backend,
        device=device or entry.device,
        source_name=entry.source,
        notes=tuple(entry.notes),
        estimators=tuple(dict.fromkeys(entry.estimators)),
    )
    return study, sources


def prepared(study: Study, sources: list[Source], progress: Progress | None = None) -> Study:
    """The study with its tasks' CSVs written and every image checked.

    Raises BadInput for a model whose `in_chans` is not a task's.
    """
    tasks = tuple(prepare(source, Path(study.out, "tasks"), progress) for source in sources)
    study = dataclasses.replace(study, tasks=tasks)
    study.cells()  # meets every model with every task
    return study


def _require_root_below(given: TaskEntry, folder: Path) -> bool:
    """Downloads are written; raises BadInput where the file sends them out of its folder."""
    if given.download and given.root and not is_below(folder / given.root, [folder]):
        raise BadInput(
            f"root {str(given.root)!r:.200} with download lies outside {folder.resolve()}; leave root out, or run with "
            "--trust if the data may be written there"
        )
    return True


def _spec(given: ModelEntry, folder: Path, trusted: bool = False) -> ModelSpec:
    if given.factory and not trusted:
        require_own(given.factory, [folder])
    return spec_from_entry(given.model_dump(exclude_none=True), folder)


def _source(given: TaskEntry, folder: Path) -> Source:
    if given.images:
        return _string_source(given, given.images, folder)
    table = given.csv or given.parquet
    ready = given.data / given.task if given.task else given.prepared
    place = given.folder or table or ready
    assert place is not None
    name = given.name or (place.stem if table else place.name)
    return Source(
        name=name,
        folder=folder / given.folder if given.folder else None,
        csv=folder / table if table else None,
        metric=given.metric,
        seed=given.seed,
        duplicates=given.duplicates,
        prepared=folder / ready if ready else None,
        channels=given.in_chans,
    )


def _folds(source: Source, folds: int | None) -> list[Source]:
    """The task, or one for each fold that is its test."""
    if folds is None:
        return [source]
    return [
        dataclasses.replace(source, name=f"{source.name}-fold{number + 1}of{folds}", fold=(number, folds))
        for number in range(folds)
    ]


def _string_source(given: TaskEntry, text: str, folder: Path) -> Source:
    """Of a data string; what it names on this disk is seen from the study file's folder."""
    prefix, _, rest = text.partition("/")
    library = library_of(text)
    root = folder / given.root if given.root else None
    if library and is_there(folder / rest):
        text = f"{prefix}/{folder / rest}"
    elif library == "wds" and "://" not in rest:  # a pattern of shards is no path that exists
        root = root or folder
    elif not library and is_there(folder / text):
        text = str(folder / text)
    if library != "hfds":  # which has a cache of its own
        root = root or folder / "data"
    request = Request(text, input_key=given.input_key, target_key=given.target_key, root=root, download=given.download)
    name = given.name or task_name(text)
    splits = {str(role): called for role, called in given.splits.items()}
    return Source(
        name, metric=given.metric, seed=given.seed, duplicates=given.duplicates, images=request, splits=splits,
        channels=given.in_chans,
    )  # fmt: skip


def _regime(name: str, fields: dict[str, Any]) -> tuple[str, Setting]:
    """(kind, setting) from a regime's name and its fields; `kind` lets one kind appear under several names."""
    fields = dict(fields)
    kind = str(fields.pop("kind", name))
    default = regime_named(kind).default
    known = {field.name for field in dataclasses.fields(default)}
    unknown = sorted(set(fields) - known)
    if unknown:
        raise BadInput("; ".join(f"unknown key {key!r}{nearest(key, known)}" for key in unknown))
    if "augmentation" in fields:
        fields["augmentation"] = _augmentation(fields["augmentation"])
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    try:
        return kind, dataclasses.replace(default, **values)
    except TypeError as error:
        raise BadInput(f"{error}") from error


def _augmentation(fields: Any) -> Augmentation:
    known = {field.name for field in dataclasses.fields(Augmentation)}
    if not isinstance(fields, Mapping) or set(fields) - known:
        raise BadInput(f"augmentation: expected the keys {', '.join(sorted(known))}, found {fields!r}")
    values: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}
    return Augmentation(**values)


def _twice(where: str, names: list[str]) -> list[str]:
    return [
        f"{where}: {name!r} is named twice; give each its own `name`"
        for name in sorted({*names})
        if names.count(name) > 1
    ]
