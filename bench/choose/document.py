"""choose.json: all that the page and the terminal say, the sentences of the first screen among it."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from featune.engine.metrics import METRICS
from featune.engine.paths import as_name
from featune.engine.store import plain

from ..results import Row, faults, metric_name
from ..stats import interval
from ..tasks import Task
from .candidates import Backbone
from .journal import Journal
from .probing import Probes, Splits
from .rules import FINETUNED, FROZEN, Tried
from .screening import Opened
from .tuning import Tuned, Tuning

if TYPE_CHECKING:
    from .command import Asked

NOTHING = 0.0005  # of a bound: it would be printed as 0.0 points


@dataclasses.dataclass(frozen=True)
class Choice:
    """chosen: among `tried`, all of them on the same val images, each with its training, None for frozen features.

    not_better_by: nothing else tried is better by more, at 95 % for all together.
    """

    chosen: Tried
    tuning: Tuning | None
    tried: tuple[tuple[Tried, Tuning | None], ...]
    not_better_by: float


def document_of(
    asked: "Asked", task: Task, found: Sequence[Backbone], absent: Mapping[str, str], opened: Sequence[Opened],
    out: Mapping[str, str], probes: Probes, tuned: Tuned, choice: Choice, row: Row, written: Mapping[str, Any],
    journal: Journal,
) -> dict[str, Any]:  # fmt: skip
    """In JSON's types."""
    speeds = {one.name: one for one in opened}
    document: dict[str, Any] = {
        "featune": version("featune"), "made": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "command": asked.command, "untrained": asked.untrained,
        "data": {
            "name": task.name, "source": task.source, "notes": list(task.notes), "counts": dict(task.counts),
            "classes": list(task.classes), "digest": task.digest,
        },
        "metric": task.metric,
        "asked": {
            "minutes": asked.minutes, "max_latency_ms": asked.max_latency_ms, "regimes": list(asked.regimes),
            "models": list(asked.models), "seed": asked.seed, "backend": asked.runs_on, "device": asked.device,
        },
        "chosen": {
            "model": choice.chosen.model, "regime": choice.chosen.regime,
            "ms": choice.chosen.ms, "images_per_second": speeds[choice.chosen.model].images_per_second,
            "batch": speeds[choice.chosen.model].batch,
            "val": _val(task.metric, probes.splits, choice.chosen, asked.seed),
            "training_seconds": _seconds(choice.chosen, choice.tuning, tuned, journal), "details": plain(row.details),
            "warnings": faults(row),
        },
        "test": {"value": row.value, "low": row.low, "high": row.high, "n": row.n},
        "not_better_by": choice.not_better_by,
        "compared": len(choice.tried),
        "candidates": _candidates(asked, task, found, absent, speeds, out, probes, tuned, choice, journal),
        "fine_tuning": tuned.said, "short": probes.short,
        "seconds": journal.seconds, "budget_seconds": 60 * asked.minutes, "stages": journal.stages(),
        "files": dict(written), "environment": plain(row.environment),
    }  # fmt: skip
    document["sentences"] = sentences(document)
    return document


def _candidates(
    asked: "Asked", task: Task, found: Sequence[Backbone], absent: Mapping[str, str], speeds: Mapping[str, Opened],
    out: Mapping[str, str], probes: Probes, tuned: Tuned, choice: Choice, journal: Journal,
) -> list[dict[str, Any]]:  # fmt: skip
    """A line for each model and regime, the chosen one first, then by val; models that were not run last."""
    lines = []
    of_last = {one.model for one in probes.tried}
    for backbone in found:
        facts: dict[str, Any] = {
            "model": backbone.name, "reason": backbone.reason, "licence": backbone.licence,
            "million_parameters": backbone.million_parameters, "imagenet_top1": backbone.top1,
            "ms": speeds[backbone.name].ms if backbone.name in speeds else None,
            "images_per_second": speeds[backbone.name].images_per_second if backbone.name in speeds else None,
        }  # fmt: skip
        own = [(one, tuning) for one, tuning in choice.tried if one.model == backbone.name and tuning is not None]
        if backbone.name in probes.every:
            one, images = probes.every[backbone.name]
            used = probes.splits if backbone.name in of_last else probes.splits_of(images)
            fate = out.get(backbone.name) or tuned.out.get(backbone.name) or ""
            lines.append(
                facts | {
                    "regime": FROZEN, "train_images": images, "val": _val(task.metric, used, one, asked.seed),
                    "good": one.good, "seconds": _seconds(one, None, tuned, journal),
                    "fate": "chosen" if one is choice.chosen else fate or "lower on val than the chosen one",
                    "comparable": backbone.name in of_last,
                }
            )  # fmt: skip
        else:
            lines.append(
                facts | {"regime": None, "val": None, "good": None, "train_images": None, "seconds": None,
                         "comparable": False, "fate": out.get(backbone.name, "not tried")}
            )  # fmt: skip
        for one, tuning in own:
            assert tuning is not None
            lines.append(
                facts | {
                    "regime": FINETUNED, "train_images": len(probes.splits.train), "good": one.good,
                    "val": _val(task.metric, probes.splits, one, asked.seed), "comparable": True,
                    "seconds": _seconds(one, tuning, tuned, journal), "steps": tuning.recipe.steps,
                    "learning_rate": tuning.recipe.learning_rates[0],
                    "fate": "chosen" if one is choice.chosen else "lower on val than the chosen one",
                }
            )  # fmt: skip
    lines += [
        {"model": name, "regime": None, "val": None, "good": None, "comparable": False, "fate": f"left out: {reason}"}
        for name, reason in absent.items()
    ]
    return sorted(lines, key=lambda line: (line["fate"] != "chosen", not line["comparable"], -(line["good"] or -1e9)))


def _val(metric: str, splits: Splits, one: Tried, seed: int) -> dict[str, Any]:
    """The value on val with its interval, which does not know that something was chosen there."""
    found = interval(metric, splits.truth(splits.val), one.scores, seed=seed, resamples=2000, **one.options)
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n}


def _seconds(one: Tried, tuning: Tuning | None, tuned: Tuned, journal: Journal) -> float:
    """Of the probe's fit or of the training, features and searches aside."""
    if tuning is None:
        return sum(each for name, each in journal.pieces.items() if name.startswith(f"{_probe_name(one.model)}-"))
    return sum(trial.seconds for each, trial in tuned.trials if each == tuning)


def _probe_name(model: str) -> str:
    return as_name(f"probe {model}")


# --- In words


def number(metric: str, value: float | None) -> str:
    """Percent where the metric is a share, else three decimals."""
    if value is None:
        return "–"
    kind = METRICS[metric]
    if kind.higher_is_better and kind.lowest >= 0 and kind.highest <= 1:
        return f"{100 * value:.1f}\u00a0%"
    return f"{value:.3f}"


def points(metric: str, value: float) -> str:
    """A difference of two values."""
    text = number(metric, value)
    return text.replace("\u00a0%", " points") if text.endswith("%") else text


def minutes(seconds: float) -> str:
    if seconds < 1:
        return "less than a second"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def sentences(document: Mapping[str, Any]) -> list[str]:
    """What the first screen says, one thing a sentence."""
    metric, chosen, test = document["metric"], document["chosen"], document["test"]
    name, data, files = metric_name(metric), document["data"], document["files"]
    found = []
    if document["untrained"]:
        found.append("RANDOM WEIGHTS: --untrained tries the command. Nothing below says which model is good.")
    frozen = chosen["regime"] == FROZEN
    how = "frozen, with a linear classifier on its features" if frozen else "fine-tuned on your images"
    found.append(f"Take {chosen['model']}, {how}.")
    spread = ""
    if test["low"] is not None:
        spread = f" (95 % interval {number(metric, test['low'])} to {number(metric, test['high'])}"
        spread += f", {test['n']:,} test images, which were looked at once)"
    found.append(f"Expect {name} of {number(metric, test['value'])} on new images like these{spread}.")
    where = f"{document['asked']['device']}, {document['asked']['backend']}"
    found.append(
        f"One image takes {chosen['ms']:.3g} ms here ({where}); batches of {chosen['batch']} run at "
        f"{chosen['images_per_second']:,.0f} images per second."
    )
    took = minutes(chosen["training_seconds"])
    found.append(f"Its classifier was fitted in {took}." if frozen else f"Its training took {took}.")
    found.append(_bound(document))
    found.append(_file(files, len(data["classes"])))
    found.append(
        f"All of this took {minutes(document['seconds'])} of {minutes(document['budget_seconds'])} that were allowed."
    )
    remarks = [document["short"], document["fine_tuning"] if frozen else "", *chosen["warnings"]]
    if frozen and "finetune" in document["asked"]["regimes"] and "not started" in document["fine_tuning"]:
        found.append("This answer is from probes of frozen features alone.")
    return found + [f"{text[:1].upper()}{text[1:]}." for text in remarks if text]


def _bound(document: Mapping[str, Any]) -> str:
    metric, others = document["metric"], document["compared"] - 1
    if not others:
        return "Nothing else could be compared with it."
    bound = points(metric, document["not_better_by"])
    who = "The other one" if others == 1 else f"None of the {others} others"
    verb = "is not" if others == 1 else "is"
    more = f"better by more than {bound}" if document["not_better_by"] >= NOTHING else "better"
    sure = "95 %" if others == 1 else "95 % for all of them together"
    return (
        f"{who} compared with it to the end {verb} likely to be {more} (on the same "
        f"{document['chosen']['val']['n']:,} val images, {sure})."
    )


def _file(files: Mapping[str, Any], classes: int) -> str:
    if files.get("error"):
        return f"No file: the export was refused ({files['error']})."
    if files["gives"] == "logits":
        return f"The file is {files['onnx']}: logits of your {classes} classes, with their names; compared with torch."
    return (
        f"The file is {files['onnx']}: features, compared with torch; {files['head']} holds the classifier on them "
        f"(weights, bias, names of your {classes} classes)."
    )


def summary_lines(document: Mapping[str, Any]) -> list[str]:
    """For the terminal: the sentences, and a line for each candidate."""
    found = [*document["sentences"], ""]
    for line in document["candidates"]:
        value = number(document["metric"], line["val"]["value"]) if line["val"] else "–"
        ms = f"{line['ms']:.3g} ms" if line.get("ms") is not None else "–"
        found.append(f"{line['model']}, {line['regime'] or 'not run'}: val {value}, {ms}; {line['fate']}")
    return found
