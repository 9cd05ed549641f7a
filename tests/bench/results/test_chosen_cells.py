"""Which cells `--only` means."""

import pytest

from featune.bench.results import Cell, axes_of, only
from featune.engine.errors import BadInput

CELLS = [
    Cell(task, model, regime, seed, "0")
    for model in ("resnet18", "resnet50", "vit[tiny]")
    for regime in ("probe", "finetune")
    for task in ("pets", "my photos")
    for seed in (0, 10)
]
KNOWN = axes_of(CELLS)


def chosen(*asked: str) -> list[Cell]:
    found = only(asked, KNOWN)
    return [cell for cell in CELLS if cell in found]


def test_names_of_one_axis_add_up_and_axes_must_all_hold() -> None:
    assert {(cell.model, cell.seed) for cell in chosen("model=resnet*", "seed=10")} == {
        ("resnet18", 10),
        ("resnet50", 10),
    }
    assert chosen("model=resnet18", "model=resnet50") == chosen("model=resnet*")
    assert chosen("model=resnet18 task=pets") == chosen("task=pets", "model=resnet18")
    assert chosen() == CELLS


def test_a_name_with_blanks_or_brackets_is_taken_as_it_is() -> None:
    assert {cell.task for cell in chosen("task=my photos")} == {"my photos"}
    assert {cell.model for cell in chosen("model=vit[tiny]")} == {"vit[tiny]"}


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ("model=resnet19", "no model of this name; nearest: resnet18, resnet50; the study has resnet18, resnet50, vit"),
        ("seed=1", "no seed of this name.*; the study has 0, 10"),
        ("modell=resnet18", "expected model=, task=, regime= or seed= and a name; nearest: model"),
        ("resnet18", "write model=resnet18 if a model is meant"),
        ("task=pets seeds=0", "no task of this name|expected model=, task="),
    ],
)
def test_what_is_not_there_is_told_with_what_is(asked: str, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        only([asked], KNOWN)
