"""What became of a training, in words."""

from pathlib import Path

import numpy as np
from report_rows import page, row, table_cells

from featune.bench.report import results_table
from featune.bench.results import class_facts, collapsed, collect, faults, outcomes, ranking


def test_facts_of_the_classes_are_counted() -> None:
    train, test = np.array([0, 0, 0, 1, 2]), np.array([1, 1, 1, 0])
    facts = class_facts(train, test, np.eye(3)[[2, 2, 2, 2]])
    assert facts == {
        "majority_train": 0.6, "majority_test": 0.75, "test_classes": 2, "predicted_classes": 1, "predicted_most": 1.0,
    }  # fmt: skip
    assert class_facts(np.zeros((5, 3)), np.zeros((4, 3)), np.zeros((4, 3))) == {}


def test_one_predicted_class_is_a_collapse_only_where_there_are_several() -> None:
    assert collapsed(row("a", "t", details={"predicted_classes": 1, "test_classes": 3}))
    assert not collapsed(row("a", "t", details={"predicted_classes": 2, "test_classes": 3}))
    assert not collapsed(row("a", "t", details={"predicted_classes": 1, "test_classes": 1}))
    assert not collapsed(row("a", "t"))  # of before, which tells nothing


def test_the_majoritys_share_a_rate_at_the_edge_and_unlearned_images_are_told() -> None:
    trained = {"learning_rate": 0.001, "rates": [0.001, 0.0003], "train_top1": 0.61, "majority_test": 0.14}
    found = faults(row("a", "t", right=208, details=trained))
    assert found == [
        "may not have converged: 61.0\u00a0% of its own training images right",
        "the best rate lies at the upper edge of those tried",
    ]
    assert faults(row("a", "t", right=50, details={"majority_test": 0.135})) == [
        "no better than the most frequent class"
    ]
    low = trained | {"learning_rate": 0.0003, "train_top1": 0.99}
    assert faults(row("a", "t", details=low)) == ["the best rate lies at the lower edge of those tried"]
    inner = low | {"learning_rate": 0.001, "rates": [0.01, 0.001, 0.0003]}  # 0.01 may have diverged
    assert faults(row("a", "t", details=inner)) == []
    assert faults(row("a", "t", details={"learning_rate": 0.01, "tried": {}})) == []
    assert "did not converge" in faults(row("a", "t", details={"converged": False}))[0]


def test_rows_of_before_tell_their_rates_edge_and_no_more() -> None:
    old = row("a", "t", "finetune", details={"learning_rate": 0.001, "tried": {"0.0003": 0.47, "0.001": 0.58}})
    assert [one.faults for one in outcomes([old, row("b", "t")])] == [
        ("the best rate lies at the upper edge of those tried",)
    ]


ONE_CLASS = {"predicted_classes": 1, "test_classes": 3}


def test_a_study_of_which_every_model_collapsed_has_a_report_without_a_best(tmp_path: Path) -> None:
    rows = [row("a", "t", right=72, details=ONE_CLASS)]
    assert "collapsed: predicts one class" in " ".join(table_cells(page(tmp_path, rows)))
    assert results_table(rows).row_count == 1
    assert ranking(collect(rows), "t", "probe") == []


def test_one_collapsed_seed_of_several_does_not_take_a_model_out_of_the_ranking(tmp_path: Path) -> None:
    rows = [row("good", "t", right=340, seed=seed, details=ONE_CLASS if seed == 2 else {}) for seed in range(3)]
    rows += [row("plain", "t", right=180, seed=seed) for seed in range(3)]
    assert ranking(collect(rows), "t", "probe") == ["good", "plain"]
    html = page(tmp_path, rows)
    assert "Some seeds collapsed, predicting one class for all images" in html
    assert "so that the number says nothing of the model" not in html
