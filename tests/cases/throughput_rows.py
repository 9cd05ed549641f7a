"""Made-up rows of a throughput report, and the document that a run would leave of them."""

import dataclasses
from typing import Any

from featune.bench.throughput import Block, Configuration, Row, Setup, summarise, verdict_of
from featune.engine.store import plain


def row(backend: str, seconds: float, build: float = 1.0, model: str = "resnet18.a1_in1k", **more: Any) -> Row:
    """Eight blocks of a batch of 4 in which an image takes `seconds`."""
    one = Configuration(Setup(model, backend), 4, **{"mode": "batch 4", **more.pop("configuration", {})})
    blocks = [Block(0, turn, (4 * seconds * (1 + 0.002 * (turn % 3)),) * 10, 4, 40 * seconds) for turn in range(8)]
    opened = {
        "gate": {"passed": True, **({"reference": True} if backend == "torch" else {})},
        "bytes": 2_000_000, "side": 224, "no_energy": "no counter",
        "build": {"seconds": {"load": 0.5, "export": build - 0.5, "open": 0.0, "first_call": 0.0}},
    }  # fmt: skip
    settled = {"calls": 10, "seconds": 1.0, "settled": True}
    value = Row(one, blocks, summarise(blocks, 4), opened, settled, {"peak_resident": 5_000_000})
    return dataclasses.replace(value, **more)


def document(rows: list[Row], **more: Any) -> dict[str, Any]:
    good = [each for each in rows if each.error is None and not each.configuration.twin]
    pairs = []
    for at, one in enumerate(good):
        for other in good[at + 1 :]:
            if one.configuration.setup.model == other.configuration.setup.model:
                names = one.configuration.setup.name, other.configuration.setup.name
                verdict = verdict_of(one.blocks, other.blocks)
                pairs.append({"first": names[0], "second": names[1], "sentence": verdict.sentence(*names)}
                             | plain(verdict))  # fmt: skip
    models = list(dict.fromkeys(each.configuration.setup.model for each in rows))
    return {
        "featune": "0", "made": "today", "measured": ["monday", "monday"], "kept": 0, "spread": 0.004, "searches": [],
        "environment": {"machine": "m", "system": "s", "processor": "p", "processors": 2, "memory_bytes": 8e9,
                        "instruction_sets": ["avx2"], "megahertz": None, "tf32": "off", "versions": {"torch": "2"}},
        "asked": {"price_per_hour": 1.8, "effort": {"rounds": 8, "seconds": 0.4}, "source": {"data": None}},
        "peak": {"gmacs_per_second": 100.0, "gigabytes_per_second": 10.0, "loaded": False},
        "costs": {model: {"side": 224, "million_parameters": 11.69, "gmacs": 1.5} for model in models},
        "verdicts": [{"model": models[0], "mode": "batch 4", "scope": "a", "spread": 0.004, "pairs": pairs}],
        "rows": [plain(each) for each in rows], **more,
    }  # fmt: skip
