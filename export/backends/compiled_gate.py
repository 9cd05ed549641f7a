"""A model compiled by torch, judged against eager torch each time that it is opened."""

import contextlib
from collections.abc import Callable, Iterator

from torch import Tensor

from featune.engine.errors import ParityFailed
from featune.engine.models import ModelSpec, feature_model
from featune.engine.runners import Runner, compiled_runner, torch_runner

from ..contract import compare, failures
from ..gate import Sample, varied


@contextlib.contextmanager
def compiled_and_judged(
    spec: ModelSpec, device: str, sample: Callable[[], Tensor], threads: int | None
) -> Iterator[Runner]:
    """The runner, compiled for one image and for many; what it was found to differ by is its attribute `parity`.

    sample: as of `artefact`. What is compiled is no file that could keep a verdict, so it has one for its own process.
    Raises ParityFailed where its rows are not eager torch's.
    """
    images = varied(Sample(sample(), "the user's images"), spec.view, "fp32").images.to(device)
    model = feature_model(spec)
    with torch_runner(model, device) as reference, compiled_runner(model, device, threads) as runner:
        found = compare(reference, runner, images)
        if missed := failures(found):
            raise ParityFailed(f"{spec.name} torch-compile: {'; '.join(missed)}; use --backend torch")
        runner.parity = found  # type: ignore[attr-defined]
        yield runner
