"""Whole penalty paths: Featune against a loop of scikit-learn's LogisticRegression, and beyond memory.

    python benchmarks/probe.py small           4,000 x 1,024, 37 classes
    python benchmarks/probe.py large           10,000 x 2,048, 100 classes
    python benchmarks/probe.py file --rows f.npy --labels l.npy    features of your own
    python benchmarks/probe.py near            480 x 96, 12 nearly separable classes; Featune only
    python benchmarks/probe.py memmap          rows of twice the memory limit
    python benchmarks/probe.py gpu             50,000 x 2,048, 1,000 classes; Featune only

Both sides get the same float32 rows, the same 45 penalties, strong to weak, each warm-started from the one
before (the order that is faster for scikit-learn), and the same number of threads. Objectives of both are
computed here, in float64, from their weights. Other work on the machine disturbs wall time; `--threads 1`
and the CPU seconds are the figures to trust then.
"""

import argparse
import json
import os
import platform
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
import sklearn
import torch
from numpy.typing import NDArray
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from threadpoolctl import threadpool_limits

from featune.engine.logistic_regression import KORNBLITH_PENALTIES, PathFit, Solver, fit_path
from featune.engine.probe.protocol import choose_penalty, scores

SIZES = {"small": (4_000, 1_024, 37), "large": (10_000, 2_048, 100), "gpu": (50_000, 2_048, 1_000)}


@dataclass(frozen=True)
class Split:
    rows: NDArray
    labels: NDArray


@dataclass
class Spent:
    wall: float = 0.0
    cpu: float = 0.0


def features(n: int, d: int, classes: int, seed: int, signal: float = 0.15) -> Split:
    """Rows like those of a pooled ReLU network: non-negative, sparse, correlated, with a decaying spectrum.

    The signal is weak enough for a penalty in the middle of the path to be the best.
    """
    rng = np.random.default_rng(seed)
    scale = np.arange(1, d + 1) ** -0.6
    means = signal * rng.standard_normal((classes, d))
    mixing = rng.standard_normal((d, d)) * (scale / np.linalg.norm(scale))[:, None]
    threshold = rng.normal(0.3, 0.5, d)
    labels = rng.integers(0, classes, n)
    latent = means[labels] + rng.standard_normal((n, d))
    return Split(np.maximum(latent @ mixing - threshold, 0).astype(np.float32), labels)


def parted(whole: Split, train: int) -> tuple[Split, Split]:
    return Split(whole.rows[:train], whole.labels[:train]), Split(whole.rows[train:], whole.labels[train:])


def top1(truth: NDArray, found: NDArray) -> float:
    return float((found.argmax(1) == truth).mean())


def objective(split: Split, weights: NDArray, bias: NDArray, penalty: float) -> float:
    """Sum of cross-entropies + penalty / 2 x squared norm of the weights, float64, small losses kept."""
    exact = weights.astype(np.float64)
    margins = split.rows.astype(np.float64) @ exact.T + bias
    margins -= margins[np.arange(len(margins)), split.labels][:, None].copy()
    margins[np.arange(len(margins)), split.labels] = -np.inf
    return float(np.logaddexp(0, logsumexp(margins, axis=1)).sum() + penalty / 2 * (exact**2).sum())


@contextmanager
def timed(spent: Spent) -> Iterator[None]:
    wall, cpu = time.perf_counter(), time.process_time()
    yield
    spent.wall += time.perf_counter() - wall
    spent.cpu += time.process_time() - cpu


def scikit_path(train: Split, penalties: NDArray, threads: int, tolerance: float) -> tuple[PathFit, Spent]:
    """The loop, strong to weak, after a small fit that loads what loads once. Only `fit` is timed."""
    LogisticRegression(C=1e-3).fit(train.rows[:200], train.labels[:200])
    model = LogisticRegression(tol=tolerance, max_iter=100_000, warm_start=True)
    weights, bias, iterations, spent = [], [], [], Spent()
    with threadpool_limits(threads):
        for penalty in penalties:
            model.C = 1 / penalty
            with timed(spent):
                model.fit(train.rows, train.labels)
            weights.append(model.coef_.copy())
            bias.append(model.intercept_.copy())
            iterations.append(int(model.n_iter_[0]))
            print(f"  scikit-learn {penalty:.1e}: {iterations[-1]} iterations", file=sys.stderr)
    blank = np.full(len(penalties), np.nan)
    fit = PathFit(penalties, np.stack(weights), np.stack(bias), blank, blank, blank, blank, np.array(iterations), blank)
    return fit, spent


def featune_path(train: Split, penalties: NDArray, threads: int, solver: Solver | None = None) -> tuple[PathFit, Spent]:
    """The path, after a small one that loads what loads once."""
    spent, solver = Spent(), solver or Solver()
    torch.set_num_threads(threads)
    with threadpool_limits(threads):
        fit_path(train.rows[:200], train.labels[:200], penalties[-1:], solver=solver)
        with timed(spent):
            fit = fit_path(train.rows, train.labels, penalties, solver=solver)
    return fit, spent


def best_threads(train: Split, penalties: NDArray) -> int:
    """scikit-learn's faster setting, by wall time of a few penalties in the middle."""
    middle = penalties[len(penalties) // 4 : len(penalties) // 2 : 4]
    walls = {count: scikit_path(train, middle, count, 1e-6)[1].wall for count in range(1, (os.cpu_count() or 1) + 1)}
    return min(walls, key=walls.__getitem__)


def compare(name: str, train: Split, val: Split, arguments: argparse.Namespace) -> dict[str, Any]:
    """Featune before and after scikit-learn, so that a change in the machine's load shows."""
    penalties = KORNBLITH_PENALTIES[::-1][:: arguments.every]
    threads = arguments.threads or best_threads(train, penalties)
    fit, before = featune_path(train, penalties, threads)
    theirs, loop = scikit_path(train, penalties, threads, 1e-6)
    _, after = featune_path(train, penalties, threads)
    ours = [objective(train, fit.weights[i], fit.bias[i], p) for i, p in enumerate(penalties)]
    others = [objective(train, theirs.weights[i], theirs.bias[i], p) for i, p in enumerate(penalties)]
    worse = (np.array(ours) - others) / others
    chosen = [choose_penalty(found, val.rows, val.labels, top1) for found in (fit, theirs)]
    values = [top1(val.labels, scores(found, i, val.rows)) for found, i in zip((fit, theirs), chosen, strict=True)]
    result = {
        "case": name, "n": len(train.rows), "d": train.rows.shape[1], "classes": len(np.unique(train.labels)),
        "penalties": len(penalties), "threads": threads,
        "featune_wall_s": [before.wall, after.wall], "featune_cpu_s": [before.cpu, after.cpu],
        "scikit_wall_s": loop.wall, "scikit_cpu_s": loop.cpu,
        "wall_ratio": loop.wall / max(before.wall, after.wall), "cpu_ratio": loop.cpu / max(before.cpu, after.cpu),
        "unconverged": int((~fit.converged).sum()), "largest_gap": float(fit.gap.max()),
        "featune_products": int(fit.products.sum()), "scikit_iterations": int(theirs.iterations.sum()),
        "worst_objective_excess": float(worse.max()), "best_objective_excess": float(worse.min()),
        "chosen": [float(penalties[i]) for i in chosen], "val_n": len(val.rows), "val_top1": values,
    }  # fmt: skip
    print(f"{'penalty':>9} {'ours':>14} {'theirs':>14} {'excess':>9} {'gap':>8} {'products':>8} {'iterations':>10}")
    for i in range(0, len(penalties), 4):
        print(
            f"{penalties[i]:9.1e} {ours[i]:14.7g} {others[i]:14.7g} {worse[i]:9.1e} {fit.gap[i]:8.0e} "
            f"{fit.products[i]:8d} {theirs.iterations[i]:10d}"
        )
    return result


def anonymous_bytes() -> int:
    """Memory of this process that is not a mapped file."""
    fields = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    return int(fields["RssAnon"].split()[0]) * 1024


@contextmanager
def peak_of_memory(out: dict[str, Any]) -> Iterator[None]:
    """Puts the growth of anonymous memory into out, from samples every 10 ms."""
    base, stop = anonymous_bytes(), threading.Event()
    peak = [base]

    def watch() -> None:
        while not stop.wait(0.01):
            peak[0] = max(peak[0], anonymous_bytes())

    watcher = threading.Thread(target=watch)
    watcher.start()
    yield
    stop.set()
    watcher.join()
    out["peak_growth_bytes"] = peak[0] - base


def beyond_memory(arguments: argparse.Namespace) -> dict[str, Any]:
    """A memmap of twice the limit against the same rows in memory."""
    split = features(80_000, 1_024, 10, seed=2)
    threads = arguments.threads or os.cpu_count() or 1
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/rows.npy", split.rows)
        stored = Split(np.load(f"{folder}/rows.npy", mmap_mode="r"), split.labels)
        limit = stored.rows.nbytes // 2
        penalties = KORNBLITH_PENALTIES[::-1][:: arguments.every]
        inside, quick = featune_path(split, penalties, threads)
        del split
        result: dict[str, Any] = {"case": "memmap", "n": 80_000, "d": 1_024, "classes": 10, "threads": threads}
        with peak_of_memory(result):
            chunked, slow = featune_path(stored, penalties, threads, Solver(memory_limit=limit))
    difference = np.abs(chunked.objective / inside.objective - 1).max()
    return result | {
        "rows_bytes": stored.rows.nbytes, "limit_bytes": limit, "penalties": len(penalties),
        "memmap_wall_s": slow.wall, "memory_wall_s": quick.wall, "largest_objective_difference": float(difference),
        "unconverged": int((~chunked.converged).sum()),
    }  # fmt: skip


def nearly_separable(arguments: argparse.Namespace) -> dict[str, Any]:
    """Overlapping classes in features of a spectrum that falls by four orders, like those of a small network."""
    rng = np.random.default_rng(0)
    n, d, classes = 480, 96, 12
    labels = rng.permutation(np.arange(n) % classes)
    latent = 0.5 * rng.standard_normal((classes, 16))[labels] + rng.standard_normal((n, 16))
    hidden = np.maximum(latent @ rng.standard_normal((16, 64)) / 4, 0)
    rows = np.maximum(hidden @ rng.standard_normal((64, d)) / 8, 0) + 1e-3 * rng.standard_normal((n, d))
    split = Split(rows.astype(np.float32), labels)
    if arguments.rows:
        split = Split(np.load(arguments.rows).astype(np.float32), np.load(arguments.labels))
    penalties = KORNBLITH_PENALTIES[::-1][:: arguments.every]
    fit, spent = featune_path(split, penalties, arguments.threads or 1)
    return {
        "case": "near", "n": len(split.rows), "d": split.rows.shape[1], "classes": len(np.unique(split.labels)),
        "penalties": len(penalties), "cpu_s": spent.cpu, "wall_s": spent.wall, "products": int(fit.products.sum()),
        "newton_steps": int(fit.iterations.sum()), "unconverged": int((~fit.converged).sum()),
        "largest_gap": float(fit.gap.max()),
    }  # fmt: skip


def on_gpu(arguments: argparse.Namespace) -> dict[str, Any]:
    n, d, classes = SIZES["gpu"]
    split = features(n, d, classes, seed=3)
    penalties = KORNBLITH_PENALTIES[::-1][:: arguments.every]
    fit, spent = featune_path(split, penalties, os.cpu_count() or 1, Solver(device="cuda"))
    return {
        "case": "gpu", "n": n, "d": d, "classes": classes, "penalties": len(penalties), "wall_s": spent.wall,
        "device": torch.cuda.get_device_name(), "products": int(fit.products.sum()),
        "unconverged": int((~fit.converged).sum()), "largest_gap": float(fit.gap.max()),
    }  # fmt: skip


def versions() -> dict[str, str]:
    found = {module.__name__: module.__version__ for module in (np, scipy, sklearn, torch)}
    return found | {"python": platform.python_version(), "cpus": str(os.cpu_count()), "date": time.strftime("%F")}


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    if arguments.case == "memmap":
        return beyond_memory(arguments)
    if arguments.case == "near":
        return nearly_separable(arguments)
    if arguments.case == "gpu":
        return on_gpu(arguments)
    if arguments.case == "file":
        whole = Split(np.load(arguments.rows).astype(np.float32), np.load(arguments.labels))
        order = np.random.default_rng(0).permutation(len(whole.labels))
        train = len(order) * 4 // 5
        return compare("file", *parted(Split(whole.rows[order], whole.labels[order]), train), arguments)
    n, d, classes = SIZES[arguments.case]
    return compare(arguments.case, *parted(features(n + n // 4, d, classes, seed=1), n), arguments)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=[*SIZES, "file", "near", "memmap"])
    parser.add_argument("--threads", type=int, default=0, help="of both sides; 0: what is fastest for scikit-learn")
    parser.add_argument("--every", type=int, default=1, help="take every so many of the 45 penalties, on both sides")
    parser.add_argument("--rows", type=Path)
    parser.add_argument("--labels", type=Path)
    parser.add_argument("--json", type=Path, help="also write the result here")
    arguments = parser.parse_args()
    result = measured(arguments) | {"versions": versions(), "load": os.getloadavg()}
    print(json.dumps(result, indent=1))
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
