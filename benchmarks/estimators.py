"""How long the transferability estimators take; how often noise is called better than chance is in coverage.py.

`python benchmarks/estimators.py time [IMAGES WIDTH CLASSES]`: rows are made up, with a spectrum that falls as that of
real features does and classes that lie apart; the time hardly depends on the values, but for N-LEEP's, whose mixture
takes up to 100 steps. One thread.
"""

import os
import sys
import time

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np

from featune.bench.estimators import ESTIMATORS
from featune.engine.metrics import softmax


def times(n: int = 3680, width: int = 2048, classes: int = 37, sources: int = 1000) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(n) % classes
    spread = np.arange(1, width + 1) ** -0.8
    rows = ((rng.normal(size=(n, width)) + rng.normal(size=(classes, width))[labels]) * spread).astype(np.float32)
    theta = softmax(4 * (rng.normal(size=(n, sources)) + 0.5 * rng.normal(size=(classes, sources))[labels]))
    print(f"n = {n}, width = {width}, {classes} classes, {sources} source classes; numpy {np.__version__}, one thread")
    for name, one in ESTIMATORS.items():
        wall, processor = time.perf_counter(), time.process_time()
        value = one.function(rows if one.needs == "features" else theta, labels)
        wall, processor = time.perf_counter() - wall, time.process_time() - processor
        print(f"{name:10} {wall:7.2f} s wall {processor:7.2f} s processor   value {value:.4f}", flush=True)


if __name__ == "__main__":
    times(*map(int, sys.argv[2:]))
