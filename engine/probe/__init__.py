"""Classifiers on frozen features, chosen on val: logistic regression, nearest neighbours, ridge, class means."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .few_shot_draws import few_shot
    from .nearest_class_mean import class_means
    from .nearest_neighbours import knn
    from .protocol import Probe, probe
    from .ridge_classifier import ridge
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["Probe", "class_means", "few_shot", "knn", "probe", "ridge"]
