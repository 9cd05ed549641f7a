"""A cache folder with items of every age, as tests of its care take it."""

import os
from pathlib import Path
from typing import Any

from featune.bench.cache import contents, pruned

NOW = 2_000_000_000.0
DAY = 24 * 3600.0
GRAPH, NEW = "a" * 16 + ".onnx", "c" * 16 + ".int8-cpu-" + "d" * 16 + ".onnx"
PLAN, PACK = "b" * 16 + ".plan", "cifar10-" + "e" * 16


def put(path: Path, size: int, days_ago: float) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"x" * size)
    os.utime(path, (NOW - days_ago * DAY,) * 2)
    return path


def names(cache: Path) -> set[str]:
    return {item.name for item in contents(cache) if item.kind != "records"}


def prune(cache: Path, **options: Any) -> Any:
    return pruned(cache, clock=lambda: NOW, **options)
