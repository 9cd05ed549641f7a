"""Folders that are no task: each gets one clear error."""

from collections.abc import Callable
from pathlib import Path

import pytest

from featune.bench.data import Source, look
from featune.engine.errors import BadInput


def test_a_class_that_only_test_has_is_named(image_folder: Callable[..., Path]) -> None:
    folder = image_folder()
    (folder / "test" / "red").rename(folder / "test" / "violet")
    with pytest.raises(BadInput, match="no images of class violet"):
        look(Source("colours", folder=folder))


def test_a_missing_split_folder_is_named(image_folder: Callable[..., Path]) -> None:
    with pytest.raises(BadInput, match="no test folder"):
        look(Source("colours", folder=image_folder(train=3, val=2)))


def test_the_remedy_for_a_folder_without_test_works(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(train=5, val=2)
    with pytest.raises(BadInput, match="call val test, and a val is cut from train"):
        look(Source("colours", folder=folder))
    (folder / "val").rename(folder / "test")
    found = look(Source("colours", folder=folder)).splits
    assert len(found["test"]) == 2 * len(found["val"])  # of 5 images of each class one, of test two


def test_an_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no images found"):
        look(Source("empty", folder=tmp_path))
