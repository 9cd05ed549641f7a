"""The cache that the tests of its care begin with."""

from pathlib import Path

import pytest
from cache_items import GRAPH, PACK, PLAN, put


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    """Three items of 1000, 300 and 20 bytes, used 2, 10 and 30 days ago, and a record."""
    put(tmp_path / "graphs" / GRAPH, 300, 10)
    put(tmp_path / "plans" / PLAN, 1000, 2)
    put(tmp_path / "data" / PACK / "00000.tar", 12, 40)
    put(tmp_path / "data" / PACK / "00001.tar", 8, 30)
    put(tmp_path / "judged" / "c.json", 5, 300)
    (tmp_path / "graphs" / f"{GRAPH}.lock").touch()
    return tmp_path
