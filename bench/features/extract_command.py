"""What `featune extract` does: models and a data string to files of features, in one pass, with a verdict."""

import dataclasses
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.features import FeatureRequest, Features, FeatureStore, Options, views_key
from featune.engine.models import with_logits
from featune.engine.runners import require_device
from featune.engine.store import cache_dir, check_writable, remove_stale
from featune.export.commands import (
    RunSettings,
    refuse_options,
    request_of_artefact,
    request_of_plan,
    request_of_spec,
    spec_of_model,
)

from ..data import Data, Request, open_data
from ..progress import Progress
from .origins import note_origin
from .stored_files import export_features

log = logging.getLogger("featune")


@dataclasses.dataclass(frozen=True)
class Models:
    """names: timm names, factories `file.py:function`, or files of `featune export`. checkpoint: of a single one.

    backend, precision: that were asked for by name, which a file must be of. view: parts of an entry that go before
    what each model says of itself, as `entry_of` gives them. logits: of the source classes, in place of features.
    """

    names: Sequence[str]
    checkpoint: Path | None = None
    untrained: bool = False
    backend: str | None = None
    precision: str | None = None
    view: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    logits: bool = False


@dataclasses.dataclass(frozen=True)
class Extraction:
    """One model's file of features. content: names the paths and labels of this extraction's data. side: the view's."""

    model: str
    precision: str
    key: str
    content: str
    file: Path
    features: Features
    backend: str = ""
    side: int = 0

    def record(self) -> dict[str, Any]:
        """For --json."""
        rows, width = self.features.rows.shape
        return {
            "model": self.model, "key": self.key, "file": str(self.file), "rows": rows, "width": width,
            "skipped": self.features.skipped, "pass": self.features.verdict.record(),
        }  # fmt: skip


def extract_models(
    model: Models,
    request: Request,
    how: RunSettings,
    options: Options,
    *,
    store: Path | None = None,
    progress: Progress,
    part: Callable[[Data], Data] | None = None,
) -> tuple[Data, list[Extraction]]:
    """Features of the data by every model, in one pass. part: of the data, what is meant of it.

    store: the folder of feature files, by default the one that studies use. What is there already is not computed.
    """
    check_models(model, how, store)
    data = open_data(request, progress)
    data = part(data) if part else data
    return data, extract_data(model, data, how, options, store=store, progress=progress)


def check_models(model: Models, how: RunSettings, store: Path | None = None) -> None:
    """What can be wrong with models, device and store before an image is looked for."""
    if model.checkpoint is not None and len(model.names) > 1:
        raise BadInput(f"--checkpoint is of one model, {len(model.names)} given; extract them one by one")
    _check_alone(model)
    require_device(how.device)
    check_writable((store or cache_dir() / "features") / "rows")


def extract_data(
    model: Models, data: Data, how: RunSettings, options: Options, *, store: Path | None = None, progress: Progress
) -> list[Extraction]:
    """As `extract_models`, of data that are open already."""
    root = store or cache_dir() / "features"
    remove_stale(root)
    with progress.stage("export and parity") as advance:
        wanted = []
        for name in model.names:
            wanted.append(request_of_model(name, model, data, how, progress.say))
            advance(len(wanted), len(model.names))
    keys = [each.key for each in wanted]
    content = note_origin(root, [*keys, *(map(views_key, keys) if options.keep_views else ())], data)
    with progress.stage("extract") as advance:
        found = FeatureStore(root).extract(data.items, wanted, options=options, progress=advance)
    made = []
    for each, features in zip(wanted, found, strict=True):
        key = each.key
        file = root / f"{key.name}.npy"
        made.append(
            Extraction(each.label, key.precision, key.name, content, file, features, key.backend, key.view.side)
        )
    return made


def request_of_model(
    name: str, model: Models, data: Data, how: RunSettings, say: Callable[[str], None] = log.info
) -> FeatureRequest:
    """The file of features of a timm name, a factory, or a file that `featune export` wrote, for these images.

    say: is told which view a model was given, and from where.
    """
    view = {key: value for key, value in model.view.items() if key != "in_chans"}  # the data has the channels
    if _is_file(name):
        refuse_options(name, view, "a file has its own view")
        opened = request_of_plan if name.endswith(".plan") else request_of_artefact
        wanted = opened(Path(name), data.items, how, logits=model.logits)
        own = {"backend": wanted.key.backend.partition(":")[0], "precision": wanted.key.precision}
        for option, has in own.items():
            asked = getattr(model, option)
            if asked not in (None, has):
                raise BadInput(f"{name}: its {option} is {has}, --{option} {asked} asked for; leave --{option} out")
        return wanted
    spec = spec_of_model(name, model.checkpoint, model.untrained, view, say)
    return request_of_spec(with_logits(spec) if model.logits else spec, data.items, how, cache_dir())


def _is_file(name: str) -> bool:
    return name.endswith((".onnx", ".plan"))


def _check_alone(model: Models) -> None:
    """Raises BadInput where there are weights given for files, which have their own."""
    files = [name for name in model.names if _is_file(name)]
    options = {"--checkpoint": model.checkpoint is not None, "--untrained": model.untrained}
    for option in [option for option, given in options.items() if given and len(files) == len(model.names)]:
        raise BadInput(f"{files[0]}: has its own weights, {option} given; leave {option} out, or give the model's name")


def exported_to(made: Sequence[Extraction], out: Path) -> dict[str, str]:
    """Write each model's rows with paths and labels: to `out`, or, of several models, to `out` with their names.

    Gives the file of each key. Models of one name have their precision in it too, or else their key.
    """
    files: dict[str, str] = {}
    several = {each.key: each for each in made}
    for key, name in _names(list(several.values())).items():
        path = out if len(several) == 1 else out.with_name(f"{out.stem}.{name}{out.suffix}")
        export_features(several[key].file.parent, key, path, data=several[key].content)
        files[key] = str(path)
    return files


def _names(made: Sequence[Extraction]) -> dict[str, str]:
    """A name for the file of each key, no two alike."""
    names: dict[str, str] = {}
    for more in ("", "precision", "key"):
        again = [each for each in made if Counter(names.values())[names.get(each.key, "")] != 1]
        for each in again:
            name = f"{each.model}.{getattr(each, more)}" if more else each.model
            names[each.key] = name.replace("/", "_")
    return names
