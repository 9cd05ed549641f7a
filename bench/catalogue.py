"""TASKS: the public data sets that Featune can prepare, each fact with its source. Data only; nothing is read here."""

import dataclasses
from collections.abc import Mapping

from engine.errors import BadInput, nearest

DEFAULT = "default"
CUT = "val: 20 % of train by class, seed 0"

# Where facts are from.
F_CODE = "github.com/mlfoundations/imagenet-applications-transfer @5210027 (released code of Fang et al. 2023)"
PUDAE = "github.com/pudae/kaggle-hpa @3e7888c (BSD-2)"
MLE = "github.com/openai/mle-bench @783b15a"
TV = "torchvision 0.29 source"
K_TABLE = "Kornblith et al. 2019, table 1 (second-hand; EfficientNet's table 6 repeats most sizes)"
SIMCLR = "SimCLR (arXiv 2002.05709), appendix B.8"
SSLT = "github.com/linusericsson/ssl-transfer @416913f"
REAL = "github.com/google-research/reassessed-imagenet @bcd006f"


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file to fetch: into `folder` under the download's root; md5 None where its publisher states none."""

    url: str
    md5: str | None
    folder: str = "."

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A public data set as a task.

    classes: their number. counts: what the loader counts in a whole download; anything else stops it. splits:
    the protocol of the default. variants: other protocols by name. steps: how to get the files into DIR.
    torchvision: the class whose download() unpacks the archives, and its arguments once per part.
    """

    name: str
    title: str
    classes: int
    metric: str
    counts: Mapping[str, int]
    splits: str
    licence: str
    steps: tuple[str, ...]
    sources: tuple[str, ...]
    collection: str
    multilabel: bool = False
    channels: int = 3
    variants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    archives: tuple[Archive, ...] = ()
    torchvision: str = ""
    parts: tuple[Mapping[str, str], ...] = ({},)

    def check_variant(self, variant: str) -> None:
        known = (DEFAULT, *self.variants)
        if variant not in known:
            raise BadInput(f"{self.name}: no variant {variant!r}{nearest(variant, known)}; one of {', '.join(known)}")


def entry(name: str) -> Entry:
    if name not in TASKS:
        raise BadInput(f"no task named {name!r}{nearest(name, TASKS)}; `featune tasks` lists them")
    return TASKS[name]


def how_to_get(facts: Entry) -> str:
    """The steps that a person takes, DIR being the folder for --raw."""
    return "get it as follows:\n" + "\n".join(f"  {step}" for step in facts.steps)


def _kaggle(competition: str, folder: str) -> tuple[str, ...]:
    return (
        f"accept the rules at https://www.kaggle.com/competitions/{competition}/rules",
        "pip install kaggle, and put your API token where it asks",
        f"kaggle competitions download -c {competition} -p DIR",
        f"unzip -q DIR/{competition}.zip -d DIR/{folder}",
    )


def _fang() -> tuple[Entry, ...]:
    group = "Fang et al. 2023"
    lila = "https://storage.googleapis.com/public-datasets-lila/caltechcameratraps"
    released = "the released code's protocol: val is the test split, on which it chose its settings"
    return (
        Entry(
            "cct20", "Caltech Camera Traps (CCT-20)", 15, "top1",
            {"train": 13_553, "cis_val": 3_484, "cis_test": 15_827, "trans_val": 1_725, "trans_test": 23_275},
            "official; test: places seen in training (cis); test_trans, val_trans: places that are not. An image is "
            "one sample; without animal, or with animals of two classes, it is left out",
            "CDLA-Permissive (second-hand)",
            (f"curl -O {lila}/eccv_18_annotations.tar.gz", f"curl -O {lila}/eccv_18_all_images_sm.tar.gz",
             "tar xzf eccv_18_annotations.tar.gz -C DIR", "tar xzf eccv_18_all_images_sm.tar.gz -C DIR"),
            ("counts: images in the annotation files, notes on the CCT-20 paper", f"classes, paths: {F_CODE}"),
            group,
            variants={
                "trans": "val and test are the places that training has not seen",
                "annotation": "one sample per annotation: an image with two boxes counts twice",
                "crops": "one sample per box: a written crop, boxes scaled to the small images",
                "released": "one sample per annotation, blue and red exchanged (cv2.imread), cis val and test",
            },
        ),
        Entry(
            "aptos2019", "APTOS 2019 blindness detection", 5, "quadratic_kappa", {"labelled": 3_662},
            f"no labels for Kaggle's test; test: int(0.2 n) of each class as in the released code (seed 414); {CUT}",
            "Kaggle competition rules (not verified)", _kaggle("aptos2019-blindness-detection", "aptos2019"),
            (f"layout, metric: {MLE}", f"split: {F_CODE}", "count: notes, not verified on a download"), group,
            variants={"released": f"{released}; blue and red exchanged (cv2.imread)"},
        ),
        Entry(
            "hpa", "Human Protein Atlas (Kaggle 2018)", 28, "f1_macro",
            {"train": 22_582, "val": 5_664, "test": 2_826},
            "the split file of Fang et al.; test: its test_val. Four stains in one RGBA file, yellow as alpha: "
            "what reads three channels sees red, green, blue",
            "Kaggle rules; HPA CC BY-SA (not verified)",
            (*_kaggle("human-protein-atlas-image-classification", "hpa"),
             "unzip -q DIR/hpa/train.zip -d DIR/hpa/train  # if there is a train.zip inside",
             "curl -o DIR/hpa/split.stratified.small.0.csv https://raw.githubusercontent.com/pudae/kaggle-hpa/"
             "3e7888cadaa18403231136800bfd1ac324d6db66/data/split.stratified.small.0.csv"),
            (f"split, layout: {PUDAE}", f"use of the split: {F_CODE}", "metric: macro F1, pudae's utils/metrics.py"),
            group, multilabel=True, channels=4,
            variants={
                "mixed": "three channels: red and green each averaged with yellow, so that no stain is lost",
                "released": "blue, green, red in the places of red, green, blue, no yellow (cv2.imread)",
            },
        ),
        Entry(
            "melanoma", "SIIM-ISIC melanoma 2020 + 2019", 2, "roc_auc", {"2020": 33_126, "2019": 25_331},
            "of the 512-pixel repacks' folds (tfrecord, -1 left out) 80 % train and the rest test, as in the released "
            "code (seed 23); val: a fifth of the training folds, seed 0, so that no patient is on both sides",
            "2020: CC BY-NC 4.0; 2019: CC BY-NC 4.0 (not verified)",
            ("kaggle datasets download cdeotte/jpeg-melanoma-512x512 --unzip -p DIR/melanoma/melanoma-2020",
             "kaggle datasets download cdeotte/jpeg-isic2019-512x512 --unzip -p DIR/melanoma/melanoma-2019"),
            (f"2020 count, metric: {MLE}", f"layout, split: {F_CODE}", "2019 count: notes, lines of train.csv"), group,
            variants={"released": f"{released}; blue and red exchanged (cv2.imread)"},
        ),
        Entry(
            "cassava", "Cassava leaf disease (Kaggle 2021)", 5, "top1", {"labelled": 21_397},
            f"Kaggle's test is hidden; test: int(0.2 n) of each class as in the released code (seed 414); {CUT}",
            "Kaggle competition rules (not verified)",
            _kaggle("cassava-leaf-disease-classification", "cassava-leaf-disease-classification"),
            (f"count, layout, metric: {MLE}", f"split: {F_CODE}"), group, variants={"released": released},
        ),
        Entry(
            "eurosat", "EuroSAT (RGB)", 10, "top1", {"images": 27_000},
            f"none official; test: int(0.2 n) of each class as in the released code (seed 42); {CUT}",
            "MIT, and Copernicus terms", ("featune prepare eurosat --raw DIR --download",),
            ("count, licence: github.com/phelber/EuroSAT @353fc2f", f"archive: {TV}", f"split: {F_CODE}"), group,
            variants={"released": released},
            archives=(Archive("https://huggingface.co/datasets/torchgeo/eurosat/resolve/"
                              "c877bcd43f099cd0196738f714544e355477f3fd/EuroSAT.zip",
                              "c8fa014336c82ac7804f0398fcb19387", "eurosat"),),
            torchvision="EuroSAT",
        ),
    )  # fmt: skip


def _kornblith() -> tuple[Entry, ...]:
    group = "Kornblith et al. 2019"
    oxford, voc = "https://www.robots.ox.ac.uk/~vgg/data", "https://thor.robots.ox.ac.uk/pascal/VOC/voc2007"
    unclear = "no open licence found; research use, see the site (not verified)"
    table, layout = f"sizes, classes: {K_TABLE}", f"layout, hash: {TV}"
    measure = f"metric, split: {SIMCLR}"

    def fetch(name: str) -> tuple[str, ...]:
        return (f"featune prepare {name} --raw DIR --download",)

    return (
        Entry(
            "food101", "Food-101", 101, "top1", {"train": 75_750, "test": 25_250}, f"official; {CUT}", unclear,
            fetch("food101"), (table, measure, layout), group, torchvision="Food101",
            archives=(Archive("http://data.vision.ee.ethz.ch/cvl/food-101.tar.gz",
                              "85eeb15f3717b99a5da872d97d918f87"),),
        ),
        Entry(
            "cifar10", "CIFAR-10", 10, "top1", {"train": 50_000, "test": 10_000},
            f"official; {CUT}; the batches are written as PNG files once", unclear,
            fetch("cifar10"), (table, measure, layout), group, torchvision="CIFAR10",
            archives=(Archive("https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
                              "c58f30108f718f92721af3b95e74349a"),),
        ),
        Entry(
            "cifar100", "CIFAR-100", 100, "top1", {"train": 50_000, "test": 10_000},
            f"official; fine labels; {CUT}; the batches are written as PNG files once", unclear,
            fetch("cifar100"), (table, measure, layout), group, torchvision="CIFAR100",
            archives=(Archive("https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
                              "eb9058c3a382ffc7106e4002c42a8d85"),),
        ),
        Entry(
            "birdsnap", "Birdsnap", 500, "top1", {"listed": 49_829, "listed test": 2_443},
            f"official test list; {CUT}. Many of its Flickr addresses are dead: images that are not there are left out "
            "and counted, so that two downloads are two tasks", unclear,
            ("curl -O http://thomasberg.org/datasets/birdsnap/1.1/birdsnap.tgz", "tar xzf birdsnap.tgz -C DIR",
             "in DIR/birdsnap run its get_birdsnap.py (Python 2), which fills download/images"),
            (f"sizes: {K_TABLE}, 47,386 + 2,443", f"layout: notes; {SSLT}"), group,
        ),
        Entry(
            "sun397", "SUN397", 397, "top1", {"train": 19_850, "test": 19_850},
            f"official partition 01; {CUT}", unclear,
            ("featune prepare sun397 --raw DIR --download  # 37 GB of images",
             "fetch the official partitions (Partitions.zip) from https://vision.princeton.edu/projects/2010/SUN/ "
             "and put Training_01.txt, Testing_01.txt into DIR/SUN397"),
            (table, measure, f"archive: {TV}", f"place of the partition files: {SSLT}"), group, torchvision="SUN397",
            archives=(Archive("http://vision.princeton.edu/projects/2010/SUN/SUN397.tar.gz",
                              "8ca2778205c41d23104230ba66911c7a"),),
        ),
        Entry(
            "cars", "Stanford Cars", 196, "top1", {"train": 8_144, "test": 8_041}, f"official; {CUT}", unclear,
            ("the original address is dead; of a mirror take cars_train, cars_test, devkit and "
             "cars_test_annos_withlabels.mat (cars_test_annos.mat has no labels)", "put them into DIR/stanford_cars"),
            (table, measure, f"layout: {TV}; {SSLT}"), group,
        ),
        Entry(
            "aircraft", "FGVC Aircraft (variants)", 100, "mean_per_class",
            {"trainval": 6_667, "test": 3_333}, "official train, val and test of the variant level", unclear,
            fetch("aircraft"), (table, measure, layout, "banner of 20 pixels: not verified"), group,
            variants={"no_banner": "copies without the lowest 20 pixels, which hold a copyright banner"},
            torchvision="FGVCAircraft",
            archives=(Archive(f"{oxford}/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz", None),),
        ),
        Entry(
            "voc2007", "PASCAL VOC 2007 classification", 20, "map_11point", {"trainval": 5_011, "test": 4_952},
            "official train, val and test; images that are 'difficult' for a class are neither hits nor misses of it",
            unclear, fetch("voc2007"), (table, measure, layout, "0 means difficult: VOC devkit, not verified here"),
            group, multilabel=True,
            variants={"difficult_negative": f"difficult images count as negatives, as in {SSLT}"},
            torchvision="VOCDetection",
            parts=({"year": "2007", "image_set": "trainval"}, {"year": "2007", "image_set": "test"}),
            archives=(Archive(f"{voc}/VOCtrainval_06-Nov-2007.tar", "c52e279531787c972589f7e41ab4ae64"),
                      Archive(f"{voc}/VOCtest_06-Nov-2007.tar", "b6e924de25625d8de591ea690078ad9f")),
        ),
        Entry(
            "dtd", "Describable Textures (DTD)", 47, "top1", {"trainval": 3_760, "test": 1_880},
            "official train, val and test of split 1", unclear, fetch("dtd"), (table, measure, layout), group,
            torchvision="DTD",
            archives=(Archive(f"{oxford}/dtd/download/dtd-r1.0.1.tar.gz", "fff73e5086ae6bdbea199a49dfb8a4c1", "dtd"),),
        ),
        Entry(
            "pets", "Oxford-IIIT Pets", 37, "mean_per_class", {"train": 3_680, "test": 3_669},
            f"official; {CUT}. The paper prints 3,369 test images; the official list has 3,669",
            "CC BY-SA 4.0 (not verified)", fetch("pets"), (table, measure, layout), group,
            torchvision="OxfordIIITPet",
            archives=(Archive(f"{oxford}/pets/data/images.tar.gz", "5c4f3ee8e5d25df40f4fd59a7f44e54c",
                              "oxford-iiit-pet"),
                      Archive(f"{oxford}/pets/data/annotations.tar.gz", "95a8c909bbe2e81eed6a22bccdf3f68f",
                              "oxford-iiit-pet")),
        ),
        Entry(
            "caltech101", "Caltech-101 with background", 102, "mean_per_class", {"images": 9_144},
            "30 images per class by seed 0, drawn without replacement, for train and val (24 and 6); test: the rest",
            unclear, fetch("caltech101"), (table, measure, layout, "9,144 = 3,060 + 6,084"), group,
            variants={
                "no_background": "101 classes, as torchvision has it",
                "with_replacement": f"30 draws per class with replacement, as {SSLT} drew (its own lists differ)",
            },
            torchvision="Caltech101",
            archives=(Archive("https://data.caltech.edu/records/mzrjq-6wc02/files/caltech-101.zip",
                              "3138e1922a9193bfa496528edbbc45d0", "caltech101"),),
        ),
        Entry(
            "flowers102", "Oxford Flowers 102", 102, "mean_per_class",
            {"train": 1_020, "val": 1_020, "test": 6_149}, "official train, val and test (setid.mat)", unclear,
            fetch("flowers102"), (table, measure, layout, "1,020 + 1,020: not verified, their sum is"), group,
            torchvision="Flowers102",
            archives=(Archive(f"{oxford}/flowers/102/102flowers.tgz", "52808999861908f626f3c1f4e79d11fa",
                              "flowers-102"),
                      Archive(f"{oxford}/flowers/102/imagelabels.mat", "e0620be6f572b9609742df49c70aed4d",
                              "flowers-102"),
                      Archive(f"{oxford}/flowers/102/setid.mat", "a5357ecc9cb78c4bef273ce3793fc85c", "flowers-102")),
        ),
    )  # fmt: skip


def _imagenet() -> tuple[Entry, ...]:
    group = "ImageNet"
    steps = (
        "register at https://image-net.org and fetch ILSVRC2012_img_val.tar and ILSVRC2012_devkit_t12.tar.gz",
        "mkdir DIR/val && tar xf ILSVRC2012_img_val.tar -C DIR/val",
        "tar xzf ILSVRC2012_devkit_t12.tar.gz -C DIR",
        "(or give a DIR whose val/ holds one folder per wnid)",
    )
    licence = "ImageNet terms: non-commercial research (not verified)"
    v2 = "https://huggingface.co/datasets/vaishaal/ImageNetV2/resolve/main/imagenetv2-matched-frequency.tar.gz"
    return (
        Entry(
            "imagenet", "ImageNet-1k validation, original labels", 1000, "top1", {"test": 50_000, "train": 1_281_167},
            "test: the 50,000 validation images; no train, so it evaluates models that know the classes",
            licence, steps, (f"counts, layout: {TV}",), group,
            variants={"full": "train too (DIR/train/<wnid>); val: 1 % of train by class, seed 0"},
        ),
        Entry(
            "imagenet_real", "ImageNet-1k validation, ReaL labels", 1000, "real_accuracy", {"test": 50_000},
            "as imagenet; an image without a ReaL label leaves numerator and denominator",
            f"{licence}; labels Apache-2.0", steps,
            (f"rule, order of labels: {REAL}", "labels: real.json in DIR, else timm's identical copy"), group,
            multilabel=True,
        ),
        Entry(
            "imagenet_v2", "ImageNet V2, matched frequency", 1000, "top1", {"test": 10_000},
            "test: all images; no train", "MIT (not verified)",
            (f"curl -LO {v2}", "tar xzf imagenetv2-matched-frequency.tar.gz -C DIR"),
            ("addresses: TensorFlow Datasets' imagenet_v2", "count: not verified on a download"), group,
            variants={
                "threshold07": "the threshold-0.7 set (imagenetv2-threshold0.7.tar.gz)",
                "top_images": "the top-images set (imagenetv2-top-images.tar.gz)",
            },
        ),
    )  # fmt: skip


TASKS: dict[str, Entry] = {made.name: made for made in (*_fang(), *_kornblith(), *_imagenet())}
