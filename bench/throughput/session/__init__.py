"""A run of `featune throughput`: its workers, what they open and measure, and the journal that it resumes from."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batch_size import Trial, fastest_batch
    from .journal import Journal
    from .opening import Source, opened
    from .request import Asked
    from .running import Result, run
    from .workers import ProcessWorker
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["Asked", "Journal", "ProcessWorker", "Result", "Source", "Trial", "fastest_batch", "opened", "run"]
