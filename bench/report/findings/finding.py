"""One finding about a study: a sentence for people, numbers for programs."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ...results import signed


@dataclasses.dataclass(frozen=True)
class Finding:
    """kind: what it is about, a key of `report.json`; regime: empty where it is of the whole study."""

    kind: str
    regime: str
    said: str
    numbers: Mapping[str, Any]


def within(low: float, high: float) -> str:
    return f"95\u00a0% interval {signed(low)} to {signed(high)}"
