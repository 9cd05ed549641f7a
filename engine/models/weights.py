"""A model's weights: from a file, strictly and without running its code, and named by their bytes."""

import contextlib
import hashlib
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from ..errors import BadInput, first_line


def state_digest(model: nn.Module) -> str:
    """SHA-256 over the names, types, shapes and bytes of the state; what no file name can lie about."""
    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        sha.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def load_weights(model: nn.Module, path: Path, channels: int = 3) -> None:
    """Fill the model from a weight file (.pth, .pt, .safetensors), strictly and without running its code.

    channels: of the model's images. A file of a model of 3 is adapted to others as timm adapts its own weights.
    Raises BadInput naming the keys and shapes that do not fit.
    """
    import timm.models

    try:
        state = timm.models.load_state_dict(str(path), use_ema=False, weights_only=True)
    except Exception as error:  # pickle, zip and safetensors readers each raise their own
        raise BadInput(
            f"{path}: not a file of plain weights ({type(error).__name__}: {first_line(error)}); "
            "save a state dict with torch.save or safetensors"
        ) from error
    own = model.state_dict()
    state |= _adapted_input(model, state, own, channels) if channels != 3 else {}
    wrong = [f"missing {key}" for key in own.keys() - state.keys()]
    wrong += [f"unexpected {key}" for key in state.keys() - own.keys()]
    wrong += [
        f"{key} is {tuple(state[key].shape)}, expected {tuple(own[key].shape)}"
        for key in own.keys() & state.keys()
        if state[key].shape != own[key].shape
    ]
    if wrong:
        shown = "; ".join(sorted(wrong)[:5]) + (f"; and {len(wrong) - 5} more" if len(wrong) > 5 else "")
        raise BadInput(f"{path} does not fit the architecture: {shown}; check `architecture` and `kwargs`")
    model.load_state_dict(state, strict=True)


def _adapted_input(
    model: nn.Module, state: Mapping[str, Tensor], own: Mapping[str, Tensor], channels: int
) -> dict[str, Tensor]:
    """A timm model's first convolutions, of a file of 3 channels, for images of others; what fits stays as it is."""
    from timm.models._manipulate import adapt_input_conv

    first = (getattr(model, "pretrained_cfg", None) or {}).get("first_conv") or ()
    found = {}
    for name in [f"{layer}.weight" for layer in ([first] if isinstance(first, str) else first)]:
        # A stem that folds space into channels has several times as many of each.
        if name in own and name in state and state[name].shape[1] * channels == 3 * own[name].shape[1]:
            with contextlib.suppress(NotImplementedError):  # its shape is reported as one that does not fit
                found[name] = adapt_input_conv(channels, state[name])
    return found
