import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from featune.engine.errors import BadImages
from featune.engine.features.passes import (
    PINNED_BYTES,
    Setting,
    Stream,
    _pinned_ahead,
    chunks,
)
from featune.engine.features.squares import Seconds, decoded_squares
from featune.engine.images import Decoder, Labelled, batches
from featune.engine.models import View
from featune.engine.runners import BatchLimit

SMALL, LARGE = View(side=16), View(side=24, interpolation="bicubic")


def means(images: Tensor, /) -> Tensor:
    return images.float().mean((2, 3))


def corners(images: Tensor, /) -> Tensor:
    return images[:, :, 0, :2].flatten(1).float()


def whole(items: Labelled, view: View) -> Tensor:
    return torch.cat(list(batches(items, view, 64)))


@pytest.mark.parametrize("setting", [Setting(1, 1), Setting(3, 2), Setting(64, 3)])
def test_every_stream_gets_the_rows_of_its_own_view(items: Labelled, setting: Setting) -> None:
    streams = [Stream(SMALL, means), Stream(LARGE, corners), Stream(SMALL, corners)]
    found = list(chunks(items, streams, setting, decoded_squares(items, "exact")))
    for number, stream in enumerate(streams):
        rows = np.concatenate([chunk.rows[number] for chunk in found])
        assert np.array_equal(rows, stream.runner(whole(items, stream.view)).numpy())


def test_a_worker_decodes_many_images_together_and_shows_them_to_the_model_by_batches(items: Labelled) -> None:
    seen: list[int] = []

    def noted(images: Tensor, /) -> Tensor:
        seen.append(len(images))
        return means(images)

    many = items.take([i % len(items) for i in range(270)])
    found = list(chunks(many, [Stream(SMALL, noted)], Setting(3, 2), decoded_squares(many, "exact")))
    assert [chunk.stop - chunk.start for chunk in found] == [30] * 9  # whole batches, as many as fit in TOGETHER
    assert seen == [3] * 90
    assert np.array_equal(np.concatenate([chunk.rows[0] for chunk in found]), means(whole(many, SMALL)).numpy())
    few = list(chunks(items, [Stream(SMALL, means)], Setting(2, 2), decoded_squares(items, "exact")))
    assert len(few) == 6  # of 11 images: none waits long for the last


def test_each_image_is_decoded_once_however_many_models_see_it(items: Labelled) -> None:
    seen: list[tuple[int, int]] = []
    made = decoded_squares(items, "exact")

    def counted(index: int, views: list[View], seconds: Seconds) -> list[np.ndarray]:
        seen.append((index, len(views)))
        return made(index, views, seconds)

    streams = [Stream(SMALL, means), Stream(LARGE, means), Stream(SMALL, corners)]
    list(chunks(items, streams, Setting(4, 2), counted))  # type: ignore[arg-type]
    assert sorted(seen) == [(index, 2) for index in range(len(items))]


def test_a_stream_that_has_rows_already_gets_only_the_others(items: Labelled) -> None:
    streams = [Stream(SMALL, means, start=5), Stream(SMALL, corners, start=9)]
    found = list(chunks(items, streams, Setting(4, 2), decoded_squares(items, "exact")))
    assert found[0].start == 5
    for number, stream in enumerate(streams):
        parts = [chunk.rows[number] for chunk in found if len(chunk.rows[number])]
        expected = stream.runner(whole(items, SMALL)).numpy()[stream.start :]
        assert np.array_equal(np.concatenate(parts), expected)


@pytest.mark.parametrize("decoder", ["fast", "exact"])
def test_bad_images_are_named_and_the_others_have_their_rows(items: Labelled, decoder: Decoder) -> None:
    good = means(whole(items, SMALL)).numpy()
    items.file(2).write_bytes(b"")
    items.file(7).unlink()
    found = list(chunks(items, [Stream(SMALL, means)], Setting(4, 2), decoded_squares(items, decoder)))
    assert [bad for chunk in found for bad in chunk.bad] == [(2, "empty file"), (7, "no such file")]
    rows = np.concatenate([chunk.rows[0] for chunk in found])
    assert rows.shape == (9, 3)
    assert np.abs(rows - np.delete(good, [2, 7], axis=0)).max() <= 1


def test_a_runner_sees_at_most_a_batch_and_only_worker_threads_run_it(items: Labelled) -> None:
    seen = []

    def watched(images: Tensor, /) -> Tensor:
        seen.append((len(images), threading.current_thread() is threading.main_thread(), torch.get_num_threads()))
        return means(images)

    before = torch.get_num_threads()
    list(chunks(items, [Stream(SMALL, watched)], Setting(4, 2), decoded_squares(items, "exact")))
    assert sorted(seen) == [(3, False, 1), (4, False, 1), (4, False, 1)]
    assert torch.get_num_threads() == before


def test_seconds_are_counted_where_they_are_spent(items: Labelled) -> None:
    total = Seconds()
    for chunk in chunks(items, [Stream(SMALL, means)], Setting(4, 2), decoded_squares(items, "exact")):
        total.add(chunk.seconds)
    assert min(total.read, total.decode, total.resize, total.compute) > 0
    assert total.copy == 0


def test_out_of_memory_halves_the_batch_and_says_so() -> None:
    said: list[str] = []

    def tight(images: Tensor, /) -> Tensor:
        if len(images) > 3:
            raise RuntimeError("bad allocation")
        return means(images)

    images = torch.arange(11 * 12, dtype=torch.uint8).reshape(11, 3, 2, 2)
    runner = BatchLimit(tight, said.append)
    assert torch.equal(runner(images), means(images))
    assert said == [
        "out of memory with 11 images at a time; going on with 5",
        "out of memory with 5 images at a time; going on with 2",
    ]
    assert torch.equal(runner(images[:7]), means(images[:7]))
    assert len(said) == 2


def test_another_error_is_not_taken_for_want_of_memory() -> None:
    def broken(images: Tensor, /) -> Tensor:
        raise RuntimeError("shapes do not fit")

    with pytest.raises(RuntimeError, match="shapes"):
        BatchLimit(broken, print)(torch.zeros(4, 3, 2, 2, dtype=torch.uint8))


def test_one_image_that_does_not_fit_is_an_error() -> None:
    def never(images: Tensor, /) -> Tensor:
        raise MemoryError

    with pytest.raises(MemoryError):
        BatchLimit(never, lambda text: None)(torch.zeros(4, 3, 2, 2, dtype=torch.uint8))


def test_a_bad_image_stops_batches_at_their_end_with_its_name(items: Labelled, tmp_path: Path) -> None:
    items.file(3).write_bytes(b"")
    with pytest.raises(BadImages, match=r"03\.png: empty file"):
        list(batches(items, SMALL, 4))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no NVIDIA GPU here")
def test_a_pass_on_a_gpu_gives_the_rows_of_the_cpu(items: Labelled) -> None:
    streams = [Stream(SMALL, means), Stream(LARGE, corners, start=5)]
    expected, found = (
        list(chunks(items, streams, Setting(4, 2), decoded_squares(items, "exact"), device))
        for device in ("cpu", "cuda")
    )
    for one, other in zip(expected, found, strict=True):
        for rows, others in zip(one.rows, other.rows, strict=True):
            assert np.allclose(rows, others, rtol=1e-5)
    assert sum(chunk.seconds.copy for chunk in found) > 0


def test_batches_that_wait_for_a_gpu_are_bounded_in_bytes() -> None:
    """128 images of 518 pixels a worker, two batches each, would pin 3.3 GB for 16 workers."""
    large = [Stream(View(side=518), lambda images: images)]
    ahead = _pinned_ahead(large, 128, 16)
    assert 2 <= ahead < 32
    assert ahead * 128 * 3 * 518 * 518 <= PINNED_BYTES
    assert _pinned_ahead([Stream(View(side=224), lambda images: images)], 64, 4) == 8
