"""Paths and labels beside stored rows: of the data set that asked for them, whoever else has the same images."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featune.bench.data import Data
from featune.bench.features import export_features, note_origin, origins_of, remove_stored, stored_entries
from featune.bench.features.origins import origin_of
from featune.engine.errors import BadInput
from featune.engine.features import FeatureKey
from featune.engine.features.files import Part
from featune.engine.images import Labelled
from featune.engine.models import View
from featune.engine.store import plain
from tests.conftest import unpacked

VIEW = View(8)


def key_of(model: str) -> FeatureKey:
    return FeatureKey(model, VIEW, "0" * 16, "torch:cpu")


def data(name: str, *labels: int) -> Data:
    paths = tuple(f"{name}/{i}.png" for i in range(len(labels)))
    return Data(name, Labelled("/photos", paths, tuple((label,) for label in labels)), ("cat", "dog"))


def stored(root: Path, key: FeatureKey) -> str:
    part = Part(root / key.name, save_seconds=60)
    part.append(2, np.eye(2, dtype=np.float32), [])
    part.save()
    part.finish({"skipped": [], "key": plain(key), "label": "net", "made": "2026-01-01"})
    return key.name


def labels(path: Path) -> list[str]:
    return unpacked(path)["label"].tolist()


def test_rows_are_exported_with_the_labels_of_who_asked_for_them_last(tmp_path: Path) -> None:
    key, other = key_of("a"), key_of("b")
    name, out = stored(tmp_path, key), tmp_path / "rows.npz"
    stored(tmp_path, other)
    note_origin(tmp_path, [key], data("ours", 0, 1))
    note_origin(tmp_path, [other], data("theirs", 1, 0))  # the same images, and another key
    assert export_features(tmp_path, name, out).data == "ours"
    assert labels(out) == ["0", "1"]
    note_origin(tmp_path, [key], data("theirs", 1, 0))
    assert export_features(tmp_path, name, out).data == "theirs"
    assert labels(out) == ["1", "0"]
    note_origin(tmp_path, [key], data("ours", 0, 1))
    assert [origin.data for origin in origins_of(tmp_path, name)] == ["ours", "theirs"]
    assert {entry.data for entry in stored_entries(tmp_path)} == {"ours", "theirs"}


def test_whose_labels_are_exported_can_be_chosen_by_name_or_content(tmp_path: Path) -> None:
    key = key_of("a")
    name, out = stored(tmp_path, key), tmp_path / "rows.npz"
    first = note_origin(tmp_path, [key], data("ours", 0, 1))
    note_origin(tmp_path, [key], data("theirs", 1, 0))
    for chosen in ("ours", first):
        assert export_features(tmp_path, name, out, data=chosen).data == "ours"
        assert labels(out) == ["0", "1"]
    with pytest.raises(BadInput, match=r"no data set 'our' asked for it; nearest: ours; known are theirs \("):
        export_features(tmp_path, name, out, data="our")


def test_rows_of_which_nothing_is_known_are_not_exported(tmp_path: Path) -> None:
    name = stored(tmp_path, key_of("a"))
    with pytest.raises(BadInput, match=r"no paths and labels .*; run the `featune extract` or `featune probe`"):
        export_features(tmp_path, name, tmp_path / "rows.npz")
    assert not (tmp_path / "rows.npz").exists()
    note_origin(tmp_path, [key_of("a")], data("ours", 0, 1))
    (items,) = tmp_path.glob("*.items.json")
    items.write_text("{")
    with pytest.raises(BadInput, match="damaged or missing; extract ours again"):
        export_features(tmp_path, name, tmp_path / "rows.npz")


def test_paths_and_labels_go_with_the_last_rows_that_are_of_them(tmp_path: Path) -> None:
    keys = [key_of("a"), key_of("b")]
    names = [stored(tmp_path, key) for key in keys]
    note_origin(tmp_path, keys, data("ours", 0, 1))
    remove_stored(tmp_path, names[:1])
    assert origin_of(tmp_path, names[1]).data == "ours"
    assert len(list(tmp_path.glob("*.items.json"))) == 1
    remove_stored(tmp_path, names[1:])
    assert list(tmp_path.iterdir()) == []


def test_names_that_are_no_utf8_are_kept(tmp_path: Path) -> None:
    key = key_of("a")
    name = stored(tmp_path, key)
    odd = Data("odd", Labelled("/photos", ("caf\udce9.png", "b.png"), ((), ())))
    note_origin(tmp_path, [key], odd)
    export_features(tmp_path, name, tmp_path / "rows.npz")
    assert unpacked(tmp_path / "rows.npz")["path"].tolist() == ["/photos/caf\udce9.png", "/photos/b.png"]


def test_a_store_that_cannot_be_written_keeps_the_records_that_it_has(
    tmp_path: Path, refuse_writing: Callable[[], None]
) -> None:
    key = key_of("a")
    note_origin(tmp_path, [key], data("ours", 0, 1))
    refuse_writing()
    note_origin(tmp_path, [key], data("theirs", 1, 0))
    assert [origin.data for origin in origins_of(tmp_path, key.name)] == ["ours"]
