"""The estimators of transferability by name: what each is computed from and where it is defined."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from featune.engine.errors import BadInput, nearest

from .feature_geometry import class_separation, frechet_nearness
from .feature_scores import h_score, logme, nleep, transrate
from .source_scores import leep, nce


@dataclasses.dataclass(frozen=True)
class Estimator:
    """function: an array [n, columns] and labels to one number, the higher the better.

    needs: whether that array holds the model's features or its probabilities of the source classes; of "source images"
    it holds features, and the model's features of source images [m, columns] stand in the labels' place.
    several_labels: whether it is defined where an image has several labels or none. usual: whether `all` means it too.
    """

    title: str
    function: Callable[[Any, Any], float]
    needs: Literal["features", "source", "source images"]
    several_labels: bool
    source: str
    usual: bool = True


ESTIMATORS: dict[str, Estimator] = {
    "logme": Estimator("LogME", logme, "features", True, "You et al. 2021"),
    "leep": Estimator("LEEP", leep, "source", False, "Nguyen et al. 2020"),
    "nce": Estimator("NCE", nce, "source", False, "Tran et al. 2019"),
    "h_score": Estimator("regularised H-score", h_score, "features", False, "Ibrahim et al. 2022"),
    "nleep": Estimator("N-LEEP", nleep, "features", False, "Li et al. 2021"),
    "transrate": Estimator("TransRate", transrate, "features", False, "Huang et al. 2022"),
    "class_separation": Estimator(
        "class separation", class_separation, "features", False, "Kornblith et al. 2021", usual=False
    ),
    "frechet": Estimator(
        "nearness to the source images", frechet_nearness, "source images", True, "Heusel et al. 2017", usual=False
    ),
}
USUAL = tuple(name for name, each in ESTIMATORS.items() if each.usual)  # what `all` of a study file means


def estimator(name: str) -> Estimator:
    if name not in ESTIMATORS:
        raise BadInput(
            f"no estimator named {name!r}{nearest(name, ESTIMATORS)}; one of {', '.join(ESTIMATORS)}, or all"
        )
    return ESTIMATORS[name]
