"""The sentence on what limited a pass, by hand-made seconds."""

import pytest

from featune.engine.features.bottleneck import Verdict
from featune.engine.features.passes import Setting
from featune.engine.features.squares import Seconds


def verdict(seconds: Seconds, device: str = "cpu") -> Verdict:
    return Verdict(100, 100, 1, 10.0, 0.1, seconds, Setting(32, 2), device, "fast")


@pytest.mark.parametrize(
    ("seconds", "device", "stage", "says"),
    [
        # Decoding and resizing together took more than the model, each alone less.
        (
            Seconds(0.2, 6, 5, 0, 8),
            "cpu",
            "decode",
            "56% of .* went into preparing images (decode 30%, resize 25%): more",
        ),
        (
            Seconds(5, 4, 1, 0, 8),
            "cpu",
            "read",
            "50% of .* (read 25%, decode 20%, resize 5%): storage that",
        ),
        (Seconds(0, 3, 4, 0, 6), "cpu", "resize", "preparing images (decode 15%, resize 20%): more processor cores"),
        (
            Seconds(0, 3, 2, 0, 8),
            "cpu",
            "compute",
            "40% of the time of 2 workers went into the model: a lower",
        ),
        (Seconds(0, 9, 0.1, 0, 8), "cpu", "decode", "45% of the time of 2 workers went into decoding images: more"),
        (Seconds(0, 3, 2, 0, 4, 6), "cpu", "write", "went into writing the rows"),
        # A GPU works beside the workers, who share theirs.
        (Seconds(0, 9, 9, 0, 8), "cuda", "decode", "90% of the time of 2 workers went into preparing images"),
        (Seconds(0, 6, 5, 0, 8), "cuda", "compute", "80% of the time of the pass went into the model"),
    ],
)
def test_what_images_cost_before_the_model_counts_together(
    seconds: Seconds, device: str, stage: str, says: str
) -> None:
    found = verdict(seconds, device)
    assert found.bottleneck == stage
    for part in says.split(" .* "):
        assert part in found.sentence()
