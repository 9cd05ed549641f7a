"""What was measured: rows and their store, the table made of them, and how it is put into words."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .outcome import Outcome, class_facts, collapsed, faults, is_training, outcomes
    from .paired_leads import Lead, Right, leads
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
    "Lead",
    "Outcome",
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
    "faults",
    "gains",
    "interval_text",
    "is_training",
    "joined",
    "label",
    "leads",
    "mean_interval",
    "metric_name",
    "number_text",
    "outcomes",
    "printable",
    "ranking",
    "row_order",
    "scope_letter",
    "short_label",
    "signed",
    "signed_points",
    "source_log_odds",
    "value_text",
    "verdict",
    "without_holes",
]
