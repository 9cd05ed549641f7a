"""What a study file (YAML) may say: its text, the type and bounds of every key, and how faults are told to the user."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .entries import ModelEntry, StudyEntry, TaskEntry
    from .faults import Faults
    from .for_editors import json_schema
    from .model_lists import TEMPLATE
    from .pretraining import PretrainEntry
    from .reading import Parsed, parsed
    from .settings import SETTINGS, read_regimes
    from .yaml_text import Refused, text_values, values_of
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "SETTINGS",
    "TEMPLATE",
    "Faults",
    "ModelEntry",
    "Parsed",
    "PretrainEntry",
    "Refused",
    "StudyEntry",
    "TaskEntry",
    "json_schema",
    "parsed",
    "read_regimes",
    "text_values",
    "values_of",
]
