"""Weight files that fit an architecture but for its side or its classifier, and folders in place of files."""

from pathlib import Path
from typing import Any

import pytest
import timm
import torch
from timm.layers import resample_abs_pos_embed
from timm.models import save_for_hf
from torch import nn

from featune.engine.errors import BadInput
from featune.engine.models import ModelSpec, classifier, feature_model, label_names, spec_from_entry, weight_file
from featune.export.commands.named_models import spec_of_contract, spec_of_model


def saved(path: Path, architecture: str = "test_resnet", **kwargs: Any) -> nn.Module:
    torch.manual_seed(1)
    model = timm.create_model(architecture, **kwargs)
    torch.save(model.state_dict(), path)
    return model.eval()


def of_file(path: Path, architecture: str = "test_resnet", **kwargs: Any) -> ModelSpec:
    side = kwargs.get("img_size", 32)
    return spec_from_entry({"architecture": architecture, "checkpoint": str(path), "kwargs": kwargs, "side": side})


def same(one: nn.Module, other: nn.Module) -> bool:
    ours, theirs = one.state_dict(), other.state_dict()
    return ours.keys() == theirs.keys() and all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_file_of_another_side_has_its_position_embeddings_resampled_by_timm(tmp_path: Path) -> None:
    model = saved(tmp_path / "w.pth", "test_vit")  # of 160 px in patches of 16: 10 x 10 and a class token
    found = classifier(of_file(tmp_path / "w.pth", "test_vit", img_size=48)).state_dict()
    torch.testing.assert_close(found["pos_embed"], resample_abs_pos_embed(model.pos_embed, [3, 3]), rtol=0, atol=0)  # type: ignore[arg-type, operator]
    assert all(torch.equal(value, found[key]) for key, value in model.state_dict().items() if key != "pos_embed")


def test_a_file_of_other_patches_is_refused_though_timm_would_resample_them(tmp_path: Path) -> None:
    saved(tmp_path / "w.pth", "test_vit", img_size=48, patch_size=8)
    with pytest.raises(BadInput, match=r"patch_embed.proj.weight is \(64, 3, 8, 8\), expected \(64, 3, 16, 16\)"):
        classifier(of_file(tmp_path / "w.pth", "test_vit", img_size=48))


@pytest.mark.parametrize("side", [64, 48])
def test_a_file_that_lacks_a_weight_is_refused_at_any_side_though_timm_would_leave_it_random(
    side: int, tmp_path: Path
) -> None:
    """timm 1.0 loads this family, and some others, without strictness."""
    small: dict[str, Any] = {"depth": 2, "embed_dim": 64, "num_heads": 2}
    state = saved(tmp_path / "w.pth", "vit_base_patch16_siglip_gap_224", img_size=64, **small).state_dict()
    whole = classifier(of_file(tmp_path / "w.pth", "vit_base_patch16_siglip_gap_224", img_size=side, **small))
    assert torch.equal(whole.state_dict()["blocks.1.attn.qkv.weight"], state["blocks.1.attn.qkv.weight"])
    lost = "blocks.1.attn.qkv.weight"
    torch.save({key: value for key, value in state.items() if key != lost}, tmp_path / "w.pth")
    with pytest.raises(BadInput, match=rf"w.pth does not fit the architecture: .*missing {lost}"):
        classifier(of_file(tmp_path / "w.pth", "vit_base_patch16_siglip_gap_224", img_size=side, **small))
    torch.save({**state, "of.another.network": torch.zeros(1)}, tmp_path / "w.pth")
    with pytest.raises(BadInput, match=r"unexpected of\.another\.network"):
        classifier(of_file(tmp_path / "w.pth", "vit_base_patch16_siglip_gap_224", img_size=side, **small))


def test_a_file_with_another_classifier_is_loaded_whole_and_says_so(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    model, spec = saved(tmp_path / "w.pth", num_classes=3), of_file(tmp_path / "w.pth")
    assert same(classifier(spec), model)
    assert "its classifier has 3 classes" in caplog.text
    images = torch.randint(0, 256, (2, 3, 32, 32), dtype=torch.uint8)
    features = feature_model(spec)
    with torch.inference_mode():
        wanted = model.forward_head(model.forward_features(features[0](images)), pre_logits=True)  # type: ignore[operator]
        torch.testing.assert_close(features(images), wanted)


def test_a_file_of_a_body_alone_has_no_classifier(tmp_path: Path) -> None:
    model, spec = saved(tmp_path / "w.pth", num_classes=0), of_file(tmp_path / "w.pth")
    assert same(classifier(spec), model)
    assert getattr(classifier(spec), "num_classes", None) == 0


@pytest.mark.parametrize("lost", ["conv1.0.weight", "layer2.0.conv1.weight", "fc.bias"])
def test_a_file_that_lacks_a_weight_is_refused_by_its_name(lost: str, tmp_path: Path) -> None:
    state = saved(tmp_path / "w.pth", num_classes=3).state_dict()
    torch.save({key: value for key, value in state.items() if key != lost}, tmp_path / "w.pth")
    with pytest.raises(BadInput, match=rf"missing {lost}.*check the model's name"):
        classifier(of_file(tmp_path / "w.pth"))


def test_classes_that_are_given_are_not_taken_from_the_file(tmp_path: Path) -> None:
    saved(tmp_path / "w.pth", num_classes=3)
    with pytest.raises(BadInput, match=r"fc.bias is \(3,\), expected \(7,\)"):
        classifier(of_file(tmp_path / "w.pth", num_classes=7))


def test_a_run_s_folder_is_a_weight_file_with_its_classes(tmp_path: Path) -> None:
    model, folder = timm.create_model("test_resnet", num_classes=3), tmp_path / "run"
    save_for_hf(model, str(folder), model_config={"label_names": ["cat", "dog", "eel"]}, safe_serialization=True)
    for given in (folder, folder / "model.safetensors"):
        spec = spec_of_model("test_resnet", given)
        assert spec.checkpoint == str(folder / "model.safetensors")
        assert same(classifier(spec), model)
        assert label_names(spec) == ("cat", "dog", "eel")
    with pytest.raises(BadInput, match=rf"does not fit .*, or give the folder {folder} as the model"):
        classifier(spec_of_model("test_vit", folder))


def test_a_folder_without_a_weight_file_is_refused(tmp_path: Path) -> None:
    assert weight_file(tmp_path) == tmp_path
    with pytest.raises(BadInput, match="a folder without a weight file; give `checkpoint`"):
        spec_of_model("test_resnet", tmp_path)


def test_what_a_run_left_of_a_network_that_timm_cannot_make_gives_its_body(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    model = timm.create_model("test_resnet")
    body = {key: value for key, value in model.state_dict().items() if not key.startswith("fc.")}
    head = {"head.weight": torch.zeros(3, 96), "head.bias": torch.zeros(3)}
    save_file({f"body.{key}": value for key, value in body.items()} | head, tmp_path / "model.safetensors")
    (tmp_path / "recipe.yaml").write_text("epochs: 1\n")
    found = classifier(spec_of_model("test_resnet", tmp_path)).state_dict()
    assert found.keys() == body.keys()
    assert all(torch.equal(found[key], value) for key, value in body.items())


def test_models_of_runs_whose_folders_have_a_dot_in_their_names_have_names_of_their_own(tmp_path: Path) -> None:
    from safetensors.torch import save_file

    names = []
    for rate in ("lr0.01", "lr0.03"):
        (tmp_path / rate).mkdir()
        body = {
            f"body.{key}": value for key, value in timm.create_model("test_resnet", num_classes=0).state_dict().items()
        }
        save_file(body, tmp_path / rate / "model.safetensors")
        (tmp_path / rate / "recipe.yaml").write_text("epochs: 1\n")
        names.append(spec_of_model("test_resnet", tmp_path / rate).name)
    assert names == ["test_resnet.lr0.01", "test_resnet.lr0.03"]


def test_weights_of_a_file_and_random_ones_are_not_both_taken(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"--checkpoint .*w.pth and --untrained \(--scratch\) found.*give one of them"):
        spec_of_model("test_resnet", tmp_path / "w.pth", untrained=True)


def test_an_artefact_of_a_folder_asks_for_the_folder_s_path() -> None:
    contract = {"spec": {"architecture": "local-dir:o1"}}
    with pytest.raises(BadInput, match=r"of a local folder called o1, .* give its path with --model"):
        spec_of_contract(contract, Path("o1.onnx"))
