import dataclasses
import json
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import Tensor

import featune.engine.features.store
from featune.engine.errors import BadImages, BadInput, FeatuneError
from featune.engine.features import FeatureKey, FeatureRequest, FeatureStore, Options, extract
from featune.engine.features.bottleneck import ADVICE
from featune.engine.features.files import Part
from featune.engine.images import Labelled, limit_pixels
from featune.engine.images.decoding import pixel_limit
from featune.engine.models import ModelSpec, View, feature_model, feature_width
from featune.engine.runners import Runner

VIEW = View(side=16)


def means(images: Tensor, /) -> Tensor:
    """A runner: the mean of each channel."""
    return images.float().mean((2, 3))


def key_of(items: Labelled) -> FeatureKey:
    return FeatureKey("model", VIEW, items.content_digest, "fake")


class Opened:
    """Opens a runner, counts how often, and may end the process's work after some calls."""

    def __init__(self, dies_after: int | None = None):
        self.opened = self.calls = 0
        self.dies_after = dies_after

    @contextmanager
    def __call__(self, threads: int) -> Iterator[Runner]:
        self.opened += 1

        def run(images: Tensor, /) -> Tensor:
            if self.dies_after is not None and self.calls >= self.dies_after:
                raise KeyboardInterrupt
            self.calls += 1
            return means(images)

        yield run


def test_rows_come_in_the_items_order_for_any_batch_and_workers(items: Labelled) -> None:
    whole = extract(means, items, VIEW, options=Options(batch=64)).rows
    for batch in (1, 4):
        for workers in (1, 3):
            assert np.array_equal(
                extract(means, items, VIEW, options=Options(batch=batch, workers=workers)).rows, whole
            )


def test_a_second_asking_opens_no_runner(items: Labelled, tmp_path: Path) -> None:
    opened = Opened()
    store = FeatureStore(tmp_path)
    first = store.rows(key_of(items), items, opened)
    again = store.rows(key_of(items), items, opened)
    assert opened.opened == 1
    assert np.array_equal(first, again)
    assert np.array_equal(first, extract(means, items, VIEW).rows)
    assert not again.flags.writeable


def test_an_interrupted_pass_goes_on_where_it_was(items: Labelled, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        store.rows(key_of(items), items, Opened(dies_after=3), options=Options(batch=2, workers=1, save_seconds=0))
    assert store.load(key_of(items), len(items)) is None
    second = Opened()
    rows = store.rows(key_of(items), items, second, options=Options(batch=2, workers=1, save_seconds=0))
    assert second.calls == 3  # 11 images: 6 were safe, 5 remain
    assert np.array_equal(rows, extract(means, items, VIEW).rows)
    left = {p.suffix for p in tmp_path.iterdir()}
    assert left - {".lock", ""} == {".json", ".npy"}


def test_rows_written_after_the_last_safe_point_are_made_again(items: Labelled, tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path), key_of(items)
    with pytest.raises(KeyboardInterrupt):
        store.rows(key, items, Opened(dies_after=3), options=Options(batch=2, workers=1, save_seconds=0))
    with open(tmp_path / f"{key.name}.part", "ab") as part:
        part.write(b"\xff" * 10)  # a torn write
    assert np.array_equal(store.rows(key, items, Opened(), options=Options(batch=2)), extract(means, items, VIEW).rows)


def test_a_lost_part_file_starts_over(items: Labelled, tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path), key_of(items)
    with pytest.raises(KeyboardInterrupt):
        store.rows(key, items, Opened(dies_after=3), options=Options(batch=2, workers=1, save_seconds=0))
    (tmp_path / f"{key.name}.part").write_bytes(b"")
    assert np.array_equal(store.rows(key, items, Opened(), options=Options(batch=2)), extract(means, items, VIEW).rows)


def test_a_damaged_file_is_made_again_and_never_returned(items: Labelled, tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path), key_of(items)
    good = np.array(store.rows(key, items, Opened()))
    path = tmp_path / f"{key.name}.npy"
    damaged = bytearray(path.read_bytes())
    damaged[-3] ^= 1
    path.write_bytes(damaged)
    opened = Opened()
    assert np.array_equal(store.rows(key, items, opened), good)
    assert opened.opened == 1


def test_an_unreadable_image_leaves_no_file_of_features(items: Labelled, tmp_path: Path) -> None:
    items.file(4).write_bytes(b"no image")
    broken = dataclasses.replace(items)
    with pytest.raises(BadImages, match=r"04\.png"):
        FeatureStore(tmp_path).rows(key_of(broken), broken, Opened())
    assert not list(tmp_path.glob("*.npy"))


def test_anything_that_changes_features_changes_the_key_and_labels_do_not(items: Labelled) -> None:
    key = key_of(items)
    changes = [
        {"model": "other"}, {"view": dataclasses.replace(VIEW, crop_pct=0.5)},
        {"view": dataclasses.replace(VIEW, interpolation="bicubic")}, {"images": "other"},
        {"backend": "other"}, {"precision": "fp16"}, {"artefact": "other"}, {"decoder": "exact"}, {"output": "logits"},
    ]  # fmt: skip
    assert len({key.name, *(dataclasses.replace(key, **change).name for change in changes)}) == 10
    relabelled = dataclasses.replace(items, labels=tuple((0,) for _ in items.labels))
    assert key_of(relabelled).name == key.name


def test_no_features_outlive_a_changed_file(items: Labelled, tmp_path: Path) -> None:
    store = FeatureStore(tmp_path)
    before = np.array(store.rows(key_of(items), items, Opened()))
    items.file(1).write_bytes(items.file(0).read_bytes())
    changed = dataclasses.replace(items)
    after = store.rows(key_of(changed), changed, Opened())
    assert np.array_equal(after[1], after[0])
    assert not np.array_equal(after[1], before[1])


def test_several_models_share_one_pass(items: Labelled, tmp_path: Path) -> None:
    wide = dataclasses.replace(key_of(items), model="wide", view=View(side=24))
    first, second = Opened(), Opened()
    store = FeatureStore(tmp_path)
    found = store.extract(
        items, [FeatureRequest(key_of(items), first), FeatureRequest(wide, second)], options=Options(batch=4)
    )
    assert np.array_equal(found[0].rows, extract(means, items, VIEW).rows)
    assert np.array_equal(found[1].rows, extract(means, items, wide.view).rows)
    assert found[0].verdict.images == len(items)


def test_models_that_do_not_fit_into_memory_together_have_passes_of_their_own(items: Labelled, tmp_path: Path) -> None:
    """A GPU that held one model took none of the three: the whole command failed."""
    opened: list[str] = []

    def needs(name: str, factor: float) -> FeatureRequest:
        @contextmanager
        def open_runner(threads: int) -> Iterator[Runner]:
            if opened:
                raise FeatuneError(f"out of memory on the GPU (CUDA error: out of memory) with {opened} open")
            opened.append(name)
            yield lambda images: images.float().mean((2, 3)) * factor
            opened.remove(name)

        return FeatureRequest(dataclasses.replace(key_of(items), model=name), open_runner, name)

    found = FeatureStore(tmp_path).extract(items, [needs("a", 1), needs("b", 2), needs("c", 3)])
    assert not opened
    for number, each in enumerate(found, start=1):
        assert np.allclose(each.rows, number * found[0].rows)
    assert [note.split()[0] for note in found[0].verdict.notes] == ["b", "c"]


def test_a_model_that_joins_later_does_not_make_the_others_again(items: Labelled, tmp_path: Path) -> None:
    store, first, second = FeatureStore(tmp_path), Opened(), Opened()
    store.rows(key_of(items), items, first)
    wide = dataclasses.replace(key_of(items), model="wide")
    store.extract(items, [FeatureRequest(key_of(items), first), FeatureRequest(wide, second)])
    assert (first.opened, second.opened) == (1, 1)


def test_models_that_stopped_at_different_images_go_on_together(items: Labelled, tmp_path: Path) -> None:
    store, keys = FeatureStore(tmp_path), [key_of(items), dataclasses.replace(key_of(items), model="other")]
    for key, calls in zip(keys, (1, 4), strict=True):
        with pytest.raises(KeyboardInterrupt):
            store.rows(key, items, Opened(calls), options=Options(batch=2, workers=1, save_seconds=0))
    found = store.extract(items, [FeatureRequest(key, Opened()) for key in keys], options=Options(batch=2))
    for each in found:
        assert np.array_equal(each.rows, extract(means, items, VIEW).rows)


def test_skipped_images_are_recorded_and_the_row_count_shows_it(items: Labelled, tmp_path: Path) -> None:
    good = extract(means, items, VIEW).rows
    items.file(4).write_bytes(b"no image")
    broken = dataclasses.replace(items)
    store, key = FeatureStore(tmp_path), key_of(broken)
    skip = Options(on_error="skip", batch=3)
    found = store.extract(broken, [FeatureRequest(key, Opened())], options=skip)[0]
    assert found.skipped == [(4, "04.png", "not an image of a known format")]
    assert np.array_equal(found.rows, np.delete(good, 4, axis=0))
    assert found.kept.tolist() == [0, 1, 2, 3, 5, 6, 7, 8, 9, 10]
    again = store.extract(broken, [FeatureRequest(key, Opened(dies_after=0))], options=skip)[0]
    assert again.skipped == found.skipped
    with pytest.raises(BadImages, match=r"04\.png"):
        store.rows(key, broken, Opened())


def test_rows_computed_before_a_stop_serve_the_run_that_skips(items: Labelled, tmp_path: Path) -> None:
    items.file(4).write_bytes(b"no image")
    broken = dataclasses.replace(items)
    store, key, second = FeatureStore(tmp_path), key_of(broken), Opened()
    with pytest.raises(BadImages, match="--on-error skip"):
        store.rows(key, broken, Opened())
    found = store.extract(broken, [FeatureRequest(key, second)], options=Options(on_error="skip"))[0]
    assert (len(found.rows), second.opened) == (10, 0)


def test_images_of_which_none_can_be_read_are_an_error_even_when_skipping(items: Labelled, tmp_path: Path) -> None:
    for i in range(len(items)):
        items.file(i).write_bytes(b"")
    broken = dataclasses.replace(items)
    with pytest.raises(BadInput, match="none of the 11 images"):
        FeatureStore(tmp_path).extract(
            broken, [FeatureRequest(key_of(broken), Opened())], options=Options(on_error="skip")
        )


def test_stored_views_serve_a_later_model_without_the_files(items: Labelled, tmp_path: Path) -> None:
    expected = extract(means, items, VIEW).rows
    store, key = FeatureStore(tmp_path), key_of(items)
    store.extract(items, [FeatureRequest(key, Opened())], options=Options(keep_views=True))
    for i in range(len(items)):
        items.file(i).unlink()
    found = store.extract(items, [FeatureRequest(dataclasses.replace(key, model="later"), Opened())])[0]
    assert np.array_equal(found.rows, expected)
    assert found.verdict.seconds.decode == 0
    assert found.verdict.seconds.read > 0


def test_stored_views_remember_what_was_skipped(items: Labelled, tmp_path: Path) -> None:
    items.file(4).write_bytes(b"no image")
    broken = dataclasses.replace(items)
    store, key = FeatureStore(tmp_path), key_of(broken)
    first = store.extract(broken, [FeatureRequest(key, Opened())], options=Options(keep_views=True, on_error="skip"))[0]
    later = FeatureRequest(dataclasses.replace(key, model="later"), Opened())
    second = store.extract(broken, [later], options=Options(on_error="skip"))[0]
    assert np.array_equal(first.rows, second.rows)
    assert first.skipped == second.skipped


def test_the_verdict_names_the_stage_that_took_the_most(items: Labelled) -> None:
    def slow(images: Tensor, /) -> Tensor:
        time.sleep(0.1)
        return means(images)

    verdict = extract(slow, items, VIEW).verdict
    assert verdict.bottleneck == "compute"
    assert "the model" in verdict.sentence()
    brief, long = (dataclasses.replace(verdict, wall=wall).sentence() for wall in (0.9, 1.1))
    assert brief.endswith("a longer pass may say otherwise)")
    assert long.endswith(ADVICE["compute"])
    assert verdict.images_per_second == pytest.approx(11 / verdict.wall)
    assert json.loads(json.dumps(verdict.record()))["seconds"]["compute"] > 0.1


def test_a_folder_and_a_model_are_enough_in_a_notebook(items: Labelled, spec: ModelSpec) -> None:
    found = extract(spec, items.root)
    assert found.rows.shape == (11, feature_width(feature_model(spec), 32))
    assert found.rows.dtype == np.float32


def test_a_runner_without_its_view_is_refused(items: Labelled) -> None:
    with pytest.raises(BadInput, match="give `view`"):
        extract(means, items)


@contextmanager
def pixels_limited_to(most: int) -> Iterator[None]:
    before = pixel_limit()
    assert before is not None
    limit_pixels(most)
    try:
        yield
    finally:
        limit_pixels(before)


def test_an_image_that_can_be_read_again_is_no_longer_skipped(items: Labelled, tmp_path: Path) -> None:
    Image.new("RGB", (100, 100)).save(items.file(4))
    store, key, skip = FeatureStore(tmp_path), key_of(items), Options(on_error="skip", batch=2)
    with pixels_limited_to(6000):
        first = store.extract(items, [FeatureRequest(key, Opened())], options=skip)[0]
    assert [path for _, path, _ in first.skipped] == ["04.png"]
    second = store.extract(items, [FeatureRequest(key, Opened())], options=skip)[0]
    assert second.skipped == []
    assert np.array_equal(second.rows, extract(means, items, VIEW).rows)


def test_an_image_that_stopped_a_pass_is_tried_again(items: Labelled, tmp_path: Path) -> None:
    Image.new("RGB", (100, 100)).save(items.file(4))
    store, key = FeatureStore(tmp_path), key_of(items)
    with pixels_limited_to(6000), pytest.raises(BadImages, match=r"04\.png: more pixels"):
        store.rows(key, items, Opened())
    assert np.array_equal(store.rows(key, items, Opened()), extract(means, items, VIEW).rows)


def test_a_model_that_joins_a_half_done_one_keeps_its_own_list_of_skipped_images(
    items: Labelled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, key, skip = FeatureStore(tmp_path), key_of(items), Options(on_error="skip", batch=2)
    good = extract(means, items, VIEW).rows
    part = Part(tmp_path / key.name, 0)
    part.append(4, good[[0, 1, 3]], [(2, "no longer so")])
    part.save()
    part.close()
    monkeypatch.setattr(featune.engine.features.store, "readable", lambda items, indices: set())
    other = dataclasses.replace(key, model="other")
    first, second = store.extract(items, [FeatureRequest(key, Opened()), FeatureRequest(other, Opened())], options=skip)
    assert first.kept.tolist() == [0, 1, *range(3, 11)]
    assert np.array_equal(first.rows, good[first.kept])
    assert second.skipped == []
    assert np.array_equal(second.rows, good)


def test_images_that_change_during_the_pass_leave_nothing_behind(items: Labelled, tmp_path: Path) -> None:
    @contextmanager
    def opened(threads: int) -> Iterator[Runner]:
        items.file(10).write_bytes(items.file(0).read_bytes())
        yield means

    with pytest.raises(BadInput, match="changed while they were read"):
        FeatureStore(tmp_path).rows(key_of(items), items, opened)
    assert {path.suffix for path in tmp_path.iterdir()} <= {".lock", ""}


def test_a_runner_that_gives_too_few_rows_is_refused(items: Labelled, tmp_path: Path) -> None:
    @contextmanager
    def opened(threads: int) -> Iterator[Runner]:
        yield lambda images: means(images)[1:]

    with pytest.raises(BadInput, match="one row for each image"):
        FeatureStore(tmp_path).rows(key_of(items), items, opened)


def test_a_model_asked_for_twice_is_given_twice(items: Labelled, tmp_path: Path) -> None:
    wanted = FeatureRequest(key_of(items), opened := Opened())
    found = FeatureStore(tmp_path).extract(items, [wanted, wanted])
    assert len(found) == 2
    assert opened.opened == 1


def test_stored_views_serve_two_models_that_share_a_view(items: Labelled, tmp_path: Path) -> None:
    store, key = FeatureStore(tmp_path), key_of(items)
    store.extract(items, [FeatureRequest(key, Opened())], options=Options(keep_views=True))
    later = [FeatureRequest(dataclasses.replace(key, model=name), Opened()) for name in ("second", "third")]
    found = store.extract(items, later)
    assert found[0].verdict.seconds.decode == 0
    assert np.array_equal(found[0].rows, found[1].rows)


def test_names_that_are_no_utf8_are_read_and_listed(items: Labelled, tmp_path: Path) -> None:
    odd = os.fsdecode(b"caf\xe9.png")
    try:
        os.replace(items.file(4), Path(items.root, odd))
    except OSError:
        pytest.skip("this file system refuses such names")
    Path(items.root, odd).write_bytes(b"no image")
    named = dataclasses.replace(items, paths=(*items.paths[:4], odd, *items.paths[5:]))
    found = FeatureStore(tmp_path).extract(
        named, [FeatureRequest(key_of(named), Opened())], options=Options(on_error="skip")
    )
    again = FeatureStore(tmp_path).extract(
        named, [FeatureRequest(key_of(named), Opened())], options=Options(on_error="skip")
    )
    assert found[0].skipped == again[0].skipped == [(4, odd, "not an image of a known format")]


@pytest.mark.parametrize(
    ("options", "words"),
    [({"on_error": "raise"}, "on_error 'raise' found; expected stop or skip"), ({"device": "foo"}, "no device named")],
)
def test_options_that_nobody_knows_are_refused_where_they_are_given(options: dict[str, str], words: str) -> None:
    with pytest.raises(BadInput, match=words):
        Options(**options)  # type: ignore[arg-type]


def test_a_store_that_cannot_be_written_serves_what_it_has_and_names_what_it_lacks(
    items: Labelled, tmp_path: Path, refuse_writing: Callable[[], None]
) -> None:
    store, key = FeatureStore(tmp_path), key_of(items)
    rows = np.array(store.rows(key, items, Opened()))
    refuse_writing()
    assert np.array_equal(store.rows(key, items, Opened()), rows)
    other = dataclasses.replace(key, model="other")
    with pytest.raises(BadInput, match=rf"{other.name}\.npy is not there whole, and cannot be made: cannot write"):
        store.rows(other, items, Opened())
