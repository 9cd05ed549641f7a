"""How long a bootstrap interval of 10,000 resamples of 10,000 test images takes. Prints a table; nothing is written."""

import time

import numpy as np

from featune.bench.stats import interval

IMAGES = 10_000


def several_labels(classes: int, share: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """truth bool [n, k], each label true of a share of the images, and scores [n, k]."""
    rng = np.random.default_rng(seed)
    truth = rng.random((IMAGES, classes)) < share
    return truth, rng.normal(size=truth.shape) + truth


def one_label(classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """truth int [n] and scores [n, k]."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, classes, IMAGES)
    scores = rng.normal(size=(IMAGES, classes))
    scores[np.arange(IMAGES), truth] += 2
    return truth, scores


CASES = {
    ("map", "20 classes, 5 % of the images each"): several_labels(20, 0.05),
    ("map_11point", "20 classes, 5 % of the images each"): several_labels(20, 0.05),
    ("map", "80 classes, 3 % of the images each"): several_labels(80, 0.03),
    ("roc_auc", "10 classes, one label"): one_label(10),
    ("roc_auc", "100 classes, one label"): one_label(100),
    ("roc_auc", "20 classes, half of the images each"): several_labels(20, 0.5),
    ("mean_per_class", "100 classes, one label"): one_label(100),
    ("top1", "100 classes, one label, as a bootstrap"): one_label(100),
    ("quadratic_kappa", "5 classes, one label"): one_label(5),
    ("f1_macro", "100 classes, one label"): one_label(100),
    ("f1_macro", "28 classes, 5 % of the images each"): several_labels(28, 0.05),
    ("f1_micro", "28 classes, 5 % of the images each"): several_labels(28, 0.05),
    ("f1_samples", "28 classes, 5 % of the images each"): several_labels(28, 0.05),
    ("map_voc2010", "20 classes, 5 % of the images each"): several_labels(20, 0.05),
    ("log_loss", "100 classes, one label"): one_label(100),
    ("brier", "100 classes, one label"): one_label(100),
    ("ece", "100 classes, one label"): one_label(100),
}

if __name__ == "__main__":
    print("| metric | data | seconds of one CPU | by the clock | interval |\n|---|---|---:|---:|---|")
    for (metric, says), (truth, scores) in CASES.items():
        began, used = time.perf_counter(), time.process_time()
        low, high = interval(metric, truth, scores, method="percentile")
        cpu, clock = time.process_time() - used, time.perf_counter() - began
        print(f"| `{metric}` | {says} | {cpu:.1f} | {clock:.1f} | {low:.5f} to {high:.5f} |", flush=True)
