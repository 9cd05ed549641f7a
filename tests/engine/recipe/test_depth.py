"""Every parameter has the layer that its use says, in families where timm's own groups are right and where not."""

import pytest
import timm
import torch
from torch import nn

from featune.engine.recipe import first_uses, layers_of


def made(name: str) -> tuple[nn.Module, torch.Tensor]:
    """A network without head and without numbers, and an image for it."""
    with torch.device("meta"):
        model = timm.create_model(name, exportable=True)
        model.reset_classifier(0)
        return model.eval(), torch.zeros(1, *model.pretrained_cfg["input_size"])


@pytest.mark.parametrize("name", ["vit_tiny_patch16_224", "resnet18", "convnext_atto", "mobilenetv3_small_050"])
def test_scales_are_those_of_timms_layer_decay(name: str) -> None:
    from timm.optim import param_groups_layer_decay

    with torch.device("meta"):
        whole = timm.create_model(name)
    theirs = {
        id(parameter): group["lr_scale"]
        for group in param_groups_layer_decay(whole, layer_decay=0.5)
        for parameter in group["params"]
    }
    expected = {name: theirs[id(parameter)] for name, parameter in whole.named_parameters()}
    body, images = made(name)
    layers, top = layers_of(body, images)
    assert {name: 0.5 ** (top - layer) for name, layer in layers.items()} == {name: expected[name] for name in layers}


@pytest.mark.parametrize(
    ("name", "parameter", "like"),
    [
        ("xcit_nano_12_p16_224", "cls_token", "blocks.11.mlp.fc2.weight"),  # it joins after the blocks, not at the stem
        ("convit_tiny", "cls_token", "blocks.9.mlp.fc2.weight"),  # after ten blocks
        ("efficientvim_m1", "norm.0.weight", "stages.0.blocks.1.mixer.in_proj.weight"),
    ],
)
def test_a_hole_of_timms_groups_is_filled_by_use(name: str, parameter: str, like: str) -> None:
    layers, _ = layers_of(*made(name))
    found = [layer for each, layer in layers.items() if each.startswith(like.rsplit(".", 2)[0])]
    assert layers[parameter] in (max(found), max(found) + 1, min(found)), (layers[parameter], found)


@pytest.mark.parametrize(
    ("name", "blocks"),
    [
        ("caformer_s18", 18),  # no groups at all in timm: 3 + 3 + 9 + 3 blocks
        ("pit_ti_224", 12),  # the same: 2 + 6 + 4
        ("gcvit_xxtiny", 12),  # whole stages: 2 + 2 + 6 + 2
        ("mvitv2_tiny", 10),  # whole stages: 1 + 2 + 5 + 2
        ("maxvit_tiny_tf_224", 11),  # whole stages: 2 + 2 + 5 + 2
    ],
)
def test_blocks_are_layers_where_timm_has_none_or_only_stages(name: str, blocks: int) -> None:
    layers, top = layers_of(*made(name))
    prefixes = {each.partition(".blocks.")[0] + each.partition(".blocks.")[2].partition(".")[0] for each in layers
                if ".blocks." in each}  # fmt: skip
    own = {layer for each, layer in layers.items() if ".blocks." in each and each.startswith(("stages", "transf"))}
    assert len(own) >= blocks
    assert len(prefixes) >= blocks
    assert top <= blocks + 5  # and the stem, and what lies between stages


def test_a_last_block_that_timm_puts_above_later_ones_has_its_turn() -> None:
    """CaiT: blocks.23 comes before the two that read the class token, and after blocks.22."""
    layers, top = layers_of(*made("cait_xxs24_224"))
    named = ("patch_embed.proj", *(f"blocks.{i}.attn.proj" for i in range(24)),
             *(f"blocks_token_only.{i}.attn.proj" for i in (0, 1)))  # fmt: skip
    assert [layers[f"{each}.weight"] for each in named] == list(range(27))
    assert top == 27


@pytest.mark.parametrize(
    ("name", "last", "blocks"),
    [
        ("qwen3_vit_88m", "encoder.blocks.11.mlp", 12),  # timm's groups give the head and the last block one rate
        ("iformer_t", "stages.3.blocks.5.mixer", 24),
        ("mobilenetv5_base", "msfa.ffn", 40),
        ("vit_pe_core_tiny_patch16_384", "attn_pool", 12),
    ],
)
def test_the_head_alone_has_the_full_rate_where_timm_gives_it_to_kernels_below(
    name: str, last: str, blocks: int
) -> None:
    layers, top = layers_of(*made(name))
    found = {layer for each, layer in layers.items() if each.startswith(last)}
    assert found == {top - 1}
    assert top > blocks


def test_no_layer_is_used_after_a_higher_one_in_any_family_tried() -> None:
    for name in ("coat_lite_tiny", "volo_d1_224", "test_mambaout", "test_nfnet", "csatv2"):
        body, images = made(name)
        layers, top = layers_of(body, images)
        order = first_uses(body, images)
        used = [layers[each] for each in sorted(order, key=order.__getitem__)]
        assert used == sorted(used), name
        assert set(layers) == {each for each, _ in body.named_parameters()}
        assert max(used) <= top


def test_a_module_of_ones_own_has_layers_in_the_order_in_which_they_run() -> None:
    class Backwards(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.last, self.first = nn.Linear(4, 4), nn.Linear(4, 4)
            self.scale = nn.Parameter(torch.ones(4))

        def forward(self, images: torch.Tensor) -> torch.Tensor:
            return self.last(self.first(images) * self.scale)

    layers, top = layers_of(Backwards(), torch.zeros(1, 4))
    assert layers == {"first.weight": 0, "first.bias": 0, "scale": 0, "last.weight": 1, "last.bias": 1}
    assert top == 2
