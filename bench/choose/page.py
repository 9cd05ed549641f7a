"""report.html, choose.json and the picture: which model to take, in words first."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from featune.engine.metrics import METRICS
from featune.engine.store import write_json, write_text

from ..report.figures import COLOURS, Figure, Mark, Panel, Series, draw, ends, limits_of, scatter_panel
from ..report.pages import drawings, page
from ..results import metric_name, printable
from .document import minutes, number, points
from .rules import FINETUNED, FIRST_IMAGES, FROZEN, GROWTH, LEAST_PASSES, LEAST_STEPS, MOST_TUNED

PAGE, RESULT, PICTURE = "report.html", "choose.json", "accuracy.png"
STAGES = {
    "prepare": "reading the data", "open": "opening the models: files made, checked and timed",
    "pass": "features", "probe": "probes", "time": "timing of fine-tuning", "trial": "fine-tuning",
    "test": "the last classifier and the test images", "files": "writing and checking the files",
}  # fmt: skip


def write_report(out: Path, document: Mapping[str, Any]) -> Path:
    """The path of report.html. choose.json is written last: it says that the run has ended."""
    found = picture(document)
    panels = draw(out / PICTURE, found.panels, found.keys) if found else []
    write_text(out / PAGE, page_html(document, found, panels))
    write_json(out / RESULT, document)
    return out / PAGE


def picture(document: Mapping[str, Any]) -> Figure | None:
    """The value on val against the time of one image; None where it is no share, or nothing can be compared."""
    metric = METRICS[document["metric"]]
    if not metric.higher_is_better or metric.lowest < 0 or metric.highest > 1:
        return None
    lines = [(at, line) for at, line in enumerate(document["candidates"]) if line["comparable"] and line["ms"]]
    labels = short_names(line["model"] for _, line in lines)
    kinds = {
        "chosen": (COLOURS[1], "D", lambda line: line["fate"] == "chosen"),
        FROZEN: (COLOURS[0], "o", lambda line: line["fate"] != "chosen" and line["regime"] == FROZEN),
        FINETUNED: (COLOURS[2], "^", lambda line: line["fate"] != "chosen" and line["regime"] == FINETUNED),
    }
    series = [
        Series(name, colour, tuple(_mark(line, shape, labels[line["model"]], at) for at, line in lines if chosen(line)))
        for name, (colour, shape, chosen) in kinds.items()
    ]
    series = [one for one in series if one.marks]
    drawn = [mark for one in series for mark in one.marks]
    if not drawn:
        return None
    limit = document["asked"]["max_latency_ms"]
    title = f"{metric_name(document['metric'])} on val against time"
    panel: Panel = scatter_panel(
        "choose", printable(title[:1].upper() + title[1:]),
        f"Value on val with its 95 % interval against milliseconds of one image, {len(drawn)} points; "
        "the table below has the numbers.",
        series, ("Milliseconds of one image, log scale", "On val"),
        (limits_of([mark.x for mark in drawn], 0.15), limits_of(ends(drawn))),
        named=True, powers=True, note=f"at most {limit:g} ms asked for" if limit else "",
    )  # fmt: skip
    key = [(one.name, kinds[one.name][0], kinds[one.name][1]) for one in series]
    caption = (
        "Each model on the same val images, with the 95 % interval of each by itself. Up is better, left is faster. "
        "The choice was made on these images, so that the chosen one's value here is a little too high; the number to "
        "expect is that on test."
    )
    return Figure("choose", caption, (panel,), (key,))


def short_names(models: Iterable[str]) -> dict[str, str]:
    """The part of each name that tells the models apart in a picture: no tag, no folder."""
    names = list(dict.fromkeys(models))
    short = {name: name.rpartition(":")[2] if ":" in name else name.partition(".")[0] for name in names}
    alike = Counter(short.values())
    return {name: printable(name if alike[short[name]] > 1 else short[name]) for name in names}


def _mark(line: Mapping[str, Any], shape: str, label: str, about: int) -> Mark:
    val = line["val"]
    edge = 0.5 / max(1, val["n"])  # half an image: 0 and 1 stay on the axis

    def odds(share: float) -> float:
        share = min(max(share, edge), 1 - edge)
        return math.log(share / (1 - share))

    middle, low, high = (odds(val[key]) for key in ("value", "low", "high"))
    return Mark(label, shape, math.log10(line["ms"]), middle, low, high, about=about)


def page_html(document: Mapping[str, Any], figure: Figure | None, panels: list[str]) -> str:
    """A self-contained page."""
    metric, sentences = document["metric"], list(document["sentences"])
    warnings = [sentences.pop(0)] if document["untrained"] else []
    lines = [_line(metric, line) for line in document["candidates"]]
    return page(
        "featune.bench.choose", "choose.html.j2",
        title=f"Which backbone for {document['data']['name']}",
        sentences=sentences,
        warnings=warnings,
        picture=drawings([(figure, panels)])[0] if figure else None,
        lines=lines,
        known={name: any(line[name] != "–" for line in lines) for name in ("top1", "licence")},
        metric=metric_name(metric),
        facts=facts(document),
        rules=rules(document),
        version=document["featune"],
    )  # fmt: skip


def _line(metric: str, line: Mapping[str, Any]) -> dict[str, Any]:
    val = line["val"]
    return {
        "model": line["model"], "regime": line["regime"] or "not run", "chosen": line["fate"] == "chosen",
        "val": number(metric, val["value"]) if val else "–",
        "interval": f"{number(metric, val['low'])} to {number(metric, val['high'])}" if val else "",
        "images": f"{line['train_images']:,}" if line.get("train_images") else "–",
        "ms": f"{line['ms']:.3g}" if line.get("ms") is not None else "–",
        "rate": f"{line['images_per_second']:,.0f}" if line.get("images_per_second") is not None else "–",
        "seconds": minutes(line["seconds"]) if line.get("seconds") is not None else "–",
        "parameters": f"{line['million_parameters']:.3g}" if line.get("million_parameters") else "–",
        "top1": f"{100 * line['imagenet_top1']:.1f}\u00a0%" if line.get("imagenet_top1") else "–",
        "licence": line.get("licence") or "–", "reason": line.get("reason") or "", "fate": line["fate"],
    }  # fmt: skip


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    data, asked = document["data"], document["asked"]
    counts = ", ".join(f"{count:,} {split}" for split, count in data["counts"].items())
    stages = [f"{STAGES[name]} {minutes(each)}" for name, each in document["stages"].items() if name in STAGES]
    limit = f", at most {asked['max_latency_ms']:g} ms an image" if asked["max_latency_ms"] else ""
    found = [
        ("Made", document["made"]),
        ("Data", f"{data['name']}: {counts}; {len(data['classes'])} classes"),
        ("Splits", data["source"] or "as given"),
        *(("To know of the data", note) for note in data["notes"]),
        ("Asked for", f"{asked['minutes']:g} minutes{limit}; {' and '.join(asked['regimes'])}; seed {asked['seed']}"),
        ("Where the time went", "; ".join(stages)),
        ("Machine", f"{document['environment'].get('device')}; {asked['device']}, {asked['backend']}"),
    ]
    if verdict := document["files"].get("verdict"):
        said = f"{'passed' if verdict['passed'] else 'failed'}, {verdict['images']} images ({verdict['source']})"
        parts = f"worst cosine {verdict['worst_cosine']:.7f}, largest error {verdict['max_error']:.3g}"
        found.append(("The file's check", f"{said}, {parts}"))
    if document["files"].get("timm"):
        found.append(("For timm", f"folder {document['files']['timm']}: {document['files']['timm_said']}"))
    versions = document["environment"].get("versions", {})
    found.append(("Versions", ", ".join(f"{name} {number_}" for name, number_ in versions.items())))
    return [*found, *([("Command", document["command"])] if document["command"] else [])]


def rules(document: Mapping[str, Any]) -> list[str]:
    """How the choice was made, in sentences."""
    bound = points(document["metric"], document["not_better_by"])
    return [
        f"Every model is opened and timed here, by {document['asked']['backend']}. A model that is slower than the "
        "limit is dropped.",
        f"Probes are logistic regressions on frozen features, fitted on train and judged on val: on {FIRST_IMAGES:,} "
        f"train images first where there are more than twice as many, then on {GROWTH} times as many, up to all. A "
        "model that a paired test on the same val images calls worse than the leader (McNemar, 5 % for all together "
        "by Holm; the bootstrap where the metric is no share of images) is dropped.",
        f"The {MOST_TUNED} best that are left are fine-tuned by successive halving with the recipe `default` where "
        f"the time allows {LEAST_PASSES} passes over train and {LEAST_STEPS} steps, or the whole recipe. With time "
        "left, the best one is trained at a third and at three times the rate, and then those that went out. A model "
        "that its probe put out of the race might have gained more by fine-tuning; that was not tried.",
        "The best value on val is chosen; of equals the frozen model, then the faster one. Only that one is scored on "
        "test, once. Its classifier is fitted on train and val where it is frozen, and trained on train alone where "
        "it is fine-tuned.",
        f"Of what else was tried on the same val images, none is better by more than {bound} with 95 % confidence for "
        "all together (Tango's score test, or the bootstrap, at 5 % over the number of ordered pairs). A frozen "
        "model's penalty and a fine-tuned one's best step were chosen on these images too, which the intervals do not "
        "know.",
    ]
