"""What a study file may set of each regime, with its defaults."""

import dataclasses
from typing import Literal

from featune.engine.finetune import Recipe


@dataclasses.dataclass(frozen=True)
class ProbeSetting:
    """Logistic regression on frozen features, chosen on val, refitted on train + val.

    penalties: empty for the papers' 45, 1e-6 to 1e5. shots: where given, training sees so many images of each
    class, drawn by the cell's seed (several seeds are several draws), and there is no refit.
    """

    penalties: tuple[float, ...] = ()
    standardise: bool = False
    shots: int | None = None


@dataclasses.dataclass(frozen=True)
class KnnSetting:
    """Nearest neighbours. counts: tried in turn and chosen on val."""

    counts: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200)
    distance: Literal["cosine", "euclidean"] = "cosine"
    weighting: Literal["temperature", "uniform", "distance"] = "temperature"
    temperature: float = 0.07


@dataclasses.dataclass(frozen=True)
class RidgeSetting:
    """Ridge classifier. penalties: empty for the papers' 45."""

    penalties: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class MeansSetting:
    """Nearest class mean; nothing is chosen."""

    distance: Literal["cosine", "euclidean"] = "cosine"


Setting = ProbeSetting | KnnSetting | RidgeSetting | MeansSetting | Recipe
SCRATCH = Recipe(epochs=40)
