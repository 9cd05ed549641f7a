"""A study file (YAML) checked whole before any work, and the Study that it describes."""

import dataclasses
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.models import ModelSpec, require_own, spec_from_entry
from featune.engine.paths import check_name, is_below, is_there
from featune.engine.runners import device_kind
from featune.engine.store import cache_dir, check_writable, read_json
from featune.export.backends import check_backend

from ..data import Request, Source, library_of, look, prepare, task_name
from ..estimators import ESTIMATORS, estimator
from ..imagenet import accuracies_of_file
from ..pretrain import Asked, Choices, Rule, opened_source, variants
from ..pretrain import check as check_pretraining
from ..progress import Progress, Silent
from ..published import published
from ..results import KIND_FACTS
from .axes import axis_title, facts_of, with_accuracy
from .checks import check_estimators, check_model, check_place, check_settings, check_source_images
from .definition import Study
from .last_run import published_of
from .probe_command import metric_meant
from .schema import ModelEntry, Parsed, TaskEntry, parsed


def read_study(
    path: Path,
    out: Path | None = None,
    *,
    device: str | None = None,
    progress: Progress | None = None,
    work: bool = False,
    trusted: bool = False,
) -> tuple[Study, list[Source]]:
    """The study that a file describes, with tasks still to be prepared (`prepared`), and where they lie.

    Paths in the file are seen from its folder. work: the study is to be run, so the device and the backend's libraries
    must be there, and every model is built once. Raises one BadInput that lists every problem: unknown keys and types,
    unknown models (nearest names), missing folders, classes without images; or Missing where this machine alone is at
    fault.

    A factory is executed here. trusted: it may be of any installed module, and downloads may go to any folder;
    otherwise both lie below the file's folder.
    """
    said = progress or Silent()
    read = parsed(path)
    entry, faults, folder = read.study, read.faults, path.parent
    faults.attempt("name", partial(check_name, "the study's name", entry.name))
    models = [faults.attempt(f"models[{at}]", partial(_spec, given, folder, trusted)) for at, given in read.models]
    sources = []
    for at, given in read.tasks:
        if not trusted and faults.attempt(f"tasks[{at}]", partial(_require_root_below, given, folder)) is None:
            continue
        folds = faults.attempt(f"tasks[{at}]", lambda: _folds(_source(given, folder), given.folds)) or []  # noqa: B023
        for source in folds:
            if faults.attempt(f"tasks[{at}]", partial(look, source, progress)) is None:
                break  # what is wrong with one fold is wrong with all
        sources += folds
    device = device or entry.device
    pretraining = _pretraining(read, folder, device, trusted)
    faults.attempt("backend", lambda: check_backend(entry.backend))
    faults.attempt("device", lambda: device_kind(device))
    for at, name in enumerate(entry.estimators):
        faults.attempt(f"estimators[{at}]", partial(estimator, name))
    source_images = _seen_from(entry.source_images or "", folder)
    faults.attempt("estimators", partial(check_source_images, entry.estimators, source_images))
    for at, name in enumerate(entry.published):
        faults.attempt(f"published[{at}]", partial(published, name, folder))
    facts: dict[str, dict[str, float]] = {}
    for place, ((at, model), spec) in enumerate(zip(read.models, models, strict=True)):
        look_up = partial(_looked_up, spec, model, folder, entry.x, said) if spec else None
        found = look_up and faults.attempt(f"models[{at}].measured", look_up)
        if found:
            models[place], facts[found[0].name] = found
    faults.problems += _twice("models", [spec.name for spec in models if spec] + [asked.name for asked in pretraining])
    faults.problems += _twice("tasks", [source.name for source in sources])
    out = out or Path("runs", entry.name)
    if work:
        if not faults.problems:
            check_writable(out / "runs" / "row.json")
        _check_work(read, models, device, said)
    faults.refuse()
    study = Study(
        name=entry.name,
        models=tuple(spec for spec in models if spec),
        tasks=(),
        regimes=read.regimes,
        out=str(out),
        cache=str(cache_dir()),
        seeds=tuple(dict.fromkeys(entry.seeds)),
        backend=entry.backend,
        device=device,
        source_name=axis_title(entry.x, entry.source),
        notes=tuple(entry.notes),
        estimators=tuple(dict.fromkeys(entry.estimators)),
        source_images=source_images,
        facts=facts,
        published=published_of(entry, folder),
        pretraining=tuple(pretraining),
    )
    return study, sources


def _seen_from(text: str, folder: Path) -> str:
    """A data string whose place on this disk is seen from the study file's folder."""
    return str(folder / text) if text and not library_of(text) and is_there(folder / text) else text


def _looked_up(
    spec: ModelSpec, given: ModelEntry, folder: Path, asked: Sequence[str], said: Progress
) -> tuple[ModelSpec, dict[str, float]]:
    """The spec with its source accuracy, and its other facts. Raises BadInput where `measured` is not of the model."""
    measured = {}
    if given.measured:
        file = folder / given.measured
        measured = accuracies_of_file(read_json(file), spec.name, file)
    spec, what = with_accuracy(spec, asked, measured)
    if what:
        said.say(what)
    kind = {KIND_FACTS[given.imagenet_kind]: 1.0} if given.imagenet_kind else {}
    return spec, facts_of(spec, asked, measured) | kind


def prepared(study: Study, sources: list[Source], progress: Progress | None = None) -> Study:
    """The study with its tasks' CSVs written and every image checked.

    Raises BadInput for a model whose `in_chans` is not a task's, and for settings that a task cannot meet.
    """
    tasks = tuple(prepare(source, Path(study.out, "tasks"), progress) for source in sources)
    study = dataclasses.replace(study, tasks=tasks)
    study.cells()  # meets every model with every task
    check_settings(study)
    return study


def _check_work(read: Parsed, models: Sequence[ModelSpec | None], device: str, said: Progress) -> None:
    """What running the study needs of this machine and its models; found before an image is opened."""
    faults = read.faults
    if not any(problem.startswith(("backend: ", "device: ")) for problem in faults.problems):
        faults.attempt("device", partial(check_place, read.study.backend, device))
    if faults.absent and not faults.problems:
        return
    known = [spec for spec in models if spec]
    with said.stage("building each model once") as advance:
        for done, ((at, _), spec) in enumerate(zip(read.models, models, strict=True), 1):
            if spec:
                faults.attempt(f"models[{at}]", partial(check_model, spec))
            advance(done, len(models))
    names = [name for name in read.study.estimators if name in ESTIMATORS]
    for sentence in faults.attempt("estimators", partial(check_estimators, names, known)) or []:
        said.say(f"estimators: {sentence}")


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
        require_own(given.factory, [folder], "run with --trust if you know what it does")
    entry = given.model_dump(exclude_none=True, exclude={"kwargs", "measured", "imagenet_kind"})
    return spec_from_entry(entry | {"kwargs": given.kwargs.model_dump(exclude_unset=True)}, folder)


def _pretraining(read: Parsed, folder: Path, device: str, trusted: bool) -> list[Asked]:
    """The models that are pre-trained first; each subset and each choice is tried on the source and architecture."""
    if read.pretrain is None:
        return []
    (entry, recipe), faults = read.pretrain, read.faults
    spec = faults.attempt("pretrain.model", partial(_spec, entry.model, folder, trusted))
    lies_below = partial(_require_root_below, entry.source, folder)
    if not trusted and faults.attempt("pretrain.source", lies_below) is None:
        return []
    source = _source(entry.source, folder)
    layout = faults.attempt("pretrain.source", partial(opened_source, source))
    away = [_string_source(TaskEntry(images=text), text, folder).images for text in entry.away_from]
    rules: dict[str, Rule] = {}
    choices: dict[str, Choices] = {}
    for name, subset in entry.subsets.items():
        values = subset.model_dump() | {"drop": tuple(subset.drop), "near": entry.near if away else None}
        if rule := faults.attempt(f"pretrain.subsets.{name}", lambda: Rule(**values)):  # noqa: B023
            rules[name] = rule
    for name, chosen in entry.choices.items():
        if choice := faults.attempt(f"pretrain.choices.{name}", lambda: Choices(**chosen.model_dump())):  # noqa: B023
            choices[name] = choice
    if spec is None or layout is None or len(rules) < len(entry.subsets) or len(choices) < len(entry.choices):
        return []
    hierarchy = folder / entry.hierarchy if entry.hierarchy else None
    base = Asked("", spec, source, recipe, hierarchy=hierarchy, away_from=tuple(filter(None, away)), device=device)
    tried = {f"pretrain.subsets.{name}": dataclasses.replace(base, rule=rule) for name, rule in rules.items()}
    for where, asked in tried.items():
        if faults.attempt(where, partial(check_pretraining, asked, layout, look_at_images=False)) is None:
            return []
    for name, choice in choices.items():
        asked = dataclasses.replace(base, choices=choice)
        faults.attempt(f"pretrain.choices.{name}", partial(check_pretraining, asked, layout, look_at_images=False))
    lengths = {name: length.model_dump(exclude_none=True) for name, length in entry.lengths.items()}
    return variants(base, rules, lengths, choices, entry.seeds)


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
        metric=metric_meant(given.metric),
        classes=tuple(given.classes or ()),
        seed=given.seed,
        duplicates=given.duplicates,
        prepared=folder / ready if ready else None,
        channels=given.in_chans,
        shots=given.shots,
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
    else:
        text = _seen_from(text, folder)
    if library != "hfds":  # which has a cache of its own
        root = root or folder / "data"
    request = Request(text, input_key=given.input_key, target_key=given.target_key, root=root, download=given.download)
    name = given.name or task_name(text)
    splits = {str(role): called for role, called in given.splits.items()}
    return Source(
        name, metric=metric_meant(given.metric), seed=given.seed, duplicates=given.duplicates, images=request,
        splits=splits, channels=given.in_chans, classes=tuple(given.classes or ()), shots=given.shots,
    )  # fmt: skip


def _twice(where: str, names: list[str]) -> list[str]:
    return [
        f"{where}: {name!r} is named twice; give each its own `name`"
        for name in sorted({*names})
        if names.count(name) > 1
    ]
