"""What a user names, as a model and its images: a timm name, a factory, an artefact's own contract, a checkpoint."""

import dataclasses
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from featune.engine.errors import BadInput
from featune.engine.models import (
    HUB_NAMES,
    LOCAL,
    MODEL_FILE,
    RECIPE_FILE,
    ModelSpec,
    View,
    checkpoint_name,
    is_model_folder,
    source_of_name,
    spec_and_origin,
    weight_file,
)
from featune.engine.store import cache_dir, digest, note_use, written_whole

from ..gate import Sample, folder_sample, own_sample

log = logging.getLogger("featune")
TUNED = re.compile(r"1\.")  # a fine-tuned run's body is the second part of its Sequential
BODY = re.compile(r"body\.")


def spec_of_model(
    model: str,
    checkpoint: Path | None = None,
    untrained: bool = False,
    view: Mapping[str, Any] | None = None,
    say: Callable[[str], None] = log.info,
) -> ModelSpec:
    """A timm name, a factory `file.py:function`, with its own weights, a local file's, or none.

    view: parts of an entry that go before what the model says of itself, as `entry_of` gives them. say: is told which
    view was taken and from where; where it was assumed, that is a warning.
    """
    if checkpoint is not None and untrained:
        raise BadInput(
            f"--checkpoint {checkpoint} and --untrained (--scratch) found, weights of a file and random ones; give one "
            "of them"
        )
    model = model_named(model)
    key = "factory" if ":" in model and not model.startswith(HUB_NAMES) else "architecture"
    given = dict(view or {})
    entry: dict[str, Any] = {key: model, "pretrained": not untrained, **given}
    if given.get("tap") and key == "architecture":
        raise BadInput(f"{model}: tap is of file.py:function, whose layers have no usual one; leave tap out")
    if checkpoint is not None:
        stem = Path(os.path.abspath(checkpoint)).name if checkpoint.is_dir() else checkpoint.stem
        checkpoint = weight_file(checkpoint)
        body = body_of_tuned(checkpoint)
        entry |= {"checkpoint": str((body or checkpoint).resolve())}
        if body is not None:
            kwargs = {"num_classes": 0} | dict(given.get("kwargs") or {})
            entry |= {"kwargs": kwargs, "name": f"{model}.{stem}"}
    spec, origin = spec_and_origin(entry)
    origin.tell(say)
    return spec


def model_named(text: str) -> str:
    """What a user calls a model, as timm writes it: a folder in the hub's layout becomes `local-dir:FOLDER`."""
    name = source_of_name(text)
    if name.startswith(HUB_NAMES) or ":" in name or not is_model_folder(name):
        return name
    if os.sep not in name:
        import timm

        if timm.is_model(name.partition(".")[0]):  # a folder that happens to be called so; ./NAME means it
            return name
    return f"{LOCAL}{name}"


def spec_of_contract(contract: Mapping[str, Any], path: Path, checkpoint: Path | None = None) -> ModelSpec:
    """The model that an artefact says it is of. Raises BadInput where its weights or code are not at hand."""
    record = dict(contract["spec"])
    if record.pop("factory_code", None):
        raise BadInput(
            f"{path} is of the local code {record['architecture']}; give it with --model file.py:function, or with "
            "--model FOLDER the folder that featune finetune left of it"
        )
    if str(record.get("architecture")).startswith(LOCAL):
        name = str(record["architecture"]).removeprefix(LOCAL)
        raise BadInput(
            f"{path} is of a local folder called {name}, and does not say where that lies; give its path with --model, "
            f"such as --model runs/{name}"
        )
    try:
        record |= {
            "view": View(**record["view"]),
            "mean": tuple(record["mean"]),
            "std": tuple(record["std"]),
            "kwargs": tuple((key, value) for key, value in record["kwargs"]),
        }
        spec = ModelSpec(**record)
    except (KeyError, TypeError, ValueError) as error:
        raise BadInput(f"{path}: the spec of its contract is damaged ({error}); export the model again") from error
    local = re.fullmatch(r"[0-9a-f]{64}(#\w+)?", spec.weights) is not None
    if local and checkpoint is None:
        raise BadInput(f"{path} was made from a local weight file (SHA-256 {spec.weights[:12]}...); give --checkpoint")
    if not local:
        return spec
    assert checkpoint is not None
    checkpoint = weight_file(checkpoint)
    file = body_of_tuned(checkpoint) or checkpoint
    if file.is_file() and (found := checkpoint_name(file)) != spec.weights:
        if found.partition("#")[0] == spec.weights.partition("#")[0]:
            had, has = spec.weights.partition("#")[2] or "those that are not averaged", found.partition("#")[2]
            raise BadInput(
                f"{path} was made of other weights of {checkpoint}: {had}, not {has}; export the model again"
            )
        raise BadInput(
            f"{path} was made from a weight file of SHA-256 {spec.weights[:12]}..., {checkpoint} has {found[:12]}...; "
            "give the one that it was made from"
        )
    return dataclasses.replace(spec, checkpoint=str(file.resolve()))


def sample_of(spec: ModelSpec, data: Path | None) -> Sample:
    return folder_sample(data, spec.view) if data else own_sample(spec.view)


def body_of_tuned(checkpoint: Path) -> Path | None:
    """The body's weights out of a checkpoint of Featune's own fine-tuning, as a file; None for any other file.

    Such a checkpoint holds the whole training: `model` with normalisation, body and head, and the optimiser. What a run
    leaves of a network that timm alone cannot make holds `body` and `head`. Loaded without running code; the head is
    left out, since an artefact gives features.
    """
    from safetensors.torch import load_file, save_file

    if not checkpoint.is_file():
        return None
    if checkpoint.name == MODEL_FILE:
        if not (checkpoint.with_name(RECIPE_FILE)).is_file() or is_model_folder(checkpoint.parent):
            return None
        state, part = load_file(checkpoint), BODY
    elif checkpoint.suffix in (".pt", ".pth"):
        try:
            held = torch.load(checkpoint, map_location="cpu", weights_only=True)
        except Exception:  # a file that is refused here is refused with its reason where it is loaded
            return None
        if not isinstance(held, dict) or not {"model", "optimizer", "step"} <= held.keys():
            return None
        state, part = held["model"], TUNED
    else:
        return None
    body = {part.sub("", key, count=1): value for key, value in state.items() if part.match(key)}
    path = cache_dir() / "tuned" / f"{digest([str(checkpoint.resolve()), checkpoint.stat().st_mtime_ns])}.safetensors"
    if not path.exists():
        with written_whole(path) as temporary:
            save_file({key: value.contiguous() for key, value in body.items()}, os.fspath(temporary))
    note_use(path)
    return path
