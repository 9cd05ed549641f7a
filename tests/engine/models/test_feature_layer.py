"""The feature layer of a module that is not timm's: what runs counts, not the order in which it was defined."""

from pathlib import Path

import pytest
import torch

from featune.engine.errors import BadInput
from featune.engine.models import classifier, feature_model, feature_width, spec_from_entry

NETS = """
import timm
import torch
from torch import nn


class Net(nn.Module):
    '''fc is defined before all else, and runs last.'''

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.conv = nn.Linear(24, 10), nn.Conv2d(3, 24, 8, stride=8)
        self.other, self.block = nn.Linear(24, 24), nn.TransformerEncoderLayer(24, 2, 16, batch_first=True)

    def pooled(self, x):
        return torch.relu(self.conv(x)).mean((2, 3))

    def forward(self, x):
        return self.fc(self.pooled(x))


class Gate(Net):
    def forward(self, x):
        x = torch.relu(self.conv(x))
        return self.fc((x * torch.sigmoid(self.other(x.mean((2, 3))))[:, :, None, None]).mean((2, 3)))


class Neck(Net):
    def forward(self, x):
        return self.fc(torch.relu(self.other(self.pooled(x))))


class Encoder(Net):
    def forward(self, x):
        return self.fc(self.block(self.conv(x).flatten(2).transpose(1, 2)).mean(1))


class Unused(Net):
    '''other is never run.'''


class Auxiliary(Net):
    '''A second head that only training reads.'''

    def forward(self, x):
        x = self.pooled(x)
        out = self.fc(x)
        return (out, self.other(x)) if self.training else out


class TwoNames(Net):
    def __init__(self):
        super().__init__()
        self.head = self.fc

    def forward(self, x):
        return self.head(self.pooled(x))


class Twice(Net):
    def forward(self, x):
        return self.other(self.other(self.pooled(x)))


class TwoHeads(Net):
    def forward(self, x):
        return self.fc(self.pooled(x)), self.other(self.pooled(x))


class Joined(Net):
    def forward(self, x):
        return torch.cat([self.fc(self.pooled(x)), self.other(self.pooled(x))], 1)


class Softmax(Net):
    def forward(self, x):
        return self.fc(self.pooled(x)).softmax(1)


class Functional(Net):
    '''The classifier is no layer that runs, the gate is.'''

    def forward(self, x):
        return nn.functional.linear(torch.relu(self.other(self.pooled(x))), self.fc.weight, self.fc.bias)


class Convolution(Net):
    def __init__(self):
        super().__init__()
        self.last = nn.Conv2d(24, 10, 1)

    def forward(self, x):
        x = torch.relu(self.conv(x))
        return self.last(x * self.other(x.mean((2, 3)))[:, :, None, None]).mean((2, 3))


class Hidden(Net):
    '''The forward holds the layer in a list that torch does not see.'''

    def __init__(self):
        super().__init__()
        self.held = [self.fc]

    def forward(self, x):
        return self.held[0](self.pooled(x))


class Late(timm.models.resnet.ResNet):
    '''A timm model whose own forward goes on after timm's classifier.'''

    def __init__(self):
        super().__init__(timm.models.resnet.BasicBlock, (1, 1, 1, 1), channels=(8, 8, 8, 8))
        self.more = nn.Linear(1000, 5)

    def forward(self, x):
        return self.more(super().forward(x))


def half():
    return Net().half()


def lazy():
    return nn.Sequential(nn.Conv2d(3, 8, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.LazyLinear(5))


def meta():
    with torch.device("meta"):
        return Net()


def needs(width, depth=2):
    return Net()
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    (folder / "layer_nets.py").write_text(NETS)
    return folder


def images() -> torch.Tensor:
    return torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("name", ["Gate", "Neck", "Encoder", "Unused", "Auxiliary", "TwoNames"])
def test_the_features_are_the_input_of_the_linear_layer_that_runs_last(nets: Path, name: str) -> None:
    spec = spec_from_entry({"factory": f"layer_nets.py:{name}", "side": 32}, nets)
    features, whole = feature_model(spec), classifier(spec)
    with torch.no_grad():
        rows = features(images())
        logits = whole(features[0](images()))
        torch.testing.assert_close(whole.fc(rows), logits)
    assert rows.shape == (4, 24)


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("Twice", "other, the linear layer that runs last, runs 2 times"),
        ("TwoHeads", "its output is tuple, one tensor of logits expected"),
        ("Joined", "its output is not that of other, the linear layer that runs last"),
        ("Softmax", "its output is not that of fc"),
        ("Functional", "its output is not that of other"),
        ("Convolution", "its output is not that of other"),
    ],
)
def test_a_module_that_does_not_end_in_its_last_linear_layer_is_asked_for_its_tap_with_its_layers(
    nets: Path, name: str, found: str
) -> None:
    with pytest.raises(BadInput, match=found) as caught:
        feature_model(spec_from_entry({"factory": f"layer_nets.py:{name}", "side": 32}, nets))
    assert "name the feature layer with `tap`" in str(caught.value)
    assert "in the order in which they run: conv, " in str(caught.value)
    tapped = spec_from_entry({"factory": f"layer_nets.py:{name}", "side": 32, "tap": "conv"}, nets)
    assert feature_width(feature_model(tapped), 32) == 24


def test_a_layer_that_the_forward_holds_beside_torch_is_not_cut_in_vain(nets: Path) -> None:
    with pytest.raises(BadInput, match="fc, the linear layer that runs last, cannot be taken out"):
        feature_model(spec_from_entry({"factory": "layer_nets.py:Hidden", "side": 32}, nets))


def test_a_timm_model_with_a_forward_of_its_own_is_not_cut_as_timms(nets: Path) -> None:
    with pytest.raises(BadInput, match="its forward is not what timm's forward_features and forward_head give"):
        feature_model(spec_from_entry({"factory": "layer_nets.py:Late", "side": 32}, nets))


def test_a_wrong_tap_lists_the_layers_too(nets: Path) -> None:
    with pytest.raises(BadInput, match=r"no node 'neck'.*the last ones that run: .*conv.*fc"):
        feature_model(spec_from_entry({"factory": "layer_nets.py:Net", "side": 32, "tap": "neck"}, nets))


def test_a_model_in_half_precision_is_told_so_and_not_asked_for_its_side(nets: Path) -> None:
    with pytest.raises(BadInput, match=r"weights are torch.float16, torch.float32 expected .*`model.float\(\)`"):
        feature_model(spec_from_entry({"factory": "layer_nets.py:half", "side": 32}, nets))


@pytest.mark.parametrize(("name", "why"), [("lazy", "3.weight has no shape yet"), ("meta", "fc.weight has no numbers")])
def test_a_model_without_weights_is_told_so(nets: Path, name: str, why: str) -> None:
    with pytest.raises(BadInput, match=f"its {why}.*let it run the model once, or load them"):
        spec_from_entry({"factory": f"layer_nets.py:{name}", "side": 32}, nets)


def test_a_factory_that_needs_arguments_is_told_how_to_give_them(nets: Path) -> None:
    with pytest.raises(BadInput, match=r"missing a required argument: 'width'.*--model-kwargs NAME=VALUE"):
        spec_from_entry({"factory": "layer_nets.py:needs", "side": 32}, nets)
    assert spec_from_entry({"factory": "layer_nets.py:needs", "side": 32, "kwargs": {"width": 3}}, nets).is_factory


def test_finding_the_layer_leaves_the_callers_generator_alone(nets: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    feature_model(spec_from_entry({"factory": "layer_nets.py:Gate", "side": 32}, nets))
    assert torch.equal(torch.get_rng_state(), before)
