"""`featune extract --shard` and `--merge`: one data set's images in index ranges, extracted apart and put together."""

import dataclasses
import functools
from collections.abc import Callable, Sequence
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.features import FeatureKey, FeatureRequest, Options, index_range, merge
from featune.engine.store import cache_dir, check_writable
from featune.export.commands import RunSettings

from ..data import Data, Request, open_data
from ..progress import Progress
from .extract_command import Models, request_of_model
from .origins import note_origin


@dataclasses.dataclass(frozen=True)
class Merged:
    """One model's file of all images, made of the shares' files. parts: their keys."""

    model: str
    key: str
    file: Path
    rows: int
    parts: tuple[str, ...]
    notes: tuple[str, ...]


def _check_shared(model: Models) -> None:
    """Raises BadInput for precisions whose file depends on the images that it is made with."""
    if model.precision in ("int8", "auto"):
        raise BadInput(
            f"--precision {model.precision} is made with the images of each share, so rows would be of different "
            "models; export the model once (featune export), and give its file"
        )


def of_share(index: int, count: int, model: Models, options: Options) -> tuple[Options, Callable[[Data], Data]]:
    """(options with the batch that shares are cut by, what of the data is the share's), for `extract_models`.

    A searched batch would be another for each share. Raises BadInput for precisions that shares cannot have.
    """
    _check_shared(model)
    batch = options.setting().batch
    part = functools.partial(_share_of_data, index=index, count=count, batch=batch)
    return dataclasses.replace(options, batch=batch), part


def _share_of_data(data: Data, *, index: int, count: int, batch: int) -> Data:
    """The images of share `index` of `count`, from 1, cut at multiples of `batch`.

    Raises BadInput where there are fewer batches than shares.
    """
    indices = index_range(len(data.items), index, count, batch)
    if not len(indices):
        raise BadInput(
            f"share {index} of {count} has no image: {len(data.items)} images in batches of {batch} "
            f"are {-(-len(data.items) // batch)} pieces; take fewer shares"
        )
    name = f"{data.name} [{index}/{count}]"
    return dataclasses.replace(data, name=name, items=data.items.take(indices))


def merge_models(
    model: Models, request: Request, how: RunSettings, options: Options, count: int, *, store: Path | None = None,
    progress: Progress,
) -> list[Merged]:  # fmt: skip
    """Each model's file of all images from the files of `count` shares. Raises BadInput where one is missing."""
    _check_shared(model)
    root = store or cache_dir() / "features"
    check_writable(root / "rows")
    data = open_data(request, progress)
    batch = options.setting().batch
    every = (index_range(len(data.items), number, count, batch) for number in range(1, count + 1))
    ranges = [indices for indices in every if len(indices)]
    wanted = [request_of_model(name, model, data, how, progress.say) for name in model.names]
    note_origin(root, [each.key for each in wanted], data)
    contents = [data.items.take(indices).content_digest for indices in ranges]
    made = []
    with progress.stage("merge") as advance:
        for each in wanted:
            parts = _parts(each, contents, ranges)
            notes = merge(root, each.key, data.items, parts, each.label)
            file = root / f"{each.key.name}.npy"
            names = tuple(key.name for key, _ in parts)
            made.append(Merged(each.label, each.key.name, file, len(data.items), names, tuple(notes)))
            advance(len(made), len(wanted))
    return made


def _parts(whole: FeatureRequest, contents: Sequence[str], ranges: Sequence[range]) -> list[tuple[FeatureKey, range]]:
    keys = (dataclasses.replace(whole.key, images=content) for content in contents)
    return list(zip(keys, ranges, strict=True))
