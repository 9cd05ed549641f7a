"""Backends on GPUs, with fakes in the place of the GPU and of TensorRT."""

import types
from pathlib import Path

import pytest

from featune.engine.models import ModelSpec
from featune.export.backends.opening import Artefact, _provider_settings
from featune.export.contract import Parity


def test_the_provider_keeps_engines_in_a_folder_that_is_there_and_is_its_gpus_own(
    lively: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime fails on a folder whose parent is not there; engines of another GPU are not to be found."""
    monkeypatch.setattr(
        "featune.export.backends.opening.library", lambda: types.SimpleNamespace(__version__="10.16.1.11")
    )
    monkeypatch.setattr(
        "featune.export.backends.opening.machine", lambda device: ({"cuda:0": "H200", "cuda:1": "T4"}[device], "9.0")
    )
    found = Artefact(tmp_path / "model.onnx", "digest", Parity(2, 1.0, 1.0, 0.0, 1.0))
    folders = []
    for device in ("cuda:0", "cuda:1"):
        settings = _provider_settings(lively, found, tmp_path / "cache", device)
        folders.append(settings["trt_engine_cache_path"])
        assert Path(settings["trt_engine_cache_path"]).is_dir()
        assert Path(settings["trt_timing_cache_path"]).is_dir()
    assert folders[0] != folders[1]
