"""The percentages marked on axes in log odds."""

from itertools import pairwise

import numpy as np
import pytest

from featune.bench.report.figures.axis import limits_of, percent_ticks


@pytest.mark.parametrize("limits", [(-0.4, 1.3), (2.0, 8.0), (1.0, 1.1), (-6.0, 6.0), (0.83, 0.86)])
def test_ticks_are_round_percentages_in_place_and_apart(limits: tuple[float, float]) -> None:
    ticks = percent_ticks(limits, 300, 40)
    assert len(ticks) >= 2
    for at, text in ticks:
        share = float(text.removesuffix(" %")) / 100
        assert at == pytest.approx(np.log(share / (1 - share)))
        assert limits[0] <= at <= limits[1]
    assert ticks[0][0] - limits[0] <= 0.4 * (limits[1] - limits[0])
    assert limits[1] - ticks[-1][0] <= 0.4 * (limits[1] - limits[0])
    assert all((b - a) * 300 / (limits[1] - limits[0]) >= 40 for (a, _), (b, _) in pairwise(ticks))


@pytest.mark.parametrize(("low", "high"), [(35, 92), (14, 98.5), (55, 97), (3, 88)])
def test_ticks_do_not_stop_short_of_the_points(low: float, high: float) -> None:
    """low and high: the outermost points, in percent."""
    points = [np.log(share / (100 - share)) for share in (low, high)]
    limits = limits_of(points)
    ticks = [at for at, _ in percent_ticks(limits, 262, 24)]
    long = limits[1] - limits[0]
    assert ticks[0] - points[0] < 0.1 * long
    assert points[1] - ticks[-1] < 0.1 * long
