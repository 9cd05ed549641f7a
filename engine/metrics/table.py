"""Truth and scores in, one number out; METRICS is the table of them all.

truth is int [n], the class of each example, or, for tasks with several labels per image, bool [n, k].
scores are float [n, k], logits or probabilities; the higher, the more likely. `METRICS[name](truth, scores)`
is one float.

What is the same for all:
- NaN scores, labels outside [0, k), empty input and wrong shapes raise BadInput. Infinite scores are fine.
- Of tied scores the lowest class wins an argmax; a metric over rankings treats tied examples as one group, so
  that no metric depends on the order of the files.
- What is undefined (a class without examples, say) is left out of a mean over classes; where nothing is left,
  the metric raises BadInput.

A new metric is one function in the module of its kind, and one line here. `definition.py` says what it returns.
"""

from .accuracy import mean_per_class, real_accuracy, top1, top5
from .calibration import brier, ece, log_loss
from .definition import Metric
from .f1 import f1_macro, f1_micro, f1_samples
from .kappa import quadratic_kappa
from .ranking import map_11point, map_voc2010, mean_average_precision, roc_auc

METRICS: dict[str, Metric] = {
    # the class with the highest score
    "top1": top1,
    "top5": top5,
    "real_accuracy": real_accuracy,
    "mean_per_class": mean_per_class,
    "balanced_accuracy": mean_per_class,
    "quadratic_kappa": quadratic_kappa,
    # classes found and missed
    "f1_macro": f1_macro,
    "f1_micro": f1_micro,
    "f1_samples": f1_samples,
    # the order of the images
    "map_11point": map_11point,
    "map_voc2010": map_voc2010,
    "map": mean_average_precision,
    "roc_auc": roc_auc,
    # probabilities
    "log_loss": log_loss,
    "brier": brier,
    "ece": ece,
}
