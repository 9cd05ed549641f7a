"""What a probe costs with many classes: the whole path of 45 penalties, the choice on val and the refit.

    python benchmarks/probe_classes.py [--classes 100 1000 5000] [--width 512] [--images 5] [--threads 1]

Rows are made up as in `benchmarks/probe.py`, `--images` of each class for training and two for val. Prints processor
and wall seconds, passes over the rows, penalties that did not converge, and peak memory.
"""

import argparse
import resource
import time

import numpy as np
import torch
from probe import features, top1
from threadpoolctl import threadpool_limits

from featune.engine.logistic_regression import KORNBLITH_PENALTIES, fit_path
from featune.engine.probe import probe


def split(classes: int, width: int, images: int) -> tuple[np.ndarray, np.ndarray]:
    """(rows, labels) with so many images of each class, in the order of no class."""
    made = features(4 * classes * images, width, classes, seed=0, signal=0.4)
    chosen = np.concatenate([np.flatnonzero(made.labels == label)[:images] for label in range(classes)])
    np.random.default_rng(1).shuffle(chosen)
    return made.rows[chosen], made.labels[chosen]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--classes", type=int, nargs="+", default=[100, 1000, 5000])
    parser.add_argument("--width", type=int, default=512)
    parser.add_argument("--images", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--path-alone", action="store_true", help="without choice and refit; prints the passes")
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    threadpool_limits(given.threads)
    for classes in given.classes:
        rows, labels = split(classes, given.width, given.images + 2)
        count = classes * given.images
        began, worked = time.perf_counter(), time.process_time()
        if given.path_alone:
            fit = fit_path(rows[:count], labels[:count], KORNBLITH_PENALTIES, classes=classes)
            said = f"{int(fit.products.sum())} passes, {int((~fit.converged).sum())} of 45 penalties not converged"
        else:
            made = probe(rows[:count], labels[:count], rows[count:], labels[count:], top1, classes=classes)
            said = f"val top-1 {made.val_values.max():.3f} at {made.penalty:.2g}, {made.unconverged} not converged"
        wall, cpu = time.perf_counter() - began, time.process_time() - worked
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print(
            f"{classes} classes, {count} x {given.width}, {given.threads} threads: {cpu:.1f} s of processor time, "
            f"{wall:.1f} s; {said}; {peak:.0f} MB",
            flush=True,
        )


if __name__ == "__main__":
    main()
