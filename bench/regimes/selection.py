"""What a choice on val is made by: the task's metric, and with it the threshold of an F1 of several labels."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from numpy.typing import NDArray

from featune.engine.metrics import METRICS, OF_LABELS, choose_threshold

THRESHOLD = "threshold"  # its name among the details of a row, and the metric's own option


@dataclasses.dataclass
class Goodness:
    """The metric on val as a value of which more is better; called with scores [n, classes].

    truth: of val, int [n] or [n, classes] with -1 for unknown. An F1 of several labels is judged at the best
    common threshold on val, and the threshold is kept: the same is to be used on test. Heads have scores of many kinds
    (votes, margins, logits), so that no fixed threshold would be fair to all.
    """

    metric: str
    truth: NDArray[Any]
    thresholds: list[float] = dataclasses.field(default_factory=list)  # of each call

    @property
    def has_threshold(self) -> bool:
        return self.metric in OF_LABELS and self.truth.ndim == 2

    def __call__(self, scores: NDArray[Any]) -> float:
        chosen = METRICS[self.metric]
        if self.has_threshold:
            threshold = float(choose_threshold(self.truth, scores, self.metric))
            self.thresholds.append(threshold)
            return chosen(self.truth, scores, threshold=threshold)
        return chosen(self.truth, scores) if chosen.higher_is_better else -chosen(self.truth, scores)

    def ahead(self, scores: NDArray[Any]) -> float:
        """What logits are worth on val in the midst of a training, more is better: minus the log loss.

        Early on accuracy may be the highest at the lowest rates, see benchmarks/halving.md. Of several labels: by the
        metric.
        """
        return self(scores) if self.truth.ndim == 2 else -METRICS["log_loss"](self.truth, scores, kind="logits")

    def details(self, call: int) -> dict[str, float]:
        """The threshold of a call, counted from 0, as a detail of a row; nothing for other metrics."""
        return {THRESHOLD: self.thresholds[call]} if self.has_threshold else {}


def metric_options(details: Mapping[str, Any]) -> dict[str, Any]:
    """What the metric is to be called with on test, beyond truth and scores."""
    return {THRESHOLD: details[THRESHOLD]} if THRESHOLD in details else {}
