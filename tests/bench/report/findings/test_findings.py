"""What a closer look finds, on studies whose truth is known."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from report_rows import page, row, speeds, study

from featune.bench.published import published_rows
from featune.bench.report import finding_lines
from featune.bench.report.findings import Finding, closer_look
from featune.bench.results import Estimate, Right, Row, collect, correlations, leads
from featune.bench.stats import spearman
from featune.bench.stats.slopes import detectable_slope
from featune.bench.stats.studies import compare_correlations, noise_floor


def looked(rows: list[Row], **more) -> dict[tuple[str, str], Finding]:
    results = collect(rows)
    found = closer_look(results, correlations(results), rows, **more)
    return {(one.kind, one.regime): one for one in found}


def test_a_study_says_what_it_could_have_seen_and_fewer_than_six_models_say_nothing() -> None:
    found = looked(study(8))
    assert found["detectable", ""].numbers["models"] == 8
    assert "could not have been seen" in found["detectable", ""].said
    assert not [key for key in looked(study(5)) if key[0] in ("detectable", "slope", "attenuation")]


def test_means_of_fewer_seeds_and_rows_of_other_versions_are_not_pooled_in_silence() -> None:
    def of(model: str, seed: int, torch: str = "2") -> Row:
        return row(
            model, "t", seed=seed, environment={"versions": {"torch": torch}, "device": "a CPU", "precision": "fp32"}
        )

    alike = [of(model, seed) for model in "ab" for seed in (0, 1)]
    assert not {("uneven_seeds", ""), ("unlike", "")} & set(looked(alike))
    found = looked([*alike[:3], of("b", 2, "3"), of("b", 1)])
    assert found["uneven_seeds", ""].numbers == {"probe": {"3": 1, "2": 1}}
    assert "frozen, probe 3 seeds in 1 cell and 2 seeds in 1 cell" in found["uneven_seeds", ""].said
    assert found["unlike", ""].numbers == {"probe": {"torch": ["2", "3"]}}


def test_the_slope_that_could_have_been_seen_goes_with_the_scatter_about_the_line() -> None:
    rows = study(8)
    found, results = looked(rows)["detectable", ""].numbers, collect(rows)
    assert found["detectable_r"] > found["significant_r"]
    one = next(of for of in correlations(results, means_only=True) if of.regime == "probe")
    scatter = np.sqrt(((one.y - np.polyval(np.polyfit(one.x, one.y, 1), one.x)) ** 2).sum() / 6)
    assert found["detectable_slope"]["probe"] == pytest.approx(detectable_slope(one.x, scatter))


def test_a_line_that_bends_at_the_median_is_told_from_one_that_does_not() -> None:
    tops = np.linspace(0.6, 0.85, 14)
    for bend in (0.0, 1.5):
        odds = np.log(tops / (1 - tops))
        y = odds - bend * np.maximum(odds - np.median(odds), 0) + 0.02 * np.random.default_rng(0).normal(size=14)
        rows = [
            dataclasses.replace(
                row(f"m{at}", "t", "probe", 0, source_top1=top), value=float(1 / (1 + np.exp(-v))), n=10**6
            )
            for at, (top, v) in enumerate(zip(tops, y, strict=True))
        ]
        found = looked(rows)["shape", "probe"]
        assert ("which is settled" in found.said) == (bend > 0)
        assert found.numbers["change"] == pytest.approx(-bend, abs=0.15)
        assert found.numbers["line_explains"] <= found.numbers["pieces_explain"] + 1e-9
    assert ("shape", "probe") not in looked(study(8))


def test_the_first_model_is_better_than_the_second_as_often_as_its_runs_are() -> None:
    rights = {"a": ((200, 210), (100, 130)), "b": ((190, 205), (120, 110))}  # tasks, seeds
    rows = [
        row(model, f"t{task}", "probe", right, seed=seed, source_top1=0.7 if model == "a" else 0.6)
        for model, of in rights.items()
        for task, seeds in enumerate(of)
        for seed, right in enumerate(seeds)
    ]
    found = looked(rows)["improvement", ""].numbers["probe"]
    assert (found["first"], found["second"], found["seeds"]) == ("a", "b", 2)
    assert found["probability"] == pytest.approx((3 / 4 + 2 / 4) / 2)
    assert found["low"] <= found["probability"] <= found["high"]
    same = [row(m, "t", seed=seed, right=at, source_top1=0.6) for m, at in (("a", 200), ("b", 190)) for seed in (0, 1)]
    assert "over seeds" not in looked(same)["improvement", ""].said  # a probe, which draws nothing


def test_redrawn_images_move_the_correlation_less_than_redrawn_models() -> None:
    rng = np.random.default_rng(0)
    rows, right = [], {}
    for at, top in enumerate(np.linspace(0.5, 0.8, 8)):
        for task in ("t0", "t1"):
            correct = (rng.uniform(size=400) < top + 0.1 * rng.normal()).astype(float)
            one = dataclasses.replace(row(f"m{at}", task, source_top1=top), value=float(correct.mean()), n=400)
            rows.append(one)
            right[one.cell] = Right(correct, np.zeros(400, dtype=np.int64))
    found = looked(rows, right=right)["redrawn", "probe"].numbers
    one = next(of for of in correlations(collect(rows), means_only=True) if of.regime == "probe")
    assert found["both"]["r"] == pytest.approx(one.r, abs=1e-6)
    wide = {kind: of["high"] - of["low"] for kind, of in found.items()}
    assert 0 < wide["examples"] < wide["models"]
    assert wide["both"] > wide["examples"]
    assert ("redrawn", "probe") not in looked(rows)  # of which nobody knows the images


def test_frozen_and_fine_tuned_are_compared_on_the_same_models() -> None:
    rows = study(8)
    found, results = looked(rows)["regimes_compared", ""], collect(rows)
    of = {one.regime: one for one in correlations(results, means_only=True)}
    expected = compare_correlations(of["finetune"].x, of["finetune"].y, of["probe"].y)
    assert found.numbers["p"] == expected.p
    assert ("which is settled" in found.said) == (expected.p <= 0.05)


def test_choosing_by_source_accuracy_costs_what_the_best_model_has_more() -> None:
    rows = [row(model, task, "probe", right, source_top1=top)
            for model, top, rights in (("a", 0.8, (180, 300)), ("b", 0.7, (216, 200)), ("c", 0.6, (100, 318)))
            for task, right in zip(("t0", "t1"), rights, strict=True)]  # fmt: skip
    found = looked(rows)["regret", "probe"]
    assert found.numbers["mean_points"] == pytest.approx(100 * (36 + 18) / 2 / 360)
    assert (found.numbers["worst_points"], found.numbers["worst_task"]) == (pytest.approx(10), "t0")
    assert "costs 7.5 points on average (at worst 10.0, on t0)" in found.said


def test_the_noise_floor_is_the_spread_of_seeds_beside_the_gaps() -> None:
    rows = [row(model, "t0", "probe", right, seed=seed) for model, rights in (("a", (180, 184)), ("b", (250, 250)))
            for seed, right in enumerate(rights)]  # fmt: skip
    found = looked(rows)["noise_floor", ""].numbers["probe"]
    assert found["seed_sd_points"] == pytest.approx(100 / 360 * noise_floor([[180, 184], [250, 250]])[0])
    assert found["gaps_points"] == [pytest.approx(100 * 68 / 360)]
    assert ("noise_floor", "") not in looked(study(6))  # one seed
    named = [dataclasses.replace(one, cell=dataclasses.replace(one.cell, task="dtd")) for one in rows]
    beside = looked([*named, *published_rows(["tmlr2024"])])  # whose dtd has another metric
    assert beside["noise_floor", ""].numbers["probe"] == found


def test_the_same_architecture_from_two_recipes_is_the_yardstick() -> None:
    rows = [
        row(model, "t0", "probe", right) for model, right in (("net.a_in1k", 180), ("net.b_in1k", 198), ("o.a", 90))
    ]
    found = looked(rows)["recipe_control", ""]
    assert found.numbers["probe"]["mean_points"] == pytest.approx(5)
    assert "net.a_in1k and net.b_in1k" in found.said
    assert ("recipe_control", "") not in looked(study(6))
    widths = [row(model, "t0", "probe", 180) for model in ("mobilenetv1-0.5", "mobilenetv1-0.75")]
    assert ("recipe_control", "") not in looked(widths)  # no tags: two architectures


def test_pre_training_is_compared_beside_its_recipe_control() -> None:
    rows = [row(f"{net}.{tag}", "t0", "probe", right + more)
            for net, more in (("a", 0), ("b", 18), ("c", 36))
            for tag, right in (("x_in1k", 180), ("y_in1k", 198), ("z_in21k_ft_in1k", 225))]  # fmt: skip
    found = looked(rows)["pretraining", "probe"]
    assert found.numbers["mean_points"] == pytest.approx(10)
    assert found.numbers["recipe_control_points"] == pytest.approx(5)
    assert (found.numbers["low"], found.numbers["high"]) == (pytest.approx(10), pytest.approx(10))
    assert "ImageNet-21k against ImageNet-1k" in found.said
    alone = looked([one for one in rows if ".y_" not in one.cell.model])["pretraining", "probe"]
    assert alone.numbers["recipe_control_points"] is None
    assert "no two recipes" in alone.said
    assert ("pretraining", "probe") not in looked(study(6))


def test_a_source_accuracy_of_another_kind_is_marked_in_words_and_in_the_table(tmp_path: Path) -> None:
    rows = [dataclasses.replace(one, facts={"source_zero_shot": 1.0}) if "model_02" in one.cell.model else one
            for one in study(6)]  # fmt: skip
    found = looked(rows)["source_kind", ""]
    assert found.numbers["models"] == {"model_02.tiny_in1k": "zero shot"}
    assert "zero shot of model_02.tiny_in1k" in found.said
    assert "46.7 (zero shot)" in page(tmp_path, rows)
    assert ("source_kind", "") not in looked(study(6))


def test_tasks_far_from_the_source_stand_beside_their_slopes() -> None:
    rows = study(8, tasks=6, regimes=("probe",))
    models = {one.cell.model for one in rows}
    estimates = [Estimate(f"task-{task}", model, "frechet", "0", -10.0 * (task + 1) - at % 2)
                 for at, model in enumerate(sorted(models)) for task in range(6)]  # fmt: skip
    found = looked(rows, estimates=estimates)["distance", "probe"]
    assert found.numbers["distances"] == {f"task-{task}": pytest.approx(10.5 + 10 * task) for task in range(6)}
    slopes = {one.task: one.slope for one in correlations(collect(rows)) if one.task}
    assert found.numbers["slopes"] == slopes
    assert found.numbers["spearman"] == pytest.approx(spearman(range(6), [slopes[f"task-{t}"] for t in range(6)]))
    assert "nearest task first: task-0 10.5 (slope" in found.said
    assert ("distance", "probe") not in looked(rows)


def test_an_intervention_stands_beside_the_gain_of_a_better_architecture() -> None:
    """Augmentation adds 18 of 360 images on t0 and 36 on t1; the best of four models has 54 more than the median."""
    rows = [row(f"m{m}", task, regime, 100 + 36 * m + more, source_top1=0.5 + m / 10)
            for m in range(4) for task, gain in (("t0", 18), ("t1", 36))
            for regime, more in (("finetune", 0), ("augmented", gain))]  # fmt: skip
    found = looked(rows)
    ((kind, regime),) = [key for key in found if key[0] == "intervention"]
    numbers = found[kind, regime].numbers
    sign = 1 if regime == "augmented" else -1
    assert numbers["gain_points"] == {"t0": pytest.approx(5 * sign), "t1": pytest.approx(10 * sign)}
    assert numbers["architecture_points"] == {task: pytest.approx(15) for task in ("t0", "t1")}
    assert not [key for key in looked(study(6)) if key[0] == "intervention"]  # one trained regime, and from scratch


def test_variance_shares_find_the_source_that_is_there() -> None:
    rows = [row(f"m{m}", f"t{t}", "probe", 100 + 30 * m + 2 * t + s, seed=s)
            for m in range(5) for t in range(4) for s in range(3)]  # fmt: skip
    shares = looked(rows)["variance_shares", ""].numbers
    assert max(shares, key=shares.get) == "model"
    assert shares["model"] > 0.9
    assert sum(shares.values()) == pytest.approx(1)


def test_small_test_sets_make_a_correlation_look_smaller_than_it_is() -> None:
    rows = [
        row(f"m{at}", "t0", "probe", 100 + 20 * at + 40 * (-1) ** at, source_top1=0.5 + 0.03 * at) for at in range(8)
    ]
    small = [dataclasses.replace(one, n=100) for one in rows]
    found = looked(small)["attenuation", "probe"]
    assert abs(found.numbers["corrected"]) > abs(found.numbers["r"])
    assert "at most" in found.said
    many = [dataclasses.replace(one, n=400_000) for one in rows]
    assert ("attenuation", "probe") not in looked(many)


def test_size_is_taken_out_where_it_is_known_and_other_axes_are_shown() -> None:
    rows = study(8, regimes=("probe",))
    sized = [dataclasses.replace(one, facts={"parameters": 3.0 + (int(one.cell.model[6:8]) * 7) % 5, "v2": 0.4})
             for one in rows]  # fmt: skip
    found = looked(sized)
    assert "log parameters taken out" in found["given_size", "probe"].said
    assert found["other_axis", "probe"].numbers["axis"] == "parameters"  # v2 is constant and has no r
    assert ("given_size", "probe") not in looked(rows)
    quick = looked(rows, speeds={f"model_{at:02}.tiny_in1k": 10.0 + at for at in range(8)})
    assert quick["other_axis", "probe"].numbers["axis"] == "throughput"


def test_better_models_alone_have_a_slope_of_their_own() -> None:
    rows = [row(f"m{at:02}", "t0", "probe", 100 + 20 * at, source_top1=0.3 + 0.05 * at) for at in range(14)]
    found = looked(rows)["above_70", "probe"].numbers
    assert found["models"] == 6
    assert found["slope"] == pytest.approx(20 / 360 / 0.05)


def test_a_runner_up_that_never_differs_is_no_worse_by_half_a_point() -> None:
    rows = [row("a", "t0", "probe", 251, source_top1=0.7), row("b", "t0", "probe", 250, source_top1=0.6)]
    results = collect(rows)
    correct = np.ones(2000)
    right = {one.cell: Right(correct, np.zeros(2000, dtype=np.int64)) for one in rows}
    ahead = leads(results, right)
    found = {one.kind: one for one in closer_look(results, correlations(results), rows, ahead=ahead, right=right)}
    assert "In 1 of 1 place the runner-up" in found["no_worse"].said
    assert found["no_worse"].numbers["places"][0]["model"] == "b"


def test_fine_tuning_is_settled_to_be_better_where_the_same_images_say_so() -> None:
    rows = [row(model, "t0", regime, 250) for model in "ab" for regime in ("probe", "finetune")]
    frozen = np.repeat([1.0, 0.0], [300, 100])
    more = np.where(np.arange(400) < 340, 1.0, 0.0)  # 40 images more of 400, and none fewer
    other = np.where(np.arange(400) < 300, 1.0, 0.0)
    other[[0, 300]] = other[[300, 0]]  # one more and one fewer
    tuned = {"a": more, "b": other}
    right = {
        one.cell: Right(tuned[one.cell.model] if one.cell.regime == "finetune" else frozen, np.zeros(400, np.int64))
        for one in rows
    }
    found = looked(rows, right=right)["tuning_gains", "probe"]
    a, b = found.numbers["pairs"]
    middle, variance = 40 / 402, (42 / 402 - (40 / 402) ** 2) / 402  # Bonett and Price 2012, by hand
    assert a["points"] == pytest.approx(10)
    assert a["high"] == pytest.approx(100 * middle + 195.9964 * math.sqrt(variance))
    assert (b["points"], b["low"] < 0 < b["high"], b["p"]) == (0, True, 1)
    assert "better in 1 of 2 pairs of model and task, worse in 0, not settled in 1" in found.said
    assert "a on t0 +10.0 points (+6.9 to +13.0)" in found.said


def test_fine_tuning_is_not_compared_without_the_scores_of_both() -> None:
    rows = [row("a", "t0", regime, 250) for regime in ("probe", "finetune")]
    right = {rows[0].cell: Right(np.ones(400), np.zeros(400, np.int64))}
    assert ("tuning_gains", "probe") not in looked(rows, right=right)


def test_pairs_of_which_other_images_count_or_none_are_left_out_of_the_findings() -> None:
    rows = [row(model, "t0", regime, 250) for model in "abc" for regime in ("probe", "finetune")]
    right = {one.cell: Right(np.repeat([1.0, 0.0], [300, 100]), np.zeros(400, np.int64)) for one in rows}
    right[rows[0].cell].correct[0] = np.nan  # of a, in one regime
    for one in rows[2:4]:
        right[one.cell].correct[:] = np.nan  # of b, in both
    assert [one["model"] for one in looked(rows, right=right)["tuning_gains", "probe"].numbers["pairs"]] == ["c"]
    results = collect(rows)
    ahead = leads(results, right)
    found = {one.kind: one for one in closer_look(results, correlations(results), rows, ahead=ahead, right=right)}
    assert "no_worse" not in found, "of a and b, the first two"


def test_a_users_models_stand_among_published_ones_and_are_not_pooled(tmp_path: Path) -> None:
    own = [
        row("mine_0", "dtd", "finetune", 265, source_top1=0.5),
        row("mine_1", "dtd", "finetune", 300, source_top1=0.6),
    ]
    rows = [*own, *published_rows(["sfda2022"])]
    html = page(tmp_path, rows)
    said = " ".join(finding_lines(rows, collect(rows)))
    # 300 / 360 is 83.3 %; the best of SFDA's on DTD is 76.44 %.
    assert "dtd 1 of 12 (mine_1)" in said
    assert "[published: sfda2022]" in html
    regimes = {one.regime: one for one in correlations(collect(rows), means_only=True)}
    assert len(regimes["finetune"].models) == 2
    assert len(regimes["finetune [sfda2022]"].models) == 11


def test_report_json_has_the_correlations_and_findings_as_plain_numbers(tmp_path: Path) -> None:
    rows = study(8)
    page(tmp_path, rows, speeds(8), command="featune study report a.yaml")
    found = json.loads((tmp_path / "report.json").read_text())
    mean = next(one for one in found["correlations"] if one["regime"] == "probe" and one["task"] is None)
    (expected,) = [one for one in correlations(collect(rows), means_only=True) if one.regime == "probe"]
    assert mean["r"] == expected.r
    assert len(mean["without"]) >= 8
    kinds = {one["kind"] for one in found["findings"]}
    assert {"detectable", "regimes_compared", "slope", "regret", "variance_shares"} <= kinds
    assert all(one["said"].endswith(".") for one in found["findings"])


def test_a_study_without_numbers_or_with_one_model_finds_nothing_and_does_not_fail() -> None:
    assert looked([]) == {}
    assert looked([row("a", "t0", source_top1=0.5)]) == {}
    broken = [dataclasses.replace(one, value=None, error="no") for one in study(6)]
    assert looked(broken) == {}
    assert not math.isnan(looked(study(6))["regret", "probe"].numbers["mean_points"])
