"""Statistics of whole studies: how sure a correlation is, what two of them and two models differ by, what varies."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .attenuation import Corrected, corrected_correlation, log_odds_error
    from .choices import Regret, regret_of
    from .dependent_correlations import FEWEST_SHOWN, Compared, compare_correlations
    from .equivalence import Equivalence, no_worse
    from .given_size import Partial, partial_correlation
    from .improvement import Improvement, probability_of_improvement
    from .resampling import bootstrap_correlation, bootstrap_study
    from .variance import Component, detectable_difference, noise_floor, variance_shares
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "FEWEST_SHOWN",
    "Compared",
    "Component",
    "Corrected",
    "Equivalence",
    "Improvement",
    "Partial",
    "Regret",
    "bootstrap_correlation",
    "bootstrap_study",
    "compare_correlations",
    "corrected_correlation",
    "detectable_difference",
    "log_odds_error",
    "no_worse",
    "noise_floor",
    "partial_correlation",
    "probability_of_improvement",
    "regret_of",
    "variance_shares",
]
