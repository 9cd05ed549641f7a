"""A study on several machines: shares of its cells, job arrays, Ray, and stops that a scheduler announces."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .announced_stops import stopping_on_signals
    from .job_arrays import Job, array_script
    from .on_ray import Needs, ray_library, ray_tasks
    from .share_work import ShareCounts, work_on_share
    from .shares import Shard, missing_shards, parsed_shard, ranges, share
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Job",
    "Needs",
    "Shard",
    "ShareCounts",
    "array_script",
    "missing_shards",
    "parsed_shard",
    "ranges",
    "ray_library",
    "ray_tasks",
    "share",
    "stopping_on_signals",
    "work_on_share",
]
