"""Opens a model on a backend as a Runner: torch, ONNX Runtime, TensorRT, or TensorRT inside ONNX Runtime."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .artefacts import artefact, exported, open_artefact
    from .contract import Asked, Backend, Ready
    from .table import BACKENDS, backend_named, check_backend, open_runner
    from .tensorrt_backends import PLAN_BATCHES, checked_plan, faster_plan
    from .tensorrt_gate import gate_of_plan, plan_down
    from .tensorrt_plan import (
        check_machine,
        judged,
        library_of,
        open_plan,
        plan_from_graph,
        read_plan,
        refitted,
        require_plan,
        write_plan,
    )
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "BACKENDS",
    "PLAN_BATCHES",
    "Asked",
    "Backend",
    "Ready",
    "artefact",
    "backend_named",
    "check_backend",
    "check_machine",
    "checked_plan",
    "exported",
    "faster_plan",
    "gate_of_plan",
    "judged",
    "library_of",
    "open_artefact",
    "open_plan",
    "open_runner",
    "plan_down",
    "plan_from_graph",
    "read_plan",
    "refitted",
    "require_plan",
    "write_plan",
]
