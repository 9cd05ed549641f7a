"""Streams, CUDA graphs and batch sizes of a plan's runner, with fakes in the place of torch's CUDA and of TensorRT."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from fake_tensorrt import Fake

from featune.engine.tensorrt import Engine, tensorrt_runner, within
from featune.engine.tensorrt import runner as plan_runner


class FakeStream:
    cuda_stream = 7


class FakeGraph:
    """Runs again what was called during its capture."""

    def __init__(self) -> None:
        self.replay: Callable[[], object] = lambda: None


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    @contextlib.contextmanager
    def capture(graph: FakeGraph, stream: FakeStream, capture_error_mode: str) -> Iterator[None]:
        assert (stream.cuda_stream, capture_error_mode) == (7, "thread_local")
        yield

    monkeypatch.setattr(plan_runner, "require_device", lambda device: None)
    for name, fake in {
        "Stream": FakeStream, "CUDAGraph": FakeGraph, "graph": capture, "synchronize": lambda: None,
        "current_stream": lambda device: FakeStream(),
    }.items():  # fmt: skip
        monkeypatch.setattr(f"torch.cuda.{name}", fake)
    monkeypatch.setattr("torch.cuda.default_stream", lambda device: type("Default", (), {"cuda_stream": 0}))


def images(count: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 32, 32), dtype=torch.uint8, generator=generator)


def means(batch: torch.Tensor) -> torch.Tensor:
    """What the fake plan computes."""
    return batch.double().mean((1, 2, 3)).float()[:, None].expand(len(batch), 96)


@pytest.mark.parametrize("batches", [(1, 8), (4, 8), (5, 5)])
@pytest.mark.parametrize("count", [1, 3, 8, 21])
def test_any_number_of_images_runs_in_batches_that_the_plan_takes(batches: tuple[int, int], count: int) -> None:
    sizes = []

    def run(part: torch.Tensor) -> torch.Tensor:
        sizes.append(len(part))
        return means(part)

    torch.testing.assert_close(within(batches, run, images(count)), means(images(count)))
    assert batches[0] <= min(sizes) <= max(sizes) <= batches[1]


def test_a_runner_makes_its_gpu_the_current_one_and_takes_more_than_the_plans_most(
    trt: Callable[..., Fake], cuda: None
) -> None:
    fake = trt()
    seen = []
    execute = fake.answers["IExecutionContext.execute_async_v3"]
    fake.answers["IExecutionContext.execute_async_v3"] = lambda context, stream: (
        seen.append([*fake.gpus]) or execute(context, stream)
    )
    with tensorrt_runner(Engine(b"plan"), "cuda:1") as run:
        torch.testing.assert_close(run(images(9)), means(images(9)))
    assert seen == [["cuda:1"], ["cuda:1"]]


def test_each_captured_batch_size_has_a_context_of_its_own_and_the_oldest_go(
    trt: Callable[..., Fake], cuda: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A context that was given another shape since voids the graphs that were captured of it."""
    ran: list[Any] = []
    fake = trt()
    execute = fake.answers["IExecutionContext.execute_async_v3"]
    fake.answers["IExecutionContext.execute_async_v3"] = lambda context, stream: (
        ran.append(context) or execute(context, stream)
    )
    monkeypatch.setattr(plan_runner, "GRAPHS", 2)
    engine = Engine(b"plan")
    with tensorrt_runner(engine, "cuda", cuda_graph=True) as run:
        for count in (2, 3, 2, 4):
            torch.testing.assert_close(run(images(count)), means(images(count)))
        assert len(ran) == 6  # each size once before and once in its capture
        assert [ran[0], ran[2], ran[4]] == [ran[1], ran[3], ran[5]]
        assert len({id(context) for context in (ran[0], ran[2], ran[4])}) == 3
        run(images(2))
        assert len(ran) == 6  # used since 3 was
        run(images(3))
        assert len(ran) == 8
