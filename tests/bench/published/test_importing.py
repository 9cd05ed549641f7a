"""CSV files of published accuracies, long and wide."""

from pathlib import Path

import pytest

from featune.bench.published import read_published
from featune.bench.published.rows import rows_of
from featune.engine.errors import BadInput

WIDE = """\
# title: A table
# source: somebody 2020, table 3
# metric: top1
# metric of pets: mean per-class
# note: rounded
model,imagenet_top1,pets,cars
small,70,80,60.5
large,80,,71
"""
LONG = """\
model,dataset,value,imagenet_top1,setting,metric,n
small,pets,0.8,0.7,probe,mean per-class,3669
small,cars,0.605,0.7,probe,top-1,8041
large,cars,0.71,0.8,finetune,top-1,8041
"""


def table(path: Path, text: str):
    path.write_text(text, encoding="utf-8")
    return read_published(path)


def test_a_wide_file_in_percent_becomes_fractions_with_its_source(tmp_path: Path) -> None:
    found = table(tmp_path / "mine.csv", WIDE)
    assert found.values == {
        ("finetune", "small", "pets"): 0.8, ("finetune", "small", "cars"): 0.605, ("finetune", "large", "cars"): 0.71,
    }  # fmt: skip
    assert (found.title, found.source, found.notes) == ("A table", "somebody 2020, table 3", ("rounded",))
    assert found.metric == {"pets": "mean_per_class", "cars": "top1"}
    assert found.imagenet == {"imagenet_top1": {"small": 0.7, "large": 0.8}}


def test_a_long_file_says_the_same_with_regimes_and_test_images(tmp_path: Path) -> None:
    found = table(tmp_path / "mine.csv", LONG)
    assert found.values["probe", "small", "pets"] == 0.8
    assert found.regimes == ("probe", "finetune")
    assert found.n == {"pets": 3669, "cars": 8041}
    assert found.metric == {"pets": "mean_per_class", "cars": "top1"}
    assert found.imagenet["imagenet_top1"]["large"] == 0.8


def test_rows_carry_the_source_and_the_models_own_imagenet_accuracy(tmp_path: Path) -> None:
    rows = rows_of(table(tmp_path / "mine.csv", LONG))
    assert {row.source for row in rows} == {"mine"}
    first = next(row for row in rows if row.cell.task == "pets")
    assert (first.metric, first.value, first.n, first.source_top1) == ("mean_per_class", 0.8, 3669, 0.7)
    assert {row.n for row in rows_of(table(tmp_path / "wide.csv", WIDE))} == {0}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "no line of numbers"),
        ("name,pets\na,1\n", "one called model expected"),
        ("model,imagenet_top1\na,0.7\n", "no column of a task"),
        ("model,pets\na,much\n", r"line 2: pets: 'much' found, a fraction or percent"),
        ("model,pets\n# a remark\na,0.5\nb,nan\n", "line 4: pets: 'nan' found"),
        ("model,pets\na,0.5\na,0.6\n", "line 3: a .finetune. stands there again"),
        ("model,task,accuracy\na,pets,0.5\na,pets,0.6\n", "line 3: finetune a pets stands there again"),
        ("model,task,accuracy,metric\na,pets,0.5,acuracy\n", "metric 'acuracy' found"),
        ("model,task,accuracy,n\na,pets,0.5,many\n", "n: 'many' found"),
    ],
)
def test_what_is_no_table_is_refused_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        table(tmp_path / "mine.csv", text)


def test_a_file_that_is_not_there_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot be read"):
        read_published(tmp_path / "absent.csv")
