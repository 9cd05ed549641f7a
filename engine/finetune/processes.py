"""Training in several processes, as torchrun starts them: who does which images, and sums over all of them."""

import contextlib
import itertools
import os
import re
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn

from ..errors import BadInput, FeatuneError, SaidElsewhere, first_line
from ..runners import require_device
from ..store import NO_WRITING, unwritable

PREPARATION = timedelta(hours=12)  # for which the others wait while the first process fetches, packs and looks
PATIENCE, PAUSE = timedelta(seconds=5), 1.0  # when processes end: for what another says, and for it to be printed
JOINED = itertools.count()
NOT_OWN, FELT = "-", "?"
# What gloo, NCCL and torch's store say where the process at the other end is no more.
GONE = re.compile(
    "(closed|reset) by peer|broken pipe|remote process (has )?exit|remote server shutdown|got 0 bytes", re.IGNORECASE
)


def place() -> tuple[int, int]:
    """(this process's number, of so many); (0, 1) where there is one."""
    if dist.is_available() and dist.is_initialized():
        return dist.get_rank(), dist.get_world_size()
    return 0, 1


@contextlib.contextmanager
def joined(device: str) -> Iterator[str]:
    """Joins the processes that torchrun started, if it did, and leaves them; the device that this one computes on.

    gloo for what lies on CPUs, NCCL on GPUs, one GPU for each process of a machine. They end together: an error of
    one, and one that all meet, is raised by one process, the first one where it can; the others raise SaidElsewhere
    with its exit code. Raises Missing without the device.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) < 2 or dist.is_initialized():
        yield device
        return
    store, rank, world = next(dist.rendezvous("env://", timeout=PREPARATION))
    store = dist.PrefixStore(f"featune{next(JOINED)}", store)  # of a process that joins again, without old keys
    ending = Ending(store, rank, world)
    try:
        require_device(device)
        on_gpu = device.partition(":")[0] == "cuda"
        own = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if on_gpu else device
        if on_gpu:
            torch.cuda.set_device(own)
        backend = "cpu:gloo,cuda:nccl" if on_gpu else "gloo"
        dist.init_process_group(backend, store=store, rank=rank, world_size=world, timeout=PREPARATION)
        yield own
        wait()  # for the first process, which writes alone at the end
    except BaseException as error:
        ending.publish(error)  # before the others feel that this one has gone
        _leave()
        if (other := ending.instead_of(error)) is not None:
            raise other from error
        raise
    _leave()


def _leave() -> None:
    if dist.is_initialized():
        dist.destroy_process_group()


class Ending:
    """Who of several processes says why they end, by keys in the store that all of them reach.

    `error<rank>` is the exit code of a process's own error, with FELT behind it where the error says that another has
    gone, or NOT_OWN where another has said why; `heard<rank>` is there once a process knows what to say.
    """

    def __init__(self, store: Any, rank: int, world: int, patience: timedelta = PATIENCE, pause: float = PAUSE):
        self.store, self.rank, self.world, self.patience, self.pause = store, rank, world, patience, pause

    def publish(self, error: BaseException) -> None:
        """A RuntimeError may be what torch says of a process that has gone: it is not this one's where one has."""
        felt = tells_of_another(error)
        follows = isinstance(error, RuntimeError) and self._of_others(certain=not felt)
        own = f"{code_of(error)}{FELT if felt else ''}"
        with contextlib.suppress(RuntimeError):
            self.store.set(f"error{self.rank}", NOT_OWN if follows else own)

    def instead_of(self, error: BaseException) -> FeatuneError | None:
        """What this process raises; None for its own error. Returns when the others have heard, 5 seconds at most."""
        own = self._code(self.rank)
        if self.rank and own != NOT_OWN:  # the first process may have met the same
            self._await(["error0"])
        if own == NOT_OWN:
            codes = self._of_others()
        elif own.endswith(FELT):
            codes = self._of_others(certain=True) or self._of_others(below=self.rank)
        else:
            codes = self._of_others(below=self.rank, certain=True)
        with contextlib.suppress(RuntimeError):
            self.store.set(f"heard{self.rank}", "")
        if not self.rank:  # whose process may hold the store
            self._await([f"heard{other}" for other in range(1, self.world)])
        if codes:
            time.sleep(self.pause)  # torchrun stops all when the first of them ends
            return SaidElsewhere(codes[0])
        if tells_of_another(error):
            return FeatuneError(
                f"another of {self.world} processes has ended and left no word, such as one that was killed where "
                f"memory was short ({first_line(error)}); look at its output, and start the same command again to go on"
            )
        return None

    def _of_others(self, below: int | None = None, certain: bool = False) -> list[int]:
        """Their exit codes. certain: without those who only feel that another has gone."""
        ranks = [rank for rank in range(self.world if below is None else below) if rank != self.rank]
        known = [code for rank in ranks if (code := self._code(rank)) != NOT_OWN]
        return [int(code.rstrip(FELT)) for code in known if not (certain and code.endswith(FELT))]

    def _await(self, keys: list[str]) -> None:
        """Until they are there, or patience ends; asked for, since torch warns of a wait that ends in vain."""
        until = time.monotonic() + self.patience.total_seconds()
        with contextlib.suppress(RuntimeError):
            while not self.store.check(keys) and time.monotonic() < until:
                time.sleep(0.02)

    def _code(self, rank: int) -> str:
        """NOT_OWN also of a process that has said nothing."""
        try:
            key = f"error{rank}"
            return str(self.store.get(key).decode()) if self.store.check([key]) else NOT_OWN
        except RuntimeError:  # the store has gone with its process
            return NOT_OWN


def tells_of_another(error: BaseException) -> bool:
    """Whether this is what torch says of a process that has gone."""
    return isinstance(error, RuntimeError) and GONE.search(str(error)) is not None


def code_of(error: BaseException) -> int:
    """The exit code of a command that ends with the error."""
    if isinstance(error, KeyboardInterrupt):
        return 130
    if isinstance(error, OSError) and error.errno in NO_WRITING:
        return unwritable(error.filename or "a file", error).exit_code
    return int(getattr(error, "exit_code", 1))


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
