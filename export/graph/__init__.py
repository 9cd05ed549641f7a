"""From a ModelSpec to an ONNX graph, and the rewrites that make it faster."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .onnx_export import contract_differences, contract_errors, graph_from_spec, graph_key
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["contract_differences", "contract_errors", "graph_from_spec", "graph_key"]
