"""How often intervals over models hold the truth, and how often a verdict is false: simulated studies.

    python benchmarks/coverage.py [--studies 2000] [--judged 300] [--seed 0] > benchmarks/coverage.md

Of correlations: x is normal, or heavy-tailed (Student's with 3 degrees of freedom; exponential; normal times a scale
that x and y share, Student's with 5), y is r x + sqrt(1 - r^2) e with e normal. Counted by the very functions of the
report: the interval of `correlation_interval`, beside Fisher's alone and the percentile bootstrap of 1,000 resamples
that it took the place of, and `verdict`. Of estimators: six scores, source accuracy and time on the models of `judged`,
any false claim of a study counts once. Exit code 1 where more than 5 % of verdicts are false, within twice the
simulation's error.
"""

import argparse
import os
import sys

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np

from featune.bench.estimators import CHANCE, ESTIMATORS, judged
from featune.bench.estimators.judge import TAU_VARIANCE, mean_over_tasks, rank_interval
from featune.bench.results import Cell, Estimate, Row, Speed, Transfer, collect, verdict
from featune.bench.stats import correlation_interval, fit_line, weighted_tau

MODELS = (4, 5, 6, 7, 8, 10, 12, 16, 20)
KINDS = {
    "normal": "normal x",
    "t3": "x of Student's t, 3 degrees of freedom",
    "exponential": "exponential x",
    "t5 both": "x and y of Student's t together, 5 degrees of freedom",
}

OF_CORRELATIONS = """## Correlation over models

Share of intervals that hold the true r: as reported / Fisher's z alone / percentile bootstrap. Slope: share of
`fit_line`'s ranges that hold the true slope. Verdicts: share of studies with a verdict (at r = 0 a false one).

| x | true r | models | reported | Fisher | bootstrap | slope | verdicts |
|---|---:|---:|---:|---:|---:|---:|---:|"""
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


def drawn(kind: str, models: int, r: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """x and y of one study [models], of population correlation r."""
    scale = np.sqrt(5 / rng.chisquare(5, models)) if kind == "t5 both" else 1.0
    x = {
        "normal": lambda: rng.normal(size=models),
        "t3": lambda: rng.standard_t(3, models) / np.sqrt(3),
        "exponential": lambda: rng.exponential(size=models) - 1,
        "t5 both": lambda: rng.normal(size=models),
    }[kind]()
    return x * scale, (r * x + np.sqrt(1 - r**2) * rng.normal(size=models)) * scale


def bootstrapped(x: np.ndarray, y: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """The percentile bootstrap over models."""
    rows = rng.integers(0, len(x), (1000, len(x)))
    a, b = (of[rows] - of[rows].mean(axis=1, keepdims=True) for of in (x, y))
    with np.errstate(invalid="ignore", divide="ignore"):
        found = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    found = found[np.isfinite(found) & ((np.diff(np.sort(rows, axis=1), axis=1) > 0).sum(axis=1) > 1)]
    return tuple(np.quantile(found, [0.025, 0.975]))


def correlations(studies: int, seed: int) -> float:
    """Prints the table; the largest share of false verdicts."""
    print(OF_CORRELATIONS)
    worst = 0.0
    for kind, says in KINDS.items():
        for r in (0.0, 0.5, 0.9):
            for models in MODELS:
                rng, counts = np.random.default_rng([seed, models, int(10 * r), len(kind)]), np.zeros(5)
                for _ in range(studies):
                    x, y = drawn(kind, models, r, rng)
                    found = correlation_interval(x, y, seed=int(rng.integers(1 << 30)))
                    z, half = np.arctanh(found.r), 1.959964 / np.sqrt(models - 3)
                    low, high = bootstrapped(x, y, rng)
                    line = fit_line(x, y, [0.0])
                    known = found.p if np.isfinite(found.p) else None
                    names = tuple(map(str, range(models)))
                    said = verdict(Transfer("probe", "", names, ("t",), x, y, found.r, found.low, found.high, known))
                    counts += [found.low <= r <= found.high, abs(z - np.arctanh(r)) <= half, low <= r <= high,
                               line.slope_low <= r <= line.slope_high, said in ("yes", "no")]  # fmt: skip
                shares = counts / studies
                cells = " | ".join(f"{share:.3f}" for share in shares)
                print(f"| {says} | {r:g} | {models} | {cells} |", flush=True)
                worst = max(worst, shares[4]) if r == 0 else worst
    return worst


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
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--judged", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    print("# Intervals over models: do they cover, and how often is a verdict false?\n")
    print(
        f"`python benchmarks/coverage.py --studies {given.studies} --judged {given.judged} --seed {given.seed}`; ",
        end="",
    )
    print(f"a share of 0.95 is known to +-{2 * np.sqrt(0.0475 / given.studies):.3f}. Numpy {np.__version__}.\n")
    of_verdicts, of_claims = correlations(given.studies, given.seed), estimators(given.judged, given.seed)
    rank_correlations(given.studies, given.seed)
    print(f"\nLargest share of false verdicts: {of_verdicts:.3f}; of studies with a false claim: {of_claims:.3f}.")
    bound = [0.05 + 2 * np.sqrt(0.05 * 0.95 / n) for n in (given.studies, given.judged)]
    return int(of_verdicts > bound[0] or of_claims > bound[1])


if __name__ == "__main__":
    sys.exit(main())
