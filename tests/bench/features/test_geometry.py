"""Separation, similarity and distance of stored features, by key."""

from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from featune.bench.cli.app import app
from featune.bench.data import Data
from featune.bench.estimators import class_separation, frechet_distance, linear_cka
from featune.bench.features import distance, note_origin, separation, similarity
from featune.engine.errors import BadInput
from featune.engine.features import FeatureKey, FeatureStore, Options
from featune.engine.images import Labelled
from featune.engine.models import View
from tests.conftest import write_image

VIEW = View(32)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def images(folder: Path, colours: list[tuple[int, int, int]], broken: int | None = None) -> Labelled:
    names = [f"{at}.png" for at in range(3 * len(colours))]
    for at, name in enumerate(names):
        write_image(folder / name, colours[at // 3], at)
    if broken is not None:
        (folder / names[broken]).write_bytes(b"no image")
    return Labelled(str(folder), tuple(names), tuple((at // 3,) for at in range(len(names))))


def stored(store: Path, items: Labelled, model: str, scale: float = 1.0) -> tuple[str, np.ndarray]:
    """The mean colour of each image, in an order that is the model's own."""
    key = FeatureKey(model, VIEW, items.content_digest, "torch:cpu")

    def opened(threads: int):
        import contextlib

        turn = [2, 0, 1] if model == "turned" else [0, 1, 2]
        return contextlib.nullcontext(lambda batch: scale * batch.float().mean((2, 3))[:, turn])

    note_origin(store, [key], Data("colours", items, ("red", "green", "blue", "grey")))
    rows = FeatureStore(store).rows(key, items, opened, options=Options(on_error="skip", batch=4, workers=1))
    return key.name, np.array(rows)


COLOURS = [(200, 60, 50), (50, 190, 70), (40, 60, 200), (120, 120, 120)]


def test_separation_is_by_the_labels_that_lie_with_the_rows(store: Path, tmp_path: Path) -> None:
    key, rows = stored(store, images(tmp_path / "a", COLOURS), "plain")
    found = separation(store, key[:8])
    assert found.value == pytest.approx(class_separation(rows, np.repeat(range(4), 3)))
    assert found.n == (12,)


def test_two_models_are_compared_on_the_images_that_both_could_read(store: Path, tmp_path: Path) -> None:
    items = images(tmp_path / "a", COLOURS, broken=2)
    one, rows = stored(store, items, "plain")
    other, turned = stored(store, items, "turned", 3.0)
    assert len(rows) == 11
    assert similarity(store, one, other).value == pytest.approx(1)  # the same but for rotation and scale
    assert similarity(store, one, other, debiased=False).value == pytest.approx(
        linear_cka(rows, turned, debiased=False)
    )
    elsewhere, _ = stored(store, images(tmp_path / "b", COLOURS[::-1]), "plain")
    with pytest.raises(BadInput, match="of other images"):
        similarity(store, one, elsewhere)


def test_the_distance_is_of_one_models_features_of_two_sets(store: Path, tmp_path: Path) -> None:
    one, rows = stored(store, images(tmp_path / "a", COLOURS), "plain")
    other, others = stored(store, images(tmp_path / "b", COLOURS[:2]), "plain")
    assert distance(store, one, other).value == pytest.approx(frechet_distance(rows, others))
    turned, _ = stored(store, images(tmp_path / "b", COLOURS[:2]), "turned")
    with pytest.raises(BadInput, match="of two models"):
        distance(store, one, turned)
    said = CliRunner().invoke(app, ["features", "distance", one, other, "--store", str(store)])
    assert said.exit_code == 0, said.output
    assert "squared Frechet distance" in said.stdout
    assert "12 and 6 images" in said.stdout
