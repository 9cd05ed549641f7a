"""Folders in timm's layout: which they are, and the names of their classes."""

import json
from pathlib import Path

import timm
from timm.models import save_for_hf

from featune.engine.models import (
    RECIPE_FILE,
    is_finetuned,
    is_model_folder,
    label_names,
    spec_from_entry,
    spec_from_string,
)
from featune.export.commands import spec_of_model


def saved(folder: Path, names: list[str], classes: int = 3) -> Path:
    model = timm.create_model("test_resnet", num_classes=classes)
    save_for_hf(model, str(folder), model_config={"label_names": names}, safe_serialization=True)
    return folder


def test_the_names_of_the_classes_are_those_of_the_config(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net", ["cat", "dog", "eel"])
    assert label_names(spec_from_string(f"local-dir:{folder}")) == ("cat", "dog", "eel")
    assert label_names(spec_from_entry({"architecture": "test_resnet", "pretrained": False})) == ()


def test_names_that_are_not_one_for_each_class_are_none(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net", ["cat", "dog"])
    assert label_names(spec_from_string(f"local-dir:{folder}")) == ()
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "label_names": {"0": "cat"}}))
    assert label_names(spec_from_string(f"local-dir:{folder}")) == ()


def test_a_model_is_named_by_the_path_of_its_folder(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net", ["cat", "dog", "eel"])
    assert is_model_folder(folder)
    assert not is_model_folder(tmp_path)
    assert spec_of_model(str(folder)).digest == spec_of_model(f"local-dir:{folder}").digest


def test_a_folder_that_is_called_as_a_model_of_timms_is_not_taken_for_it(tmp_path: Path, monkeypatch: object) -> None:
    saved(tmp_path / "test_resnet", ["cat", "dog", "eel"])
    monkeypatch.chdir(tmp_path)  # type: ignore[attr-defined]
    assert spec_of_model("test_resnet", untrained=True).architecture.startswith("test_resnet")
    assert spec_of_model("./test_resnet").architecture == "local-dir:./test_resnet"


def test_a_folder_that_finetune_left_is_known_by_its_recipe(tmp_path: Path) -> None:
    folder = saved(tmp_path / "net", ["cat", "dog", "eel"])
    assert not is_finetuned(spec_from_string(f"local-dir:{folder}"))
    (folder / RECIPE_FILE).write_text("epochs: 1\n")
    assert is_finetuned(spec_from_string(f"local-dir:{folder}"))
