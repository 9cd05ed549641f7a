"""What a worker measures, in this process, on a tiny model."""

from pathlib import Path

import pytest
import torch

from featune.bench.throughput import Configuration, Setup
from featune.bench.throughput.session import Source
from featune.bench.throughput.session.opening import Opened
from featune.bench.throughput.session.serving import Bench, resident
from featune.engine.errors import BadInput


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_a_worker_opens_measures_and_tells_its_memory(backend: str, tmp_path: Path) -> None:
    one = Bench(Source(untrained=True), Configuration(Setup("test_mambaout", backend), 2), tmp_path)
    try:
        found = one.open(most=0.5)
        block = one.block(0.02, 2)
        assert found["gate"]["passed"]
        assert found["warm"]["calls"] >= 10
        assert (found["bytes"] is None) == (backend == "torch")
        assert len(block["samples"]) >= 2
        assert sum(block["samples"]) <= block["wall"]
        assert one.memory()["peak_resident"] >= 0.99 * resident()
    finally:
        one.close()


def test_files_are_read_through_the_path_of_extraction(image_folder: object, tmp_path: Path) -> None:
    folder = image_folder()  # type: ignore[operator]
    asked = Configuration(Setup("test_mambaout", "torch"), 8, "c", "files")
    one = Bench(Source(data=folder, untrained=True), asked, tmp_path)
    try:
        one.open(most=0.5)
        block = one.block(0.02, 2)
        assert block["images"] >= 32
        assert 0 < block["free"] < max(block["samples"]) / block["images"]  # decoding takes the rest
    finally:
        one.close()


def test_a_precision_that_a_backend_does_not_run_is_refused(tmp_path: Path) -> None:
    one = Bench(Source(untrained=True), Configuration(Setup("test_mambaout", "torch", "int8"), 2), tmp_path)
    with pytest.raises(BadInput, match="torch on cpu computes bf16, fp32, precision int8 found"):
        one.open(most=0.5)


def test_a_runner_that_changes_its_input_later_is_found_at_the_end(tmp_path: Path) -> None:
    """Only every fourth block is checked, so the last request checks too."""
    spoils = False

    def run(images: torch.Tensor) -> torch.Tensor:
        rows = images.float().mean((2, 3))
        if spoils:
            images[0, 0, 0, 0] += 1
        return rows

    images = torch.randint(256, (8, 3, 4, 4), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    one = Bench(Source(), Configuration(Setup("any", "torch"), 2), tmp_path)
    one.found = Opened(run, None, images, {}, None, None)  # type: ignore[arg-type]
    one.batch(2, 0.5)
    try:
        for _ in range(2):
            one.block(0.001, 2)
        one.memory()
        spoils = True
        one.block(0.001, 2)
        with pytest.raises(BadInput, match="changed its input images"):
            one.memory()
    finally:
        one.close()
