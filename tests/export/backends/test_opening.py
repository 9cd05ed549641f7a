"""The table of backends; and those on GPUs, with fakes in the place of the GPU and of TensorRT."""

import contextlib
import shutil
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from featune.engine.errors import BadInput
from featune.engine.features import FeatureStore
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec
from featune.engine.runners import Runner
from featune.export.backends import artefact, exported, graph_target
from featune.export.backends.opening import BACKENDS, Artefact, Asked, Backend, _provider_settings
from featune.export.commands import RunSettings, request_of_spec
from featune.export.contract import Parity
from featune.export.gate import Sample, judge


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


def test_a_backend_is_one_row_of_the_table(
    items: Labelled, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new row is opened, its features are named after it, and a graph is made only where its row has a target."""
    monkeypatch.setitem(BACKENDS, "constant", Backend(_constant, None))
    request = request_of_spec(spec, items, RunSettings("constant"), tmp_path)
    (found,) = FeatureStore(tmp_path / "features").extract(items, [request])
    assert (found.rows.shape, set(found.rows.ravel().tolist())) == ((11, 2), {7.0})
    assert request.key.backend == "constant:cpu"
    assert not (tmp_path / "graphs").exists()
    monkeypatch.setitem(BACKENDS, "constant", Backend(_constant, "cpu"))
    assert request_of_spec(spec, items, RunSettings("constant"), tmp_path).key.artefact
    assert len(list((tmp_path / "graphs").glob("*.onnx"))) == 1


@contextlib.contextmanager
def _constant(asked: Asked) -> Iterator[Runner]:
    yield lambda images: torch.full((len(images), 2), 7.0)


@pytest.mark.parametrize("name", BACKENDS)
def test_a_backend_without_a_graph_runs_fp32_only(name: str, items: Labelled, spec: ModelSpec, tmp_path: Path) -> None:
    if graph_target(name) is None:
        with pytest.raises(BadInput, match=f"--backend {name} runs fp32, int8 asked for"):
            request_of_spec(spec, items, RunSettings(name, precision="int8"), tmp_path)
    else:
        assert graph_target(name) in ("cpu", "tensorrt")


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_an_export_that_is_killed_leaves_the_file_of_before_with_its_verdict(
    precision: str, right: Path, lively: ModelSpec, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = Path(shutil.copy(right, tmp_path / "model.onnx"))
    judge(lively, path, sample)
    before = {each.name: each.read_bytes() for each in tmp_path.iterdir()}

    def killed(*arguments: Any, **options: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("featune.export.backends.opening.judge", killed)
    with pytest.raises(KeyboardInterrupt):
        exported(lively, path, sample, precision=precision)
    assert {each.name: each.read_bytes() for each in tmp_path.iterdir()} == before


@pytest.mark.usefixtures("quick")
def test_a_cache_that_cannot_be_written_serves_the_graphs_that_it_has(
    lively: ModelSpec, spec: ModelSpec, sample: Sample, tmp_path: Path, refuse_writing: Callable[[], None]
) -> None:
    found = artefact(lively, tmp_path, lambda: sample.images)
    refuse_writing()
    assert artefact(lively, tmp_path, lambda: sample.images) == found
    with pytest.raises(BadInput, match=r"cannot write .*graphs.*\.onnx.*Read-only"):
        artefact(spec, tmp_path, lambda: sample.images)
