"""The folder of TensorRT engines of ONNX Runtime's provider, without TensorRT."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from featune.engine.store import locked_if_free
from featune.export.backends import onnx_backends


def test_an_engine_that_is_being_built_is_locked_and_one_that_is_there_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engines = tmp_path / "provider" / ("f" * 16)
    free = []

    @contextlib.contextmanager
    def runner(*arguments: Any, **options: Any) -> Iterator[Any]:
        with locked_if_free(engines) as found:
            free.append(found)
        (engines / "a.engine").touch()
        yield lambda images: images

    monkeypatch.setattr(onnx_backends, "onnxruntime_runner", runner)
    monkeypatch.setattr(onnx_backends, "_provider_settings", lambda *_: {"trt_engine_cache_path": str(engines)})
    monkeypatch.setattr(onnx_backends, "switch_off_tf32", lambda: None)
    asked: Any = SimpleNamespace(spec=None, cache=tmp_path, device="cuda", threads=1, allow_fallback=False)
    ready: Any = SimpleNamespace(path=tmp_path / "a.onnx", artefact="")
    for _ in range(2):
        with onnx_backends._opened_in_tensorrt(asked, ready), locked_if_free(engines) as found:
            assert found  # while it runs, its age alone keeps it
    assert free == [False, True]
