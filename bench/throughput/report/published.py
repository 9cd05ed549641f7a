"""timm's own benchmark results from a file of the user's, to be shown beside measured rows, never mixed with them."""

import csv
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

from featune.engine.errors import BadInput

COLUMNS = ("model", "infer_samples_per_sec", "infer_step_time", "infer_batch_size", "infer_img_size")
ALL = (*COLUMNS, "param_count", "infer_gmacs")


@dataclasses.dataclass(frozen=True)
class Published:
    """One line of such a file. source: the file's name, which tells hardware and precision."""

    columns: Mapping[str, str]
    source: str


def published_speeds(path: Path, models: Sequence[str]) -> list[Published]:
    """The lines of these models, by name or by architecture. Raises BadInput for a file without timm's columns."""
    try:
        with open(path, newline="", encoding="utf-8") as file:
            lines = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise BadInput(f"{path} cannot be read ({error}); give a benchmark-infer-*.csv of timm's results/") from error
    missing = [name for name in COLUMNS if not lines or name not in lines[0]]
    if missing:
        raise BadInput(f"{path}: no column {missing[0]} found; give a benchmark-infer-*.csv of timm's results/")
    wanted = {name.partition(".")[0] for name in models}
    return [
        Published({name: line.get(name) or "" for name in ALL}, path.stem)
        for line in lines
        if line["model"].partition(".")[0] in wanted
    ]
