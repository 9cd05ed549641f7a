"""What a backend is: how a model is made ready for it, judged and opened."""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path

from torch import Tensor

from featune.engine.errors import BadInput, nearest
from featune.engine.models import ModelSpec
from featune.engine.runners import Runner, device_kind

from ..precision import AUTO


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a backend is asked to open; the fields are the arguments of `open_runner`."""

    spec: ModelSpec
    device: str
    cache: Path
    sample: Callable[[], Tensor]
    threads: int | None = None
    precision: str = "fp32"
    allow_fallback: bool = False


@dataclasses.dataclass(frozen=True)
class Ready:
    """What a backend will run. artefact: digest of the file that it is made of, empty for the torch module itself.

    precision: what it came to; of `auto`, the one that passed. path: the file, where there is one.
    """

    artefact: str = ""
    precision: str = "fp32"
    path: Path | None = None


@dataclasses.dataclass(frozen=True)
class Backend:
    """One row of `BACKENDS`. says: what it is, in a few words.

    precisions: for each kind of device that it runs on, what it computes there, the fastest first.
    require: raises Missing where this machine lacks what it needs on a device.
    ready: makes what is missing and judges it; what it gives names the features. Raises ParityFailed.
    open: gives the runner. checks_itself: whether what runs is judged on its own device by `ready` or `open`; the rows
    of others are compared with torch on the device before the first one is used, see `judged_here.py`.
    """

    says: str
    precisions: Mapping[str, tuple[str, ...]]
    ready: Callable[[Asked], Ready]
    open: Callable[[Asked, Ready], AbstractContextManager[Runner]]
    require: Callable[[str], None]
    checks_itself: Callable[[Asked, Ready], bool]
    auto: bool = False

    def computes(self, device: str, precision: str) -> bool:
        return precision in self.precisions.get(device_kind(device), ()) or (self.auto and precision == AUTO)

    def check(self, name: str, device: str, precision: str) -> None:
        """Raises BadInput for a kind of device that it does not run on, or a precision that it does not compute there.

        name: its own, for the message.
        """
        kind = device_kind(device)
        if kind not in self.precisions:
            raise BadInput(
                f"backend {name} runs on {' and '.join(self.precisions)}, device {device} found; choose device "
                f"{' or '.join(self.precisions)}, or another backend"
            )
        known = (*self.precisions[kind], *((AUTO,) if self.auto else ()))
        if not self.computes(device, precision):
            raise BadInput(
                f"backend {name} on {kind} computes {', '.join(known)}, precision {precision} found"
                f"{nearest(precision, known)}; choose one of these, or another backend"
            )
