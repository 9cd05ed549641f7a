"""What timm and the model hub know of a model: its input, its normalisation and its weights."""

import contextlib
import functools
import logging
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import nn

from ..errors import BadInput, Missing, first_line, nearest
from ..store import cache_dir, digest, read_json, write_json
from .hub import HUB_NAMES, LOCAL, ask_once, no_model, weight_files, without_retries

FORM = 2  # raise it when the record changes
log = logging.getLogger("featune")
OF_VIEW = ("input_size", "mean", "std", "crop_pct", "crop_mode", "interpolation")  # of a record, in timm's names


def pretrained_config(architecture: str) -> dict[str, Any]:
    """timm's record of a model's input and weights, with the name resolved to its full tag.

    `hub` is where the weights come from, and `hub_files` the names that they may have there, empty for a URL. Kept in
    the cache for each version of timm, whose import takes two seconds. Old names are taken as timm takes them, and the
    new ones said once.
    """
    asked, architecture = architecture, source_of_name(architecture)
    if architecture.startswith(HUB_NAMES):
        return _hub_config(architecture)
    known = cache_dir() / "models" / f"{digest([FORM, version('timm'), architecture])}.json"
    config = read_json(known)
    if config is None:
        config = _timm_config(architecture)
        with contextlib.suppress(BadInput):  # a cache that cannot be written is no reason to stop
            write_json(known, config)
    if config.get("renamed") or asked != architecture:
        say_renamed(asked, config["resolved_name"])
    return config


def source_of_name(name: str) -> str:
    """The name with its source as timm writes it: `hf-hub:` or `local-dir:`, or none for a name of timm's own table.

    `hf_hub:` is timm's older spelling, `timm/NAME` the hub's for the weights that timm calls NAME.
    Source: timm.models._factory.parse_model_name.
    """
    source, colon, rest = name.partition(":")
    spelt = source.lower().replace("hf_hub", "hf-hub")
    if colon and f"{spelt}:" in HUB_NAMES:
        return f"{spelt}:{rest}"
    return name.removeprefix("timm/") if name.startswith("timm/") else name


def current_name(name: str) -> str:
    """The name, or what timm has replaced it by: `tv_resnet50` is `resnet50.tv_in1k`; a tag that is given stays."""
    from timm.models import get_deprecated_models, is_model_pretrained, list_pretrained

    bare, dot, tag = source_of_name(name).partition(".")
    new = get_deprecated_models().get(bare, bare)
    if new is None:
        raise BadInput(f"timm has removed {bare} without a successor; choose another model, see `featune models`")
    if dot:
        return f"{new.partition('.')[0]}.{tag}"
    # Two of timm's own entries name a tag that has become longer since: vit_base_patch32_224.sam is now .sam_in1k.
    longer = list_pretrained(f"{new}_*") if new != bare and "." in new and not is_model_pretrained(new) else []
    return longer[0] if len(longer) == 1 else new


@functools.cache
def say_renamed(old: str, new: str) -> None:
    """On stderr, once in a process."""
    log.warning("%s is called %s by timm %s", old, new, version("timm"))


def _hub_config(architecture: str) -> dict[str, Any]:
    import timm
    from timm.data import resolve_data_config

    folder = Path(architecture.removeprefix(LOCAL)) if architecture.startswith(LOCAL) else None
    if folder is not None and not (folder / "config.json").is_file():
        raise no_model(folder)
    ask_once(architecture)
    try:
        with without_retries():
            model = timm.create_model(architecture, pretrained=False)
        found = resolve_data_config({}, model=model)
    # A config.json of other keys or types fails anywhere in timm, as whatever its code runs into.
    except Exception as error:
        if folder is not None:
            raise no_model(folder, f"config.json: {_said(error)}") from error
        if isinstance(error, (OSError, RuntimeError, ValueError)):
            raise Missing(f"{architecture}: not available ({first_line(error)}); check the name and network") from error
        raise BadInput(
            f"{architecture}: its config.json is not timm's ({_said(error)}); choose another model"
        ) from error
    return {**found, "hub": architecture, "family": "other"}


def _said(error: Exception) -> str:
    return first_line(error) if isinstance(error, (OSError, RuntimeError, ValueError)) else repr(error)[:200]


def _timm_config(architecture: str) -> dict[str, Any]:
    import timm
    from timm.data import resolve_data_config

    asked, architecture = architecture, current_name(architecture)
    bare, _, tag = architecture.partition(".")
    if not timm.is_model(bare):
        raise BadInput(f"no timm model named {bare!r}{nearest(bare, timm.list_models())}; see `featune models`")
    try:
        config = timm.get_pretrained_cfg(architecture, allow_unregistered=False)
    except RuntimeError as error:
        tags = timm.list_pretrained(f"{bare}.*")
        raise BadInput(f"{bare} has no weights tagged {tag!r}{nearest(architecture, tags)}") from error
    resolved = f"{bare}.{config.tag}" if config.tag else bare
    hub = config.hf_hub_id or config.url
    files = weight_files(config.hf_hub_filename) if config.hf_hub_id else []
    family = timm.models.model_entrypoint(bare).__module__.rpartition(".")[2]
    found = resolve_data_config({}, pretrained_cfg=config.to_dict())
    renamed = {"renamed": True} if asked != architecture else {}
    return {**found, "resolved_name": resolved, "hub": hub, "hub_files": files, "family": family, **renamed}


def config_of_module(model: nn.Module) -> tuple[dict[str, Any], str]:
    """What a module says of its images, of OF_VIEW, and where it says it; ({}, "") for one that says nothing.

    timm's models say it in `pretrained_cfg` (`default_cfg` of older ones). A module around one, such as a backbone with
    a head of its own, is taken to see what its part sees, where its parts agree. A model that was made for another size
    or number of channels than its record's says so by its patch embedding and its first convolution.
    """
    if config := _own_config(model):
        return config, "the model's pretrained_cfg"
    parts = {name: found for name, part in model.named_modules() if name and (found := _own_config(part))}
    distinct = list({digest(found): name for name, found in reversed(parts.items())}.values())
    return (parts[distinct[0]], f"the pretrained_cfg of its part {distinct[0]}") if len(distinct) == 1 else ({}, "")


def _own_config(model: nn.Module) -> dict[str, Any]:
    said = getattr(model, "pretrained_cfg", None) or getattr(model, "default_cfg", None)
    said = said.to_dict() if said is not None and hasattr(said, "to_dict") else said
    if not isinstance(said, Mapping):
        return {}
    found = {key: said[key] for key in OF_VIEW if said.get(key) is not None}
    size = found.get("input_size")
    if size is None:
        return found
    if not isinstance(size, (list, tuple)) or len(size) != 3 or not all(isinstance(each, int) for each in size):
        raise BadInput(
            f"{type(model).__name__}: its pretrained_cfg says input_size {size!r}, (channels, side, side) expected; "
            "mend it, or remove it and give the view"
        )
    made_for = getattr(getattr(model, "patch_embed", None), "img_size", None)
    side = made_for[-1] if isinstance(made_for, (list, tuple)) and isinstance(made_for[-1], int) else size[-1]
    return found | {"input_size": (_channels(model, said.get("first_conv")) or size[0], side, side)}


def _channels(model: nn.Module, first_conv: object) -> int | None:
    """Of the images that a model's first convolution takes, where its record names that one."""
    layer = dict(model.named_modules()).get(first_conv) if isinstance(first_conv, str) else None
    return layer.in_channels if isinstance(layer, nn.Conv2d) else None
