"""What timm's tags say of pre-training, and the same architecture compared across kinds of it."""

import re
from pathlib import Path

import pytest
from report_rows import row

from featune.bench.report.findings.pretraining import KINDS, pretraining_of, pretraining_pairs, recipe_pairs
from featune.bench.results import collect


@pytest.mark.parametrize(
    ("name", "kind", "tuned_on"),
    [
        ("resnet50.a1_in1k", "in1k", ()),
        ("convnext_tiny.fb_in22k_ft_in1k_384", "in21k", ("in1k",)),
        ("vit_base_patch16_224.augreg_in21k_ft_in1k", "in21k", ("in1k",)),
        ("convnext_nano.in12k_ft_in1k", "in12k", ("in1k",)),
        ("vit_base_patch16_clip_224.laion2b_ft_in12k_in1k", "clip", ("in12k", "in1k")),
        ("vit_base_patch16_clip_224.openai", "clip", ()),
        ("vit_small_patch14_dinov2.lvd142m", "self-supervised", ()),
        ("convnextv2_tiny.fcmae_ft_in22k_in1k", "self-supervised", ("in22k", "in1k")),
        ("resnext50_32x4d.fb_swsl_ig1b_ft_in1k", "web labels", ("in1k",)),
        ("tf_efficientnet_b0.ns_jft_in1k", "web labels", ()),
        ("samvit_base_patch16.sa1b", "", ()),
        ("resnet50", "", ()),
    ],
)
def test_a_tag_is_read_by_its_words(name: str, kind: str, tuned_on: tuple[str, ...]) -> None:
    found = pretraining_of(name)
    assert (found.kind, found.tuned_on) == (kind, tuned_on)


def test_the_recipe_is_what_is_neither_data_nor_tuning() -> None:
    assert pretraining_of("vit_tiny_patch16_224.augreg_in21k_ft_in1k").recipe == ("augreg",)


def test_nearly_all_of_timms_tags_that_end_in_an_imagenet_have_a_kind() -> None:
    import timm

    names = timm.list_models(pretrained=True)
    assert {pretraining_of(name).kind for name in names if "in1k" in name} <= {
        "in1k", "in12k", "in21k", "clip", "self-supervised", "web labels"
    }  # fmt: skip
    assert sum(not pretraining_of(name).kind for name in names) < 0.1 * len(names)


def test_the_same_architecture_is_compared_task_by_task() -> None:
    """net: 36 and 18 of 360 more by in21k, 10 and 5 points; old: 18 less on one task, 5 points."""
    rows = [
        row("net.a_in1k", "t0", right=180), row("net.a_in1k", "t1", right=200),
        row("net.b_in21k_ft_in1k", "t0", right=216), row("net.b_in21k_ft_in1k", "t1", right=218),
        row("old.a_in1k", "t0", right=100), row("old.c_in21k_ft_in1k", "t0", right=82),
        row("other.a_in1k", "t0", right=10),
    ]  # fmt: skip
    (found,) = pretraining_pairs(collect(rows))
    assert (found.one, found.other, found.regime) == ("in1k", "in21k", "probe")
    assert found.points == {"net": pytest.approx(7.5), "old": pytest.approx(-5)}
    assert found.mean == pytest.approx(1.25)


def test_the_control_is_another_recipe_on_the_same_data() -> None:
    """a1 and a2: 18 of 360 apart, 5 points; the in21k weights are no recipe of in1k."""
    rows = [
        row("net.a1_in1k", "t0", right=180), row("net.a2_in1k", "t0", right=198),
        row("net.b_in21k_ft_in1k", "t0", right=300),
    ]  # fmt: skip
    assert recipe_pairs(collect(rows)) == {"probe": [pytest.approx(5)]}
    (found,) = pretraining_pairs(collect(rows))
    assert found.points["net"] == pytest.approx(100 * (300 - 189) / 360)  # of the mean of both recipes


def test_the_page_shows_the_table_of_kinds_as_it_is() -> None:
    page = (Path(__file__).parents[4] / "docs" / "statistics.md").read_text()
    shown = re.findall(r"^\| `([\w -]+)` \| ([\w*, ]+) \|$", page.split("## Pre-training as a query")[1], re.MULTILINE)
    assert [(kind, tuple(words.split(", "))) for kind, words in shown] == list(KINDS.items())
