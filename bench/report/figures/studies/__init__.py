"""The figures of a study: accuracy against cost, transfer, task by task, regimes, ranks, throughput."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .cost_figures import share_odds
    from .legend import regime_styles
    from .list_of_figures import NAMES, report_figures
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["NAMES", "regime_styles", "report_figures", "share_odds"]
