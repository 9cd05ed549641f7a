"""Published ImageNet accuracies: timm's own table and torchvision's own records."""

import pytest

from featune.engine.accuracies import IMAGENET_IMAGES, MEASURES, near_sides, timm_accuracies, torchvision_accuracy
from featune.engine.errors import BadInput


def test_accuracies_are_joined_on_model_and_size() -> None:
    rows = timm_accuracies()
    assert len(rows) == 1556
    assert len({model for model, _ in rows}) == 1266
    # timm's own table: convnext_tiny.fb_in22k_ft_in1k is 82.900 at 224 and 78.950 at 288.
    assert rows["convnext_tiny.fb_in22k_ft_in1k", 224]["top1"] == pytest.approx(0.829)
    assert rows["convnext_tiny.fb_in22k_ft_in1k", 288]["top1"] == pytest.approx(0.7895)
    assert near_sides("convnext_tiny.fb_in22k_ft_in1k") == [224, 288]
    assert near_sides("no_such_model") == []


def test_every_row_has_six_fractions_and_a_size() -> None:
    for (model, _), row in timm_accuracies().items():
        known = [row[name] for name in MEASURES if model != "resnet50.tv_in1k" or name != "a"]  # timm has none of it
        assert all(share is not None and 0 <= share < 1 for share in known)
        assert (row["million_parameters"] or 0) > 0
    assert timm_accuracies()["resnet50.tv_in1k", 224]["a"] is None
    # timm's results-imagenet-a.csv, first line: 88.627 at 448 pixels; its parameters are 305.08 million.
    first = timm_accuracies()["eva02_large_patch14_448.mim_m38m_ft_in22k_in1k", 448]
    assert (first["a"], first["million_parameters"]) == (0.88627, 305.08)
    giant = timm_accuracies()["eva_giant_patch14_560.m30m_ft_in22k_in1k", 560]
    assert giant["million_parameters"] == 1014.45  # "1,014.45" there
    assert set(IMAGENET_IMAGES) == set(MEASURES)


@pytest.mark.parametrize(
    ("model", "top1"),
    [("alexnet", 0.56522), ("squeezenet1_1", 0.58178), ("shufflenet_v2_x1_0", 0.69362), ("mnasnet0_5", 0.67734)],
)
def test_torchvisions_figures_are_those_of_its_weights(model: str, top1: float) -> None:
    assert torchvision_accuracy(model, "IMAGENET1K_V1") == pytest.approx(top1)


def test_other_weights_have_other_figures_and_unknown_names_are_refused() -> None:
    first, best = torchvision_accuracy("resnet50", "IMAGENET1K_V1"), torchvision_accuracy("resnet50")
    assert first == pytest.approx(0.7613)
    assert (best or 0) > (first or 1)
    with pytest.raises(BadInput, match="nearest: alexnet"):
        torchvision_accuracy("alexnett")
    with pytest.raises(BadInput, match="torchvision has IMAGENET1K_V1"):
        torchvision_accuracy("alexnet", "V3")
