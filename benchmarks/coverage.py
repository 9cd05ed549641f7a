"""How often intervals over models hold the truth, and how often a verdict is false: simulated studies.

    python benchmarks/coverage.py [--studies 1500] [--judged 300] [--seed 0] > benchmarks/coverage.md

Models are normal, have heavy or skewed tails, or come in families; y is r x + sqrt(1 - r^2) e. Intervals and verdicts
are those of the report, counted by its own functions.
Of estimators: six scores, source accuracy and time on the models of `judged`,
any false claim of a study counts once. Exit code 1 where more than 5 % of verdicts are false, within twice the
simulation's error.
"""

import argparse
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
from scipy.stats import kstest

from featune.bench.estimators import CHANCE, ESTIMATORS, judged
from featune.bench.estimators.judge import TAU_VARIANCE, mean_over_tasks, rank_interval
from featune.bench.results import Cell, Estimate, Row, Speed, Transfer, collect, verdict
from featune.bench.stats import correlation_interval, fit_line, transfer_correlation, weighted_tau
from featune.bench.stats.slopes import line_slope, theil_sen
from featune.bench.stats.studies import bootstrap_correlation, compare_correlations, partial_correlation

MODELS = (6, 8, 12, 16, 19, 30)
KINDS = {
    "normal": "normal",
    "t5 both": "heavy tails that x and y share (Student's t, 5)",
    "clustered": "families of two, half of the variance theirs",
    "exponential": "skewed x (exponential)",
    "t3": "heavy tails of x alone (Student's t, 3)",
}
REPORTED = {"r": 0, "slope": 3, "difference": 6, "partial": 7}  # columns of `one_study`
CLAIMED = ("normal", "t5 both", "clustered")  # where every interval is to hold the truth in 93 to 97 %

OF_CORRELATIONS = """## Correlation and slope over models

Share of {studies} studies whose 95 % interval holds the truth. r: as reported, beside Fisher's z alone and the
percentile bootstrap over models, or over families where there are some. Slope: least squares as reported
(`line_slope`), beside Student's alone (the band of the figures) and Theil and Sen's. Difference: of two regimes' r on
the same models. Partial: size taken out. The report shows these two from eight models on.
Verdicts: share of studies with a verdict, and of those with p at most 0.05 (at r = 0 false ones).

| models | true r | n | r | Fisher | bootstrap | slope | Student | Theil-Sen | difference | partial | verdict | p |
|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"""
OF_NULL = """
## A study without a link, and one with a slope of 1

{studies} simulated studies each: source accuracies of mean 73 %, four tasks of 1,000 test images, transfer in log odds
scattered by 0.3 over models and 0.3 over tasks. Found: a verdict. Uniform: p of Kolmogorov and Smirnov's test of the
permutation p-values; below 0.05 they would not be.

| n | found, no link | p <= 0.05, no link | uniform | found, slope 1 | mean slope found |
|---:|---:|---:|---:|---:|---:|"""
OF_RANKS = """
## Weighted tau of a score

Share of the jackknife's intervals of the mean weighted tau that hold its mean over all these studies; r is the
correlation of the abilities that score and transfer know of.

| r | models | 1 task | 3 tasks |
|---:|---:|---:|---:|"""
OF_ESTIMATORS = """
## Estimators, judged together

Six scores, source accuracy and time in two regimes; share of {studies} studies in which any false claim is made.
False: nothing predicts: any claim. Source accuracy predicts, the scores know nothing: that a score beats chance,
or ranks better than source accuracy. All predict alike: that a score ranks better or worse. Last column: true
claims, the share of scores that are settled to beat chance.

| truth | models | tasks | false | scores settled |
|---|---:|---:|---:|---:|"""


def drawn(kind: str, models: int, r: float, rng: np.random.Generator, columns: int = 2) -> tuple[np.ndarray, ...]:
    """Standard numbers x, e_1, e_2, ... of one study [models], uncorrelated, and a scale that multiplies them all."""
    family = np.arange(models) // 2
    scale = np.sqrt(5 / rng.chisquare(5, models)) if kind == "t5 both" else np.ones(models)

    def normal() -> np.ndarray:
        if kind != "clustered":
            return rng.normal(size=models)
        return np.sqrt(0.5) * (rng.normal(size=family[-1] + 1)[family] + rng.normal(size=models))

    x = {"t3": lambda: rng.standard_t(3, models) / np.sqrt(3), "exponential": lambda: rng.exponential(size=models) - 1}
    return (x.get(kind, normal)(), *(normal() for _ in range(columns)), scale)


def one_study(kind: str, models: int, r: float, rng: np.random.Generator) -> list[bool]:
    """Whether each interval holds the truth, whether there is a verdict, and whether p is at most 0.05."""
    x, shared, own, other, size, scale = drawn(kind, models, r, rng, 4)
    rest = np.sqrt(1 - r**2)
    y, second = (r * x + rest * np.sqrt(0.5) * (shared + of) for of in (own, other))
    size = np.sqrt(0.5) * (x + size)  # half of the size's variance is x's
    x, y, second, size = x * scale, y * scale, second * scale, size * scale
    families = [str(at // 2) for at in range(models)] if kind == "clustered" else []
    found = correlation_interval(x, y, seed=int(rng.integers(1 << 30)), families=families)
    half = 1.959964 / np.sqrt(models - 3)
    over = bootstrap_correlation(x, y, families=families or None, resamples=300, seed=int(rng.integers(1 << 30)))
    line, median, student = line_slope(x, y, families=families), theil_sen(x, y), fit_line(x, y, [0.0])
    both = compare_correlations(x, y, second, families=families)
    given = partial_correlation(x, y, size, families=families)
    of_size = np.sqrt(0.5)  # correlation of x and size; that of y and size is r times it
    partial = r * (1 - of_size**2) / np.sqrt((1 - of_size**2) * (1 - (r * of_size) ** 2))
    known = found.p if np.isfinite(found.p) else None
    names = tuple(map(str, range(models)))
    said = verdict(Transfer("probe", "", names, ("t",), x, y, found.r, found.low, found.high, known))
    return [
        found.low <= r <= found.high,
        bool(abs(np.arctanh(found.r) - np.arctanh(r)) <= half),
        over.low <= r <= over.high,
        line.low <= r <= line.high,
        student.slope_low <= r <= student.slope_high,
        median.low <= r <= median.high,
        both.low <= 0 <= both.high,
        given.low <= partial <= given.high,
        said in ("yes", "no"),
        found.p <= 0.05,
    ]


def correlations(studies: int, seed: int) -> tuple[float, list[str]]:
    """Prints the table; the largest share of false verdicts, and what covers less or more than is claimed."""
    print(OF_CORRELATIONS.format(studies=studies))
    worst, outside = 0.0, []
    for kind, says in KINDS.items():
        for r in (0.0, 0.5, 0.9) if kind in CLAIMED else (0.9,):
            for models in MODELS:
                rng = np.random.default_rng([seed, models, int(10 * r), len(kind)])
                shares = np.mean([one_study(kind, models, r, rng) for _ in range(studies)], axis=0)
                print(f"| {says} | {r:g} | {models} | {' | '.join(f'{share:.3f}' for share in shares)} |", flush=True)
                worst = max(worst, shares[8]) if r == 0 and kind in CLAIMED else worst
                loose = 2 * np.sqrt(0.05 * 0.95 / studies)
                for name, at in REPORTED.items():
                    if kind in CLAIMED and not 0.93 - loose <= shares[at] <= 0.97 + loose:
                        outside.append(f"{name}, {says}, r {r:g}, {models} models: {shares[at]:.3f}")
    return worst, outside


def null_and_power(studies: int, seed: int) -> None:
    """Prints how p-values lie without a link, and how often one of a known slope is found."""
    print(OF_NULL.format(studies=studies))
    for models in MODELS:
        found = []
        for slope in (0.0, 1.0):
            rng = np.random.default_rng([seed, models, int(slope)])
            for _ in range(studies):
                source = 1 / (1 + np.exp(-rng.normal(1.0, 0.4, models)))
                odds = slope * np.log(source / (1 - source)) + rng.normal(0, 0.3, models)
                values = 1 / (1 + np.exp(-(odds[:, None] + rng.normal(0, 0.3, (models, 4)))))
                values = rng.binomial(1000, values) / 1000
                one = transfer_correlation(source, values, [1000] * 4, seed=int(rng.integers(1 << 30)))
                known = one.p if np.isfinite(one.p) else None
                name = tuple(map(str, range(models)))
                x = y = np.empty(0)
                said = verdict(Transfer("probe", "", name, ("t",), x, y, one.r, one.low, one.high, known))
                found.append((slope, one.p, said in ("yes", "no"), one.slope))
        null, real = ([row for row in found if row[0] == slope] for slope in (0.0, 1.0))
        uniform = kstest([row[1] for row in null], "uniform").pvalue
        cells = [np.mean([row[2] for row in null]), np.mean([row[1] <= 0.05 for row in null]), uniform,
                 np.mean([row[2] for row in real]), np.mean([row[3] for row in real])]  # fmt: skip
        print(f"| {models} | {' | '.join(f'{cell:.3f}' for cell in cells)} |", flush=True)


def estimators(studies: int, seed: int) -> float:
    """Prints the table; the largest share of studies with a false claim."""
    print(OF_ESTIMATORS.format(studies=studies))
    worst = 0.0
    truths = {
        "nothing predicts": (0.0, 0.0),
        "source accuracy alone predicts": (0.9, 0.0),
        "all predict alike": (0.9, 0.9),
    }
    for says, (source, score) in truths.items():
        for models in (4, 5, 6, 8, 12):
            for tasks in (1, 3):
                rng = np.random.default_rng([seed, models, tasks, int(10 * source), int(10 * score)])
                wrong, settled = 0, []
                for _ in range(studies):
                    found = [one for one in study(models, tasks, source, score, rng) if one.score != CHANCE]
                    scores = [one for one in found if one.score in ESTIMATORS]
                    null = found if not source else scores if not score else []
                    claims = [one.beats_chance for one in null] + [one.settled_ahead > 0 for one in scores]
                    claims += [one.settled_ahead < 0 for one in scores if source == score]
                    wrong += any(claims)
                    settled.append(np.mean([one.beats_chance for one in scores]))
                worst = max(worst, wrong / studies)
                of = f"{np.mean(settled):.2f}" if score else ""
                print(f"| {says} | {models} | {tasks} | {wrong / studies:.3f} | {of} |", flush=True)
    return worst


def rank_correlations(studies: int, seed: int) -> None:
    """Prints the table."""
    print(OF_RANKS)
    for r in (0.0, 0.5, 0.9):
        for models in (6, 8, 10, 12, 20):
            cells = []
            for tasks in (1, 3):
                rng, found = np.random.default_rng([seed, models, tasks, int(10 * r)]), []
                for _ in range(studies):
                    ability = rng.normal(size=models)
                    truth, score = (
                        of[:, None] + 0.3 * rng.normal(size=(models, tasks))
                        for of in (ability, blurred(ability, r, rng))
                    )
                    found.append(rank_interval(mean_over_tasks(weighted_tau, score, truth), models, TAU_VARIANCE))
                mean = np.mean([one.value for one in found])
                cells.append(f"{np.mean([one.low <= mean <= one.high for one in found]):.3f}")
            print(f"| {r:g} | {models} | {' | '.join(cells)} |", flush=True)


def study(models: int, tasks: int, source: float, score: float, rng: np.random.Generator) -> list:
    """The judgement of one study whose transfer is an ability of the models that source accuracy and scores know of by
    these correlations, and that tasks and regimes share."""
    names = [f"m{at:02}" for at in range(models)]
    ability = rng.normal(size=models)
    top1 = 1 / (1 + np.exp(-0.5 * blurred(ability, source, rng)))
    rows, estimates = [], []
    for task in range(tasks):
        for regime in ("probe", "finetune"):
            value = 1 / (1 + np.exp(-(ability + 0.3 * rng.normal(size=models))))
            rows += [Row(Cell(f"t{task}", name, regime, 0, "0"), "top1", float(one), 1000, source_top1=float(of))
                     for name, one, of in zip(names, value, top1, strict=True)]  # fmt: skip
    for name in ESTIMATORS:
        own = blurred(ability, score, rng)
        for task in range(tasks):
            values = own + 0.3 * rng.normal(size=models)
            estimates += [
                Estimate(f"t{task}", of, name, "0", float(one)) for of, one in zip(names, values, strict=True)
            ]
    speeds = [Speed(name, "torch", "fp32", "cpu", 1, 1, "a", 1.0, float(one), 1.0, 1)
              for name, one in zip(names, np.exp(blurred(ability, 0.0, rng)), strict=True)]  # fmt: skip
    return judged(collect(rows), estimates, speeds, seed=int(rng.integers(1 << 30)))


def blurred(ability: np.ndarray, r: float, rng: np.random.Generator) -> np.ndarray:
    return r * ability + np.sqrt(1 - r**2) * rng.normal(size=len(ability))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=1500)
    parser.add_argument("--judged", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("# Intervals over models: do they cover, and how often is a verdict false?\n")
    print(
        f"`python benchmarks/coverage.py --studies {given.studies} --judged {given.judged} --seed {given.seed}`; ",
        end="",
    )
    print(f"a share of 0.95 is known to +-{2 * np.sqrt(0.0475 / given.studies):.3f}. Numpy {np.__version__}.\n")
    of_verdicts, outside = correlations(given.studies, given.seed)
    null_and_power(400, given.seed)
    of_claims = estimators(given.judged, given.seed)
    rank_correlations(given.studies, given.seed)
    print(f"\nLargest share of false verdicts: {of_verdicts:.3f}; of studies with a false claim: {of_claims:.3f}.")
    print(f"Intervals outside 93 to 97 % by more than the simulation can err: {'; '.join(outside) or 'none'}.")
    bound = [0.05 + 2 * np.sqrt(0.05 * 0.95 / n) for n in (given.studies, given.judged)]
    return int(of_verdicts > bound[0] or of_claims > bound[1] or bool(outside))


if __name__ == "__main__":
    sys.exit(main())
