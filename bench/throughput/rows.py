"""What is measured (Configuration), how long (Effort), what came of it (Block, Row)."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

MODES = ("latency", "throughput")  # batch 1; the fastest batch that a search found


@dataclasses.dataclass(frozen=True)
class Setup:
    """A model on a backend. threads: of one operator on a CPU."""

    model: str
    backend: str
    precision: str = "fp32"
    device: str = "cpu"
    threads: int = 1

    @property
    def name(self) -> str:
        return self.backend if self.precision == "fp32" else f"{self.backend} {self.precision}"


@dataclasses.dataclass(frozen=True)
class Configuration:
    """One row to measure. scope: a, b or c, see SCOPES. mode: latency, throughput, or `batch N` where N was asked for.

    twin: a second worker of the same, whose difference from the first shows what this machine's spread is.
    """

    setup: Setup
    batch: int
    scope: str = "a"
    mode: str = "latency"
    twin: bool = False


@dataclasses.dataclass(frozen=True)
class Effort:
    """How long is measured. rounds: blocks of each configuration, an even number. seconds: of a block, at least;
    calls: of a block, at least. warm_up: seconds after which a configuration that is not stable is measured anyway.
    most: seconds after which no round is begun, where `fewest` are done: calls may be long.

    Many short blocks find more than few long ones in the same time: the speed of a shared processor changes within a
    tenth of a second, so that blocks in a row differ as much at 0.4 s as at 0.1 s (benchmarks/throughput.md).
    """

    rounds: int = 40
    seconds: float = 0.1
    calls: int = 3
    warm_up: float = 15.0
    fewest: int = 10
    most: float = 120.0


@dataclasses.dataclass(frozen=True)
class Block:
    """One turn of one worker: the raw seconds of each call, of `images` images each.

    session: 0, or 1 where fresh workers measured again. turn: the round. wall: seconds of the whole block.
    others, loaded: as LoadWatch has them. megahertz: of the processors, None where it cannot be read. joules: that the
    machine's counter showed, None without one. free: seconds per image if loading were free, in scope (c).
    """

    session: int
    turn: int
    samples: tuple[float, ...]
    images: int
    wall: float
    others: float = 0.0
    loaded: bool = False
    megahertz: float | None = None
    joules: float | None = None
    free: float | None = None


@dataclasses.dataclass(frozen=True)
class Row:
    """What came of a configuration: its blocks and their summary (`summarise`), or the error in words.

    opened: what was found when it was opened: seconds, bytes, gate, parameters. warm: calls and seconds of the warm-up
    and whether it became stable. memory: bytes. marks: why the number is to be doubted.
    """

    configuration: Configuration
    blocks: Sequence[Block] = ()
    summary: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    opened: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warm: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    memory: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    marks: Sequence[str] = ()
    error: str | None = None

    @property
    def rate(self) -> float:
        """Images per second; 0 where it failed."""
        return float(self.summary["images_per_second"]) if self.error is None else 0.0

    @property
    def passed(self) -> bool:
        """Whether it was measured and its artefact passed its gate, or is the reference itself."""
        return self.error is None and bool((self.opened.get("gate") or {}).get("passed"))


def configuration_of(value: Mapping[str, Any]) -> Configuration:
    return Configuration(**{**value, "setup": Setup(**value["setup"])})


def block_of(value: Mapping[str, Any]) -> Block:
    return Block(**{**value, "samples": tuple(value["samples"])})


def row_of(value: Mapping[str, Any]) -> Row:
    """A row as `plain` made it."""
    return Row(
        **{
            **value,
            "configuration": configuration_of(value["configuration"]),
            "blocks": tuple(block_of(each) for each in value["blocks"]),
        }
    )
