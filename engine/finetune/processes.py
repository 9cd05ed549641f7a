"""Training in several processes, as torchrun starts them: who does which images, and sums over all of them."""

import contextlib
import os
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import BadInput

PREPARATION = timedelta(hours=12)  # for which the others wait while the first process fetches, packs and looks


def place() -> tuple[int, int]:
    """(this process's number, of so many); (0, 1) where there is one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextlib.contextmanager
def joined(device: str) -> Iterator[str]:
    """Joins the processes that torchrun started, if it did, and leaves them; the device that this one computes on.

    gloo for what lies on CPUs, NCCL on GPUs, one GPU for each process of a machine.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield device
        return
    on_gpu = device.partition(":")[0] == "cuda"
    own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if on_gpu else device
    if on_gpu:
        torch.cuda.set_device(own)
    dist.init_process_group("cpu:gloo,cuda:nccl" if on_gpu else "gloo", timeout=PREPARATION)
    try:
        yield own
    finally:
        dist.destroy_process_group()


def shared(model: Any) -> nn.Module:
    """The model whose gradients are the mean over all processes; as it is where there is one."""
    return nn.parallel.DistributedDataParallel(model) if place()[1] > 1 else model


def quiet(model: nn.Module, last: bool) -> contextlib.AbstractContextManager[object]:
    """Gradients stay with each process while a step's parts are added up; those of the last part go to all."""
    waits = isinstance(model, nn.parallel.DistributedDataParallel) and not last
    return model.no_sync() if waits else contextlib.nullcontext()  # type: ignore[operator]


def summed(value: Tensor) -> Tensor:
    """The sum over all processes."""
    if place()[1] > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value


def gathered(own: Tensor, n: int) -> Tensor:
    """Rows [n, k] of all processes' [ceil or floor(n / processes), k], where row i is of process i mod processes."""
    world = place()[1]
    if world == 1:
        return own
    most = -(-n // world)
    padded = torch.cat([own, own.new_zeros(most - len(own), own.shape[1])])
    parts = [torch.empty_like(padded) for _ in range(world)]
    dist.all_gather(parts, padded)
    return torch.stack(parts, 1).flatten(0, 1)[:n]


def agreed(value: Any) -> Any:
    """The first process's value, in all of them; anything that pickles."""
    if place()[1] == 1:
        return value
    held = [value]
    dist.broadcast_object_list(held, src=0)
    return held[0]


def same_buffers(*models: nn.Module | None) -> None:
    """The first process's batch statistics in all of them, so that all look at one model."""
    if place()[1] == 1:
        return
    for model in models:
        for buffer in model.buffers() if model is not None else ():
            dist.broadcast(buffer, src=0)


def with_shared_norm(model: nn.Module, device: torch.device) -> nn.Module:
    """The model with batch norm over the images of all processes. Raises BadInput on a CPU, where torch has none."""
    if device.type != "cuda":
        raise BadInput(
            "sync_bn on a CPU found, a GPU expected, where alone torch shares batch norm between processes; leave it "
            "out, or take batch_norm: frozen"
        )
    return nn.SyncBatchNorm.convert_sync_batchnorm(model)


def any_of(flag: bool) -> bool:
    """Whether it is so in any process."""
    return bool(summed(torch.tensor(int(flag)))) if place()[1] > 1 else flag


def wait() -> None:
    """Until all processes are here."""
    if place()[1] > 1:
        dist.barrier()
