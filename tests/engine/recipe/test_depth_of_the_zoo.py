"""Each module of timm by a small model: scales of layer-wise decay against autograd's graph and the blocks' names.

The graph is another witness than the one that `layers_of` asks: it says which parameters a parameter's input came from.
"""

import functools
import itertools
from collections.abc import Iterator
from typing import Any

import pytest
import timm
import torch
from torch import nn

from featune.engine.recipe import Recipe, layers_of, parameter_groups, parts_of

# A small model of each module; of a module that is not here, the one with the shortest name.
SMALL = {
    "beit": "beit_base_patch16_224", "byoanet": "botnet26t_256", "byobnet": "test_byobnet", "coat": "coat_lite_tiny",
    "convmixer": "convmixer_1024_20_ks9_p14", "convnext": "convnext_atto", "crossvit": "crossvit_small_240",
    "cspnet": "cs3darknet_focus_s", "cspnext": "cspnext_tiny", "deit": "deit3_small_patch16_224", "dla": "dla34",
    "eva": "eva02_small_patch14_224", "gcvit": "gcvit_xxtiny", "hrnet": "hrnet_w18_small", "levit": "levit_128s",
    "mambaout": "test_mambaout", "maxxvit": "coatnet_pico_rw_224", "metaformer": "caformer_s18",
    "mlp_mixer": "gmixer_12_224", "mobilenetv3": "lcnet_035", "mobilevit": "mobilevitv2_050", "nfnet": "test_nfnet",
    "naflexvit": "naflexvit_base_patch16_gap", "regnet": "regnetx_002", "resnest": "resnest14d",
    "resnet": "test_resnet", "resnetv2": "resnetv2_18", "senet": "legacy_seresnet18",
    "swin_transformer": "swin_s3_tiny_224",
    "swin_transformer_v2": "swinv2_tiny_window16_256", "swin_transformer_v2_cr": "swinv2_cr_tiny_224",
    "twins": "twins_pcpvt_small", "vgg": "vgg11", "vision_transformer": "test_vit", "vovnet": "ese_vovnet19b_slim",
    "vision_transformer_hybrid": "vit_tiny_r_s16_p8_224", "volo": "volo_d1_224",
    "vision_transformer_relpos": "vit_srelpos_small_patch16_224", "xcit": "xcit_nano_12_p8_224",
}  # fmt: skip
COARSE = {  # modules where some that stand in a row share a layer
    "convmixer": "a block is a list of two", "cpubone": "timm's layers are stages, of one or two blocks here",
    "crossvit": "branches stand in a row", "davit": "a block is a list of two, over places and over channels",
    "hgnet": "a block is a list of layers", "inception_v4": "the first modules of the row are the stem",
    "rdnet": "timm's layers are stages, of three blocks each",
}  # fmt: skip
NO_BLOCKS = ("stem", "conv1", "downsample", "neck")  # lists of parts
# Computed before the first block, in the first layer: a table of positions that all blocks share.
BEFORE = ("shared_rel_pos",)


def small(module: str) -> str:
    return SMALL.get(module) or min(timm.list_models(module=module), key=len)


def made(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network without numbers, and an image for it."""
    with torch.device("meta"):
        model = timm.create_model(name, exportable=True).eval()
        return model, torch.zeros(1, *model.pretrained_cfg["input_size"], requires_grad=True)


def upstream(body: nn.Module, images: torch.Tensor) -> dict[str, int]:
    """{parameter: which parameters its input came from, a bit for each by its place} at its first use, by autograd."""
    place = {id(each): number for number, (_, each) in enumerate(body.named_parameters())}
    names = [name for name, _ in body.named_parameters()]
    of_images: dict[Any, bool] = {}
    above: dict[Any, int] = {}  # all parameters that a value depends on
    found: dict[str, int] = {}
    for node in _in_order(body(images).grad_fn):
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            of_images[node], above[node] = leaf is images, 1 << place[id(leaf)] if id(leaf) in place else 0
            continue
        below = [each for each, _ in node.next_functions if each is not None]
        of_images[node] = any(of_images[each] for each in below)
        above[node] = functools.reduce(int.__or__, (above[each] for each in below), 0)
        if of_images[node]:
            came = functools.reduce(int.__or__, (above[each] for each in below if of_images[each]), 0)
            own = functools.reduce(int.__or__, (above[each] for each in below if not of_images[each]), 0)
            for number in _bits(own):
                known = found.get(names[number])
                if known is None or came.bit_count() < known.bit_count():
                    found[names[number]] = came
    return found


def _in_order(last: Any) -> Iterator[Any]:
    """The graph's nodes, each after those whose values it takes."""
    seen, left = set(), [(last, False)]
    while left:
        node, done = left.pop()
        if done:
            yield node
        elif node not in seen:
            seen.add(node)
            left.append((node, True))
            left += [(each, False) for each, _ in node.next_functions if each is not None and each not in seen]


def _bits(value: int) -> Iterator[int]:
    while value:
        lowest = value & -value
        yield lowest.bit_length() - 1
        value ^= lowest


def rows_of_blocks(body: nn.Module, prefix: str = "") -> Iterator[list[str]]:
    """Names of blocks that stand in one row: modules of a list, or of the `blocks` of a stage of a list."""
    for name, child in body.named_children():
        path = f"{prefix}{name}"
        if name in NO_BLOCKS:
            continue
        if isinstance(child, (nn.Sequential, nn.ModuleList)):
            row = []
            for number, each in child.named_children():
                inner = next((getattr(each, it) for it in ("blocks", "layers") if hasattr(each, it)), None)
                if isinstance(inner, (nn.Sequential, nn.ModuleList)) or isinstance(each, nn.Sequential):
                    yield from rows_of_blocks(nn.ModuleDict({number: each}), f"{path}.")
                elif any(parameter.ndim > 1 for parameter in each.parameters()):
                    row.append(f"{path}.{number}")
            if next(child.children(), None) is not None and any("." in n for n, _ in child.named_parameters()):
                yield row
        elif _is_stage(name):
            yield from rows_of_blocks(child, f"{path}.")


def _is_stage(name: str) -> bool:
    return any(word in name for word in ("stage", "layer", "encoder", "features")) or name.isdigit()


@pytest.mark.wide  # half a minute of processor time
@pytest.mark.parametrize("module", timm.list_modules())
def test_each_parameter_has_the_scale_of_its_depth(module: str) -> None:
    model, images = made(small(module))
    model.reset_classifier(0)
    layers, top = layers_of(model, images.detach())
    names, came = [name for name, _ in model.named_parameters()], upstream(model, images)
    kernels = [name for name, each in model.named_parameters() if each.ndim > 1 and "." in name]
    assert set(layers) == set(names)

    # Nothing lies below what it is computed from.
    for name, bits in came.items():
        if not name.startswith(BEFORE):
            assert all(layers[names[at]] <= layers[name] for at in _bits(bits)), name

    # The first kernel has the lowest scale, and none but a head's own the highest.
    assert min(layers.values()) == 0
    assert all(layers[name] < top or "head" in name or name.startswith("pre_logits") for name in kernels)
    assert max(layers.values()) in (top, top - 1)

    # Blocks of a row, one of which is computed from the other, have rising scales.
    for row in rows_of_blocks(model) if module not in COARSE else ():
        for one, next_ in itertools.pairwise(row):
            first, second = ([name for name in kernels if name.startswith(f"{each}.")] for each in (one, next_))
            lies_on = all(any(came.get(name, 0) >> names.index(other) & 1 for other in first) for name in second)
            if lies_on:
                assert max(layers[name] for name in first) < min(layers[name] for name in second), (one, next_)


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "qwen3_vit_88m"])
def test_each_parameter_is_in_one_group_and_the_new_head_alone_has_the_full_rate(name: str) -> None:
    body, images = made(name)
    with torch.device("meta"):
        body.reset_classifier(0)
        model = nn.Sequential()
        model.add_module("body", body)
        model.add_module("head", nn.Linear(body.num_features, 3))
    recipe = Recipe(layer_decay=0.5)
    groups = parameter_groups(model, parts_of(model, recipe, images.detach()), recipe)
    scales = {id(each): group["lr_scale"] for group in groups for each in group["params"]}
    assert sum(len(group["params"]) for group in groups) == len(scales) == len(list(model.parameters()))
    full = {name for name, each in model.named_parameters() if scales[id(each)] == 1}
    assert full == {"head.weight", "head.bias"}
