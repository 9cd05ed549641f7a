import os
import signal
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from featune.engine.errors import BadInput, FeatuneError
from featune.engine.features import Options
from featune.engine.features.decoder_processes import DecoderProcesses, decoding
from featune.engine.features.passes import Setting, Stream, chunks
from featune.engine.features.squares import Seconds, decoded_squares
from featune.engine.images import Labelled
from featune.engine.models import View

SMALL, LARGE = View(side=16), View(side=24, interpolation="bicubic")


def columns(images: Tensor, /) -> Tensor:
    return images.float().flatten(1)[:, ::7]


def test_processes_give_the_squares_of_threads_to_the_bit_and_name_bad_files_and_a_killed_one_is_told(
    items: Labelled,
) -> None:
    Path(items.file(4)).write_bytes(b"no image")
    streams = [Stream(SMALL, columns), Stream(LARGE, columns, 3)]
    wanted = list(chunks(items, streams, Setting(3, 2), decoded_squares(items, "fast")))
    with decoding(items, "fast", "processes", 1) as squares:
        found = list(chunks(items, streams, Setting(3, 2), squares))
        assert [(each.start, each.stop, each.bad) for each in found] == [
            (each.start, each.stop, each.bad) for each in wanted
        ]
        for each, other in zip(found, wanted, strict=True):
            for rows, theirs in zip(each.rows, other.rows, strict=True):
                assert np.array_equal(rows, theirs)
        assert sum(each.seconds.decode for each in found) > 0
        assert isinstance(squares, DecoderProcesses)
        (process,) = squares.pool._processes.values()
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        place = {SMALL: np.empty((2, 3, 16, 16), np.uint8)}
        with pytest.raises(FeatuneError, match=r"a process that decodes was killed .*take fewer --workers"):
            squares.together(0, 2, place, Seconds())


def test_another_place_to_decode_in_is_bad_input() -> None:
    with pytest.raises(BadInput, match="decode_in 'process' found; expected threads or processes"):
        Options(decode_in="process")  # type: ignore[arg-type]
