"""Output of any encoding, users without a home, and commands as they were given."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from rich.table import Table

from featune.bench.progress import Lines
from featune.bench.terminal import command_line, json_text, write_in_any_encoding
from featune.engine.errors import BadInput
from featune.engine.store import cache_dir


@pytest.mark.parametrize(
    ("encoding", "errors", "written"),
    [
        # https://github.com/Textualize/rich/issues/212: the dash between the ends of an interval ended a finished study
        ("ascii", "strict", b"a - b e ? 10 % <=\xff"),
        ("ascii", "surrogateescape", b"a - b e ? 10 % <=\xff"),  # of LC_ALL=C
        ("latin-1", "strict", b"a - b \xe9 ? 10\xa0% <=\xff"),
        ("cp1252", "strict", b"a \x96 b \xe9 ? 10\xa0% <=\xff"),
        ("utf-8", "strict", "a – b é 猫 10\u00a0% ≤".encode() + b"\xff"),
    ],
)
@pytest.mark.parametrize("stream", ["stdout", "stderr"])
def test_an_output_of_another_encoding_takes_every_text(
    encoding: str, errors: str, written: bytes, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, stream, io.TextIOWrapper(raw, encoding=encoding, errors=errors))
    write_in_any_encoding()
    output = getattr(sys, stream)
    print("a – b é 猫 10\u00a0% ≤\udcff", file=output, end="", flush=True)
    assert raw.getvalue() == written
    table = Table("modèle")
    table.add_row("98.0 [97–99]")
    Console(file=output, width=80).print(table)
    Lines(output).say("café – …")


@pytest.mark.parametrize("encoding", ["ascii", "utf-8", "utf-16", "koi8-r"])
def test_json_comes_back_as_it_was_in_every_encoding(encoding: str, monkeypatch: pytest.MonkeyPatch) -> None:
    raw, value = io.BytesIO(), {"name": "café – 猫", "file": "a\udcff"}
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
    write_in_any_encoding()
    print(json_text(value), flush=True)
    assert json.loads(raw.getvalue().decode(encoding)) == value


def test_a_command_in_ascii_ends_well(tmp_path: Path) -> None:
    for encoding in ("ascii", "latin-1"):
        environment = os.environ | {"PYTHONIOENCODING": encoding, "FEATUNE_CACHE_DIR": str(tmp_path)}
        done = subprocess.run([sys.executable, "-m", "featune", "tasks"], env=environment, capture_output=True)
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"pets" in done.stdout


def test_a_user_without_a_home_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def none() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", none)
    for name in ("FEATUNE_CACHE_DIR", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(BadInput, match="has no home folder, where the cache would be; set FEATUNE_CACHE_DIR"):
        cache_dir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_dir() == tmp_path / "featune"


def test_a_command_is_given_back_with_the_options_that_it_had() -> None:
    assert command_line("featune", "study", "run", Path("my study.yaml"), out=Path("runs/a"), device=None) == (
        "featune study run 'my study.yaml' --out runs/a"
    )
    assert command_line("featune", "demo", seed=0, trust=True, other=False) == "featune demo --seed 0 --trust"
