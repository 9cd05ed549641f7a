"""`featune export`, `featune verify` and `featune models`, as a user runs them."""

import json
import os
import shutil
from pathlib import Path

import pytest
import timm
import torch
from typer.testing import CliRunner

from featune.bench.cli.app import app
from featune.bench.cli.export_commands import phases
from featune.engine.errors import BadInput, FeatuneError
from featune.engine.models import ModelSpec, classifier, fresh_classifier, state_digest
from featune.export.backends import artefacts as export_backends
from featune.export.commands import spec_of_model, timm_models_like
from featune.export.commands.named_models import body_of_tuned, spec_of_contract
from featune.export.commands.timm_models import zoo
from featune.export.contract import contract_of
from featune.export.contract.metadata import verdict_of
from featune.export.gate import Sample, folder_sample, judge, own_sample


@pytest.fixture
def artefact(right: Path, lively: ModelSpec, sample: Sample, tmp_path: Path) -> Path:
    path = Path(shutil.copy(right, tmp_path / "model.onnx"))
    judge(lively, path, sample)
    return path


def run(*arguments: str) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, list(arguments))
    return result.exit_code, result.stdout, result.stderr


def test_an_untrained_model_is_exported_offline_with_its_verdict(tmp_path: Path) -> None:
    out = tmp_path / "vit.onnx"
    code, stdout, stderr = run("export", "test_vit", "--untrained", "--out", str(out), "--json")
    assert code == 0, stderr
    made = json.loads(stdout)
    assert (made["path"], made["precision"], made["verdict"]["passed"]) == (str(out), "fp32", True)
    assert json.loads(out.with_suffix(".verdict.json").read_text())["passed"]


def test_verify_needs_the_weights_of_a_local_checkpoint_and_accepts_them(artefact: Path, lively: ModelSpec) -> None:
    code, _, stderr = run("verify", str(artefact))
    assert code == 2
    assert "give --checkpoint" in stderr
    assert lively.checkpoint is not None
    code, stdout, stderr = run("verify", str(artefact), "--checkpoint", lively.checkpoint)
    assert code == 0, stderr
    assert stdout.startswith(f"{artefact}: passed, fp32, 64 images")


def test_verify_as_another_model_exits_with_3_and_says_what_differs(artefact: Path, lively: ModelSpec) -> None:
    assert lively.checkpoint is not None
    code, stdout, stderr = run("verify", str(artefact), "--model", "test_resnet", "--checkpoint", lively.checkpoint)
    assert (code, stdout) == (3, "")
    assert "side is 32 in the artefact, 160 in the model" in stderr
    assert "mean is" in stderr
    code, _, stderr = run("verify", str(artefact), "--checkpoint", lively.checkpoint)
    assert code == 0, stderr


def test_verifying_as_the_wrong_model_leaves_the_files_own_verdict(artefact: Path, lively: ModelSpec) -> None:
    before = artefact.read_bytes()
    assert lively.checkpoint is not None
    assert run("verify", str(artefact), "--model", "test_vit", "--checkpoint", lively.checkpoint)[0] != 0
    assert run("verify", str(artefact), "--model", "test_resnet", "--checkpoint", lively.checkpoint)[0] == 3
    other = artefact.with_name("other.pth")
    torch.save(fresh_classifier(lively, 3, 0).state_dict(), other)
    code, _, stderr = run("verify", str(artefact), "--checkpoint", str(other))
    assert (code, "give the one that it was made from" in stderr) == (2, True)
    assert artefact.read_bytes() == before


def test_verify_leaves_out_the_images_that_int8_was_calibrated_on(lively: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    sample = own_sample(lively.view, 64)
    exported = export_backends.exported(lively, path, sample, precision="int8")
    assert lively.checkpoint is not None
    run("verify", str(path), "--checkpoint", lively.checkpoint)
    found = verdict_of(path)
    assert found is not None
    assert (found["parity"], found["images"]) == (exported.parity, exported.images)  # of the other 32, as at export
    assert "32 not calibrated on" in found["source"]


def test_verify_says_where_a_view_is_not_timms(
    artefact: Path, lively: ModelSpec, caplog: pytest.LogCaptureFixture
) -> None:
    assert lively.checkpoint is not None
    assert run("verify", str(artefact), "--checkpoint", lively.checkpoint)[0] == 0
    assert "side 32, timm's is 160" in caplog.text


def test_a_plan_without_tensorrt_says_what_is_missing_before_any_work() -> None:
    if shutil.which("nvidia-smi"):
        pytest.skip("this machine may have TensorRT")
    code, _, stderr = run("export", "test_vit", "--untrained", "--to", "tensorrt")
    assert code == 4
    assert "tensorrt is not installed" in stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("export", "resnet19"), "no timm model named 'resnet19'"),
        (("export", "test_vit", "--precision", "fp8"), "no precision named 'fp8'"),
        (("export", "test_vit", "--to", "coreml"), "no format named 'coreml'"),
        (("export", "test_vit", "--batches", "8"), "three numbers such as 1,128,256"),
        (("export", "test_vit", "--out", "vit.int8"), "--out vit.int8: a file named *.onnx expected"),
        (("export", "test_vit", "--refit", "old.plan"), "--refit: for plans only; give --to tensorrt too"),
        (("export", "test_vit", "--refittable", "--batches", "1,2,4"), "--batches, --refittable: for plans only"),
        (("export", "test_vit", "--hardware", "ampere_plus"), "--hardware: for plans only"),
        (("export", "test_vit", "--version-compatible"), "--version-compatible: for plans only"),
        (("export", "test_vit", "--untrained", "--data", "/no/such/folder"), "no such folder"),
        (("verify", "absent.onnx"), "no such artefact"),
        (("models", "resnet-unknown-99"), "no timm model matches"),
    ],
)
def test_bad_usage_exits_with_2_and_one_line(arguments: tuple[str, ...], message: str) -> None:
    code, stdout, stderr = run(*arguments)
    assert (code, stdout) == (2, "")
    assert message in stderr


def test_help_shows_what_is_taken_where_an_option_is_left_out() -> None:
    """Square brackets are markup in this help, and vanish."""
    code, stdout, _ = run("export", "--help")
    assert code == 0
    assert "(default: two photographs)" in " ".join(stdout.replace("│", " ").split())


def test_each_phase_of_a_build_is_said_once_and_the_build_goes_on() -> None:
    said: list[str] = []
    told = phases(said.append)
    assert all(told(*each) for each in (("Parsing", 0, 3), ("Tactics", 0, 9), ("Parsing", 1, 3), ("Tactics", 1, 9)))
    assert said == ["TensorRT: Parsing, 3 steps", "TensorRT: Tactics, 9 steps"]


def test_the_contract_gives_back_the_very_spec(artefact: Path, lively: ModelSpec) -> None:
    assert lively.checkpoint is not None
    spec = spec_of_contract(contract_of(artefact), artefact, Path(lively.checkpoint))
    assert spec.digest == lively.digest
    assert state_digest(classifier(spec)) == state_digest(classifier(lively))


def test_a_fine_tuned_runs_checkpoint_gives_its_body(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spec: ModelSpec
) -> None:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    tuned = fresh_classifier(spec, 5, seed=0)
    optimizer = torch.optim.SGD(tuned.parameters(), lr=0.1)
    state = {"model": tuned.state_dict(), "optimizer": optimizer.state_dict(), "step": 3}
    torch.save(state, tmp_path / "work.pt")
    found = spec_of_model("test_resnet", tmp_path / "work.pt")
    assert dict(found.kwargs) == {"num_classes": 0}
    assert state_digest(classifier(found)) == state_digest(tuned[1])


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, ("executed",)


def test_a_checkpoint_that_is_code_is_refused_and_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"model": _Malicious(), "optimizer": {}, "step": 1}, "evil.pth")
    assert body_of_tuned(Path("evil.pth")) is None
    code, _, stderr = run("export", "test_resnet", "--checkpoint", "evil.pth")
    assert code == 2
    assert "not a file of plain weights" in stderr
    assert not Path("executed").exists()


def test_a_checkpoint_of_other_shapes_is_refused_by_name(tmp_path: Path, spec: ModelSpec) -> None:
    weights = classifier(spec).state_dict()
    weights["fc.bias"] = torch.zeros(7)
    torch.save(weights, tmp_path / "other.pth")
    code, _, stderr = run("export", "test_resnet", "--checkpoint", str(tmp_path / "other.pth"))
    assert code == 2
    assert "fc.bias is (7,), expected (1000,)" in stderr


def test_the_projects_own_sample_is_real_and_has_no_two_alike(spec: ModelSpec) -> None:
    sample = own_sample(spec.view, 64)
    assert sample.images.shape == (64, 3, 32, 32)
    assert len({image.numpy().tobytes() for image in sample.images}) == 64
    assert torch.equal(sample.images, own_sample(spec.view, 64).images)


def test_a_folders_sample_is_spread_and_labelled_by_its_class_folders(image_folder, spec: ModelSpec) -> None:
    folder = image_folder(train=8) / "train"
    sample = folder_sample(folder, spec.view)
    assert sample.labels is not None
    assert sorted(set(sample.labels.tolist())) == [0, 1, 2]
    assert len(sample.images) == 24
    plain = folder_sample(folder / "red", spec.view, 4)
    assert (len(plain.images), plain.labels) == (4, None)
    (folder.parent / "empty").mkdir()
    with pytest.raises(BadInput, match="0 images found"):
        folder_sample(folder.parent / "empty", spec.view)


def test_known_models_say_whether_the_zoo_exports_them() -> None:
    assert timm_models_like("resnet18.a1_in1k")[0].exports is True
    untried = next(name for name in timm.list_models() if name not in zoo() and timm.list_pretrained(f"{name}.*"))
    assert timm_models_like(f"{untried}.*")[0].exports is None
    assert len(zoo()) >= 60


def test_known_models_have_licence_size_and_published_accuracy() -> None:
    (found,) = timm_models_like("resnet18.a1_in1k")
    assert (found.side, found.licence) == (224, "apache-2.0")
    assert found.million_parameters == pytest.approx(11.69)
    assert found.top1 is not None
    assert found.top1 < (found.real or 0)
    assert (found.v2 or 1) < found.top1


def test_multiply_adds_are_counted_without_weights() -> None:
    (found,) = timm_models_like("resnet18.a1_in1k", macs=True)
    assert found.gmacs == pytest.approx(1.82, abs=0.02)  # 1.8 in the paper, He et al. 2015, table 1
    assert found.million_parameters == pytest.approx(11.69, abs=0.01)


@pytest.mark.parametrize("old", ["tf_efficientnet_b0_ns", "timm/tf_efficientnet_b0.ns_jft_in1k"])
def test_models_are_listed_by_a_name_that_timm_has_replaced(old: str) -> None:
    assert [found.model for found in timm_models_like(old)] == ["tf_efficientnet_b0.ns_jft_in1k"]


def test_the_older_spelling_of_the_hubs_prefix_is_no_factory() -> None:
    with pytest.raises(FeatuneError, match=r"hf-hub:nobody/net.*check the name and network"):
        spec_of_model("hf_hub:nobody/net", untrained=True)
