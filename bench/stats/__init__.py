"""Statistics, as pure functions of arrays: intervals, correlations, regression lines, paired tests."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .correlation import (
        correlation_interval,
        kendall,
        leave_one_family_out,
        pearson,
        pearson_rows,
        spearman,
        transfer_correlation,
    )
    from .intervals import Interval, bootstrap, clopper_pearson, draw_weights, percentile_needs, tail_of, wilson
    from .over_models import (
        ERROR,
        FEWEST_JUDGED,
        correlation_bounds,
        families_to_leave,
        holm,
        jackknife_error,
        judged_together,
        orders,
        widened,
        without_each,
        without_families,
    )
    from .paired_tests import across_tasks, both_right, mcnemar, paired_difference, paired_wald, permutation_test
    from .rank_correlation import FEWEST_RANKED, shuffled_tau, weighted_spearman, weighted_tau
    from .regression_lines import FEWEST, Line, fit_line, least_squares, slope_above
    from .study_values import fractions, interval, log_odds, mean_log_odds, pair, table, tied
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "ERROR",
    "FEWEST",
    "FEWEST_JUDGED",
    "FEWEST_RANKED",
    "Interval",
    "Line",
    "across_tasks",
    "bootstrap",
    "both_right",
    "clopper_pearson",
    "correlation_bounds",
    "correlation_interval",
    "draw_weights",
    "families_to_leave",
    "fit_line",
    "fractions",
    "holm",
    "interval",
    "jackknife_error",
    "judged_together",
    "kendall",
    "least_squares",
    "leave_one_family_out",
    "log_odds",
    "mcnemar",
    "mean_log_odds",
    "orders",
    "pair",
    "paired_difference",
    "paired_wald",
    "pearson",
    "pearson_rows",
    "percentile_needs",
    "permutation_test",
    "shuffled_tau",
    "slope_above",
    "spearman",
    "table",
    "tail_of",
    "tied",
    "transfer_correlation",
    "weighted_spearman",
    "weighted_tau",
    "widened",
    "wilson",
    "without_each",
    "without_families",
]
