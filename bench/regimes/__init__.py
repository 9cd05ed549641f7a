"""The regimes: what is done with a model on a task. REGIMES is the table of them all."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .contract import Bench, Regime, Scorer, Scores
    from .frozen import FrozenData, stored_features
    from .selection import Goodness, metric_options
    from .settings import MeansSetting, ProbeSetting, Setting
    from .table import REGIMES, RegimeKind, regime_named
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "REGIMES",
    "Bench",
    "FrozenData",
    "Goodness",
    "MeansSetting",
    "ProbeSetting",
    "Regime",
    "RegimeKind",
    "Scorer",
    "Scores",
    "Setting",
    "metric_options",
    "regime_named",
    "stored_features",
]
