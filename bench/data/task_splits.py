"""A data string as a task: which of its splits are train, val and test, and labels that mean the same in all."""

import dataclasses
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from featune.engine.errors import BadInput, nearest
from featune.engine.images import Labelled

from ..progress import Progress
from ..tasks import CALLED, SPLITS, Layout, class_order, cut_val, cut_whole
from .data_strings import holds_tars, library_of, open_data
from .files import generated_splits, tar_splits
from .huggingface import hub_splits
from .request import Data, Request
from .torchvision_names import torch_splits
from .webdataset_shards import wds_splits

SPLITS_OF: dict[str, Callable[[Request, Progress], list[str]]] = {
    "torch": torch_splits, "hfds": hub_splits, "wds": wds_splits, "generated": generated_splits,
}  # fmt: skip


def string_layout(request: Request, given: Mapping[str, str], seed: int, progress: Progress) -> Layout:
    """The splits of `torch/`, `hfds/` or `wds/` data, or of tars; cut by the seed where there are none.

    given: what train, val and test are called, for names that do not say so. A missing val is cut from train; a
    missing test is never taken from elsewhere. Raises BadInput for that, and for images without a label.
    """
    library = library_of(request.text)
    if not is_string(request.text):
        raise BadInput(f"{request.text}: a string of {', '.join(SPLITS_OF)} or tars expected; give it as folder or csv")
    names = _roles(request, SPLITS_OF.get(library, tar_splits)(request, progress), given)
    parts = {role: open_data(dataclasses.replace(request, split=name), progress) for role, name in names.items()}
    if not parts:
        parts = {"train": open_data(request, progress)}
    splits, classes, told = _joined(request, parts)
    several = bool(request.target_fields) or any(len(some) > 1 for items in splits.values() for some in items.labels)
    for role, items in splits.items():
        without = sum(not some for some in items.labels)
        if without and not several:
            raise BadInput(
                f"{request.text}: {without} of {len(items)} images of {role} have no label; choose another target key "
                "or split"
            )
    if not names:
        cut, note = cut_whole(splits["train"], request.text, seed)
        return Layout(cut, classes, note + told, several, cut=True)
    note = f"{request.text}: its splits {', '.join(names.values())}"
    if "val" not in splits:
        splits, more = cut_val(splits, seed, request.text)
        note += more
    return Layout({role: splits[role] for role in SPLITS}, classes, note + told, several)


def is_string(text: str) -> bool:
    """Whether a text names data of a library, or tars, and no folder or table."""
    return bool(library_of(text)) or _is_tars(text)


def task_name(text: str) -> str:
    """What a task of a data string is called: the last part of its name, as a name of a file."""
    last = Path(text.partition("/")[2] or text).name
    return re.sub(r"[^\w.]+", "-", last.removesuffix(".tar")).strip("-") or "images"


def parsed_splits(text: str) -> dict[str, str]:
    """{"test": "validation"} of `test=validation`, several separated by commas."""
    pairs = [part.strip().partition("=") for part in text.split(",") if part.strip()]
    wrong = [f"{role}{equals}{name}" for role, equals, name in pairs if role not in SPLITS or not name]
    if wrong:
        raise BadInput(f"--splits: {wrong[0]} found; expected train=NAME, val=NAME or test=NAME, separated by commas")
    return {role: name for role, _, name in pairs}


def _is_tars(text: str) -> bool:
    return text.endswith(".tar") or (Path(text).is_dir() and holds_tars(Path(text)))


def _roles(request: Request, found: Sequence[str], given: Mapping[str, str]) -> dict[str, str]:
    """What each of train, val and test is called, as far as there is one."""
    unknown = [name for name in given.values() if found and name not in found]
    if set(given) - set(SPLITS) or unknown or (given and not found):
        wrong = unknown[0] if unknown else ", ".join(given)
        raise BadInput(
            f"{request.text}: splits {', '.join(found) or 'none'} found, {wrong} asked for{nearest(wrong, found)}; "
            "name some of them as train, val and test"
        )
    free = [name for name in found if name not in given.values()]
    roles = {
        role: name
        for role, names in CALLED.items()
        if (name := given.get(role) or next((one for one in names if one in free), ""))
    }
    absent = [role for role in ("train", "test") if role not in roles]
    if found and absent:
        raise BadInput(
            f"{request.text}: splits {', '.join(found)} found, no {' and no '.join(absent)}; say which is which, as "
            f"{absent[0]}: {found[-1]} under splits, or --splits {absent[0]}={found[-1]}"
        )
    twice = [name for name in roles.values() if list(roles.values()).count(name) > 1]
    if twice:
        raise BadInput(
            f"{request.text}: split {twice[0]} is used for two of train, val and test; name a different split for each"
        )
    return roles


def _joined(request: Request, parts: Mapping[str, Data]) -> tuple[dict[str, Labelled], tuple[str, ...], str]:
    """(the splits under one root with one numbering of classes, the classes, what is to be told of them).

    Classes are the numbers that the source gave them, whatever their names, where every split has the same list or
    its beginning. One that no image has in any split is left out: nobody could train it.
    """
    if any(not data.classes for data in parts.values()):
        raise BadInput(f"{request.text}: images without labels found; name the target key")
    given = max((data.classes for data in parts.values()), key=len)
    number = {role: list(range(len(data.classes))) for role, data in parts.items()}
    if any(data.classes != given[: len(data.classes)] for data in parts.values()):
        given, number = _by_name(request, parts)
    used = {number[role][label] for role, data in parts.items() for some in data.items.labels for label in some}
    place = {old: new for new, old in enumerate(sorted(used))}
    told = [note for data in parts.values() for note in data.notes]
    unused = [name for old, name in enumerate(given) if old not in used]
    if unused and given != tuple(map(str, range(len(given)))):
        told.append(f"classes without an image in any split are left out: {', '.join(unused[:5])}")
    one_root = len({data.items.root for data in parts.values()}) == 1
    splits = {}
    for role, data in parts.items():
        labels = tuple(tuple(sorted(place[number[role][label]] for label in some)) for some in data.items.labels)
        items = dataclasses.replace(data.items, labels=labels)
        if not one_root:
            paths = tuple(str(items.file(i).absolute()) for i in range(len(items)))
            items = dataclasses.replace(items, root="/", paths=paths)
        splits[role] = items
    return splits, tuple(given[old] for old in sorted(used)), "".join(f"; {note}" for note in dict.fromkeys(told))


def _by_name(request: Request, parts: Mapping[str, Data]) -> tuple[tuple[str, ...], dict[str, list[int]]]:
    """(all names in order, each split's classes as numbers of it), for names that each split numbered by itself."""
    for data in parts.values():
        if len(set(data.classes)) < len(data.classes):
            twice = next(name for name in data.classes if data.classes.count(name) > 1)
            raise BadInput(f"{request.text}: two classes {twice} found, and other classes in another split; rename one")
    classes = class_order(name for data in parts.values() for name in data.classes)
    at = {name: number for number, name in enumerate(classes)}
    return classes, {role: [at[name] for name in data.classes] for role, data in parts.items()}
