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


def test_an_empty_folder_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no images found"):
        look(Source("empty", folder=tmp_path))
