"""NVIDIA's builders as Python modules: TensorRT, and TensorRT for RTX, which has the same names.

What TensorRT does, it does on torch's current GPU: callers choose it with `torch.cuda.device`.
"""

import dataclasses
import importlib
from collections.abc import Callable
from typing import Any

from ..errors import Missing
from ..runners import fault_of_gpu


@dataclasses.dataclass(frozen=True)
class Library:
    """One of NVIDIA's builders. modules: names to import it by. majors: versions whose names are those used here.

    timings: whether it keeps a cache of them; TensorRT for RTX compiles on the card when a plan is loaded.
    """

    modules: tuple[str, ...]
    majors: tuple[int, ...]
    install: str
    timings: bool = True


LIBRARIES = {
    "tensorrt": Library(("tensorrt",), (10, 11), "pip install 'featune[tensorrt]' on the GPU machine"),
    # The bindings from PyPI first: once they are loaded, their bare extension is importable by the other name.
    "tensorrt-rtx": Library(
        ("tensorrt_rtx_bindings", "tensorrt_rtx"),
        (1,),
        "pip install 'featune[tensorrt-rtx]' (Python 3.11 or 3.12)",
        timings=False,
    ),
}


def library(name: str = "tensorrt") -> Any:
    """TensorRT's module, or that of TensorRT for RTX. Raises Missing where it cannot be loaded or has another major."""
    wanted, reasons = LIBRARIES[name], []
    for module in wanted.modules:
        try:
            found = importlib.import_module(module)
        except ImportError as error:  # not only ModuleNotFoundError: the bindings need a library of another package
            reasons.append(str(error))
            continue
        if int(found.__version__.split(".")[0]) not in wanted.majors:
            expected = " or ".join(map(str, wanted.majors))
            raise Missing(f"{name} {found.__version__} found, version {expected} expected; {wanted.install}")
        return found
    raise Missing(f"{name} is not installed ({reasons[0]}); {wanted.install}")


def parser_errors(parser: Any) -> str:
    """Every error of the parser, with the node that it is about."""
    found = [parser.get_error(number) for number in range(parser.num_errors)]
    texts = [f"{error.desc()} (node {error.node_name() or '?'}, {error.node_operator() or '?'})" for error in found]
    return "; ".join(texts) or "no reason given"


def made_by(make: Callable[..., Any], *arguments: Any) -> Any:
    """Constructors raise TypeError or return nothing where there is no usable driver."""
    try:
        made = make(*arguments)
    except TypeError as error:
        raise fault_of_gpu(str(error)) or Missing(
            f"TensorRT cannot start ({error}); check the NVIDIA driver"
        ) from error
    if made is None:
        raise Missing("TensorRT cannot start; check the NVIDIA driver")
    return made
