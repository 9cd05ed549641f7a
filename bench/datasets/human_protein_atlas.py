"""The Human Protein Atlas of Kaggle 2018: four stains of a cell in one image, by the split file of Fang et al."""

import functools
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from featune.engine.images import Labelled, read_image
from featune.engine.store import file_digest

from ..catalogue import DEFAULT
from ..tasks import labelled_files
from .list_files import need, rows_of, whole
from .unpacked_download import Copy, Found, Loader, copied, folder_of

STAINS = ("red", "green", "blue", "yellow")
HPA_SPLIT_FILES = ("split.stratified.small.0.csv", "hpa.split.stratified.small.0.csv")
HPA_SPLIT_SHA256 = "802764fc37ab6a02dd6132d6fd5ea164e1322ddf833e2d95f0e0527c1f59984e"
HPA_CLASSES = (
    "Nucleoplasm", "Nuclear membrane", "Nucleoli", "Nucleoli fibrillar center", "Nuclear speckles", "Nuclear bodies",
    "Endoplasmic reticulum", "Golgi apparatus", "Peroxisomes", "Endosomes", "Lysosomes", "Intermediate filaments",
    "Actin filaments", "Focal adhesion sites", "Microtubules", "Microtubule ends", "Cytokinetic bridge",
    "Mitotic spindle", "Microtubule organizing center", "Centrosome", "Lipid droplets", "Plasma membrane",
    "Cell junctions", "Mitochondria", "Aggresome", "Cytosol", "Cytoplasmic bodies", "Rods & rings",
)  # fmt: skip


def hpa(raw: Path, variant: str, made: Path) -> Found:
    """train/<Id>_{red,green,blue,yellow}.png or the merged rgby/train/<Id>.png, and the split file."""
    merged = any((place / "rgby").is_dir() for place in (raw / "hpa", raw))
    root = folder_of(raw, "hpa", holds="rgby" if merged else "train")
    file = need(*(place / name for place in (root, raw, root / "splits" / "hpa") for name in HPA_SPLIT_FILES))
    rows = rows_of(file, "Id", "Target", "Split")
    parts = {"train": "train", "val": "val", "test": "test_val"}
    splits: dict[str, Labelled] = {}
    copies: list[Copy] = []
    for split, part in parts.items():
        splits[split], more = _stained(root, [row for row in rows if row["Split"] == part], file, variant, made)
        copies += more
    counted = {split: len(items) for split, items in splits.items()}
    notes = () if file_digest(file) == HPA_SPLIT_SHA256 else (f"{file} is not the split file of the paper",)
    kinds = {"default": "red, green, blue and yellow as alpha", "mixed": "yellow averaged into red and green"}
    note = f"{root}: the paper's split file; channels: {kinds.get(variant, 'blue, green, red, no yellow')}"
    return Found(splits, HPA_CLASSES, counted, note, notes, tuple(copies))


def _stained(
    root: Path, rows: Sequence[Mapping[str, str]], file: Path, variant: str, made: Path
) -> tuple[Labelled, tuple[Copy, ...]]:
    """One PNG for each image, of its four stains."""
    sources = [_stains(root, row["Id"]) for row in rows]
    labels = [tuple(sorted({whole(number, file) for number in row["Target"].split()})) for row in rows]
    channels = 4 if variant == DEFAULT else 3
    items = labelled_files(
        root, [files[0].relative_to(root).as_posix() for files in sources], labels, channels=channels
    )
    names = [f"{row['Id']}.png" for row in rows]
    return copied(items, made, names, functools.partial(_stained_image, sources, variant), sources)


def _stains(root: Path, name: str) -> tuple[Path, ...]:
    """The merged file of an image, or its four."""
    merged = root / "rgby" / "train" / f"{name}.png"
    return (merged,) if merged.exists() else tuple(root / "train" / f"{name}_{stain}.png" for stain in STAINS)


def _stained_image(sources: Sequence[tuple[Path, ...]], variant: str, index: int) -> Image.Image:
    return stain(read_stains(sources[index][0]), variant)


def read_stains(path: Path) -> np.ndarray:
    """uint8 [h, w, 4]: red, green, blue, yellow, of a merged file or of four grey ones, one of which is given."""
    if not path.stem.endswith("_red"):
        return np.asarray(read_image(path, 4))
    name = path.stem.removesuffix("_red")
    grey = [read_image(need(path.with_name(f"{name}_{colour}.png")), 1) for colour in STAINS]
    return np.stack([np.asarray(image) for image in grey], axis=2)


def stain(pixels: np.ndarray, variant: str) -> Image.Image:
    """RGBA of all four; RGB with yellow mixed in; or blue, green, red as the released code feeds them."""
    if variant == "released":
        return Image.fromarray(np.ascontiguousarray(pixels[:, :, 2::-1]))
    if variant == "mixed":
        wide = pixels.astype(np.uint16)
        mixed = np.stack([(wide[..., 0] + wide[..., 3]) // 2, (wide[..., 1] + wide[..., 3]) // 2, wide[..., 2]], 2)
        return Image.fromarray(mixed.astype(np.uint8))
    return Image.fromarray(pixels)


LOADERS: dict[str, Loader] = {"hpa": hpa}
