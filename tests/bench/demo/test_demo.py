import dataclasses
import itertools
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featune.bench.demo import demo
from featune.bench.demo import miniature as demo_module
from featune.bench.demo.miniature import LADDER, NOTES
from featune.bench.generated import SOURCE_CLASSES, TARGETS, fractals, write_images
from featune.bench.generated.images import photographs
from featune.bench.progress import Silent
from featune.bench.results import Row, Speed
from featune.bench.study import Study
from featune.bench.study.executors import in_process
from featune.bench.tasks import read_folder_split
from featune.engine.models import classifier, spec_from_entry, state_digest


def test_every_image_follows_the_seed() -> None:
    for draw in (lambda seed: fractals(seed, 2, 1), *TARGETS.values()):
        some, same, other = (list(itertools.islice(draw(seed), 30)) for seed in (0, 0, 1))
        assert all(np.array_equal(a[2], b[2]) and a[:2] == b[:2] for a, b in zip(some, same, strict=True))
        assert not all(np.array_equal(a[2], b[2]) for a, b in zip(some, other, strict=True))


def test_the_source_task_has_its_classes_in_train_and_val() -> None:
    drawn = [(split, name) for split, name, _ in fractals(0, 2, 1)]
    assert len(set(drawn)) == 2 * SOURCE_CLASSES >= 48


def test_no_pixel_of_a_photographs_test_tile_is_in_a_train_tile() -> None:
    """Tiles of other splits share no 8 x 8 patch, unless it is one plain colour."""
    patches: dict[str, set[bytes]] = {"train": set(), "val": set(), "test": set()}
    for split, _, tile in photographs(0):
        for row, column in itertools.product(range(0, 25, 4), repeat=2):
            patch = tile[row : row + 8, column : column + 8]
            if patch.std() > 12:
                patches[split].add(patch.tobytes())
    assert min(map(len, patches.values())) > 1000
    assert not patches["train"] & patches["test"]
    assert not patches["val"] & patches["test"]
    assert not patches["train"] & patches["val"]


def test_images_are_drawn_once_and_again_after_a_kill(tmp_path: Path) -> None:
    drawn = []

    def draw() -> object:
        for image in fractals(0, 1, 1, classes=2):
            drawn.append(image)
            yield image

    write_images(tmp_path, {"v": 1}, draw)  # type: ignore[arg-type]
    write_images(tmp_path, {"v": 1}, draw)  # type: ignore[arg-type]
    assert len(drawn) == 4
    (tmp_path / "made.json").unlink()  # as a killed run leaves it
    write_images(tmp_path, {"v": 1}, draw)  # type: ignore[arg-type]
    assert len(drawn) == 8
    assert len(read_folder_split(tmp_path, "train")) == 2


def test_the_ladder_spans_six_models_of_three_families_and_more() -> None:
    specs = [spec_from_entry(demo_module._entry(entry)) for entry in LADDER]
    assert len(specs) >= 6
    assert {"resnet", "efficientnet", "vision_transformer"} <= {spec.family for spec in specs}


@pytest.fixture(scope="module")
def small() -> Iterator[None]:
    """The demo with two models, one target of fewer images and one epoch, so that it takes seconds."""
    with pytest.MonkeyPatch.context() as patch:
        chosen = [entry for entry in LADDER if entry["name"] in ("mambaout", "byobnet")]
        patch.setattr(demo_module, "LADDER", chosen)
        patch.setattr(demo_module, "TARGETS", {"digits": few_digits})
        patch.setattr(demo_module, "PRETRAINING", dataclasses.replace(demo_module.PRETRAINING, epochs=1))
        short = dataclasses.replace(demo_module.FINETUNING, epochs=1)
        regimes = {**demo_module.REGIMES, "finetune": ("finetune", short), "scratch": ("scratch", short)}
        patch.setattr(demo_module, "REGIMES", regimes)
        patch.setattr(demo_module, "fractals", lambda seed: fractals(seed, train=8, val=2))
        yield


def few_digits(seed: int) -> Iterator[Any]:
    """Of each split of the digits the first 200."""
    counts: Counter[str] = Counter()
    for image in TARGETS["digits"](seed):
        counts[image[0]] += 1
        if counts[image[0]] <= 200:
            yield image


@pytest.fixture(scope="module")
def done(small: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Study, list[Row], list[Speed]]:
    """A small demo of seed 3 that ran: its folder and what it gave."""
    out = tmp_path_factory.mktemp("demo")
    return out, *demo(out, 3, in_process, Silent())


def test_the_demo_measures_every_cell_and_a_second_run_measures_none(
    done: tuple[Path, Study, list[Row], list[Speed]],
) -> None:
    out, study, rows, speeds = done
    assert [row.error for row in rows] == [None] * 6
    assert {(row.cell.model, row.cell.regime) for row in rows} == {
        (model, regime) for model in ("mambaout", "byobnet") for regime in ("probe", "finetune", "scratch")
    }
    assert {speed.backend for speed in speeds} == {"torch", "onnxruntime"}
    assert study.notes == NOTES
    assert "not ImageNet" in NOTES[0]
    for spec in study.models:
        assert spec.source_top1 is not None
        assert spec.source_n == len(read_folder_split(out / "data" / "fractals", "val"))
        assert state_digest(classifier(spec)) != state_digest(classifier(spec.with_random_weights(0)))
    before = {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")}

    again = demo(out, 3, in_process, Silent())
    assert again[1] == rows
    assert {path: path.stat().st_mtime_ns for path in (out / "runs").rglob("*")} == before


def test_two_demos_of_one_seed_agree_to_the_digit(
    done: tuple[Path, Study, list[Row], list[Speed]], tmp_path: Path
) -> None:
    def numbers(rows: list[Row]) -> list[tuple[object, ...]]:
        return [(row.cell, row.value, row.low, row.high, row.scores_digest, row.source_top1) for row in rows]

    assert numbers(demo(tmp_path, 3, in_process, Silent())[1]) == numbers(done[2])
