"""The images of a source task, and those of targets that it must not have."""

import dataclasses

from featune.engine.errors import BadInput
from featune.engine.images import Labelled

from ..data import Request, Source, look, open_data
from ..tasks import Layout, class_folders, class_order, empty_classes, folder_items, split_folders


def opened_source(source: Source) -> Layout:
    """The source's splits, train and at least one of val and test, in which nothing is chosen.

    As every task of a study, and a folder of train and val without test too, as ImageNet is.
    """
    if source.folder and source.folder.is_dir() and not source.fold:
        there = split_folders(source.folder)
        if {"train", "val"} == set(there):
            classes = class_order(name for path in there.values() for name in class_folders(path))
            splits = {
                split: dataclasses.replace(folder_items(source.folder, path, classes), channels=source.channels or 3)
                for split, path in there.items()
            }
            for split, items in splits.items():
                if not len(items):
                    raise BadInput(f"{there[split]}: no images found; expected {split}/<class>/*")
            if lacking := empty_classes(classes, splits["train"]):
                raise BadInput(f"{there['train']}: no images of class {lacking[0]}; add images or remove the class")
            return Layout(splits, classes, f"{source.folder}: its own train and val")
    layout = look(source)
    if layout.multilabel:
        raise BadInput(f"{source.name}: images of several labels found, one each expected of a source task")
    return layout


def target_images(request: Request) -> Labelled:
    """All images of a target, of every split. Raises BadInput where they cannot be found."""
    return open_data(dataclasses.replace(request, split="all")).items
