"""Features that hold NaN or infinity: said, with the images, and never written as if they were features."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from featune.engine.errors import BadImages, BadInput
from featune.engine.features import FeatureKey, FeatureRequest, FeatureStore, Options, extract
from featune.engine.images import Labelled
from featune.engine.models import View

VIEW = View(side=16)
SKIP = Options(on_error="skip", batch=2)


def means(images: Tensor, /) -> Tensor:
    return images.float().mean((2, 3))


def never(images: Tensor, /) -> Tensor:
    return means(images) * float("nan")


def not_for_blue(images: Tensor, /) -> Tensor:
    """Infinity in one column for images that are more blue than red."""
    rows = means(images)
    rows[:, 1] = torch.where(rows[:, 2] > rows[:, 0], float("inf"), rows[:, 1])
    return rows


def asked(items: Labelled, run: Callable[[Tensor], Tensor], opened: list[str] | None = None) -> FeatureRequest:
    @contextmanager
    def open_runner(threads: int) -> Iterator[Callable[[Tensor], Tensor]]:
        if opened is not None:
            opened.append(run.__name__)
        yield run

    key = FeatureKey(run.__name__, VIEW, items.content_digest, "fake")
    return FeatureRequest(key, open_runner, f"net of {run.__name__}")


def blue(items: Labelled) -> list[int]:
    rows = extract(means, items, VIEW).rows
    return [i for i in range(len(items)) if rows[i, 2] > rows[i, 0]]


def test_a_model_that_gives_nan_for_all_images_is_refused_by_name_whatever_may_be_skipped(
    items: Labelled, tmp_path: Path
) -> None:
    for options in (Options(), SKIP):
        with pytest.raises(BadInput, match=r"net of never: its features hold NaN or infinity for 11 of 11 images"):
            FeatureStore(tmp_path).extract(items, [asked(items, never)], options=options)
        with pytest.raises(BadInput, match="check its weights"):
            extract(never, items, VIEW, options=options)
    assert not list(tmp_path.glob("*.npy"))


def test_images_without_finite_features_are_named_and_may_be_left_out(items: Labelled, tmp_path: Path) -> None:
    wrong = blue(items)
    assert 0 < len(wrong) < len(items)
    store = FeatureStore(tmp_path)
    with pytest.raises(BadInput, match=f"for {len(wrong)} of 11 images.*--on-error skip") as caught:
        store.extract(items, [asked(items, not_for_blue)])
    assert items.paths[wrong[0]] in str(caught.value)
    expected = np.delete(extract(means, items, VIEW).rows, wrong, axis=0)
    (stored,) = store.extract(items, [asked(items, not_for_blue)], options=SKIP)
    for found in (stored, extract(not_for_blue, items, VIEW, options=SKIP)):
        assert [index for index, _, _ in found.skipped] == wrong
        np.testing.assert_array_equal(found.rows, expected)


def test_what_the_model_cannot_do_is_not_tried_again(items: Labelled, tmp_path: Path) -> None:
    opened: list[str] = []
    store = FeatureStore(tmp_path)
    store.extract(items, [asked(items, not_for_blue, opened)], options=SKIP)
    store.extract(items, [asked(items, not_for_blue, opened)], options=SKIP)
    assert opened == ["not_for_blue"]


def test_one_models_nan_takes_nothing_from_another_of_the_same_pass(items: Labelled, tmp_path: Path) -> None:
    both = [asked(items, means), asked(items, not_for_blue)]
    first, second = FeatureStore(tmp_path).extract(items, both, options=SKIP)
    assert (len(first.rows), first.skipped) == (11, [])
    assert len(second.rows) == 11 - len(blue(items))


def test_images_that_cannot_be_read_and_rows_that_are_not_finite_are_both_skipped(
    items: Labelled, tmp_path: Path
) -> None:
    bad = next(i for i in range(len(items)) if i not in blue(items))
    wrong = blue(items)
    Path(items.root, items.paths[bad]).write_bytes(b"no image")
    broken = Labelled(items.root, items.paths, items.labels)
    (found,) = FeatureStore(tmp_path).extract(broken, [asked(broken, not_for_blue)], options=SKIP)
    assert [index for index, _, _ in found.skipped] == sorted([*wrong, bad])
    with pytest.raises(BadImages, match="the model gives NaN or infinity for it"):
        FeatureStore(tmp_path).extract(broken, [asked(broken, not_for_blue)])


def test_a_stored_file_of_before_that_holds_nan_is_not_used(items: Labelled, tmp_path: Path) -> None:
    store, request = FeatureStore(tmp_path), asked(items, means)
    store.extract(items, [request])
    (record,) = tmp_path.glob("*.json")
    kept = json.loads(record.read_text())
    assert kept.pop("finite") is True
    rows = np.load(record.with_suffix(".npy"))
    record.write_text(json.dumps(kept))
    opened: list[str] = []
    store.extract(items, [asked(items, means, opened)])
    assert not opened
    rows[3, 1] = np.nan
    np.save(record.with_suffix(".npy"), rows)
    from featune.engine.store import file_digest

    record.write_text(json.dumps(kept | {"sha256": file_digest(record.with_suffix(".npy"))}))
    (found,) = store.extract(items, [asked(items, means, opened)])
    assert opened
    assert np.isfinite(found.rows).all()
