"""Which bytes a name on the model hub, or a folder in its layout, stands for now.

A name says nothing of the weights behind it: whoever owns it may push others, and a folder's files may be written
anew. What is stored under a model's name therefore also carries the digest of those bytes.
"""

import contextlib
import os
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import BadInput
from ..store import digest, file_digest, read_json

if TYPE_CHECKING:
    from .spec import ModelSpec

LOCAL = "local-dir:"
MODEL_FILE = "model.safetensors"  # of a folder that `featune finetune` left
RECIPE_FILE = "recipe.yaml"  # beside the model in a folder that `featune finetune` left
HUB_NAMES = ("hf-hub:", LOCAL)
# Set once the hub did not answer: behind a firewall each model would wait for its timeout, ten seconds, and each
# loading for six attempts. The variable tells the processes that this one starts.
_SILENT = threading.Event()
TOLD = "FEATUNE_HUB_IS_SILENT"
_WEIGHT_FILES = (".safetensors", ".bin", ".pth", ".tar", ".npz")


def weights_now(config: Mapping[str, Any], *, ask: bool = True) -> str:
    """The digest of what `config["hub"]` stands for, empty where it cannot be known without loading it.

    config: of `pretrained_config`, or `{"hub": name}` for one of HUB_NAMES. ask: whether the hub is asked, else only
    its cache on this machine, which is also what counts where the hub does not answer: the model will then be loaded
    from there.
    Raises BadInput for a folder that is not there or has no weights.
    """
    name = str(config["hub"])
    if name.startswith(LOCAL):
        return _folder_digest(Path(name.removeprefix(LOCAL)))
    files = [["config.json"], weight_files()] if name.startswith("hf-hub:") else [config.get("hub_files") or ()]
    parts = [_part(name, names, ask) for names in files]
    return digest(parts) if all(parts) else ""


def is_silent() -> bool:
    """Whether the hub did not answer this process, or the one that started it."""
    return _SILENT.is_set() or bool(os.environ.get(TOLD))


def _fall_silent() -> None:
    _SILENT.set()
    if not _is_offline():  # which its processes know from the variable of the hub's client
        os.environ[TOLD] = "1"


def _is_offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.HF_HUB_OFFLINE)


@contextlib.contextmanager
def without_retries() -> Iterator[None]:
    """The hub's client goes by its cache alone in this block, where the hub is known not to answer.

    Its own way is to try each file six times, with pauses that double: 70 s for a model that is not in the cache.
    """
    from huggingface_hub import constants

    if not is_silent() or constants.HF_HUB_OFFLINE:
        yield
        return
    constants.HF_HUB_OFFLINE = True
    try:
        yield
    finally:
        constants.HF_HUB_OFFLINE = False


def ask_once(name: str) -> None:
    """Ask the hub for a repository's config.json, so that a hub that does not answer is known before it is loaded."""
    if name.startswith("hf-hub:"):
        _part(name, ["config.json"], True)


def weight_files(name: str | None = None) -> Sequence[str]:
    """The names that a hub model's weight file may have, in the order in which timm looks for them."""
    from timm.models import _hub

    name = name or _hub.HF_WEIGHTS_NAME
    return [*_hub._get_safe_alternatives(name), name]


def no_model(folder: Path, reason: str = "") -> BadInput:
    """That a folder is not in the hub's layout, and why, where that is known."""
    found = f" ({reason})" if reason else ""
    return BadInput(
        f"{folder}: expected a folder with config.json and a weight file ({', '.join(_WEIGHT_FILES)}), "
        f"as timm.models.save_for_hf writes it{found}"
    )


def model_folder(spec: "ModelSpec") -> Path | None:
    """The folder that a model's weights are from: in the hub's layout, or one that `featune finetune` left."""
    if spec.checkpoint:
        folder = Path(spec.checkpoint).parent
        said = factory_config(spec.checkpoint) if spec.is_factory else weight_file(folder) == Path(spec.checkpoint)
        return folder if said and is_model_folder(folder) else None
    return Path(spec.architecture.removeprefix(LOCAL)) if spec.architecture.startswith(LOCAL) else None


def factory_config(weights: str | os.PathLike[str] | None) -> dict[str, Any]:
    """What is said beside a weight file that `featune finetune` left of a factory's model; empty for any other file.

    factory, kwargs: what makes the network; classifier: names of its last layer, which got num_classes outputs.
    """
    file = Path(weights) if weights else None
    config = read_json(file.with_name("config.json")) if file and file.name == MODEL_FILE else None
    said = isinstance(config, dict) and isinstance(config.get("factory"), str) and "classifier" in config
    return config if said else {}  # type: ignore[return-value]


def label_names(spec: "ModelSpec") -> tuple[str, ...]:
    """The names of the classes that the folder of a model says its logits have; empty where it says none."""
    folder = model_folder(spec)
    config = read_json(folder / "config.json") if folder else None
    said = config if isinstance(config, dict) else {}
    names = said.get("label_names") or (said.get("pretrained_cfg") or {}).get("label_names")
    if not isinstance(names, list) or len(names) != said.get("num_classes"):
        return ()
    return tuple(map(str, names))


def is_model_folder(path: str | os.PathLike[str]) -> bool:
    """Whether a folder is in the hub's layout."""
    folder = Path(path)
    return (folder / "config.json").is_file() and any(file.suffix in _WEIGHT_FILES for file in folder.glob("*"))


def weight_file(path: Path) -> Path:
    """The weight file of a folder, such as a run's, as timm chooses it; any other path as it is."""
    if not path.is_dir():
        return path
    return next((file for name in weight_files() if (file := path / name).is_file()), path)


def is_finetuned(spec: "ModelSpec") -> bool:
    """Whether a model is from a folder that `featune finetune` left, whose classes are the user's own."""
    folder = model_folder(spec)
    return folder is not None and (folder / RECIPE_FILE).is_file()


def _folder_digest(folder: Path) -> str:
    files = sorted(file for file in folder.glob("*") if file.suffix in _WEIGHT_FILES)
    if not files or not (folder / "config.json").is_file():
        raise no_model(folder)
    return digest([(file.name, file_digest(file)) for file in [folder / "config.json", *files]])


def _part(name: str, files: Sequence[str], ask: bool) -> str:
    """The hub's name for the bytes of the first of the files that is there: its ETag, by which its cache names them."""
    from huggingface_hub import get_hf_file_metadata, hf_hub_url, try_to_load_from_cache
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError

    repository, _, revision = name.removeprefix("hf-hub:").partition("@")
    for file in files if ask and not is_silent() else ():
        try:
            found = get_hf_file_metadata(hf_hub_url(repository, file, revision=revision or None)).etag
        except EntryNotFoundError:
            continue
        except HfHubHTTPError:  # an answer: no such model, or no right; loading will say so
            break
        except Exception:  # no network, of which each client library has its own error
            _fall_silent()
            break
        return found or ""
    for file in files:
        cached = try_to_load_from_cache(repository, file, revision=revision or None)
        if isinstance(cached, str):
            # A link to the bytes under their ETag; a plain file where the system has no links.
            return Path(cached).resolve().name if Path(cached).is_symlink() else file_digest(cached)
    return ""


# How the name of a model's weights begins.
RANDOM, FACTORY, HUB = "random:", "factory:", "hub:"


def hub_name(config: Mapping[str, Any], *, ask: bool = True) -> str:
    found = weights_now(config, ask=ask)
    return f"{HUB}{config['hub']}" + (f"#{found}" if found else "")
