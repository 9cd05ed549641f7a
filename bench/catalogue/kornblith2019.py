"""The twelve data sets of Kornblith et al. 2019 besides ImageNet."""

from collections.abc import Mapping
from typing import Any

from .entries import CUT, K_TABLE, SIMCLR, SSLT, TV, Archive, Entry

OXFORD = "https://www.robots.ox.ac.uk/~vgg/data"
VOC = "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007"
TABLE, MEASURE, LAYOUT = f"sizes, classes: {K_TABLE}", f"metric, split: {SIMCLR}", f"layout, hash: {TV}"
MEAN = "mean_per_class"


def _entry(
    name: str, title: str, classes: int, counts: Mapping[str, int], splits: str, *, more_sources: str = "", **other: Any
) -> Entry:
    """A data set that torchvision downloads, measured by top-1, unless `other` says otherwise."""
    facts: dict[str, Any] = {
        "metric": "top1",
        "licence": "no open licence found; research use, see the site (not verified)",
        "steps": (f"featune prepare {name} --raw DIR --download",),
        "sources": (TABLE, MEASURE, LAYOUT, *filter(None, [more_sources])),
    }
    return Entry(
        name=name, title=title, classes=classes, counts=counts, splits=splits,
        collection="Kornblith et al. 2019", **(facts | other),
    )  # fmt: skip


FOOD = _entry(
    "food101", "Food-101", 101, {"train": 75_750, "test": 25_250}, f"official; {CUT}",
    torchvision="Food101",
    archives=(Archive("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz", "85eeb15f3717b99a5da872d97d918f87"),),
)  # fmt: skip
CIFAR10 = _entry(
    "cifar10", "CIFAR-10", 10, {"train": 50_000, "test": 10_000},
    f"official; {CUT}; the batches are written as PNG files once",
    torchvision="CIFAR10",
    archives=(Archive("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz", "c58f30108f718f92721af3b95e74349a"),),
)  # fmt: skip
CIFAR100 = _entry(
    "cifar100", "CIFAR-100", 100, {"train": 50_000, "test": 10_000},
    f"official; fine labels; {CUT}; the batches are written as PNG files once",
    torchvision="CIFAR100",
    archives=(Archive("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz", "eb9058c3a382ffc7106e4002c42a8d85"),),
)  # fmt: skip
BIRDSNAP = _entry(
    "birdsnap", "Birdsnap", 500, {"listed": 49_829, "listed test": 2_443},
    f"official test list; {CUT}. Many of its Flickr addresses are dead: images that are not there are left out "
    "and counted, so that two downloads are two tasks",
    steps=(
        "curl -O http://thomasberg.org/datasets/birdsnap/1.1/birdsnap.tgz",
        "tar xzf birdsnap.tgz -C DIR",
        "in DIR/birdsnap run its get_birdsnap.py (Python 2), which fills download/images",
    ),
    sources=(f"sizes: {K_TABLE}, 47,386 + 2,443", f"layout: notes; {SSLT}"),
)  # fmt: skip
SUN397 = _entry(
    "sun397", "SUN397", 397, {"train": 19_850, "test": 19_850}, f"official partition 01; {CUT}",
    steps=(
        "featune prepare sun397 --raw DIR --download  # 37 GB of images",
        "fetch the official partitions (Partitions.zip) from https://vision.princeton.edu/projects/2010/SUN/ "
        "and put Training_01.txt, Testing_01.txt into DIR/SUN397",
    ),
    sources=(TABLE, MEASURE, f"archive: {TV}", f"place of the partition files: {SSLT}"),
    torchvision="SUN397",
    archives=(
        Archive("http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz", "8ca2778205c41d23104230ba66911c7a"),
    ),
)  # fmt: skip
CARS = _entry(
    "cars", "Stanford Cars", 196, {"train": 8_144, "test": 8_041}, f"official; {CUT}",
    steps=(
        "the original address is dead; of a mirror take cars_train, cars_test, devkit and "
        "cars_test_annos_withlabels.mat (cars_test_annos.mat has no labels)",
        "put them into DIR/stanford_cars",
    ),
    sources=(TABLE, MEASURE, f"layout: {TV}; {SSLT}"),
)  # fmt: skip
AIRCRAFT = _entry(
    "aircraft", "FGVC Aircraft (variants)", 100, {"trainval": 6_667, "test": 3_333},
    "official train, val and test of the variant level",
    metric=MEAN,
    more_sources="banner of 20 pixels: not verified",
    variants={"no_banner": "copies without the lowest 20 pixels, which hold a copyright banner"},
    torchvision="FGVCAircraft",
    archives=(Archive(f"{OXFORD}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz", None),),
)  # fmt: skip
VOC2007 = _entry(
    "voc2007", "PASCAL VOC 2007 classification", 20, {"trainval": 5_011, "test": 4_952},
    "official train, val and test; images that are 'difficult' for a class are neither hits nor misses of it",
    metric="map_11point",
    multilabel=True,
    more_sources="0 means difficult: VOC devkit, not verified here",
    variants={"difficult_negative": f"difficult images count as negatives, as in {SSLT}"},
    torchvision="VOCDetection",
    parts=({"year": "2007", "image_set": "trainval"}, {"year": "2007", "image_set": "test"}),
    archives=(
        Archive(f"{VOC}/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
        Archive(f"{VOC}/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f"),
    ),
)  # fmt: skip
DTD = _entry(
    "dtd", "Describable Textures (DTD)", 47, {"trainval": 3_760, "test": 1_880},
    "official train, val and test of split 1",
    torchvision="DTD",
    archives=(Archive(f"{OXFORD}/dtd/download/dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1", "dtd"),),
)  # fmt: skip
PETS = _entry(
    "pets", "Oxford-IIIT Pets", 37, {"train": 3_680, "test": 3_669},
    f"official; {CUT}. The paper prints 3,369 test images; the official list has 3,669",
    metric=MEAN,
    licence="CC BY-SA 4.0 (not verified)",
    torchvision="OxfordIIITPet",
    archives=(
        Archive(f"{OXFORD}/pets/data/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c", "oxford-iiit-pet"),
        Archive(f"{OXFORD}/pets/data/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f", "oxford-iiit-pet"),
    ),
)  # fmt: skip
CALTECH101 = _entry(
    "caltech101", "Caltech-101 with background", 102, {"images": 9_144},
    "30 images per class by seed 0, drawn without replacement, for train and val (24 and 6); test: the rest",
    metric=MEAN,
    more_sources="9,144 = 3,060 + 6,084",
    variants={
        "no_background": "101 classes, as torchvision has it",
        "with_replacement": f"30 draws per class with replacement, as {SSLT} drew (its own lists differ)",
    },
    torchvision="Caltech101",
    archives=(
        Archive("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
                "3138e1922a9193bfa496528edbbc45d0", "caltech101"),
    ),
)  # fmt: skip
FLOWERS102 = _entry(
    "flowers102", "Oxford Flowers 102", 102, {"train": 1_020, "val": 1_020, "test": 6_149},
    "official train, val and test (setid.mat)",
    metric=MEAN,
    more_sources="1,020 + 1,020: not verified, their sum is",
    torchvision="Flowers102",
    archives=(
        Archive(f"{OXFORD}/flowers/102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa", "flowers-102"),
        Archive(f"{OXFORD}/flowers/102/imagelabels.mat", "e0620be6f572b9609742df49c70aed4d", "flowers-102"),
        Archive(f"{OXFORD}/flowers/102/setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c", "flowers-102"),
    ),
)  # fmt: skip

KORNBLITH = (
    FOOD, CIFAR10, CIFAR100, BIRDSNAP, SUN397, CARS, AIRCRAFT, VOC2007, DTD, PETS, CALTECH101, FLOWERS102,
)  # fmt: skip
