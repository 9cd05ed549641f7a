"""Damaged files of every kind among good ones; a thousand of them are in benchmarks/damaged.py."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from damaged_files import DAMAGED, FORMATS, good

from featune.engine.errors import BadImages
from featune.engine.features import Options, extract
from featune.engine.images import Labelled, folder_items
from featune.engine.models import ModelSpec

EACH = 2


def mixed(folder: Path) -> tuple[Labelled, dict[str, str]]:
    """Two damaged files of each kind, a good one before each; and the kind of each damaged file."""
    kinds = {}
    for number, (kind, make) in enumerate(DAMAGED.items()):
        for i in range(EACH):
            rank = 2 * (number * EACH + i)
            good(folder / f"{rank:03}", np.random.default_rng(rank), FORMATS[rank // 2 % len(FORMATS)])
            made = make(folder / f"{rank + 1:03}", np.random.default_rng(rank + 1))
            kinds[made.name] = kind
    return folder_items(folder), kinds


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data")
def test_every_damaged_file_is_listed_and_no_good_row_changes(tmp_path: Path, spec: ModelSpec) -> None:
    items, kinds = mixed(tmp_path)
    found = extract(spec, items, options=Options(on_error="skip"))
    assert {path: kinds.get(path) for _, path, _ in found.skipped} == kinds
    assert all(reason for _, _, reason in found.skipped)
    whole = items.take([i for i, path in enumerate(items.paths) if path not in kinds])
    assert [items.paths[i] for i in found.kept] == list(whole.paths)
    np.testing.assert_allclose(found.rows, extract(spec, whole).rows, rtol=1e-5, atol=1e-6)
    one_by_one = Options(batch=1)
    assert np.array_equal(
        extract(spec, items, options=dataclasses.replace(one_by_one, on_error="skip")).rows,
        extract(spec, whole, options=one_by_one).rows,
    )
    with pytest.raises(BadImages) as error:
        extract(spec, items)
    assert {Path(path).name for path, _ in error.value.problems} == kinds.keys()
