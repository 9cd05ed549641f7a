"""The table of backends, and the contract that each row keeps."""

import contextlib
import dataclasses
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from featune.engine.errors import BadInput, FeatuneError, Missing, ParityFailed
from featune.engine.features import FeatureStore
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, feature_model
from featune.engine.runners import Runner, onnxruntime_runner, torch_runner
from featune.engine.store import read_json
from featune.export.backends import BACKENDS, Asked, Backend, Ready, backend_named, open_artefact, open_runner
from featune.export.backends.judged_here import ran_by
from featune.export.backends.onnx_backends import _kept_while_built, _provider_settings
from featune.export.commands import RunSettings, request_of_spec
from featune.export.gate import Sample, judge
from featune.export.precision import LADDER

HERE = [
    pytest.param(name, precision, id=f"{name} {precision}")
    for name, row in BACKENDS.items()
    for precision in row.precisions.get("cpu", ())
]


def images(count: int = 8) -> Tensor:
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(1))


@contextlib.contextmanager
def constant(asked: Asked, ready: Ready) -> Iterator[Runner]:
    yield lambda images: torch.full((len(images), 2), 7.0)


def ready(asked: Asked) -> Ready:
    return Ready("a file's digest", asked.precision)


CONSTANT = Backend(
    "rows of sevens", {"cpu": ("fp32",)}, ready, constant, lambda device: None, lambda asked, ready: True
)


def test_a_backend_is_one_row_of_the_table(
    items: Labelled, spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new row is made ready and opened, and its features are named after it and after what it made."""
    monkeypatch.setitem(BACKENDS, "constant", CONSTANT)
    request = request_of_spec(spec, items, RunSettings("constant"), tmp_path)
    (found,) = FeatureStore(tmp_path / "features").extract(items, [request])
    assert (found.rows.shape, set(found.rows.ravel().tolist())) == ((11, 2), {7.0})
    assert (request.key.backend, request.key.artefact) == ("constant:cpu", "a file's digest")


@pytest.mark.parametrize(("name", "precision"), HERE)
def test_every_backend_of_this_machine_gives_the_models_rows_in_each_of_its_precisions(
    name: str, precision: str, lively: ModelSpec, tmp_path: Path
) -> None:
    try:
        backend_named(name).require("cpu")
    except Missing as error:
        pytest.skip(str(error))
    pictures = images(40)
    with (
        open_runner(lively, name, cache=tmp_path, sample=lambda: pictures, precision=precision) as run,
        torch_runner(feature_model(lively)) as exact,
    ):
        rows, wanted = run(pictures[:8]), exact(pictures[:8])
        assert (rows.dtype, rows.shape) == (torch.float32, wanted.shape)
        least = {"fp32": 0.99999, "fp16": 0.997, "bf16": 0.97, "int8": 0.9}[precision]
        assert torch.nn.functional.cosine_similarity(rows, wanted).min() >= least


@pytest.mark.parametrize("name", BACKENDS)
def test_every_row_says_what_it_is_and_names_precisions_that_the_gate_knows(name: str) -> None:
    row = BACKENDS[name]
    assert row.says
    assert set(row.precisions) <= {"cpu", "cuda"}
    for precisions in row.precisions.values():
        assert {"fp32"} <= set(precisions) <= {"fp32", "fp16", "bf16", "int8"}


@pytest.mark.parametrize("name", BACKENDS)
def test_a_device_or_precision_that_a_backend_does_not_have_is_bad_input(
    name: str, items: Labelled, spec: ModelSpec, tmp_path: Path
) -> None:
    row = BACKENDS[name]
    if "cpu" not in row.precisions:
        with pytest.raises(BadInput, match=f"backend {name} runs on cuda, device cpu found; choose device cuda"):
            request_of_spec(spec, items, RunSettings(name), tmp_path)
    for kind, precisions in row.precisions.items():
        for wrong in {"fp16", "bf16", "int8", "f32"} - set(precisions):
            with pytest.raises(BadInput, match=f"backend {name} on {kind} computes .*precision {wrong} found"):
                request_of_spec(spec, items, RunSettings(name, kind, wrong), tmp_path)


def test_int8_and_bf16_are_no_precisions_of_onnxruntime_on_cuda() -> None:
    """CUDA has no QLinearConv: such a graph would go to the CPU and back."""
    assert BACKENDS["onnxruntime"].precisions["cuda"] == LADDER["cuda"] == ("fp16", "fp32")


def test_the_provider_keeps_engines_in_a_folder_that_is_there_and_is_its_gpus_own(
    lively: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime fails on a folder whose parent is not there; engines of another GPU are not to be found."""
    place = "featune.export.backends.onnx_backends"
    monkeypatch.setattr(f"{place}.library", lambda: type("TensorRT", (), {"__version__": "10.16.1.11"}))
    monkeypatch.setattr(f"{place}.machine", lambda device: ({"cuda:0": "H200", "cuda:1": "T4"}[device], "9.0"))
    folders = []
    for device in ("cuda:0", "cuda:1"):
        settings = _provider_settings(lively, "digest", tmp_path / "cache", device)
        folders.append(settings["trt_engine_cache_path"])
        with _kept_while_built(Path(settings["trt_engine_cache_path"])):
            assert Path(settings["trt_engine_cache_path"]).is_dir()
            assert Path(settings["trt_timing_cache_path"]).is_dir()
    assert folders[0] != folders[1]


# A backend that is judged where it runs, with rows that are wrong in ways that no other check sees.


def tf32(rows: Tensor) -> Tensor:
    """Rows of 11 significant bits, which is what TF32 keeps of a factor."""
    fraction, exponent = torch.frexp(rows)
    return torch.ldexp(torch.round(fraction * 2**11) / 2**11, exponent)


@pytest.fixture
def device_backend(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[Tensor], Tensor]], list[int]]:
    """Puts a backend into the table that runs torch and then changes its rows; counts the batches that it ran."""

    def put(change: Callable[[Tensor], Tensor]) -> list[int]:
        batches: list[int] = []

        @contextlib.contextmanager
        def opened(asked: Asked, ready: Ready) -> Iterator[Runner]:
            with torch_runner(feature_model(asked.spec)) as runner:

                def run(images: Tensor, /) -> Tensor:
                    batches.append(len(images))
                    return change(runner(images))

                yield run

        row = dataclasses.replace(CONSTANT, open=opened, checks_itself=lambda asked, ready: False)
        monkeypatch.setitem(BACKENDS, "other", row)
        return batches

    return put


def test_rows_that_are_scaled_on_the_device_are_refused_before_the_first_is_used(
    device_backend: Callable[..., list[int]], lively: ModelSpec, tmp_path: Path
) -> None:
    device_backend(lambda rows: rows * 1.01)
    for _ in range(2):  # the kept verdict refuses as well
        with (
            pytest.raises(ParityFailed, match=r"by other in fp32 on cpu is not the model: noise is 0\.0"),
            open_runner(lively, "other", cache=tmp_path, sample=images),
        ):
            pass


def test_tf32_in_the_place_of_fp32_is_told_and_kept(
    device_backend: Callable[..., list[int]], lively: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    device_backend(tf32)
    with caplog.at_level(logging.WARNING), open_runner(lively, "other", cache=tmp_path, sample=images):
        pass
    assert "TF32 or another coarser arithmetic" in caplog.text
    (file,) = (tmp_path / "judged").glob("*.json")
    verdict = read_json(file)
    assert isinstance(verdict, dict)
    assert (verdict["passed"], "TF32" in verdict["told"]) == (True, True)


def test_what_agrees_is_asked_once_and_tells_nothing(
    device_backend: Callable[..., list[int]], lively: ModelSpec, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    batches = device_backend(lambda rows: rows)
    with open_runner(lively, "other", cache=tmp_path, sample=images):
        asked = len(batches)
        assert asked
    with open_runner(lively, "other", cache=tmp_path, sample=lambda: pytest.fail("asked again")):
        assert len(batches) == asked
    assert not caplog.text


def test_another_library_version_is_judged_again(
    device_backend: Callable[..., list[int]], lively: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    device_backend(lambda rows: rows)
    for version in ("580.1", "590.2"):
        monkeypatch.setattr("featune.export.backends.judged_here.place_of", lambda device, v=version: ["H100", v])
        with open_runner(lively, "other", cache=tmp_path, sample=images):
            pass
    assert len(list((tmp_path / "judged").glob("*.json"))) == 2


@pytest.mark.parametrize("name", ["onnxruntime", "onnxruntime-tensorrt"])
def test_onnxruntime_on_a_gpu_is_judged_there_and_on_a_cpu_by_its_files_own_gate(name: str, spec: ModelSpec) -> None:
    row = BACKENDS[name]
    on_gpu = Asked(spec, "cuda", Path(), images)
    assert not row.checks_itself(on_gpu, Ready())
    if "cpu" in row.precisions:
        assert row.checks_itself(dataclasses.replace(on_gpu, device="cpu"), Ready())


def test_an_unknown_backend_is_bad_input() -> None:
    with pytest.raises(BadInput, match=r"no backend named 'tensort'; nearest: .*tensorrt"):
        backend_named("tensort")


def test_what_a_backend_lacks_on_this_machine_is_missing_with_a_remedy() -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    for row in BACKENDS.values():
        with pytest.raises(FeatuneError, match="no CUDA device is usable"):
            row.require("cuda")


def test_the_tensorrt_provider_has_tf32_switched_off_before_anything_uses_cuda(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Asking for the GPU's name starts CUDA, after which NVIDIA's libraries do not read the variable again."""
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "")
    seen: list[str | None] = []

    def machine(device: str) -> tuple[str, str]:
        seen.append(os.environ.get("NVIDIA_TF32_OVERRIDE"))
        return "T4", "7.5"

    place = "featune.export.backends.onnx_backends"
    monkeypatch.setattr(f"{place}.library", lambda: type("TensorRT", (), {"__version__": "10.16.1.11"}))
    monkeypatch.setattr(f"{place}.machine", machine)
    row, asked = BACKENDS["onnxruntime-tensorrt"], Asked(spec, "cuda", tmp_path, images)
    with pytest.raises(FeatuneError), row.open(asked, Ready("digest", "fp32", tmp_path / "m.onnx")):
        pass
    assert seen == ["0"]
    monkeypatch.setattr("torch.cuda.is_initialized", lambda: True)
    monkeypatch.setenv("NVIDIA_TF32_OVERRIDE", "")
    with pytest.raises(BadInput, match=r"CUDA is in use already.*set NVIDIA_TF32_OVERRIDE=0 before you start Python"):
        row.require("cuda")


def test_tensorrt_for_rtx_is_refused_on_a_card_that_it_does_not_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    place = "featune.export.backends.tensorrt_backends"
    monkeypatch.setattr(f"{place}.library", lambda by: None)
    monkeypatch.setattr(f"{place}.require_device", lambda device: None)
    for card, runs in (("9.0", False), ("8.7", False), ("7.5", True), ("8.9", True), ("12.0", True)):
        monkeypatch.setattr(f"{place}.machine", lambda device, c=card: ("a card", c))
        with contextlib.nullcontext() if runs else pytest.raises(Missing, match=f"this GPU has {card}; use --backend"):
            BACKENDS["tensorrt-rtx"].require("cuda")


def test_what_a_fallback_ran_is_part_of_the_verdicts_name() -> None:
    def run(images: Tensor, /) -> Tensor:
        raise AssertionError

    assert ran_by(run) == []
    run.ran = {"CPUExecutionProvider": 9}  # type: ignore[attr-defined]
    assert ran_by(run) == ["CPUExecutionProvider"]


def test_an_exported_file_on_a_gpu_is_compared_with_itself_on_the_cpu(
    right: Path, lively: ModelSpec, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The model that it was made of may not be at hand. Here the GPU is pretended: its session's rows are scaled."""
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path))
    path = Path(shutil.copy(right, tmp_path / "model.onnx"))
    assert judge(lively, path, sample).passed
    place, factors = "featune.export.backends.artefacts", [1.0]

    @contextlib.contextmanager
    def session(path: Path, device: str = "cpu", **options: Any) -> Iterator[Runner]:
        on_gpu = "threads" in options
        with onnxruntime_runner(path, output=options.get("output")) as runner:
            yield lambda images: runner(images) * (factors[0] if on_gpu else 1.0)

    monkeypatch.setattr(f"{place}.device_kind", lambda device: "cuda")
    monkeypatch.setattr(f"{place}.onnxruntime_runner", session)
    with open_artefact(path) as run:
        assert len(run(images())) == 8
    shutil.rmtree(tmp_path / "judged")
    factors[0] = 1.01
    with pytest.raises(ParityFailed, match=r"by onnxruntime in fp32 .* is not the model"), open_artefact(path):
        pass
