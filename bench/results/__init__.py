"""What was measured: rows and their store, the table made of them, and how it is put into words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .outcome import Outcome, class_facts, collapsed, faults, is_training, outcomes
    from .paired_leads import Lead, Right, leads
    from .plan import (
        Labels,
        Plan,
        estimate_path,
        load_plan,
        plan_path,
        read_estimate,
        read_speed,
        save_plan,
        speed_path,
    )
    from .rows import Cell, Estimate, Row, RunStore, Speed
    from .table import (
        FROZEN,
        Entry,
        Results,
        clear_lead,
        collect,
        complete_block,
        gains,
        ranking,
        row_order,
        without_holes,
    )
    from .transfer import (
        Transfer,
        Without,
        carrier,
        correlations,
        entry_log_odds,
        mean_interval,
        source_log_odds,
        verdict,
    )
    from .wording import (
        SCOPES,
        capital,
        counted,
        interval_text,
        joined,
        label,
        metric_name,
        number_text,
        printable,
        scope_letter,
        short_label,
        signed,
        signed_points,
        value_text,
    )
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "FROZEN",
    "SCOPES",
    "Cell",
    "Entry",
    "Estimate",
    "Labels",
    "Lead",
    "Outcome",
    "Plan",
    "Results",
    "Right",
    "Row",
    "RunStore",
    "Speed",
    "Transfer",
    "Without",
    "capital",
    "carrier",
    "class_facts",
    "clear_lead",
    "collapsed",
    "collect",
    "complete_block",
    "correlations",
    "counted",
    "entry_log_odds",
    "estimate_path",
    "faults",
    "gains",
    "interval_text",
    "is_training",
    "joined",
    "label",
    "leads",
    "load_plan",
    "mean_interval",
    "metric_name",
    "number_text",
    "outcomes",
    "plan_path",
    "printable",
    "ranking",
    "read_estimate",
    "read_speed",
    "row_order",
    "save_plan",
    "scope_letter",
    "short_label",
    "signed",
    "signed_points",
    "source_log_odds",
    "speed_path",
    "value_text",
    "verdict",
    "without_holes",
]
