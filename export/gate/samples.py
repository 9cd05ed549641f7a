"""Real images to judge an artefact on: the user's folder, or the project's own sample set."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from featune.engine.errors import BadInput
from featune.engine.images import MODES, Labelled, batches, check_channels, eval_view, image_files
from featune.engine.models import View

SAMPLE = 64  # images; enough for a worst row and a nearest neighbour, seconds on a CPU
CALIBRATION = 64  # of them for int8; more change its ranges little, and each takes memory in the histograms
LABELLED = 2000  # at most, where labels allow to measure the change in probe accuracy
ALIKE = 0.1  # of the spread of the project's own sample, in grey levels: below, images are alike
OWN_TILES = 8
TILES = (128, 176, 240, 320)  # sides of the cut-outs, pixels
OWN = "the project's sample set: scikit-learn's two sample photographs, cut into tiles"


@dataclasses.dataclass(frozen=True)
class Sample:
    """uint8 images [n, channels, side, side] through a model's eval view. labels: class numbers [n], where known."""

    images: Tensor
    source: str
    labels: NDArray[Any] | None = None


def halves(sample: Sample) -> tuple[Sample, Sample]:
    """Images to calibrate on, spread over the sample, and those between them to judge on."""
    count = len(sample.images)
    chosen = np.zeros(count, dtype=bool)
    chosen[np.linspace(0, count - 1, min(CALIBRATION, count // 2)).round().astype(int)] = True
    parts = []
    for which in (chosen, ~chosen):
        labels = None if sample.labels is None else sample.labels[which]
        parts.append(Sample(sample.images[torch.from_numpy(which)], sample.source, labels))
    return parts[0], parts[1]


def held_out(sample: Sample, precision: str) -> Sample:
    """What an artefact of the precision is judged on: all, or those on which it was not calibrated."""
    return sample if precision == "fp32" else halves(sample)[1]


def varied(sample: Sample, view: View, precision: str) -> Sample:
    """The sample, or two of its images with the project's own where its images are all alike.

    What images have in common tells nothing about an export, and differences that are smaller than rounding make any
    export look wrong. In other precisions than fp32 only images that are equal to the last pixel count as alike: where
    int8 drowns the differences between frames of a fixed camera, its features are of no use for them.
    """
    count = len(sample.images)
    few = sample.images[torch.linspace(0, count - 1, min(count, SAMPLE)).round().long()]
    spread = _spread(few)
    if precision == "fp32":
        alike = spread < ALIKE * _spread(own_sample(view, OWN_TILES).images)
    else:
        alike = not spread and bool((sample.images == sample.images[:1]).all())
    if not alike:
        return sample
    own = own_sample(view, SAMPLE - 2)
    # Two at most: of more that are alike, rounding decides which are neighbours.
    source = f"2 of {count} images that are all alike ({sample.source}), and {len(own.images)} of {OWN}"
    return Sample(torch.cat([sample.images[:: max(1, count - 1)][:2], own.images]), source)


def _spread(images: Tensor) -> float:
    """What the same pixel differs by between images, in grey levels, in the root mean square."""
    pixels = images.flatten(1).float()
    return float((pixels - pixels.mean(0)).square().mean().sqrt())


def own_sample(view: View, count: int = SAMPLE) -> Sample:
    """Tiles of scikit-learn's two sample photographs, which are on every machine that has Featune.

    Tiles of four sizes at places of a fixed seed, both photographs in turn, so no two are the same. A model of one
    channel sees them in grey; to one of 2 or 4 the last channel is the grey tile turned upside down.
    Source: sklearn.datasets.load_sample_images (china.jpg and flower.jpg, CC BY, see scikit-learn's README).
    """
    from sklearn.datasets import load_sample_images

    photographs = load_sample_images().images
    rng = np.random.default_rng(0)
    square = eval_view(view)
    pixels = []
    for number in range(count):
        photograph = photographs[number % len(photographs)]
        side = TILES[number // len(photographs) % len(TILES)]
        top = int(rng.integers(photograph.shape[0] - side + 1))
        left = int(rng.integers(photograph.shape[1] - side + 1))
        pixels.append(square(_tile(photograph[top : top + side, left : left + side], view.channels)))
    return Sample(torch.from_numpy(np.stack(pixels)), OWN)


def _tile(pixels: NDArray[np.uint8], channels: int) -> Image.Image:
    check_channels(channels)
    image = Image.fromarray(pixels)
    grey = image.convert("L")
    if channels in (2, 4):
        last = grey.transpose(Image.Transpose.FLIP_TOP_BOTTOM)
        return Image.merge(MODES[channels], [*(grey if channels == 2 else image).split(), last])
    return grey if channels == 1 else image


def folder_sample(folder: Path, view: View, count: int = SAMPLE) -> Sample:
    """Images of a folder, spread evenly over its files in sorted order.

    Where the images lie in two or more class folders, the labels are those folders and up to LABELLED images
    are taken, since the change in probe accuracy needs them. Raises BadInput for a folder without images.
    """
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give --data a folder of images")
    files = [file for path in image_files(folder) if (file := folder / path).is_file()]
    classes = sorted({file.parent.name for file in files if file.parent != folder})
    labelled = len(classes) > 1 and all(file.parent != folder for file in files)
    wanted = min(len(files), LABELLED if labelled else count)
    if wanted < 2:
        raise BadInput(f"{folder}: {len(files)} images found, at least 2 expected; give --data a folder of images")
    chosen = [files[i] for i in np.linspace(0, len(files) - 1, wanted).round().astype(int)]
    numbers = tuple((classes.index(file.parent.name) if labelled else 0,) for file in chosen)
    paths = tuple(str(file.relative_to(folder)) for file in chosen)
    items = Labelled(str(folder), paths, numbers, channels=view.channels)
    images = torch.cat(list(batches(items, view, 64)))
    return Sample(images, f"{wanted} images of {folder.name}", items.truth(len(classes)) if labelled else None)
