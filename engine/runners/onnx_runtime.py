"""Runs an ONNX graph in ONNX Runtime as a Runner, on the provider that was asked for or not at all."""

import collections
import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..errors import BadInput, Missing
from .contract import Runner, aligned, check_images, require_device
from .gpu_faults import fault_of_gpu, free_cached_memory

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
}
log = logging.getLogger("featune")


@contextlib.contextmanager
def onnxruntime_runner(
    graph: str | os.PathLike[str],
    device: str = "cpu",
    *,
    threads: int | None = None,
    output: str | None = None,
    provider: str | None = None,
    allow_fallback: bool = False,
    settings: dict[str, str] | None = None,
) -> Iterator[Runner]:
    """Runs one output of a graph file in ONNX Runtime, the first unless named.

    threads: inside one operator; by default as many as torch uses. provider: cpu, cuda or
    tensorrt; by default the device's own. settings: of the provider, over ours. Raises Missing where the asked
    provider is not what the session took, unless `allow_fallback`; BadInput for a broken file. What really runs
    is the attribute `ran` of the runner: nodes per provider.
    """
    require_device(device)
    kind = torch.device(device).type
    if provider == "tensorrt":
        switch_off_tf32()
    # Of our own: torch's default stream is number 0, which ONNX Runtime takes for none.
    stream = torch.cuda.Stream(device) if kind == "cuda" else None
    if stream is not None:
        settings = {"user_compute_stream": str(stream.cuda_stream)} | (settings or {})
    session = _session(graph, provider or kind, device, threads, allow_fallback, settings or {})
    name, shape = session.get_inputs()[0].name, session.get_inputs()[0].shape
    outputs = [value.name for value in session.get_outputs()]
    if not outputs:
        raise BadInput(f"{graph} has no output; export the model again")
    if output is not None and output not in outputs:
        raise BadInput(f"{graph} has no output {output!r}, only {', '.join(outputs)}; export it with --logits")
    output = output or outputs[0]

    def run(images: Tensor, /) -> Tensor:
        check_images(images)
        if any(isinstance(size, int) and size != n for size, n in zip(shape[1:], images.shape[1:], strict=True)):
            expected = f"{shape[2]} x {shape[3]} and {shape[1]} channels"
            raise BadInput(f"{graph} takes images of {expected}, found {tuple(images.shape)}")
        images = aligned(images) if stream is not None else images.contiguous()
        if stream is not None and session.get_providers()[0] != PROVIDERS["cpu"]:
            return _queued(session, name, output, images, stream)
        return torch.from_numpy(session.run([output], {name: images.cpu().numpy()})[0]).to(images.device)

    run.ran = placement(session)  # type: ignore[attr-defined]
    yield run


def _queued(session: Any, name: str, output: str, images: Tensor, stream: torch.cuda.Stream) -> Tensor:
    """The rows of a batch, queued on the session's stream; the caller's stream waits for them, the host for nothing."""
    caller = torch.cuda.current_stream(images.device)
    stream.wait_stream(caller)  # the images may still be on their way
    with torch.cuda.stream(stream):
        rows = torch.empty((len(images), _width(session, output)), dtype=torch.float32, device=images.device)
    bound_run(session, {name: images}, {output: rows}, wait=False)
    caller.wait_stream(stream)
    # Either tensor may be freed on one stream while the other still uses its memory.
    images.record_stream(stream)
    rows.record_stream(caller)
    return rows


def bound_run(session: Any, inputs: dict[str, Tensor], outputs: dict[str, Tensor], wait: bool = True) -> None:
    """Run a session from contiguous tensors into contiguous tensors, by their addresses.

    wait: until the GPU is done. Without it both must live until the session's stream has passed this call.
    """
    import onnxruntime

    binding = session.io_binding()
    for bind, tensors in ((binding.bind_input, inputs), (binding.bind_output, outputs)):
        for name, tensor in tensors.items():
            if not tensor.is_contiguous():
                raise BadInput(f"{name}: strides {tensor.stride()} found; make it contiguous")
            kind, index = tensor.device.type, tensor.device.index or 0
            bind(name, kind, index, _NUMPY[tensor.dtype], tuple(tensor.shape), tensor.data_ptr())
    options = onnxruntime.RunOptions()
    if not wait:
        options.add_run_config_entry("disable_synchronize_execution_providers", "1")
    session.run_with_iobinding(binding, options)


_NUMPY = {torch.uint8: np.uint8, torch.float32: np.float32}


def _width(session: Any, output: str) -> int:
    """Of the rows of an output, which must be known before the run. Raises BadInput where it is not."""
    found = next(value for value in session.get_outputs() if value.name == output)
    if found.type != "tensor(float)" or len(found.shape) != 2 or not isinstance(found.shape[1], int):
        raise BadInput(f"{output} is {found.type} {found.shape}, float [batch, width] expected; export the model again")
    return found.shape[1]


def placement(session: object) -> dict[str, int]:
    """Nodes of a session's graph per execution provider: what really runs where."""
    counts: collections.Counter[str] = collections.Counter()
    for part in session.get_provider_graph_assignment_info():  # type: ignore[attr-defined]
        counts[part.ep_name] += len(part.get_nodes())
    return dict(counts)


def _session(
    graph: str | os.PathLike[str],
    provider: str,
    device: str,
    threads: int | None,
    allow_fallback: bool,
    settings: dict[str, str],
) -> Any:
    """A session on the provider that was asked for; a GPU provider runs the convolutions, or this raises."""
    import onnxruntime

    if provider not in PROVIDERS:
        raise BadInput(f"no ONNX Runtime provider named {provider!r}; one of {', '.join(PROVIDERS)}")
    if not Path(graph).is_file():
        raise BadInput(f"{graph}: no such graph file; export the model first")
    if provider != "cpu":
        _require_one_onnxruntime()
        onnxruntime.preload_dlls()
        free_cached_memory()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or torch.get_num_threads()
    options.log_severity_level = 3
    # A thread that waits in a loop takes a core from decoders and other sessions: benchmarks/session.md has the cost.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    wanted = PROVIDERS[provider]
    try:
        session = onnxruntime.InferenceSession(
            os.fspath(graph), options, providers=_providers(provider, device, settings), enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        if provider == "tensorrt" and any(words in str(error) for words in _NO_TENSORRT):
            raise Missing(f"{wanted} cannot load ({str(error)[:300]}); {_TENSORRT_10}") from error
        if provider != "cpu" and (fault := fault_of_gpu(str(error))) is not None:
            raise fault from error
        raise BadInput(f"{graph}: ONNX Runtime refuses it ({str(error)[:300]}); export the model again") from error
    if session.get_providers()[0] != wanted and not allow_fallback:
        raise Missing(
            f"{wanted} was asked for and {session.get_providers()[0]} would run; "
            "install onnxruntime-gpu with its CUDA libraries, or choose --device cpu"
        )
    if session.get_providers()[0] != wanted:
        log.warning("%s cannot run here; %s runs %s", wanted, session.get_providers()[0], graph)
    session.disable_fallback()
    if provider != "cpu":
        try:
            _require_placed(placement(session), provider)
        except Missing as error:
            if not allow_fallback:
                raise
            log.warning("%s: %s", graph, error)
    return session


# The shape arithmetic of transformers belongs on the CPU: a few percent of the nodes. A provider that runs
# less than this share of a graph does not run the model.
LEAST_PLACED = 0.5
# How ONNX Runtime says that the provider's libraries are not there: while it opens a session, and before.
_NO_TENSORRT = ("EP Error", "Please install TensorRT libraries")
_TENSORRT_10 = (
    "ONNX Runtime's TensorRT provider needs TensorRT 10 (libnvinfer.so.10); with TensorRT 11 use --backend tensorrt"
)


def _require_placed(ran: dict[str, int], provider: str) -> None:
    """The asked provider's own nodes count: where TensorRT was asked for, a graph that CUDA runs is refused."""
    placed, total = ran.get(PROVIDERS[provider], 0), sum(ran.values())
    if total and placed < LEAST_PLACED * total:
        others = ", ".join(f"{name} {count}" for name, count in sorted(ran.items()) if name != PROVIDERS[provider])
        raise Missing(
            f"{PROVIDERS[provider]} took {placed} of {total} nodes, at least half expected ({others}); "
            "use another precision or backend, --device cpu, or --allow-fallback"
        )


def _providers(provider: str, device: str, settings: dict[str, str]) -> list[tuple[str, dict[str, str]]]:
    """The providers of a session with their settings, best first; CPU is implied by ONNX Runtime."""
    if provider == "cpu":
        return [(PROVIDERS["cpu"], settings)]
    given = torch.device(device).index
    index = str(given if given is not None else torch.cuda.current_device() if torch.cuda.is_initialized() else 0)
    cuda = {
        "device_id": index,
        "use_tf32": "0",
        "arena_extend_strategy": "kSameAsRequested",  # the default doubles, beside torch's own pool
        "cudnn_conv_algo_search": "HEURISTIC",  # the default times every algorithm again for each batch size
    }
    if provider == "cuda":
        return [(PROVIDERS["cuda"], cuda | settings)]
    stream = {key: value for key, value in settings.items() if key == "user_compute_stream"}
    return [(PROVIDERS["tensorrt"], {"device_id": index} | settings), (PROVIDERS["cuda"], cuda | stream)]


def switch_off_tf32() -> None:
    """TensorRT's own default is TF32, and ONNX Runtime's provider has no switch for it; this variable is one.

    NVIDIA's libraries read it once. Raises BadInput where CUDA was used before it was set.
    Source: docs.nvidia.com/deeplearning/frameworks, NVIDIA_TF32_OVERRIDE; onnxruntime pull request 26035.
    """
    if os.environ.get("NVIDIA_TF32_OVERRIDE") == "0":
        return
    if torch.cuda.is_initialized():
        raise BadInput(
            "CUDA is in use already, so ONNX Runtime's TensorRT provider would compute TF32 in the place of fp32; set "
            "NVIDIA_TF32_OVERRIDE=0 before you start Python, or choose --backend tensorrt"
        )
    os.environ["NVIDIA_TF32_OVERRIDE"] = "0"


def installed_onnxruntimes(version: Callable[[str], str]) -> list[str]:
    """Names and versions of the packages that install into `onnxruntime`, of which there may be one."""
    from importlib.metadata import PackageNotFoundError

    found = []
    for name in ("onnxruntime", "onnxruntime-gpu"):
        with contextlib.suppress(PackageNotFoundError):
            found.append(f"{name} {version(name)}")
    return found


def _require_one_onnxruntime() -> None:
    """`onnxruntime` and `onnxruntime-gpu` install into one folder, and the last one installed wins in silence."""
    from importlib import metadata

    found = installed_onnxruntimes(metadata.version)
    if len(found) > 1:
        raise Missing(
            f"{' and '.join(found)} are both installed and overwrite each other; "
            "pip uninstall both, then install onnxruntime-gpu"
        )
