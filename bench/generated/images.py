"""Images of the demo and of miniature studies: source tasks and three targets, written to disk as a user's would be.

The source task stands in for ImageNet: fractals of iterated function systems, one system per class, after the
idea of Kataoka et al. 2020 ("Pre-training without Natural Images"). Targets: scikit-learn's scanned digits,
tiles of its two photographs, and drawn shapes.
"""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from featune.engine.store import read_json, write_json, written_whole

Pixels = NDArray[np.uint8]
Drawn = Iterator[tuple[str, str, Pixels]]  # split, class, uint8 [side, side, 3]

SIDE = 32
SOURCE_CLASSES = 24
SHAPES = ("disc", "square", "triangle", "star", "ring", "cross", "crescent", "bars")


def write_images(folder: Path, recipe: object, drawn: Callable[[], Drawn]) -> Path:
    """`folder/<split>/<class>/<number>.png` of everything drawn; done once, and again where the recipe differs.

    The record that says 'complete' is written last, so a killed run starts the folder over.
    """
    record = folder / "made.json"
    if read_json(record) == recipe:
        return folder
    counts: dict[tuple[str, str], int] = {}
    for split, name, pixels in drawn():
        number = counts[split, name] = counts.get((split, name), -1) + 1
        with written_whole(folder / split / name / f"{number:04}.png") as temporary:
            Image.fromarray(pixels).save(temporary, format="PNG", compress_level=1)
    write_json(record, recipe)
    return folder


def fractals(seed: int, train: int = 100, val: int = 25, classes: int = SOURCE_CLASSES) -> Drawn:
    """`classes` systems; every image is its class's system, slightly changed, turned, coloured and placed."""
    for number in range(classes):
        rng = np.random.default_rng((seed, 1, number))
        maps = _system(rng)
        for split, count in (("train", train), ("val", val)):
            for _ in range(count):
                yield split, f"ifs{number:02}", _fractal(maps, rng)


def digits(seed: int) -> Drawn:
    """scikit-learn's 1,797 scans of handwritten digits, 8 x 8, in their own size: 500 / 300 / 997."""
    from sklearn.datasets import load_digits

    data = load_digits()
    order = np.random.default_rng((seed, 2)).permutation(len(data.images))
    for place, index in enumerate(order):
        split = "train" if place < 500 else "val" if place < 800 else "test"
        grey = (data.images[index] * 255 / 16).astype(np.uint8)
        yield split, f"digit{data.target[index]}", np.repeat(grey[:, :, None], 3, axis=2)


def photographs(seed: int) -> Drawn:
    """Which of 12 regions of scikit-learn's two photographs a tile is from.

    Each region is cut into three strips, for train, val and test, and tiles stay inside their strip, so that no
    pixel of one split is in another.
    """
    from sklearn.datasets import load_sample_images

    rng = np.random.default_rng((seed, 3))
    for photo, image in zip(("china", "flower"), load_sample_images().images, strict=True):
        height, width = image.shape[0] // 2, image.shape[1] // 3
        for row in range(2):
            for column in range(3):
                region = image[row * height : (row + 1) * height, column * width : (column + 1) * width]
                for split, (low, high), count in (
                    ("train", (0.0, 0.4), 40), ("val", (0.4, 0.6), 20), ("test", (0.6, 1.0), 50),
                ):  # fmt: skip
                    strip = region[:, round(low * width) : round(high * width)]
                    for _ in range(count):
                        top = rng.integers(0, strip.shape[0] - SIDE + 1)
                        left = rng.integers(0, strip.shape[1] - SIDE + 1)
                        yield split, f"{photo}{row}{column}", strip[top : top + SIDE, left : left + SIDE]


def shapes(seed: int) -> Drawn:
    """Eight drawn shapes in any size, place, turn and colour, on a coloured and noisy ground: 400 / 200 / 800."""
    rng = np.random.default_rng((seed, 4))
    for name in SHAPES:
        for split, count in (("train", 50), ("val", 25), ("test", 100)):
            for _ in range(count):
                yield split, name, _shape(name, rng)


def fractal_families(
    seed: int, train: int = 100, val: int = 25, test: int = 25, families: int = 8, classes: int = 4
) -> Drawn:
    """A source task with a hierarchy: `classes` systems in each family, all changed from the family's own system.

    A class differs from its family's system by up to a quarter of each number, an image from its class's by 8 %, as in
    `fractals`. Classes are called f0-0 to f7-3, after their family f0 to f7.
    """
    for family in range(families):
        rng = np.random.default_rng((seed, 5, family))
        base = _system(rng)
        for number in range(classes):
            rng = np.random.default_rng((seed, 5, family, number))
            maps = base * rng.uniform(0.75, 1.25, base.shape)
            for split, count in (("train", train), ("val", val), ("test", test)):
                for _ in range(count):
                    yield split, f"f{family}-{number}", _fractal(maps, rng)


TARGETS: dict[str, Callable[[int], Drawn]] = {"digits": digits, "photographs": photographs, "shapes": shapes}


def _system(rng: np.random.Generator) -> NDArray[np.float64]:
    """Random contracting affine maps [maps, 2, 3] whose attractor fills enough of its box to be seen."""
    while True:
        count = rng.integers(2, 5)
        maps = rng.uniform(-1, 1, (count, 2, 3))
        largest = np.linalg.norm(maps[:, :, :2], ord=2, axis=(1, 2), keepdims=True)
        maps[:, :, :2] *= rng.uniform(0.5, 0.85, (count, 1, 1)) / largest
        filled = (_density(_attractor(maps, np.random.default_rng(0)), 16) > 0).mean()
        if 0.25 < filled < 0.8:
            return maps


def _attractor(maps: NDArray[np.float64], rng: np.random.Generator, chains: int = 400) -> NDArray[np.float64]:
    """Points [n, 2] of the chaos game, played by many chains at once; the first steps are thrown away."""
    areas = np.abs(np.linalg.det(maps[:, :, :2])) + 0.02
    steps = rng.choice(len(maps), size=(24, chains), p=areas / areas.sum())
    points, kept = np.zeros((chains, 2)), []
    for step, chosen in enumerate(steps):
        points = np.einsum("nij,nj->ni", maps[chosen, :, :2], points) + maps[chosen, :, 2]
        if step >= 12:
            kept.append(points)
    return np.concatenate(kept)


def _density(points: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    low, high = points.min(axis=0), points.max(axis=0)
    place = ((points - low) / np.maximum(high - low, 1e-9) * (side - 1)).round().astype(int)
    return np.bincount(place[:, 1] * side + place[:, 0], minlength=side * side).reshape(side, side).astype(float)


def _fractal(maps: NDArray[np.float64], rng: np.random.Generator) -> Pixels:
    changed = maps * rng.uniform(0.92, 1.08, maps.shape)
    points = _attractor(changed, rng)
    angle = rng.uniform(-0.3, 0.3)
    points = points @ np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inner = int(rng.integers(SIDE * 3 // 4, SIDE + 1))
    ink = np.zeros((SIDE, SIDE))
    top, left = rng.integers(0, SIDE - inner + 1, 2)
    ink[top : top + inner, left : left + inner] = np.minimum(_density(points, inner) / 3, 1)
    return _coloured(ink, rng, noise=12)


def _shape(name: str, rng: np.random.Generator) -> Pixels:
    big = 4 * SIDE  # drawn large and shrunk, for smooth edges
    image = Image.new("L", (big, big))
    pen = ImageDraw.Draw(image)
    radius = rng.uniform(0.22, 0.42) * big
    centre = np.array([rng.uniform(radius, big - radius), rng.uniform(radius, big - radius)])
    turn = rng.uniform(0, 2 * np.pi)

    def ring(corners: int, radii: tuple[float, ...] = (1.0,)) -> list[tuple[float, float]]:
        angles = turn + 2 * np.pi * np.arange(corners) / corners
        lengths = radius * np.array([radii[i % len(radii)] for i in range(corners)])
        return [(centre[0] + r * np.cos(a), centre[1] + r * np.sin(a)) for r, a in zip(lengths, angles, strict=True)]

    def disc(middle: NDArray[np.float64], size: float, ink: int) -> None:
        pen.ellipse([*(middle - size), *(middle + size)], fill=ink)

    along = np.array([np.cos(turn), np.sin(turn)])
    across = np.array([-along[1], along[0]])
    if name == "disc":
        disc(centre, radius, 255)
    elif name == "ring":
        disc(centre, radius, 255)
        disc(centre, radius * 0.6, 0)
    elif name == "crescent":
        disc(centre, radius, 255)
        disc(centre + along * radius * 0.5, radius * 0.8, 0)
    elif name in ("square", "triangle"):
        pen.polygon(ring({"square": 4, "triangle": 3}[name]), fill=255)
    elif name == "star":
        pen.polygon(ring(10, (1.0, 0.42)), fill=255)
    else:
        strokes = [(0.0, along), (0.0, across)] if name == "cross" else [(shift, along) for shift in (-0.7, 0.0, 0.7)]
        for shift, ahead in strokes:
            middle = centre + across * radius * shift
            ends = [tuple(middle - ahead * radius), tuple(middle + ahead * radius)]
            pen.line(ends, fill=255, width=int(radius * 0.35))
    ink = np.asarray(image.resize((SIDE, SIDE), Image.Resampling.BOX)) / 255
    return _coloured(ink, rng, noise=20)


def _coloured(ink: NDArray[np.float64], rng: np.random.Generator, noise: float) -> Pixels:
    """Ink [side, side] in [0, 1] as a light random colour on a dark one, and noise."""
    ground, colour = rng.uniform(0, 110, 3), rng.uniform(145, 255, 3)
    pixels = ground + (colour - ground) * ink[:, :, None] + rng.normal(0, noise, (SIDE, SIDE, 3))
    return pixels.clip(0, 255).astype(np.uint8)
