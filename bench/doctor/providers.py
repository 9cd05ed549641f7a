"""ONNX Runtime's providers, each asked to run a graph whose result is known: a list of names says nothing."""

import re
from collections.abc import Callable, Sequence

import numpy as np

from .check import FITTING, Check, fault, fine, note

Run = Callable[[str], str]  # why a provider did not run the graph, or nothing
CPU, CUDA, TENSORRT = "CPUExecutionProvider", "CUDAExecutionProvider", "TensorrtExecutionProvider"
PLACE_IN_SOURCE = re.compile(r"^/onnxruntime_src.*\) ")
SUMS = (27.0, 54.0, 81.0, 108.0)  # kernel k is full of k + 1, over 3 x 3 x 3 ones: (k + 1) * 27


def provider_checks(providers: Sequence[str], run: Run, gpu: bool, wanted: bool) -> list[Check]:
    """One for each provider that ONNX Runtime lists. gpu: one is there. wanted: a GPU was asked for."""
    checks = []
    for name in [CPU, *(each for each in providers if each != CPU)]:
        if name not in providers:
            checks.append(fault("providers", f"{name} is not listed", "pip install onnxruntime-gpu again"))
        elif not (reason := run(name)):
            checks.append(fine("providers", f"{name} runs a session, with the right result"))
        else:
            said = f"{name} is listed, but does not run a session: {reason}"
            checks.append(_not_running(name, said, gpu, wanted))
    if wanted and CUDA not in providers:
        remedy = "pip install onnxruntime-gpu, or leave --device cuda out"
        checks.append(fault("providers", f"{CUDA} is not listed by this build of ONNX Runtime", remedy))
    return checks


def _not_running(name: str, said: str, gpu: bool, wanted: bool) -> Check:
    if name == CPU:
        return fault("providers", said, "pip install --force-reinstall onnxruntime-gpu")
    if name == CUDA and (gpu or wanted):
        remedy = f"look at the lines on GPU, driver and CUDA; {FITTING}"
        return fault("providers", said, remedy if gpu else "this follows from the line on the GPU")
    remedy = "--backend tensorrt uses plans instead" if name == TENSORRT and gpu else ""
    return note("providers", said, remedy)


def _said(error: Exception) -> str:
    """What it says, without the place in ONNX Runtime's own source."""
    return PLACE_IN_SOURCE.sub("", " ".join(str(error).split()))[:200] or type(error).__name__


def ran_on(provider: str) -> str:
    """Why the provider did not run a convolution with the right sums, or nothing where it did."""
    import onnxruntime

    from featune.engine.runners import placement

    if provider != CPU:
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    onnxruntime.set_default_logger_severity(4)  # libraries that are not there are told in our words
    try:
        session = onnxruntime.InferenceSession(_graph(), options, providers=[provider], enable_fallback=0)
        if session.get_providers()[0] != provider:
            return f"{session.get_providers()[0]} took its place"
        if not (placed := placement(session)).get(provider):
            return f"{', '.join(placed) or 'nothing'} took the graph's only node"
        sums = session.run(None, {"x": np.ones((1, 3, 4, 4), np.float32)})[0][0, :, 0, 0]
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        return _said(error)
    finally:
        onnxruntime.set_default_logger_severity(2)
    return "" if np.allclose(sums, SUMS, rtol=1e-3) else f"{sums.tolist()} computed, {list(SUMS)} expected"


def _graph() -> bytes:
    """y = conv(x), x float [1, 3, 4, 4], four kernels full of 1, 2, 3 and 4."""
    from onnx import TensorProto, helper

    values = [float(k + 1) for k in range(4) for _ in range(27)]
    kernels = helper.make_tensor("kernels", TensorProto.FLOAT, [4, 3, 3, 3], values)
    graph = helper.make_graph(
        [helper.make_node("Conv", ["x", "kernels"], ["y"])], "sums",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 2, 2])], [kernels],
    )  # fmt: skip
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    )
