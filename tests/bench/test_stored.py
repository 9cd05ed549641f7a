import os
from pathlib import Path

import numpy as np
import pytest

from bench.stored import ITEMS, export_features
from engine.feature_files import Part
from engine.store import write_json


def test_names_that_are_no_utf8_are_exported(tmp_path: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    odd = os.fsdecode(b"caf\xe9.png")
    part = Part(tmp_path / "key", save_seconds=60)
    part.append(2, np.eye(2, dtype=np.float32), [])
    part.save()
    part.finish({"skipped": [], "key": {"images": "these"}})
    items = {"root": "/photos", "paths": ["café.png", odd], "labels": [[0], [1]], "classes": ["a", "b"]}
    write_json(tmp_path / f"these{ITEMS}", items)
    export_features(tmp_path, "key", tmp_path / "out.parquet")
    table = parquet.read_table(tmp_path / "out.parquet")
    assert table["path"].to_pylist() == ["/photos/café.png", r"/photos/caf\xe9.png"]
    export_features(tmp_path, "key", tmp_path / "out.npz")
    assert np.load(tmp_path / "out.npz")["path"].tolist() == ["/photos/café.png", f"/photos/{odd}"]
