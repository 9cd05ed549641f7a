"""What an exported file says of itself, and how its outputs are compared with torch's."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .differing_layer import LAYER, first_differing_layer, values
    from .metadata import (
        CONTRACT,
        ESSENTIAL,
        VERDICT,
        channels_of,
        check_versions,
        content_digest,
        contract_of,
        entry_of,
        external_files,
        read_graph,
        set_entry,
        write_verdict,
    )
    from .parity_measures import (
        NOT_FINITE,
        Parity,
        ProbeChange,
        compare,
        failures,
        not_finite,
        parity,
        parity_of,
        probe_change,
        row_cosines,
        rows_of,
    )
    from .thresholds import PRECISIONS
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CONTRACT",
    "ESSENTIAL",
    "LAYER",
    "NOT_FINITE",
    "PRECISIONS",
    "VERDICT",
    "Parity",
    "ProbeChange",
    "channels_of",
    "check_versions",
    "compare",
    "content_digest",
    "contract_of",
    "entry_of",
    "external_files",
    "failures",
    "first_differing_layer",
    "not_finite",
    "parity",
    "parity_of",
    "probe_change",
    "read_graph",
    "row_cosines",
    "rows_of",
    "set_entry",
    "values",
    "write_verdict",
]
