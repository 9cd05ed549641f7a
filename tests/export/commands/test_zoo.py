"""Ten small models of ten families, from constructor to judged file; the whole zoo is `make zoo`."""

from pathlib import Path

import pytest
import torch

from featune.engine.models import feature_model, spec_from_entry
from featune.engine.runners import onnxruntime_runner, torch_runner
from featune.export.contract import compare, failures
from featune.export.gate import own_sample
from featune.export.graph import graph_from_spec

FAMILIES = {
    "test_resnet": ("resnet", 32),
    "test_efficientnet": ("efficientnet", 32),
    "test_byobnet": ("byobnet", 32),
    "test_convnext": ("convnext", 32),
    "test_nfnet": ("nfnet", 32),
    "test_mambaout": ("mambaout", 64),
    "test_vit": ("vision_transformer", 160),
    "lcnet_035": ("mobilenetv3", 32),
    "regnetx_002": ("regnet", 32),
    "dla46x_c": ("dla", 32),
}


@pytest.mark.parametrize("name", FAMILIES)
def test_a_small_model_of_each_family_exports_exactly_at_batches_1_3_and_8(name: str, tmp_path: Path) -> None:
    family, side = FAMILIES[name]
    spec = spec_from_entry({"architecture": name, "pretrained": False, "side": side})
    assert spec.family == family
    graph = graph_from_spec(spec, tmp_path / "model.onnx")
    images = own_sample(spec.view, 12).images
    with torch.no_grad(), torch_runner(feature_model(spec)) as wanted, onnxruntime_runner(graph) as run:
        found = compare(wanted, run, images)
    assert found.worst_cosine >= 0.99999
    assert failures(found) == []
