"""TASKS: the public data sets that Featune can prepare, each fact with its source. Data only; nothing is read here."""

from featune.engine.errors import BadInput, nearest

from .entries import CUT, F_CODE, MLE, PUDAE, REAL, TV, Archive, Entry
from .kornblith2019 import KORNBLITH


def entry(name: str) -> Entry:
    if name not in TASKS:
        own = f"; a study file or `featune probe MODEL {name}` takes a path as it is" if "/" in name else ""
        raise BadInput(f"no task named {name!r}{nearest(name, TASKS)}; `featune tasks` lists them{own}")
    return TASKS[name]


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
            "the split file of Fang et al.; test: its test_val. Four channels: red, green and blue stains, and "
            "yellow in the place of alpha",
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


TASKS: dict[str, Entry] = {made.name: made for made in (*_fang(), *KORNBLITH, *_imagenet())}
