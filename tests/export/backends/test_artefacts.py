"""Checked graph files in their place: what a kill leaves there, and what a cache that cannot be written gives."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from featune.engine.errors import BadInput
from featune.engine.models import ModelSpec
from featune.export.backends import artefact, exported
from featune.export.gate import Sample, judge


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

    monkeypatch.setattr("featune.export.backends.artefacts.judge", killed)
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
