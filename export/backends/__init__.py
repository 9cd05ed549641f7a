"""Opens a model on a backend as a Runner: torch, ONNX Runtime, TensorRT, or TensorRT inside ONNX Runtime."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .opening import artefact, check_backend, checked_plan, exported, graph_target, open_artefact, open_runner
    from .tensorrt_gate import gate_of_plan, plan_down
    from .tensorrt_plan import (
        check_machine,
        judged,
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
    "artefact",
    "check_backend",
    "check_machine",
    "checked_plan",
    "exported",
    "gate_of_plan",
    "graph_target",
    "judged",
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
