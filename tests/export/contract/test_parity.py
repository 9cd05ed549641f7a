"""The measures of the gate, on numbers that can be worked by hand."""

import math

import numpy as np
import pytest
import torch

from featune.engine.errors import ParityFailed
from featune.export.contract import failures, parity, probe_change, rows_of
from featune.export.contract.parity_measures import Rows, paired_interval, require
from featune.export.contract.thresholds import REQUIRED


def rows(n: int = 12, width: int = 6, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(n, width))


def test_equal_rows_have_no_error_at_all() -> None:
    found = parity(rows(), rows())
    assert (found.worst_cosine, found.max_error, found.noise, found.neighbours) == (pytest.approx(1), 0, 0, 1)


@pytest.mark.parametrize("batches", [(1, 32), (1, 256), (1, 2), (4, 16), (8, 8), (40, 64), (64, 256)])
@pytest.mark.parametrize("count", [3, 24, 64])
def test_every_image_is_compared_once_in_uneven_batches_that_the_candidate_takes(
    batches: tuple[int, int], count: int
) -> None:
    least, most = batches
    sizes = []

    def candidate(images: torch.Tensor) -> torch.Tensor:
        sizes.append(len(images))
        return images.float().flatten(1)

    images = torch.arange(count, dtype=torch.uint8).reshape(count, 1, 1, 1)
    found = rows_of(lambda images: images.float().flatten(1), candidate, images, batches)
    assert (found.candidate == found.reference).all()
    assert least <= min(sizes) <= max(sizes) <= most
    assert len(set(sizes)) > 1 or least == most


def test_noise_is_the_error_over_what_tells_the_images_apart() -> None:
    wanted = np.array([[100.0, 1.0], [100.0, -1.0]])  # a common part of 100, a spread of sqrt(2)
    found = parity(wanted, wanted + np.array([[0.0, 0.5], [0.0, 0.5]]))
    assert found.noise == pytest.approx(0.5)
    assert found.worst_cosine > 0.9999
    assert found.max_error == 0.5


def test_a_constant_output_has_a_fine_cosine_and_is_refused() -> None:
    wanted = 100 + rows()
    constant = np.repeat(wanted.mean(axis=0, keepdims=True), len(wanted), axis=0)
    found = parity(wanted, constant)
    assert found.worst_cosine > 0.99
    assert found.noise == pytest.approx(1)
    assert failures(found, "int8")


def test_rows_scaled_as_a_whole_are_refused_by_noise_alone() -> None:
    found = parity(rows(), 1.05 * rows())
    assert found.worst_cosine == pytest.approx(1)
    assert len(failures(found)) == 1
    assert "noise" in failures(found)[0]


@pytest.mark.parametrize("wrong", [rows(width=7), np.full((12, 6), np.nan), rows(n=11), np.full((12, 6), np.inf)])
def test_another_shape_or_no_number_is_as_wrong_as_can_be(wrong: np.ndarray) -> None:
    found = parity(rows(), wrong)
    assert (found.worst_cosine, found.neighbours, found.noise) == (-1, 0, math.inf)
    assert len(failures(found, "int8")) == 3


def test_neighbours_that_are_equally_near_count_as_the_same() -> None:
    wanted = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0], [1.0, 0.0]])
    assert parity(wanted, wanted + 1e-9 * rows(4, 2)).neighbours == 1


def test_a_safer_precision_has_a_stricter_threshold() -> None:
    order = [REQUIRED[name] for name in ("fp32", "fp16", "bf16", "int8")]
    assert [each.noise for each in order] == sorted(each.noise for each in order)
    assert [each.worst_cosine for each in order] == sorted((each.worst_cosine for each in order), reverse=True)


def test_the_error_names_model_precision_and_every_number() -> None:
    with pytest.raises(ParityFailed, match=r"net int8: worst row of 12 images has cosine -1\.0+ against torch, 0\.9"):
        require(parity(rows(), -rows()), "net", "int8")


def test_the_paired_interval_is_agresti_and_mins() -> None:
    reference = np.array([True] * 60 + [False] * 40)
    candidate = reference.copy()
    candidate[:8] = False  # eight lost
    candidate[60:62] = True  # two gained
    # gained 2.5, lost 8.5 of 102: -6 / 102, give or take 1.96 sqrt(11 - 36 / 102) / 102
    half = 1.959964 * math.sqrt(11 - 36 / 102) / 102
    assert paired_interval(reference, candidate) == pytest.approx((-6 / 102 - half, -6 / 102 + half))


def test_no_change_at_all_still_has_a_width_around_zero() -> None:
    same = np.array([True, False] * 50)
    low, high = paired_interval(same, same)
    assert low == -high
    assert 0 < high < 0.03


def test_a_probe_notices_features_that_lost_their_classes() -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    good = rng.normal(size=(200, 4)) + 10 * labels[:, None]
    kept = probe_change(Rows(good, good), labels)
    assert (kept.reference, kept.difference, kept.n) == (1.0, 0.0, 80)
    lost = probe_change(Rows(good, rng.normal(size=(200, 4))), labels)
    assert lost.candidate < 0.7
    assert lost.high < -0.1
    assert "probe accuracy falls from 1.0000" in failures(parity(good, good), "int8", lost)[0]
    assert failures(parity(good, good), "int8", kept) == []
