"""The tables that ship: the figures of their papers, and correlations that scipy finds too."""

import csv
import json
import math
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from featune.bench.cli.app import app
from featune.bench.estimators import SOURCE
from featune.bench.published import (
    library,
    library_names,
    published,
    published_estimates,
    published_rows,
    real_on_imagenet,
    summary,
)
from featune.bench.published import summary_lines as lines_of
from featune.bench.results import collect, correlations
from featune.engine.errors import BadInput

SHARED = Path(__file__).parents[3].parent / "shared/data/published"


def command(*words: str) -> str:
    found = CliRunner().invoke(app, ["published", *words])
    assert found.exit_code == 0, found.output
    return found.output


def as_json(*words: str):
    return json.loads(command(*words, "--json"))


def test_the_correlations_are_those_computed_elsewhere_to_the_digits_given() -> None:
    assert as_json("sfda2022")["r"] == pytest.approx(0.64952, abs=5e-6)
    assert as_json("sfda2022", "--without", "mnasnet1_0")["r"] == pytest.approx(0.79487, abs=5e-6)
    assert as_json("tmlr2024-finetuned")["r"] == pytest.approx(0.887, abs=5e-4)
    assert as_json("tmlr2024-frozen")["r"] == pytest.approx(0.8055, abs=5e-5)
    assert as_json("tmlr2024-finetuned", "--imagenet", "timm0.6.12")["r"] == pytest.approx(0.822, abs=5e-4)
    assert as_json("tmlr2024-frozen", "--imagenet", "timm0.6.12")["r"] == pytest.approx(0.728, abs=5e-4)


def test_the_scores_that_come_with_a_table_are_judged_by_its_transfer() -> None:
    from scipy.stats import weightedtau

    found = as_json("tmlr2024-finetuned")
    assert [one["score"] for one in found["estimators"][:-1]] != []
    (regime,) = found["regimes"]
    values = dict(zip(found["models"], regime["values"], strict=True))
    known = {(one.name, one.model, one.task): one.value for one in published_estimates("tmlr2024-finetuned")}
    for one in found["estimators"]:
        if one["score"] != SOURCE:
            for at, task in enumerate(found["tasks"]):
                columns = [[known[one["score"], model, task] for model in values], [values[m][at] for m in values]]
                assert one["by_task"][task] == pytest.approx(weightedtau(*columns).statistic)
    said = command("tmlr2024-finetuned")
    assert said.index("LogME: ") > said.index("scores that come with it, by Kendall's weighted tau")
    assert as_json("sfda2022")["estimators"] == []


@pytest.mark.parametrize("name", ["sfda2022", "tmlr2024-finetuned", "tmlr2024-frozen", "salman2020-full"])
def test_scipy_finds_the_same_correlations_in_the_printed_numbers(name: str) -> None:
    from scipy.special import logit
    from scipy.stats import kendalltau, pearsonr, spearmanr

    (found,) = as_json(name)["regimes"]
    x, y = logit(np.array(found["imagenet"])), logit(np.array(found["values"])).mean(axis=1)
    assert found["r"] == pytest.approx(pearsonr(x, y).statistic, abs=1e-9)
    assert found["spearman"] == pytest.approx(spearmanr(x, y).statistic)
    assert found["kendall"] == pytest.approx(kendalltau(x, y).statistic)
    assert found["transfer"] == pytest.approx(1 / (1 + np.exp(-y)))


def test_real_follows_imagenet_at_half_the_slope_above_the_median() -> None:
    found = as_json("timm-real")
    assert (found["rows"], found["median"]) == (1556, pytest.approx(0.81856))
    assert (found["slope_below"], found["slope_above"]) == pytest.approx((0.920, 0.555), abs=5e-4)
    assert found["r"] == pytest.approx(0.984, abs=5e-4)
    assert found["p"] < 0.001
    assert "0.920" in command("timm-real")
    assert real_on_imagenet(y="sketch")["name"] == "timm-sketch"


def test_every_name_prints_models_tasks_and_both_accuracies() -> None:
    assert "tmlr2024-frozen" in command()
    for name in library_names():
        found = as_json(name)
        assert found["source"]
        for one in found["regimes"]:
            assert len(one["models"]) == len(one["imagenet"]) == len(one["transfer"]) == len(one["values"])
            assert all(0 < value < 1 for line in one["values"] for value in line)
            assert len(one["tasks"]) >= 11
    sizes = {one.name: (len(one.models), len(one.tasks), len(one.values)) for one in library()}
    assert sizes == {"sfda2022": (11, 11, 121), "tmlr2024": (10, 11, 220), "salman2020": (4, 12, 96),
                     "simclr2020": (3, 12, 60)}  # fmt: skip


def test_a_model_that_moves_the_correlation_is_named_and_too_few_models_get_no_interval() -> None:
    said = command("sfda2022")
    assert "resnet152" in said
    assert "without mnasnet1_0 r = 0.79487" in said
    few = command("salman2020-full")
    assert "too few models for an interval" in few
    assert "interval −" not in few
    assert "too few models for a correlation" in command("simclr2020-linear")


def test_a_table_says_what_is_doubtful_about_it() -> None:
    notes = " ".join(published("tmlr2024-frozen").notes)
    assert "does not fit the weights of four models" in notes
    assert "inferred" in notes
    assert any("inferred" in line for line in lines_of(summary(published("tmlr2024-frozen"))))


def test_unknown_tables_models_and_columns_are_refused_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="nearest: sfda2022"):
        published("sfda202")
    with pytest.raises(BadInput, match="nearest: mnasnet1_0"):
        summary(published("sfda2022"), without=["mnasnet1"])
    with pytest.raises(BadInput, match=r"one of imagenet_top1, timm0\.6\.12"):
        summary(published("tmlr2024"), imagenet="timm1.0")
    with pytest.raises(BadInput, match="leave out fewer"):
        summary(published("salman2020"), without=published("salman2020").models)


def test_a_file_of_ones_own_is_summed_up_like_a_table_that_ships(tmp_path: Path) -> None:
    path = tmp_path / "mine.csv"
    lines = [f"m{at},{0.6 + 0.03 * at},{0.5 + 0.04 * at},{0.7 + 0.02 * at}" for at in range(8)]
    path.write_text("model,imagenet_top1,pets,cars\n" + "\n".join(lines) + "\n")
    found = as_json(str(path))
    assert found["r"] > 0.99
    assert found["source"] == str(path)


def test_as_rows_they_correlate_as_published_beside_measured_ones() -> None:
    (one,) = correlations(collect(published_rows(["sfda2022"])), means_only=True)
    assert one.regime == "finetune [sfda2022]"
    assert one.r == pytest.approx(0.64952, abs=5e-6)
    assert (len(one.models), len(one.tasks)) == (11, 11)


def test_the_tables_are_those_of_the_copies_that_they_were_made_of() -> None:
    path = SHARED / "other_SFDA2022_finetune_supervised.csv"
    if not path.exists():
        pytest.skip(f"the copies are not on this machine: {SHARED}")
    table = published("sfda2022")
    with path.open() as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    assert len(rows) == len(table.values)
    for row in rows:
        task = {"flowers": "flowers102", "food": "food101"}.get(row["dataset"], row["dataset"])  # as studies name them
        value = table.values["finetune", row["model"], task]
        assert math.isclose(100 * value, float(row["finetune_acc"]), rel_tol=1e-12)
