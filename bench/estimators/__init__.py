"""Scores that predict transfer without training, and how well they do."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .feature_geometry import class_separation, frechet_distance, linear_cka
    from .feature_scores import h_score, logme, nleep, transrate
    from .judge import CHANCE, SOURCE, TIME, Judged, judged
    from .source_scores import leep, nce
    from .table import ESTIMATORS, USUAL, estimator
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CHANCE",
    "ESTIMATORS",
    "SOURCE",
    "TIME",
    "USUAL",
    "Judged",
    "class_separation",
    "estimator",
    "frechet_distance",
    "h_score",
    "judged",
    "leep",
    "linear_cka",
    "logme",
    "nce",
    "nleep",
    "transrate",
]
