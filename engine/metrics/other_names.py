"""Names by which other libraries call the metrics of METRICS."""

from .table import METRICS

OTHER_NAMES = {
    "accuracy": "top1",
    "acc": "top1",
    "acc1": "top1",
    "top_1": "top1",
    "top1_accuracy": "top1",
    "acc5": "top5",
    "top_5": "top5",
    "top5_accuracy": "top5",
    "balanced_acc": "balanced_accuracy",
    "mean_per_class_accuracy": "mean_per_class",
    "kappa": "quadratic_kappa",
    "qwk": "quadratic_kappa",
    "quadratic_weighted_kappa": "quadratic_kappa",
    "macro_f1": "f1_macro",
    "micro_f1": "f1_micro",
    "samples_f1": "f1_samples",
    "mean_average_precision": "map",
    "auc": "roc_auc",
    "auroc": "roc_auc",
    "rocauc": "roc_auc",
    "nll": "log_loss",
    "cross_entropy": "log_loss",
    "neg_log_loss": "log_loss",
    "brier_score": "brier",
    "expected_calibration_error": "ece",
}


def usual_name(metric: str) -> str:
    """The name in METRICS that is meant: `accuracy`, `Top-1` and `acc` are `top1`. Other words come back."""
    if metric in METRICS:
        return metric
    word = metric.strip().lower().replace("-", "_").replace(" ", "_").replace("@", "")
    return word if word in METRICS else OTHER_NAMES.get(word, metric)
