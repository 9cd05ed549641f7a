"""What follows from rows: break-even, share of the peak, cost, which backend to take; all of it in plain numbers."""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

from .. import Configuration, Row, Setup

REFERENCE = "torch"
SEEN = {"a": "calls", "b": "calls with their copies", "c": "extraction from files"}


@dataclasses.dataclass(frozen=True)
class Derived:
    """What is told of a row beyond its speed; None where it cannot be known.

    build_seconds: of a fresh process, until its first rows. break_even: images after which a longer build than
    torch's is earned back; 0 where it builds no longer, infinite where it is not faster. peak_share: of the machine's
    measured fp32 multiply-adds. million_cost: of a million images.
    """

    build_seconds: float | None = None
    break_even: float | None = None
    peak_share: float | None = None
    million_cost: float | None = None
    million_parameters: float | None = None
    gmacs: float | None = None
    side: int | None = None
    tf32: str = "off"


def derived(row: Row, rows: Sequence[Row], document: Mapping[str, Any]) -> Derived:
    """document: of `session.run`."""
    asked, cost = row.configuration, document["costs"].get(row.configuration.setup.model, {})
    build = build_seconds(row)
    torch = next((each for each in rows if same_group(each, row) and each.configuration.setup.backend == REFERENCE and
                  not each.configuration.twin and each.error is None), None)  # fmt: skip
    gmacs, peak = cost.get("gmacs"), document["peak"].get("gmacs_per_second")
    price = document["asked"].get("price_per_hour")
    return Derived(
        build_seconds=build,
        break_even=break_even(row, torch) if torch is not None and torch is not row else None,
        peak_share=gmacs * row.rate / peak if gmacs and peak and row.error is None else None,
        million_cost=price / 3600 * 1e6 / row.rate if price is not None and row.error is None else None,
        million_parameters=cost.get("million_parameters"),
        gmacs=gmacs,
        side=cost.get("side"),
        tf32=tf32_of(asked.setup),
    )


def tf32_of(setup: Setup) -> str:
    return "none on a CPU" if setup.device == "cpu" else "off"


def same_group(one: Row, other: Row) -> bool:
    def key(each: Configuration) -> tuple[str, str, str]:
        return each.setup.model, each.mode, each.scope

    return key(one.configuration) == key(other.configuration)


def build_seconds(row: Row) -> float | None:
    """Of the build, which a fresh process was timed at; not of the row's own worker, whose artefact was there."""
    seconds = row.opened.get("build", {}).get("seconds")
    return float(sum(seconds.values())) if seconds else None


def break_even(row: Row, torch: Row) -> float | None:
    """Images after which the row's build, and its images, took no longer than torch's."""
    mine, theirs = build_seconds(row), build_seconds(torch)
    if mine is None or theirs is None or row.error is not None:
        return None
    if mine <= theirs:
        return 0.0
    gained = 1 / torch.rate - 1 / row.rate
    return (mine - theirs) / gained if gained > 0 else math.inf


@dataclasses.dataclass(frozen=True)
class Recommendation:
    """The backend to take for a model in a mode and scope, and why in words; None where no row passed.

    rate, low, high: its images per second with their 95 % interval. against: the verdict on it and the reference, as
    (word, ratio, low, high); None where they were not compared, or it is the reference.
    """

    model: str
    mode: str
    scope: str
    setup: str | None
    sentence: str
    rate: float | None = None
    low: float | None = None
    high: float | None = None
    against: tuple[str, float, float, float] | None = None

    @property
    def where(self) -> str:
        return where(self.mode, self.scope)


def where(mode: str, scope: str) -> str:
    """Mode and scope in words; only (c) has a mode of its own, `files`."""
    return mode if scope == "c" else f"{mode}, scope ({scope})"


def recommendations(rows: Sequence[Row], document: Mapping[str, Any]) -> list[Recommendation]:
    """For each model, mode and scope the fastest that passed its gate."""
    shown = [row for row in rows if not row.configuration.twin]
    found = []
    for (model, mode, scope), members in itertools.groupby(
        shown, lambda row: (row.configuration.setup.model, row.configuration.mode, row.configuration.scope)
    ):
        group = [row for row in members if row.error is None]
        if group:
            found.append(_recommended(model, mode, scope, group, rows, document))
    return found


def _recommended(
    model: str, mode: str, scope: str, group: Sequence[Row], rows: Sequence[Row], document: Mapping[str, Any]
) -> Recommendation:
    passed = [row for row in group if row.passed]
    if not passed:
        return Recommendation(model, mode, scope, None, "no backend passed its gate; none is recommended")
    best = max(passed, key=lambda row: row.rate)
    name, batch = best.configuration.setup.name, best.configuration.batch
    at = "" if scope == "c" else f" at batch {batch}"
    words = [f"{name}{at}: {SEEN[scope]} at {best.rate:,.4g} images/s"]
    pairs: list[dict[str, Any]] = next((each["pairs"] for each in document["verdicts"]
                  if (each["model"], each["mode"], each["scope"]) == (model, mode, scope)), [])  # fmt: skip
    for row in sorted(passed, key=lambda row: -row.rate):
        if row is not best:
            words.append(_against(name, row.configuration.setup.name, pairs))
    if faster := [row.configuration.setup.name for row in group if not row.passed and row.rate > best.rate]:
        words.append(f"{', '.join(faster)} ran faster but has no passing gate")
    images = derived(best, rows, document).break_even
    if images is not None and math.isfinite(images):
        words.append(f"its build is earned back after {images:,.0f} images" if images else "it builds no longer")
    if best.marks:
        words.append(f"to be doubted: {best.marks[0]}")
    ends = best.summary["images_per_second_low"], best.summary["images_per_second_high"]
    against = _oriented(name, REFERENCE, pairs) if name != REFERENCE else None
    return Recommendation(model, mode, scope, name, "; ".join(words), best.rate, *ends, against)


def _oriented(name: str, other: str, pairs: Sequence[Mapping[str, Any]]) -> tuple[str, float, float, float] | None:
    """(word, ratio, low, high) of the first against the other, whichever way round they were compared."""
    for pair in pairs:
        if {pair["first"], pair["second"]} == {name, other}:
            ratio, low, high, word = pair["ratio"], pair["low"], pair["high"], pair["word"]
            if pair["second"] == name:
                ratio, low, high = 1 / ratio, 1 / high, 1 / low if low else math.inf
                word = {"faster": "slower", "slower": "faster"}.get(word, word)
            return word, ratio, low, high
    return None


def _against(name: str, other: str, pairs: Sequence[Mapping[str, Any]]) -> str:
    known = _oriented(name, other, pairs)
    if known is None:
        return f"not compared with {other}"
    word, ratio, low, high = known
    interval = f"({low:.2f} to {high:.2f})"
    if word == "faster":
        return f"{ratio:.2f} times as fast as {other} {interval}"
    return f"equal to {other} within 3 %" if word == "equal" else f"{word} against {other}, {ratio:.2f} {interval}"
