"""What `featune extract` and `featune features` do: files of features, listed, verified, exported."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .extract_command import (
        Extraction,
        Models,
        check_models,
        exported_to,
        extract_data,
        extract_models,
        request_of_model,
    )
    from .feature_table import FeatureTable, read_table, table_of
    from .geometry import Geometry, distance, separation, similarity
    from .origins import note_origin, origins_of
    from .shares import Merged, merge_models, of_share
    from .stored_files import (
        clear_store,
        damaged_keys,
        export_features,
        format_of,
        full_key,
        record_of,
        recorded_keys,
        remove_held,
        remove_stored,
        stored_entries,
        unfinished_keys,
    )
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Extraction",
    "FeatureTable",
    "Geometry",
    "Merged",
    "Models",
    "check_models",
    "clear_store",
    "damaged_keys",
    "distance",
    "export_features",
    "exported_to",
    "extract_data",
    "extract_models",
    "format_of",
    "full_key",
    "merge_models",
    "note_origin",
    "of_share",
    "origins_of",
    "read_table",
    "record_of",
    "recorded_keys",
    "remove_held",
    "remove_stored",
    "request_of_model",
    "separation",
    "similarity",
    "stored_entries",
    "table_of",
    "unfinished_keys",
]
