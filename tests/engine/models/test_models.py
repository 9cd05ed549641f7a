import dataclasses
import os
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from featune.engine.errors import BadInput, Missing
from featune.engine.models import (
    ModelSpec,
    Normalise,
    classifier,
    current_name,
    feature_model,
    feature_width,
    fresh_classifier,
    say_renamed,
    source_model,
    source_of_name,
    sources_digest,
    spec_from_entry,
    spec_from_string,
    state_digest,
)
from featune.engine.models.factories import _module
from featune.engine.models.modules import body
from featune.engine.models.timm_configs import pretrained_config
from featune.engine.store import digest, file_digest

FACTORY = """
import torch
def net(width=8):
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, width, 3, stride=4), torch.nn.ReLU(),
        torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten(), torch.nn.Linear(width, 5))
def headless():
    return torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.ReLU())
def number():
    return 7
"""


@pytest.fixture
def factory(tmp_path: Path) -> Path:
    (tmp_path / "nets.py").write_text(FACTORY)
    return tmp_path


def images(n: int = 3, side: int = 32) -> torch.Tensor:
    return torch.randint(0, 256, (n, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_a_bare_timm_name_is_resolved_to_its_tag_and_its_own_view() -> None:
    spec = spec_from_string("vit_tiny_patch16_224")
    assert spec.name == "vit_tiny_patch16_224.augreg_in21k_ft_in1k"
    assert spec.mean == (0.5, 0.5, 0.5)
    assert (spec.view.side, spec.view.crop_pct, spec.view.interpolation) == (224, 0.9, "bicubic")
    assert spec.family == "vision_transformer"


def test_an_unknown_model_is_answered_with_the_nearest_names() -> None:
    with pytest.raises(BadInput, match=r"no timm model named 'resnet19'; nearest: resnet18"):
        spec_from_string("resnet19")
    with pytest.raises(BadInput, match=r"no weights tagged 'a9_in1k'; nearest: resnet18.a"):
        spec_from_string("resnet18.a9_in1k")


def test_weights_that_cannot_be_fetched_are_missing_and_not_random() -> None:
    with pytest.raises(Missing, match="local `checkpoint`"):
        classifier(spec_from_string("resnet18.a1_in1k"))


def test_normalisation_equals_to_tensor_and_normalize() -> None:
    from torchvision.transforms.functional import normalize

    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    expected = normalize(images().float() / 255, mean, std)
    torch.testing.assert_close(Normalise(mean, std)(images()), expected, rtol=1e-5, atol=1e-6)


def test_features_are_what_timm_gives_before_its_classifier(spec: ModelSpec) -> None:
    floats = torch.randn(2, 3, 32, 32)
    whole = classifier(spec)
    with torch.inference_mode():
        expected = whole.forward_head(whole.forward_features(floats), pre_logits=True)
        torch.testing.assert_close(body(spec)(floats), expected)
        torch.testing.assert_close(whole.get_classifier()(expected), whole(floats))


def test_random_weights_follow_their_seed_and_leave_the_callers_generator_alone(spec: ModelSpec) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    one, same, other = (state_digest(classifier(spec.with_random_weights(seed))) for seed in (1, 1, 2))
    assert one == same != other
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
def test_a_local_checkpoint_is_loaded_whole(spec: ModelSpec, tmp_path: Path, suffix: str) -> None:
    weights = classifier(spec.with_random_weights(5)).state_dict()
    path = tmp_path / f"weights{suffix}"
    save_file(weights, path) if suffix == ".safetensors" else torch.save(weights, path)
    loaded = spec_from_entry({"architecture": "test_resnet", "checkpoint": path.name, "side": 32}, tmp_path)
    assert state_digest(classifier(loaded)) == state_digest(classifier(spec.with_random_weights(5)))


def test_a_checkpoint_of_other_shapes_is_refused_by_name(spec: ModelSpec, tmp_path: Path) -> None:
    torch.save(classifier(spec).state_dict(), tmp_path / "w.pth")
    entry = {"architecture": "test_resnet", "checkpoint": "w.pth", "kwargs": {"num_classes": 7}, "side": 32}
    with pytest.raises(BadInput, match=r"does not fit the architecture: fc.bias is \(1000,\), expected \(7,\)"):
        classifier(spec_from_entry(entry, tmp_path))
    with pytest.raises(BadInput, match="missing"):
        classifier(spec_from_entry(entry | {"architecture": "test_vit", "kwargs": {"img_size": 32}}, tmp_path))


class _Malicious:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("touch /tmp/featune-was-here",)


def test_a_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    Path("/tmp/featune-was-here").unlink(missing_ok=True)
    torch.save({"fc.weight": _Malicious()}, tmp_path / "evil.pth")
    spec = spec_from_entry({"architecture": "test_resnet", "checkpoint": "evil.pth", "side": 32}, tmp_path)
    with pytest.raises(BadInput, match="not a file of plain weights"):
        classifier(spec)
    assert not Path("/tmp/featune-was-here").exists()


def test_a_checkpoint_that_changed_since_is_refused(spec: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "w.pth"
    torch.save(classifier(spec).state_dict(), path)
    resolved = spec_from_entry({"architecture": "test_resnet", "checkpoint": "w.pth", "side": 32}, tmp_path)
    torch.save(classifier(spec.with_random_weights(9)).state_dict(), path)
    with pytest.raises(BadInput, match="has changed"):
        classifier(resolved)


def test_the_digest_knows_weights_view_and_tap_but_no_labels(spec: ModelSpec) -> None:
    view = dataclasses.replace(spec.view, crop_pct=0.5)
    for changed in ({"view": view}, {"weights": "random:1"}, {"mean": (0.0, 0.0, 0.0)}, {"tap": "layer1"}):
        assert dataclasses.replace(spec, **changed).digest != spec.digest
    for label in ({"name": "other"}, {"family": "x"}, {"source_top1": 0.5}, {"source_n": 50}):
        assert dataclasses.replace(spec, **label).digest == spec.digest


def test_a_factory_module_gives_the_input_of_its_last_linear(factory: Path) -> None:
    spec = spec_from_entry({"factory": "nets.py:net", "kwargs": {"width": 6}, "side": 32}, factory)
    assert feature_width(feature_model(spec), 32) == 6
    assert source_model(spec)(images()).shape == (3, 5)


def test_a_tap_names_the_layer_and_is_averaged_over_space(factory: Path) -> None:
    spec = spec_from_entry({"factory": "nets.py:net", "tap": "1", "side": 32}, factory)
    with torch.inference_mode():
        network = classifier(spec)
        expected = network[:2](Normalise(spec.mean, spec.std)(images())).mean((2, 3))
        torch.testing.assert_close(feature_model(spec)(images()), expected)


@pytest.mark.parametrize(
    ("entry", "message"),
    [
        ({"factory": "nets.py:net", "tap": "nothing"}, "no node 'nothing'"),
        ({"factory": "nets.py:headless"}, "name the feature layer with `tap`"),
        ({"factory": "nets.py:number"}, "returned int, expected a torch.nn.Module"),
        ({"factory": "nets.py:absent"}, "no function 'absent'"),
        ({"factory": "absent.py:net"}, "no such file"),
        ({"factory": "nets.py"}, "expected `module:function`"),
        ({"architecture": "vit_tiny_patch16_224", "pretrained": False, "side": 48}, "refuses images of 48 x 48"),
        ({"architecture": "test_resnet", "pretrained": False, "kwargs": {"wings": 2}}, "check `kwargs`"),
        ({"architecture": "test_resnet", "checkpoint": "absent.pth"}, "no such weight file"),
    ],
)
def test_a_wrong_entry_gets_one_clear_error(factory: Path, entry: dict[str, object], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        spec = spec_from_entry({"side": 32, **entry}, factory)
        feature_width(feature_model(spec), spec.view.side)


def test_a_factory_that_loads_its_own_weights_has_no_untrained_form(factory: Path) -> None:
    with pytest.raises(BadInput, match="no untrained form"):
        spec_from_entry({"factory": "nets.py:net", "side": 32}, factory).with_random_weights(0)


def test_a_new_head_starts_at_zero_on_the_same_features(spec: ModelSpec) -> None:
    model = fresh_classifier(spec, 4, seed=0)
    assert isinstance(model[-1], nn.Linear)
    assert model(images()).shape == (3, 4)
    assert not model(images()).any()
    torch.testing.assert_close(model[:-1].eval()(images()), feature_model(spec)(images()))


def test_a_factory_counts_by_all_of_its_own_code(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The file itself, and what it takes from other files of the user's, by value or by module; not where they lie."""

    def written(folder: str, padding: str) -> Path:
        place = tmp_path / folder
        place.mkdir()
        (place / "own_blocks.py").write_text(f"import own_settings\ndef block(): return own_settings.{padding}\n")
        (place / "own_settings.py").write_text("same, valid = 1, 0\n")
        (place / "net.py").write_text(
            "import torch\nfrom own_blocks import block\ndef build(): return torch.nn.Linear(2, 2)\n"
        )
        return place

    def found(place: Path, name: str) -> str:
        with monkeypatch.context() as patched:
            patched.syspath_prepend(str(place))
            for module in ("own_blocks", "own_settings", "net"):
                patched.delitem(sys.modules, module, raising=False)
            sources_digest.cache_clear()
            _module.cache_clear()
            return sources_digest(name.replace("HERE", str(place)))

    first, copied, changed = written("first", "same"), written("copied", "same"), written("changed", "valid")
    for name in ("HERE/net.py:build", "net:build"):
        assert found(first, name) == found(copied, name) != found(changed, name)
    before = found(first, "net:build")
    (first / "own_settings.py").write_text("same, valid = 2, 0\n")
    assert found(first, "net:build") != before


def test_modules_that_are_no_code_of_the_user_have_no_part_in_a_factorys_digest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`torch.ops` says that its file is "_ops.py"; a site's packages are found by any of their folders' names."""
    for site in ("lib/python3.12/site-packages", "lib/python3/dist-packages"):
        (tmp_path / site).mkdir(parents=True)
        (tmp_path / site / f"package_of_{site[-13]}.py").write_text("def thing(): return 1\n")
        monkeypatch.syspath_prepend(str(tmp_path / site))
    (tmp_path / "ops_net.py").write_text(
        "import torch, package_of_s, types\nfrom package_of_d import thing\n"
        "aten, ops, classes = torch.ops.aten, torch.ops, torch.classes\n"
        "made = types.ModuleType('made')\nmade.__file__ = '/no/such/made.py'\n"
        "class Proxy:\n"
        "    def __getattribute__(self, name): raise RuntimeError('outside of its context')\n"
        "proxy = Proxy()\n"
        "def build(): return torch.nn.Linear(2, 2)\n"
    )
    found = sources_digest(f"{tmp_path}/ops_net.py:build")
    own = [("ops_net.py", file_digest(tmp_path / "ops_net.py"))]
    assert found == digest(own)


@pytest.mark.parametrize(
    ("averaged", "plain"),
    [("state_dict_ema", "state_dict"), ("model_ema", "model"), ("state_dict", "ema_state_dict"), ("model", "teacher")],
)
def test_of_several_sets_of_weights_the_one_that_timm_takes_is_taken_and_told(
    spec: ModelSpec, tmp_path: Path, averaged: str, plain: str, caplog: pytest.LogCaptureFixture
) -> None:
    import timm

    taken, left = (classifier(spec.with_random_weights(seed)).state_dict() for seed in (1, 2))
    for name, held in (("both", {plain: left, averaged: taken, "epoch": 7}), ("one", {averaged: taken, "epoch": 7})):
        torch.save(held, tmp_path / f"{name}.pth")
    entry = {"architecture": "test_resnet", "side": 32}
    both, one = (spec_from_entry(entry | {"checkpoint": f"{name}.pth"}, tmp_path) for name in ("both", "one"))
    theirs = timm.create_model("test_resnet", checkpoint_path=str(tmp_path / "both.pth"))
    assert state_digest(classifier(both)) == state_digest(theirs) == state_digest(classifier(one))
    assert f"both.pth holds 2 sets of weights; {averaged} is taken, as timm does, not {plain}" in caplog.text
    assert "one.pth" not in caplog.text
    assert both.weights == f"{file_digest(tmp_path / 'both.pth')}#{averaged}"
    assert one.weights == file_digest(tmp_path / "one.pth")


# --- Names that timm has replaced: https://github.com/huggingface/pytorch-image-models/issues/2086


def test_every_name_that_timm_has_replaced_is_the_model_that_timm_makes_of_it() -> None:
    from timm.models import get_deprecated_models, get_pretrained_cfg, is_model_pretrained, model_entrypoint

    old = get_deprecated_models()
    assert len(old) > 200
    for name, new in old.items():
        assert new is not None
        found = current_name(name)
        assert found == new or (found.startswith(f"{new}_") and not is_model_pretrained(new))
        made = pretrained_config(name)
        wanted = get_pretrained_cfg(found, allow_unregistered=False)
        assert made["resolved_name"] == f"{found.partition('.')[0]}.{wanted.tag}"
        assert made["hub"] == (wanted.hf_hub_id or wanted.url)
        assert made["family"] == model_entrypoint(found.partition(".")[0]).__module__.rpartition(".")[2]


def test_an_old_name_with_a_tag_has_that_tag_and_the_new_name_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    say_renamed.cache_clear()
    for _ in range(2):
        spec = spec_from_entry({"architecture": "tv_resnet50.a1_in1k", "pretrained": False})
        assert (spec.architecture, spec.name) == ("resnet50.a1_in1k", "resnet50.a1_in1k")
    assert [record.getMessage().partition(" by timm")[0] for record in caplog.records] == [
        "tv_resnet50.a1_in1k is called resnet50.a1_in1k"
    ]
    with pytest.raises(BadInput, match=r"resnet50 has no weights tagged 'a0_in1k'; nearest: resnet50\."):
        spec_from_entry({"architecture": "tv_resnet50.a0_in1k", "pretrained": False})


@pytest.mark.parametrize(
    ("written", "name"),
    [
        ("timm/test_vit.r160_in1k", "test_vit.r160_in1k"),
        ("timm/tv_resnet50", "tv_resnet50"),
        ("hf_hub:owner/net@main", "hf-hub:owner/net@main"),
        ("HF-Hub:owner/net", "hf-hub:owner/net"),
        ("LOCAL-DIR:A/b", "local-dir:A/b"),
        ("hf-hub:timm/test_vit", "hf-hub:timm/test_vit"),
        ("file.py:build", "file.py:build"),
        ("resnet50", "resnet50"),
    ],
)
def test_a_source_is_written_as_timm_takes_it(written: str, name: str) -> None:
    assert source_of_name(written) == name


def test_the_hubs_spelling_of_timms_weights_is_timms_name() -> None:
    assert spec_from_entry({"architecture": "timm/tv_resnet34", "pretrained": False}).architecture == "resnet34.tv_in1k"
    with pytest.raises(BadInput, match="no timm model named 'resnet34x'; nearest: resnet34"):
        spec_from_entry({"architecture": "timm/resnet34x", "pretrained": False})


@pytest.mark.parametrize(
    "entry",
    [
        {"kwargs": {"img_size": [96, 160]}},
        {"kwargs": {"img_size": {"height": 96}}},
        {"kwargs": {"in_chans": [3]}},
        {"side": "224"},
        {"side": 96.5},
        {"in_chans": True},
    ],
)
def test_a_view_of_two_numbers_or_none_is_refused(entry: dict[str, Any]) -> None:
    # https://github.com/torchgeo/terratorch/issues/188
    with pytest.raises(BadInput, match="expected one whole number, for views are squares, found"):
        spec_from_entry({"architecture": "test_vit", "pretrained": False, **entry})
