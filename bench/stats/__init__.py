"""Statistics, as pure functions of arrays: intervals, correlations, regression lines, paired tests."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .correlation import (
        correlation_interval,
        kendall,
        leave_one_family_out,
        pearson,
        spearman,
        transfer_correlation,
    )
    from .intervals import Interval, bootstrap, clopper_pearson, wilson
    from .over_models import (
        ERROR,
        FEWEST_JUDGED,
        correlation_bounds,
        holm,
        jackknife_error,
        judged_together,
        orders,
    )
    from .paired_tests import across_tasks, mcnemar, paired_difference, permutation_test
    from .rank_correlation import FEWEST_RANKED, shuffled_tau, weighted_spearman, weighted_tau
    from .regression_lines import fit_line
    from .study_values import interval, log_odds, mean_log_odds, tied
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "ERROR",
    "FEWEST_JUDGED",
    "FEWEST_RANKED",
    "Interval",
    "across_tasks",
    "bootstrap",
    "clopper_pearson",
    "correlation_bounds",
    "correlation_interval",
    "fit_line",
    "holm",
    "interval",
    "jackknife_error",
    "judged_together",
    "kendall",
    "leave_one_family_out",
    "log_odds",
    "mcnemar",
    "mean_log_odds",
    "orders",
    "paired_difference",
    "pearson",
    "permutation_test",
    "shuffled_tau",
    "spearman",
    "tied",
    "transfer_correlation",
    "weighted_spearman",
    "weighted_tau",
    "wilson",
]
