"""Mistakes, the page, and the model's folder, each alone."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from featune.bench.finetune import write_model
from featune.bench.finetune.mistakes import judge
from featune.bench.finetune.page import page_html
from featune.engine.errors import BadInput
from featune.engine.images import Labelled
from featune.engine.models import fresh_classifier, spec_from_entry, spec_from_string

ITEMS = Labelled("photos", ("a.jpg", "b.jpg", "c.jpg", "d.jpg"), ((0,), (0,), (1,), (2,)))
# a is right, b is told 1, c is told 2 and surer, d is right.
SCORES = np.log(np.array([[0.8, 0.1, 0.1], [0.2, 0.5, 0.3], [0.05, 0.05, 0.9], [0.1, 0.1, 0.8]])).astype(np.float32)
CLASSES = ("cat", "dog", "<eel>")


def test_mistakes_come_with_the_most_confident_first() -> None:
    found = judge(ITEMS, SCORES, CLASSES)
    assert [(each.path, each.truth, each.told) for each in found.mistakes] == [
        ("c.jpg", "dog", "<eel>"),
        ("b.jpg", "cat", "dog"),
    ]
    assert [each.confidence for each in found.mistakes] == pytest.approx([0.9, 0.5])
    assert found.confusion.tolist() == [[1, 1, 0], [0, 0, 1], [0, 0, 1]]
    assert found.confused() == [("cat", "dog", 1), ("dog", "<eel>", 1)]


def test_the_csvs_have_a_row_for_each_class_and_mistake() -> None:
    found = judge(ITEMS, SCORES, CLASSES)
    assert found.confusion_csv().splitlines()[1:] == ["cat,1,1,0", "dog,0,0,1", "<eel>,0,0,1"]
    assert found.mistakes_csv().splitlines()[1] == "c.jpg,dog,<eel>,0.9000"


def test_names_of_the_page_are_text_and_no_markup() -> None:
    text = page_html("<b>x</b>", {"test": "a & b"}, [], judge(ITEMS, SCORES, CLASSES), None)
    assert "&lt;eel&gt;" in text
    assert "<eel>" not in text
    assert "<b>" not in text


def test_a_log_with_numbers_that_are_not_finite_still_has_its_curves() -> None:
    log = [{"step": 1, "loss": 2.0}, {"step": 2, "loss": None}, {"step": 3, "loss": 1.0, "grad_norm": float("inf")}]
    text = page_html("x", {}, log, None, None)
    assert text.count("<svg") == 1
    assert "nan" not in text


def trained(architecture: str) -> tuple[object, torch.nn.Module]:
    spec = spec_from_entry({"architecture": architecture, "pretrained": False, "side": 32, "mean": 0.4})
    model = fresh_classifier(spec, 3, 0)
    torch.nn.init.normal_(model[-1].weight)
    return spec, model


@pytest.mark.parametrize("architecture", ["test_resnet", "test_convnext", "test_mambaout"])
def test_timms_form_of_a_network_has_its_logits(architecture: str, tmp_path: Path) -> None:
    import timm

    spec, model = trained(architecture)
    assert write_model(spec, model, CLASSES, tmp_path) == "timm loads it, with equal logits"
    plain = timm.create_model(f"local-dir:{tmp_path}", pretrained=True).eval()
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    with torch.inference_mode():
        torch.testing.assert_close(plain((images / 255 - 0.4) / torch.tensor(spec.std).view(1, 3, 1, 1)), model(images))
    assert tuple(plain.pretrained_cfg["mean"]) == pytest.approx((0.4, 0.4, 0.4))


def test_a_network_without_such_a_form_leaves_its_weights_and_says_so(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    (tmp_path / "net.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 4),"
        " torch.nn.ReLU(), torch.nn.Linear(4, 2))\n"
    )
    spec = spec_from_entry({"factory": f"{tmp_path}/net.py:net", "side": 32, "mean": 0.5, "std": 0.5, "tap": "1"})
    model = fresh_classifier(spec, 3, 0)
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "config.json").write_text("{}")
    assert "timm alone cannot load it" in write_model(spec, model, CLASSES, tmp_path / "out")
    assert not (tmp_path / "out" / "config.json").exists()
    state = load_file(tmp_path / "out" / "model.safetensors")
    torch.testing.assert_close(state["head.weight"], model[-1].weight.detach())


def test_a_full_disk_is_one_sentence_and_leaves_the_earlier_model(
    tmp_path: Path, files_of_at_most: Callable[[int], None]
) -> None:
    spec, model = trained("test_resnet")
    write_model(spec, model, CLASSES, tmp_path)
    before = (tmp_path / "model.safetensors").read_bytes()

    files_of_at_most(200_000)
    with pytest.raises(BadInput, match=r"cannot write .*model.safetensors: File too large; choose another --out"):
        write_model(spec, model, CLASSES, tmp_path)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    assert [each.name for each in tmp_path.iterdir() if each.name.startswith(".")] == []


def test_a_refittable_plan_takes_the_weights_of_a_fine_tuned_folder(trt: Callable[..., Any], tmp_path: Path) -> None:
    """By TensorRT's calls alone, on the graph that the folder gives."""
    from featune.engine.tensorrt import BuildSettings
    from featune.export.backends import plan_from_graph, read_plan, refitted
    from featune.export.contract import contract_of
    from featune.export.graph import graph_from_spec

    fake, graphs = trt(), []
    for run in ("first", "second"):
        spec, model = trained("test_resnet")
        (tmp_path / run).mkdir()
        write_model(spec, model, CLASSES, tmp_path / run)  # type: ignore[arg-type]
        folder = spec_from_string(f"local-dir:{tmp_path / run}")
        graphs.append(graph_from_spec(folder, tmp_path / f"{run}.onnx", logits=True))

    def passes(plan: object) -> dict[str, Any]:
        return {"passed": True, "reasons": []}

    plan = plan_from_graph(graphs[0], tmp_path / "plans", BuildSettings(batches=(1, 2, 4), refittable=True), passes)
    again = refitted(plan, graphs[1], tmp_path / "again.plan", passes)
    assert read_plan(again)[1] == b"refitted plan"
    assert fake.called("OnnxParserRefitter.refit_from_file") == [(str(graphs[1]),)]
    assert len(fake.called("Builder.build_serialized_network")) == 1
    assert contract_of(graphs[1])["class_names"] == list(CLASSES)
