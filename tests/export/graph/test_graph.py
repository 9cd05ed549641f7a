"""The ONNX file: what it computes, what it says of itself, and what it must not contain."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from PIL import Image

from featune.engine.errors import BadInput, ParityFailed
from featune.engine.features import extract
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, View, feature_model, source_model, spec_from_entry, state_digest
from featune.engine.runners import onnxruntime_runner
from featune.engine.store import plain
from featune.export.backends import open_artefact
from featune.export.contract import CONTRACT, content_digest, contract_of, read_graph
from featune.export.gate import Sample, judge
from featune.export.graph import graph_from_spec
from featune.export.graph.onnx_export import resize_rule
from featune.export.precision import variant


@pytest.fixture(scope="module")
def external(lively: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same model written as one above the size that a single file can have."""
    return graph_from_spec(lively, tmp_path_factory.mktemp("external") / "model.onnx", external_above=1000)


def copied(path: Path, folder: Path) -> Path:
    folder.mkdir(exist_ok=True)
    for file in path.parent.glob(f"{path.name}*"):
        (folder / file.name).write_bytes(file.read_bytes())
    return folder / path.name


def test_the_readmes_ten_lines_of_plain_onnxruntime_give_the_same_features(
    right: Path, lively: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of Featune is needed to use an artefact; the lines are run as the README has them."""
    from sklearn.datasets import load_sample_image

    Image.fromarray(load_sample_image("china.jpg")).save(tmp_path / "photo.jpg")
    (tmp_path / "resnet50.onnx").write_bytes(right.read_bytes())
    monkeypatch.chdir(tmp_path)
    readme = Path(__file__).parents[3].joinpath("README.md").read_text()
    blocks = [part.split("```")[0] for part in readme.split("```python\n")[1:]]
    (lines,) = [block for block in blocks if "onnxruntime" in block]
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    names: dict[str, Any] = {}
    exec(lines, names)
    expected = extract(lively, Labelled("", ("photo.jpg",), ((),)), decoder="exact").rows
    np.testing.assert_allclose(names["features"], expected, rtol=1e-4, atol=1e-5)


def test_the_contract_tells_all_that_is_needed_to_use_and_to_remake_the_file(right: Path, lively: ModelSpec) -> None:
    contract = contract_of(right)
    assert contract["model"] == "test_resnet.r160_in1k"
    assert contract["weights"] == state_digest(feature_model(lively))
    assert contract["spec"]["weights"] == lively.weights
    assert contract["spec"]["mean"] == [0.485, 0.456, 0.406]
    assert contract["spec"]["view"] == plain(lively.view)
    assert (contract["tap"], contract["width"], contract["precision"]) == ("pre_logits", 96, "fp32")
    assert contract["resize"].startswith("timm center: shorter side to 33 pixels by bilinear, then a 32 x 32 crop")
    assert set(contract["makers"]) == {"torch", "timm", "onnx", "onnxscript"}


def test_the_contract_tells_each_crop_mode_apart() -> None:
    rules = {
        mode: resize_rule(View(32, 0.5, mode, "bicubic", fill=(1, 2, 3))) for mode in ("center", "squash", "border")
    }
    assert "shorter side to 64 pixels by bicubic, then a 32 x 32 crop;" in rules["center"]
    assert "both sides to 64 pixels, whatever their ratio, by bicubic, then a 32 x 32 crop;" in rules["squash"]
    assert "longer side to 64 pixels by bicubic, then a 32 x 32 crop, padded with [1, 2, 3]" in rules["border"]


def test_ir_and_opset_are_ones_that_every_runtime_takes(right: Path) -> None:
    proto = onnx.load(right)
    assert proto.ir_version == 10
    assert [(entry.domain, entry.version) for entry in proto.opset_import] == [("", 20)]


def test_the_first_nodes_take_uint8_and_normalise_and_the_batch_is_free(right: Path) -> None:
    graph = onnx.load(right).graph
    shape = graph.input[0].type.tensor_type
    assert shape.elem_type == onnx.TensorProto.UINT8
    assert [d.dim_param or d.dim_value for d in shape.shape.dim] == ["batch", 3, 32, 32]
    assert [node.op_type for node in graph.node[:3]] == ["Cast", "Mul", "Add"]
    assert graph.output[0].name == "features"


def test_no_path_of_the_exporting_machine_is_in_the_file(right: Path, external: Path) -> None:
    for file in (right, external):
        content = file.read_bytes()
        for path in (str(Path(torch.__file__).parent), str(Path(__file__).parents[3]), str(Path.home()) + "/"):
            assert path.encode() not in content
        assert b"stack_trace" not in content


def test_nodes_keep_the_name_of_their_layer(right: Path) -> None:
    layers = {entry.value for node in onnx.load(right).graph.node for entry in node.metadata_props}
    assert {"normalise", "layer1.0.bn1"} <= layers


def test_a_factorys_file_is_named_by_its_bytes_and_not_by_its_place(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "def net():\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1),"
        " torch.nn.Flatten(), torch.nn.Linear(4, 2))\n"
    )
    spec = spec_from_entry({"factory": "nets.py:net", "side": 16}, tmp_path)
    graph = graph_from_spec(spec, tmp_path / "model.onnx")
    assert contract_of(graph)["spec"]["architecture"] == "nets.py:net"
    assert str(tmp_path).encode() not in graph.read_bytes()


def test_logits_of_a_factorys_model_are_those_of_its_last_linear_layer(tmp_path: Path) -> None:
    (tmp_path / "nets.py").write_text(
        "import torch\n"
        "def net():\n"
        "    torch.manual_seed(2)\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1),"
        " torch.nn.Flatten(), torch.nn.Linear(4, 2))\n"
    )
    spec = spec_from_entry({"factory": "nets.py:net", "side": 16}, tmp_path)
    graph = graph_from_spec(spec, tmp_path / "logits.onnx", logits=True)
    images = torch.randint(0, 256, (3, 3, 16, 16), dtype=torch.uint8)
    logits = onnxruntime.InferenceSession(graph).run(["logits"], {"images": images.numpy()})[0]
    torch.testing.assert_close(torch.from_numpy(logits), source_model(spec)(images).detach(), rtol=1e-4, atol=1e-4)
    tapped = spec_from_entry({"factory": "nets.py:net", "side": 16, "tap": "0"}, tmp_path)
    with pytest.raises(BadInput, match="no logits are made of the features of a tap"):
        graph_from_spec(tapped, tmp_path / "tapped.onnx", logits=True)


def test_logits_come_beside_the_features_from_one_pass(lively: ModelSpec, sample: Sample, tmp_path: Path) -> None:
    path = graph_from_spec(lively, tmp_path / "both.onnx", logits=True)
    assert contract_of(path)["classes"] == 1000
    verdict = judge(lively, path, sample)
    assert verdict.passed
    assert verdict.logits is not None
    assert verdict.logits["worst_cosine"] > 0.99999
    with torch.no_grad(), open_artefact(path, output="logits") as run:
        torch.testing.assert_close(run(sample.images), source_model(lively)(sample.images), rtol=1e-3, atol=1e-4)
    assert sum(node.op_type == "Conv" for node in onnx.load(path).graph.node) == sum(
        node.op_type == "Conv" for node in onnx.load(graph_from_spec(lively, tmp_path / "one.onnx")).graph.node
    )


def test_an_output_that_the_graph_lacks_is_bad_input(right: Path) -> None:
    with pytest.raises(BadInput, match="no output 'logits', only features"), onnxruntime_runner(right, output="logits"):
        pass


def test_parallel_branches_are_fused_before_export(tmp_path: Path) -> None:
    spec = spec_from_entry({"architecture": "repghostnet_050", "pretrained": False, "side": 32})
    path = graph_from_spec(spec, tmp_path / "fused.onnx")
    assert contract_of(path)["reparameterised"]
    assert not [node for node in onnx.load(path).graph.node if node.op_type == "BatchNormalization"]
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    with torch.no_grad(), onnxruntime_runner(path) as run:
        assert torch.nn.functional.cosine_similarity(run(images), feature_model(spec)(images)).min() > 0.99999


def test_large_weights_lie_beside_the_file_and_both_are_one_artefact(
    lively: ModelSpec, external: Path, sample: Sample, tmp_path: Path
) -> None:
    path = copied(external, tmp_path / "moved")
    assert path.stat().st_size < path.with_name("model.onnx.data").stat().st_size
    assert judge(lively, path, sample).passed
    with open_artefact(path, spec=lively) as run:
        assert run(sample.images[:2]).shape == (2, 96)
    before = content_digest(path)
    data = path.with_name("model.onnx.data")
    changed = bytearray(data.read_bytes())
    changed[100] ^= 1
    data.write_bytes(changed)
    assert content_digest(path) != before
    with pytest.raises(ParityFailed, match="changed after its verdict"), open_artefact(path):
        pass


def test_external_data_that_is_missing_or_short_is_bad_input(external: Path, tmp_path: Path) -> None:
    path = copied(external, tmp_path / "moved")
    data = path.with_name("model.onnx.data")
    data.write_bytes(data.read_bytes()[:100])
    with pytest.raises(BadInput, match=r"model.onnx.data has 100 bytes, \d+ expected"):
        read_graph(path)
    data.unlink()
    with pytest.raises(BadInput, match="which is missing; keep both files together"), open_artefact(path):
        pass


@pytest.mark.parametrize(("precision", "target"), [("fp16", "cpu"), ("int8", "cpu"), ("int8", "tensorrt")])
def test_a_model_of_two_files_has_no_other_precisions(
    external: Path, sample: Sample, tmp_path: Path, precision: str, target: str
) -> None:
    with pytest.raises(BadInput, match="above 2 GB are not made; use --precision fp32"):
        variant(external, tmp_path / "x.onnx", precision, target, sample.images.numpy())


@pytest.mark.parametrize(("key", "value"), [("offset", "-8"), ("offset", "abc"), ("length", "1.5"), ("length", "-1")])
def test_external_data_at_no_place_in_a_file_is_refused(external: Path, tmp_path: Path, key: str, value: str) -> None:
    path = copied(external, tmp_path / "moved")
    proto = onnx.load(path, load_external_data=False)
    next(e for t in proto.graph.initializer for e in t.external_data if e.key == key).value = value
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(BadInput, match=r"weights at bytes .* do not use this file"), open_artefact(path):
        pass


@pytest.mark.parametrize(
    ("text", "message"),
    [("{broken", "is damaged"), ("[1]", r"is '\[1\]'"), ('{"precision": "fp32"}', "its contract lacks spec, weights")],
)
def test_a_contract_that_is_damaged_is_bad_input(right: Path, tmp_path: Path, text: str, message: str) -> None:
    proto = onnx.load(right)
    next(entry for entry in proto.metadata_props if entry.key == CONTRACT).value = text
    onnx.save(proto, tmp_path / "damaged.onnx")
    with pytest.raises(BadInput, match=message):
        contract_of(tmp_path / "damaged.onnx")


@pytest.mark.parametrize("location", ["../secret", "/etc/hostname", "inside/../../secret", ""])
def test_external_data_outside_the_folder_is_refused(external: Path, tmp_path: Path, location: str) -> None:
    path = copied(external, tmp_path / "moved")
    (tmp_path / "secret").write_bytes(bytes(4_000_000))
    proto = onnx.load(path, load_external_data=False)
    for tensor in proto.graph.initializer:
        for entry in tensor.external_data:
            if entry.key == "location":
                entry.value = location
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(BadInput, match="outside the artefact's folder"), open_artefact(path):
        pass


def test_a_link_that_leaves_the_folder_is_refused_too(external: Path, tmp_path: Path) -> None:
    path = copied(external, tmp_path / "moved")
    data = path.with_name("model.onnx.data")
    data.rename(tmp_path / "elsewhere")
    data.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(BadInput, match="outside the artefact's folder"), open_artefact(path):
        pass


def test_images_of_another_size_are_refused_by_name(right: Path) -> None:
    with pytest.raises(BadInput, match="takes images of 32 x 32"), onnxruntime_runner(right) as run:
        run(torch.zeros(1, 3, 40, 40, dtype=torch.uint8))
