"""The clock of a call: what it includes, and the errors of scope and synchronisation that it refuses."""

import itertools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from featune.bench.throughput import (
    EventWatch,
    HostWatch,
    call_of,
    check_places,
    measure,
    speed,
    timed_block,
    warm_up,
)
from featune.engine.errors import BadInput


class Device:
    """A device whose work is queued: `now` is the host's clock, `free` when the queue is empty. Seconds."""

    def __init__(self) -> None:
        self.now = self.free = 0.0
        self.seen: list[Any] = []

    def clock(self) -> float:
        return self.now

    def launch(self, seconds: float) -> None:
        self.now += 0.0001
        self.free = max(self.free, self.now) + seconds

    def synchronize(self) -> None:
        self.now = max(self.now, self.free)

    def run(self, images: Any) -> "Images":
        self.seen.append(images)
        self.launch(0.005)
        return Images(self, "cuda")

    def event(self) -> "Event":
        return Event(self)


class Event:
    def __init__(self, device: Device):
        self.of = device

    def record(self) -> None:
        self.at = max(self.of.free, self.of.now)

    def synchronize(self) -> None:
        self.of.now = max(self.of.now, self.at)

    def elapsed_time(self, later: "Event") -> float:
        return 1000 * (later.at - self.at)


class Images:
    """A copy to the device takes 3 ms, one back 2 ms."""

    def __init__(self, device: Device, place: str):
        self.of, self.device = device, SimpleNamespace(type=place)

    def to(self, device: str, non_blocking: bool = False) -> "Images":
        self.of.launch(0.003)
        return Images(self.of, device)

    def cpu(self) -> "Images":
        self.of.synchronize()
        self.of.now += 0.002
        return Images(self.of, "cpu")


def block(device: Device, call: Callable[[Any], Any], **options: Any) -> list[float]:
    options = {"synchronize": device.synchronize} | options
    inputs = itertools.cycle([Images(device, "cuda"), Images(device, "cuda")])
    return timed_block(call, inputs, seconds=0.1, least=3, clock=device.clock, **options).samples


def test_a_queued_call_is_waited_for() -> None:
    device = Device()
    samples = block(device, device.run)
    assert samples == pytest.approx([0.0051] * len(samples))
    assert len(samples) >= 0.1 / 0.0051


def test_a_clock_that_does_not_wait_for_the_device_gives_no_speed() -> None:
    device = Device()
    with pytest.raises(BadInput, match="did not wait for the device"):
        block(device, device.run, watch=HostWatch(lambda: None, device.clock))


def test_the_devices_events_leave_out_the_launch() -> None:
    device = Device()
    samples = block(device, device.run, watch=EventWatch(device.event))
    assert samples[5:] == pytest.approx([0.005] * len(samples[5:]))


def test_the_host_runs_no_more_than_two_calls_ahead_of_the_devices_events() -> None:
    device = Device()
    ahead = []

    def run(images: Any) -> None:
        device.run(images)
        ahead.append(device.free - device.now)

    block(device, run, watch=EventWatch(device.event))
    assert max(ahead) <= 3 * 0.005


def test_scope_b_has_the_copies_there_and_back_in_it() -> None:
    device = Device()
    alone = block(device, call_of("a", device.run, "cuda"))
    both = block(device, call_of("b", device.run, "cuda"))
    assert both[1] - alone[1] == pytest.approx(0.003 + 0.002, abs=0.0002)


@pytest.mark.parametrize(
    ("scope", "images", "rows"), [("b", "cuda", "cpu"), ("b", "cpu", "cuda"), ("a", "cpu", "cuda")]
)
def test_a_copy_that_is_left_out_is_refused(scope: str, images: str, rows: str) -> None:
    device = Device()
    with pytest.raises(BadInput, match="leave a copy out"):
        check_places(scope, Images(device, images), Images(device, rows), "cuda")


def test_copies_where_they_belong_are_accepted() -> None:
    device = Device()
    check_places("b", Images(device, "cpu"), Images(device, "cpu"), "cuda")
    check_places("a", Images(device, "cuda"), Images(device, "cuda"), "cuda")


def test_every_call_sees_other_images_than_the_one_before() -> None:
    device = Device()
    block(device, device.run)
    assert all(one is not other for one, other in itertools.pairwise(device.seen))


def test_the_first_call_of_a_block_is_not_timed() -> None:
    device = Device()
    slow = iter([1.0])

    def run(images: Any) -> None:
        device.launch(next(slow, 0.005))

    assert max(block(device, run)) < 0.01


def test_a_warm_up_lasts_until_the_calls_are_stable() -> None:
    device = Device()
    seconds = iter([*(0.1 / (n + 1) for n in range(20)), *[0.005] * 1000])
    found = warm_up(lambda images: device.launch(next(seconds)), itertools.repeat(None), least=0.0,
                    synchronize=device.synchronize, clock=device.clock)  # fmt: skip
    assert found.settled
    assert found.calls >= 20


def test_a_warm_up_that_never_settles_says_so() -> None:
    device = Device()
    seconds = (0.01 * 2 ** (n // 5 % 2) for n in itertools.count())  # windows of five, each twice the last or half
    found = warm_up(lambda images: device.launch(next(seconds)), itertools.repeat(None), most=2.0,
                    synchronize=device.synchronize, clock=device.clock)  # fmt: skip
    assert (found.settled, found.seconds > 2.0) == (False, True)


def test_a_studys_speed_alternates_its_batch() -> None:
    device, seen = Device(), []

    def run(images: torch.Tensor) -> torch.Tensor:
        seen.append(images)
        device.now += 0.01
        return images

    samples = measure(run, torch.arange(24, dtype=torch.uint8).view(2, 3, 2, 2), seconds=0.1, clock=device.clock)
    assert samples == pytest.approx([0.01] * len(samples))
    assert not any(torch.equal(one, other) for one, other in itertools.pairwise(seen))


@pytest.mark.parametrize(("calls", "given"), [(71, False), (72, True)])
def test_a_studys_p95_needs_as_many_calls_as_a_reports(calls: int, given: bool) -> None:
    found = speed("m", "torch", "cpu", 1, torch.zeros(4, 3, 2, 2), [0.02] * calls)
    assert (found.p95_ms is not None) == given
    assert (found.images_per_second, found.iterations) == (200, calls)


def test_a_studys_speed_has_the_interval_of_its_blocks() -> None:
    samples = [0.02 + 0.001 * (at // 4) for at in range(40)]  # ten blocks of four, 20 to 29 ms
    found = speed("m", "torch", "cpu", 1, torch.zeros(4, 3, 2, 2), samples)
    assert found.median_ms == pytest.approx(24.5)
    assert found.images_per_second_low is not None
    assert found.images_per_second_high is not None
    assert 4 / 0.029 < found.images_per_second_low < 4 / 0.0245 < found.images_per_second_high < 4 / 0.020
    shuffled = speed("m", "torch", "cpu", 1, torch.zeros(4, 3, 2, 2), samples[::4] * 4)  # alike in each block
    assert shuffled.images_per_second_high is not None
    assert shuffled.images_per_second_high < found.images_per_second_high
