"""A disk that takes no more is one sentence, whatever the library that was writing makes of it.

The limit is a real one, of the size of a file (RLIMIT_FSIZE), which the system refuses as it refuses a full disk.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from featune.engine.disk import refusals_of
from featune.engine.errors import BadInput
from featune.engine.store import made_beside, written_whole

ROWS = torch.arange(200_000, dtype=torch.float32)  # 800 kB


def save_npz(path: Path) -> None:
    with open(path, "wb") as file:
        np.savez(file, rows=ROWS.numpy())


WRITERS: dict[str, Callable[[Path], object]] = {
    "torch": lambda path: torch.save({"rows": ROWS}, path),
    "numpy": lambda path: np.save(path, ROWS.numpy()),
    "npz": save_npz,
    "safetensors": lambda path: save_file({"rows": ROWS}, path),
    "bytes": lambda path: path.write_bytes(ROWS.numpy().tobytes()),
}


@pytest.mark.parametrize("library", WRITERS)
def test_a_full_disk_is_one_sentence_whatever_library_writes(
    library: str, tmp_path: Path, files_of_at_most: Callable[[int], None]
) -> None:
    path = tmp_path / "rows.npy"
    path.write_bytes(b"before")
    files_of_at_most(100_000)
    said = r"^cannot write .*/rows.npy: File too large; choose another --out"
    with pytest.raises(BadInput, match=said), written_whole(path) as temporary:
        WRITERS[library](temporary)
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("library", WRITERS)
def test_so_it_is_where_a_folder_of_files_is_made(
    library: str, tmp_path: Path, files_of_at_most: Callable[[int], None]
) -> None:
    files_of_at_most(100_000)
    with pytest.raises(BadInput, match="File too large"), made_beside(tmp_path / "rows.npy") as made:
        made.with_name("small.txt").write_text("small")
        WRITERS[library](made)
    assert list(tmp_path.iterdir()) == []


def test_an_error_of_its_own_is_raised_as_it_is_where_the_disk_takes_more(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="wrong number"), written_whole(tmp_path / "rows.npy") as temporary:
        temporary.write_bytes(b"half")
        raise ValueError("wrong number")
    with pytest.raises(RuntimeError, match="empty"), refusals_of(tmp_path / "rows.npy", tmp_path):
        raise RuntimeError("empty")
