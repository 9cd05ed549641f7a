"""What timm and the model hub know of a model: its input, its normalisation and its weights."""

import contextlib
import functools
import logging
from importlib.metadata import version
from pathlib import Path
from typing import Any

from ..errors import BadInput, Missing, first_line, nearest
from ..store import cache_dir, digest, read_json, write_json
from .hub import HUB_NAMES, LOCAL, ask_once, no_model, weight_files, without_retries

FORM = 2  # raise it when the record changes
log = logging.getLogger("featune")


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
            raise Missing(f"{architecture}: not to be had ({first_line(error)}); check the name and network") from error
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
