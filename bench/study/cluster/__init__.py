"""A study on several machines: shares of its cells, job arrays, and stops that a scheduler announces by a signal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .announced_stops import stopping_on_signals
    from .job_arrays import Job, array_script
    from .share_work import ShareCounts, work_on_share
    from .shares import Shard, missing_shards, parsed_shard, ranges, share
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Job",
    "Shard",
    "ShareCounts",
    "array_script",
    "missing_shards",
    "parsed_shard",
    "ranges",
    "share",
    "stopping_on_signals",
    "work_on_share",
]
