import numpy as np
import pytest
import torch
from torch.nn import functional

from featune.engine.errors import BadInput
from featune.engine.recipe import Objective, Recipe, objective
from featune.engine.recipe.losses import balanced_weights, binary_loss, ordinal_losses

LOGITS = torch.randn(6, 3, generator=torch.Generator().manual_seed(0))
LABELS = torch.tensor([0, 1, 2, 1, 1, 0])
SEVERAL = torch.tensor([[1, 0, -1], [0, 1, 1], [0, 0, 0], [1, 1, 1], [-1, -1, 0], [0, 1, 0]])


def test_balanced_weights_are_scikit_learns() -> None:
    from sklearn.utils.class_weight import compute_class_weight

    expected = compute_class_weight("balanced", classes=np.arange(3), y=LABELS.numpy())
    assert balanced_weights(LABELS, 3).tolist() == pytest.approx(expected.tolist())
    assert balanced_weights(LABELS, 4)[3] == 0  # a class of no image
    assert balanced_weights(SEVERAL, 3).tolist() == pytest.approx([3 / 2, 2 / 3, 3 / 2])  # absent / present


def test_weighted_cross_entropy_is_torchs() -> None:
    aim = objective(Recipe(class_weights="balanced", label_smoothing=0.1), LABELS, 3)
    expected = functional.cross_entropy(LOGITS, LABELS, balanced_weights(LABELS, 3), label_smoothing=0.1)
    assert aim.mean(LOGITS, LABELS).item() == pytest.approx(expected.item())


@pytest.mark.parametrize("kind", ["cross_entropy", "bce", "ordinal", "asymmetric"])
@pytest.mark.parametrize("weighted", [False, True])
def test_the_parts_of_a_batch_add_up_to_its_mean(kind: str, weighted: bool) -> None:
    target = SEVERAL if kind in ("bce", "asymmetric") else LABELS
    aim = Objective(kind, 0.1 if kind != "ordinal" else 0.0, torch.tensor([0.5, 1.0, 3.0]) if weighted else None)
    whole = aim.weight(target)
    parts = [
        aim.mean(LOGITS[part], target[part]) * aim.weight(target[part]) / whole for part in (slice(0, 2), slice(2, 6))
    ]
    assert sum(parts).item() == pytest.approx(aim.mean(LOGITS, target).item(), rel=1e-5)  # type: ignore[union-attr]


def test_the_ordinal_loss_is_the_sum_of_its_binary_questions() -> None:
    share = LOGITS.double().softmax(1)
    expected = torch.zeros(6, dtype=torch.float64)
    for threshold in (0, 1):
        above = share[:, threshold + 1 :].sum(1)
        expected += functional.binary_cross_entropy(above, (threshold < LABELS).double(), reduction="none")
    found = ordinal_losses(LOGITS.double(), functional.one_hot(LABELS, 3).double())
    assert torch.allclose(found, expected)


def test_a_grade_further_off_costs_more_in_the_ordinal_loss_and_the_same_in_cross_entropy() -> None:
    sure = torch.eye(4) * 6
    costs = ordinal_losses(sure, functional.one_hot(torch.tensor([0, 0, 0, 0]), 4).float())
    assert costs.tolist() == sorted(costs.tolist())
    assert costs[3] > 1.5 * costs[1]
    assert functional.cross_entropy(sure[1:2], torch.tensor([0])) == functional.cross_entropy(sure[3:], LABELS[:1])


def test_one_label_trains_by_binary_cross_entropy_of_its_class_against_the_others() -> None:
    found = objective(Recipe(loss="bce"), LABELS, 3).mean(LOGITS, LABELS)
    expected = functional.binary_cross_entropy_with_logits(LOGITS, functional.one_hot(LABELS, 3).float())
    assert found.item() == pytest.approx(expected.item())


def test_unknown_labels_have_no_part_in_the_asymmetric_loss() -> None:
    logits = LOGITS.clone().requires_grad_()
    objective(Recipe(loss="asymmetric"), SEVERAL, 3).mean(logits, SEVERAL).backward()
    assert logits.grad is not None
    assert ((logits.grad == 0) == (SEVERAL < 0)).all()


def test_smoothing_moves_binary_labels_towards_one_half() -> None:
    found = binary_loss(LOGITS, (SEVERAL > 0).int(), smoothing=0.2)
    expected = functional.binary_cross_entropy_with_logits(LOGITS, torch.where(SEVERAL > 0, 0.9, 0.1))
    assert found.item() == pytest.approx(expected.item())


@pytest.mark.parametrize(
    ("loss", "truth", "says"),
    [
        ("ordinal", SEVERAL, "loss ordinal: it is for one label per image, several found; choose bce"),
        ("cross_entropy", SEVERAL, "several found"),
        ("asymmetric", LABELS, "it is for several labels per image, one found"),
    ],
)
def test_a_loss_for_the_other_kind_of_labels_is_refused(loss: str, truth: torch.Tensor, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        objective(Recipe(loss=loss), truth, 3)  # type: ignore[arg-type]
