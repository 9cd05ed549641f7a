"""REGIMES: the table of all regimes by name."""

import dataclasses
from collections.abc import Callable
from typing import Any

from featune.engine.errors import BadInput, nearest
from featune.engine.finetune import Recipe

from .contract import Bench, Regime
from .frozen import Fit, fit_knn, fit_means, fit_probe, fit_ridge, frozen_regime
from .settings import SCRATCH, KnnSetting, MeansSetting, ProbeSetting, RidgeSetting, Setting
from .trained import finetune_regime, scratch_regime


@dataclasses.dataclass(frozen=True)
class RegimeKind:
    """setting: the dataclass that a study file fills. default: its values where the file says nothing.

    fit: of a head on frozen features; None where the whole network is trained.
    """

    make: Callable[[Bench, Any], Regime]
    default: Setting
    says: str
    fit: Fit | None = None

    @property
    def frozen(self) -> bool:
        return self.fit is not None


def _frozen(fit: Fit, default: Setting, says: str) -> RegimeKind:
    return RegimeKind(frozen_regime(fit), default, says, fit)


REGIMES: dict[str, RegimeKind] = {
    "probe": _frozen(fit_probe, ProbeSetting(), "logistic regression on frozen features"),
    "knn": _frozen(fit_knn, KnnSetting(), "nearest neighbours on frozen features"),
    "ridge": _frozen(fit_ridge, RidgeSetting(), "ridge classifier on frozen features"),
    "means": _frozen(fit_means, MeansSetting(), "nearest class mean on frozen features"),
    "finetune": RegimeKind(finetune_regime, Recipe(), "all weights trained from the pre-trained ones"),
    "scratch": RegimeKind(scratch_regime, SCRATCH, "all weights trained from random ones"),
}


def regime_named(name: str) -> RegimeKind:
    if name not in REGIMES:
        raise BadInput(f"no regime named {name!r}{nearest(name, REGIMES)}; one of {', '.join(REGIMES)}")
    return REGIMES[name]
