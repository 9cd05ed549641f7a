"""A model's weights: from a file, strictly and without running its code, and named by their bytes."""

import contextlib
import functools
import hashlib
import logging
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadInput, first_line
from ..store import file_digest
from .hub import is_model_folder

log = logging.getLogger("featune")
TIMMS_ORDER = ("state_dict_ema", "model_ema", "state_dict", "model")  # source: timm.models.load_state_dict
_TOLD: set[str] = set()


def state_digest(model: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of the state; what no file name can lie about."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        sha.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def checkpoint_name(path: str | os.PathLike[str]) -> str:
    """The digest of a weight file; where it holds several sets of weights, with the name of the one that is taken."""
    taken, others = sets_of_weights(path)
    return f"{file_digest(path)}#{taken}" if others else file_digest(path)


def sets_of_weights(path: str | os.PathLike[str]) -> tuple[str, tuple[str, ...]]:
    """The entry of a weight file from which the weights are taken, as timm does, and the others that hold weights too.

    timm takes averaged weights (`state_dict_ema`, then `model_ema`) before `state_dict` and `model`. ("", ()) for a
    file that is a state dict itself or cannot be read.
    """
    if Path(path).suffix in (".safetensors", ".npz", ".npy"):
        return "", ()
    stat = os.stat(path)
    return _sets_of_weights(os.fspath(path), stat.st_mtime_ns, stat.st_size)


@functools.lru_cache(maxsize=64)
def _sets_of_weights(path: str, changed: int, size: int) -> tuple[str, tuple[str, ...]]:
    try:
        held = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except Exception:  # loading says what is wrong
        return "", ()
    if not isinstance(held, Mapping):
        return "", ()
    taken = next((key for key in TIMMS_ORDER if key in held), "")
    if not _is_state(held.get(taken)):
        return "", ()
    others = [key for key, value in held.items() if key != taken and isinstance(key, str) and _is_state(value)]
    return taken, tuple(key for key in others if _names(held[key]) & _names(held[taken]))


def _names(state: Mapping[str, Tensor]) -> set[str]:
    """Of weights, without what a wrapper puts before them: another optimiser's or metric's tensors have others."""
    return {name.removeprefix("module.") for name in state}


def _is_state(value: object) -> bool:
    if not isinstance(value, Mapping) or not value:
        return False
    return all(isinstance(name, str) and isinstance(each, Tensor) for name, each in value.items())


def with_classes(model: nn.Module, config: Mapping[str, Any]) -> None:
    """Give a factory's model the classifier that a folder's config says (`factory_config`), to be filled from there."""
    classes, names = config.get("num_classes"), config["classifier"]
    try:
        layer = model.get_submodule(names[0])
        fresh = nn.Linear(layer.in_features, classes)  # type: ignore[arg-type]
        for name in names:
            parent, _, child = name.rpartition(".")
            setattr(model.get_submodule(parent), child, fresh)
    except (AttributeError, TypeError, IndexError, RuntimeError) as error:
        raise BadInput(
            f"config.json names {names!r} of {classes!r} outputs as the classifier of {config['factory']}, whose model "
            f"has no such linear layer ({first_line(error)}); give the code that was fine-tuned"
        ) from error


def weights_in(path: Path) -> dict[str, Tensor]:
    """The weights of a file (.pth, .pt, .safetensors) by their names, without running its code."""
    import timm.models

    try:
        state: dict[str, Tensor] = timm.models.load_state_dict(str(path), use_ema=True, weights_only=True)
    except Exception as error:  # pickle, zip and safetensors readers each raise their own
        raise BadInput(
            f"{path}: not a file of plain weights ({type(error).__name__}: {first_line(error)}); "
            "save a state dict with torch.save or safetensors"
        ) from error
    _tell_of_others(path)
    return state


def load_weights(model: nn.Module, state: Mapping[str, Tensor], path: Path) -> None:
    """Fill the model, strictly. path: whose weights they are. Raises BadInput naming what does not fit."""
    own = model.state_dict()
    wrong = [f"missing {key}" for key in own.keys() - state.keys()]
    wrong += [f"unexpected {key}" for key in state.keys() - own.keys()]
    wrong += [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}" for key in other_shapes(model, state)
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        remedy = "check the model's name (`architecture`) and its arguments (--model-kwargs, `kwargs`)"
        if is_model_folder(path.parent):
            remedy += f", or give the folder {path.parent} as the model"
        raise BadInput(f"{path} does not fit the architecture: {shown}; {remedy}")
    model.load_state_dict(state, strict=True)


def other_shapes(model: nn.Module, state: Mapping[str, Tensor]) -> set[str]:
    """The names that both have, with another shape in the state."""
    own = model.state_dict()
    return {name for name in own.keys() & state.keys() if own[name].shape != state[name].shape}


def classes_of(model: nn.Module, state: Mapping[str, Tensor]) -> int | None:
    """How many classes the state's classifier has, 0 for a state without one; None where it is a model's of as many.

    None too where the state does not say, which loading will refuse. model: of timm.
    """
    named = (getattr(model, "pretrained_cfg", None) or {}).get("classifier") or ()
    layers = [f"{name}." for name in ([named] if isinstance(named, str) else named)]
    own = {name: value for name, value in model.state_dict().items() if name.startswith(tuple(layers))}
    if not layers or not own:
        return None
    if not any(name.startswith(tuple(layers)) for name in state):
        return 0
    found = {state[name].shape[0] for name in own if name in state and state[name].ndim}
    same = all(name in state and state[name].shape[1:] == value.shape[1:] for name, value in own.items())
    classes = found.pop() if same and len(found) == 1 else None
    return None if classes == getattr(model, "num_classes", None) else classes


def tell_of_classes(path: Path, classes: int) -> None:
    """Once for each file: which classifier it has, where that is not the architecture's own."""
    if (told := f"{path.resolve()}#{classes} classes") not in _TOLD:
        _TOLD.add(told)
        log.warning("%s: its classifier has %s classes, and so has the model", path, classes or "no")


def _tell_of_others(path: Path) -> None:
    """Once for each file: which of its sets of weights was taken."""
    taken, others = sets_of_weights(path)
    if others and (told := f"{path.resolve()}#{taken}") not in _TOLD:
        _TOLD.add(told)
        log.warning(
            "%s holds %d sets of weights; %s is taken, as timm does, not %s; save the other alone to have it",
            path, len(others) + 1, taken, ", ".join(others),
        )  # fmt: skip


def adapted_input(model: nn.Module, state: Mapping[str, Tensor], channels: int) -> dict[str, Tensor]:
    """The state with a timm model's first convolutions, of a file of 3 channels, for images of others.

    As timm adapts its own weights; what fits stays as it is.
    """
    from timm.models._manipulate import adapt_input_conv

    own = model.state_dict() if channels != 3 else {}
    first = (getattr(model, "pretrained_cfg", None) or {}).get("first_conv") or ()
    found = {}
    for name in [f"{layer}.weight" for layer in ([first] if isinstance(first, str) else first)]:
        # A stem that folds space into channels has several times as many of each.
        if name in own and name in state and state[name].shape[1] * channels == 3 * own[name].shape[1]:
            with contextlib.suppress(NotImplementedError):  # its shape is reported as one that does not fit
                found[name] = adapt_input_conv(channels, state[name])
    return {**state, **found}
