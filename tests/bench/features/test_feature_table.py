"""Feature tables as files hold them."""

from pathlib import Path

import numpy as np
import pytest

from featune.bench.features import read_table
from featune.engine.errors import BadInput


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_that_are_not_finite_are_refused_by_file_row_and_image(bad: float, tmp_path: Path) -> None:
    rows = np.ones((5, 3), dtype=np.float32)
    rows[3, 1] = bad
    columns = {
        "label": np.array(["0"] * 5),
        "path": np.array([f"{i}.png" for i in range(5)]),
        "classes": np.array(["a"]),
    }
    np.savez(tmp_path / "train.npz", rows=rows, **columns)
    with pytest.raises(BadInput, match=r"train.npz: row 3 \(3.png\) holds NaN or infinity; finite numbers expected"):
        read_table(tmp_path / "train.npz")
    rows[4] = bad
    np.savez(tmp_path / "train.npz", rows=rows, **columns)
    with pytest.raises(BadInput, match="and 1 more;"):
        read_table(tmp_path / "train.npz")
