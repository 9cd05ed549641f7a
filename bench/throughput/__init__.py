"""Images per second of a runner, with what the clock included, how sure it is, and which of two is faster."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .energy_of_work import WHOLE, EnergyOfWork
    from .hardware import EnergyMeter, environment, megahertz, peak
    from .inputs import Rotation
    from .load import LoadWatch
    from .rows import MODES, Block, Configuration, Effort, Row, Setup, block_of, configuration_of, row_of
    from .samples import LEVEL, block_medians, bootstrap_interval, doubts, outliers, summarise
    from .timing import (
        EventWatch,
        HostWatch,
        WarmUp,
        Watch,
        call_of,
        check_places,
        measure,
        speed,
        synchronizer,
        timed_block,
        warm_up,
    )
    from .turns import Refused, Start, Worker, WorkerDied, balanced_order, measured_in_turns
    from .verdicts import MARGIN, Verdict, unpaired_verdict, verdict_of
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "LEVEL",
    "MARGIN",
    "MODES",
    "WHOLE",
    "Block",
    "Configuration",
    "Effort",
    "EnergyMeter",
    "EnergyOfWork",
    "EventWatch",
    "HostWatch",
    "LoadWatch",
    "Refused",
    "Rotation",
    "Row",
    "Setup",
    "Start",
    "Verdict",
    "WarmUp",
    "Watch",
    "Worker",
    "WorkerDied",
    "balanced_order",
    "block_medians",
    "block_of",
    "bootstrap_interval",
    "call_of",
    "check_places",
    "configuration_of",
    "doubts",
    "environment",
    "measure",
    "measured_in_turns",
    "megahertz",
    "outliers",
    "peak",
    "row_of",
    "speed",
    "summarise",
    "synchronizer",
    "timed_block",
    "unpaired_verdict",
    "verdict_of",
    "warm_up",
]
