"""Facts of the public data sets, each with its source, and their downloads."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .downloads import download, fetch
    from .entries import DEFAULT, Archive, Entry, how_to_get
    from .listing import tasks_json, tasks_markdown, tasks_table
    from .public_datasets import TASKS, entry
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "DEFAULT",
    "TASKS",
    "Archive",
    "Entry",
    "download",
    "entry",
    "fetch",
    "how_to_get",
    "tasks_json",
    "tasks_markdown",
    "tasks_table",
]
