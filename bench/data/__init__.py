"""Data strings: images named by one text (a folder, a table, tar shards, `torch/`, `hfds/`, `wds/`), also as tasks."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .data_strings import library_of, open_data
    from .preparing import Source, check_images, describe_shared, look, prepare
    from .request import Data, Request
    from .task_splits import is_string, parsed_splits, task_name
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Data",
    "Request",
    "Source",
    "check_images",
    "describe_shared",
    "is_string",
    "library_of",
    "look",
    "open_data",
    "parsed_splits",
    "prepare",
    "task_name",
]
