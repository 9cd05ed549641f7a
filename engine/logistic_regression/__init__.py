"""The solver: logistic regression over a whole path of penalties, to a stated tolerance."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .design_matrix import Solver
    from .feature_rows import Rows, checked_labels, checked_truth, refuse_unfinite, stacked_rows
    from .penalty_path import (
        ABSENT,
        DEFAULT_SOLVER,
        KORNBLITH_PENALTIES,
        PathFit,
        check_penalties,
        fit_path,
        fit_path_multilabel,
    )
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "ABSENT",
    "DEFAULT_SOLVER",
    "KORNBLITH_PENALTIES",
    "PathFit",
    "Rows",
    "Solver",
    "check_penalties",
    "checked_labels",
    "checked_truth",
    "fit_path",
    "fit_path_multilabel",
    "refuse_unfinite",
    "stacked_rows",
]
