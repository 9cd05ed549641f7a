"""How far an exported file may be from torch, by precision."""

import dataclasses


@dataclasses.dataclass(frozen=True)
class Threshold:
    """The least that a precision must keep. docs/export.md gives the measurements behind each number.

    worst_cosine: of the row that agrees least. noise: largest error, relative to the spread between images.
    neighbours: share of images that keep their nearest neighbour. probe_loss: accuracy that may be lost.
    """

    worst_cosine: float
    noise: float
    neighbours: float
    probe_loss: float


# fp32: two correct backends differ by rounding, 1 - cosine of 1e-13 to 1e-12 over 55 timm models, and 5e-6 in
# the worst known case (saturated softmax); a swapped mean or a wrong crop costs 1e-3 and more.
# fp16 and bf16 keep 11 and 8 bits of a number, so one rounding is 5e-4 and 4e-3 of it; int8 keeps 8 bits of a
# whole tensor's range. Noise is bounded apart from the cosine: features that share a large common part have a
# cosine near 1 whatever is exported, and a scaled layer leaves it at 1 exactly.
REQUIRED = {
    "fp32": Threshold(0.99999, 0.005, 0.95, 0.005),
    "fp16": Threshold(0.997, 0.03, 0.90, 0.005),
    "bf16": Threshold(0.97, 0.10, 0.80, 0.01),
    "int8": Threshold(0.90, 0.20, 0.60, 0.02),
}
PRECISIONS = tuple(REQUIRED)
