"""The percentages marked on axes in log odds."""

from itertools import pairwise

import numpy as np
import pytest

from featune.bench.report.figures.axis import percent_ticks


@pytest.mark.parametrize("limits", [(-0.4, 1.3), (2.0, 8.0), (1.0, 1.1), (-6.0, 6.0), (0.83, 0.86)])
def test_ticks_are_round_percentages_in_place_and_apart(limits: tuple[float, float]) -> None:
    ticks = percent_ticks(limits, 300, 40)
    assert len(ticks) >= 2
    for at, text in ticks:
        share = float(text.removesuffix(" %")) / 100
        assert at == pytest.approx(np.log(share / (1 - share)))
        assert limits[0] <= at <= limits[1]
    assert all((b - a) * 300 / (limits[1] - limits[0]) >= 40 for (a, _), (b, _) in pairwise(ticks))
