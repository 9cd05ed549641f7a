"""What `featune extract` writes beside the store: files for other programs."""

from pathlib import Path

import numpy as np
import pytest

from featune.bench.features import exported_to
from featune.bench.features.extract_command import Extraction
from featune.engine.features import Features, open_stored
from featune.engine.features.bottleneck import Verdict
from featune.engine.features.files import Part
from featune.engine.features.passes import Setting
from featune.engine.features.squares import Seconds
from featune.engine.store import write_json
from tests.conftest import unpacked

CONTENT = "c" * 16


@pytest.fixture
def made(tmp_path: Path) -> list[Extraction]:
    """Four models of two names: rows of 1, 2, 3 and 4, two of them fp32 of one name."""
    found = []
    for value, (name, precision) in enumerate((("a/b", "fp32"), ("net", "fp32"), ("net", "fp32"), ("net", "int8")), 1):
        key = f"{value}" * 16
        part = Part(tmp_path / "store" / key, save_seconds=60)
        part.append(2, np.full((2, 3), value, np.float32), [])
        part.save()
        part.finish({"skipped": [], "key": {"images": "these"}})
        stored = open_stored(tmp_path / "store" / key)
        assert stored is not None
        features = Features(
            stored.rows, stored.kept, [], Verdict(0, 2, 4, 0.0, 0.0, Seconds(), Setting(8, 1), "cpu", "fast")
        )
        found.append(Extraction(name, precision, key, CONTENT, tmp_path / "store" / f"{key}.npy", features))
    items = {"root": "/", "paths": ["0.png", "1.png"], "labels": [[0], [1]], "classes": ["a", "b"]}
    write_json(tmp_path / "store" / f"{CONTENT}.items.json", items)
    for each in found:
        write_json(tmp_path / "store" / f"{each.key}.{CONTENT}.data.json", {"data": "two", "asked": "2026-01-01"})
    return found


def test_models_of_one_name_are_written_to_files_of_their_own(made: list[Extraction], tmp_path: Path) -> None:
    files = exported_to(made, tmp_path / "rows.npz")
    names = ["a_b", f"net.{'2' * 16}", f"net.{'3' * 16}", "net.int8"]
    assert [Path(file).name for file in files.values()] == [f"rows.{name}.npz" for name in names]
    for value, each in enumerate(made, 1):
        assert unpacked(files[each.key])["rows"].tolist() == [[value] * 3] * 2


def test_a_model_that_is_given_twice_is_written_once_to_the_file_that_was_asked_for(
    made: list[Extraction], tmp_path: Path
) -> None:
    assert exported_to([made[0], made[0]], tmp_path / "rows.npz") == {made[0].key: str(tmp_path / "rows.npz")}
