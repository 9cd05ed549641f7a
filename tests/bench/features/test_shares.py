"""`featune extract --shard` and `--merge` by the command: shares, their merge, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.testing

from featune.bench.cli.app import app

COMMON = ["--untrained", "--img-size", "32", "--backend", "torch", "--batch", "2", "--split", "all", "-q", "--json"]


@pytest.fixture
def extract(image_folder: Callable[..., Path]) -> Callable[..., Any]:
    folder = str(image_folder(train=2, val=1, test=1))

    def run(store: Path, *words: str) -> Any:
        given = ["extract", "test_resnet", folder, *COMMON, "--store", str(store), *words]
        return typer.testing.CliRunner().invoke(app, given)

    return run


def test_shares_and_their_merge_leave_the_file_of_one_run(extract: Callable[..., Any], tmp_path: Path) -> None:
    for number in (2, 1, 3):
        assert extract(tmp_path / "shares", "--shard", f"{number}/3").exit_code == 0
    done = extract(tmp_path / "shares", "--merge", "3")
    (merged,) = json.loads(done.stdout)
    (one,) = json.loads(extract(tmp_path / "one").stdout)
    assert (merged["key"], merged["rows"]) == (one["key"], one["rows"]) == (one["key"], 12)
    assert Path(merged["file"]).read_bytes() == Path(one["file"]).read_bytes()
    (again,) = json.loads(extract(tmp_path / "shares").stdout)
    assert again["pass"]["images"] == 0  # nothing left to compute


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--shard", "1/9"], "take fewer shares"),
        (["--shard", "1/2", "--merge", "2"], "exclude each other"),
        (["--shard", "1/2", "--precision", "int8"], "featune export"),
        (["--merge", "2"], "run this share again"),
        (["--shard", "3/2"], "I from 1 to N expected"),
    ],
)
def test_what_shares_cannot_have_is_refused(
    extract: Callable[..., Any], tmp_path: Path, words: list[str], said: str
) -> None:
    done = extract(tmp_path, *words)
    assert done.exit_code == 2
    assert said in done.stderr
