"""What is public: `featune published`, `featune tasks` and `featune prepare`; parse, call one function, print."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..terminal import Json, Quiet, counts, errors, json_text, progress_of

if TYPE_CHECKING:
    from ..estimators import Judged
    from ..published import Published, Summary

app = typer.Typer()
STUDIES, DATA = "Studies", "Data"


@app.command("published", rich_help_panel=STUDIES)
def published(
    name: Annotated[str | None, typer.Argument(help="A table, or a CSV file. (default: list them)")] = None,
    without: Annotated[
        list[str] | None, typer.Option("--without", help="A model to leave out; may be repeated.")
    ] = None,
    imagenet: Annotated[str, typer.Option("--imagenet", help="Another ImageNet column of the table.")] = "",
    as_json: Json = False,
) -> None:
    """Published tables: models, tasks, both accuracies, and how transfer follows ImageNet accuracy.

    `timm-real` is ReaL against ImageNet accuracy over timm's own results.

    Example: featune published sfda2022 --without mnasnet1_0
    """
    with errors():
        from ..published import library, published, real_on_imagenet, summary

        if name is None:
            _list(library(), as_json)
        elif name in MEASURES:
            _print_measure(real_on_imagenet(y=MEASURES[name]), as_json)
        else:
            found = summary(published(name), without=without or (), imagenet=imagenet)
            scores = [] if imagenet else _judged_scores(name, without or ())
            if as_json:
                print(json_text(found.as_json() | {"estimators": [_judged_json(one) for one in scores]}))
            else:
                _print(found)
                _print_scores(scores)


def _judged_scores(name: str, without: Sequence[str]) -> "list[Judged]":
    """The estimators' scores that come with a table, judged by its transfer; none for most tables."""
    from ..estimators import CHANCE, judged
    from ..published import published_estimates, published_rows
    from ..results import collect

    scores = [one for one in published_estimates(name) if one.model not in without]
    if not scores:
        return []
    # As if they were measured: the judge keeps published rows apart from a study's, and here there is no study.
    rows = [dataclasses.replace(row, source="measured") for row in published_rows([name])]
    return [
        one for one in judged(collect(row for row in rows if row.cell.model not in without), scores)
        if one.score != CHANCE
    ]  # fmt: skip


def _judged_json(one: "Judged") -> dict[str, Any]:
    from featune.engine.store import plain

    tau = None if one.tau is None else {"value": one.tau.value, "low": one.tau.low, "high": one.tau.high}
    by_task = {of.task: of.tau for of in one.by_task}
    found = {"regime": one.regime, "score": one.score, "tau": tau, "p": one.p, "by_task": by_task}
    return plain(found | {"regret_points": one.regret, "models": len(one.models)})


def _print_scores(scores: "Sequence[Judged]") -> None:
    from ..estimators import ESTIMATORS, SOURCE
    from ..results import label, signed

    for regime in dict.fromkeys(one.regime for one in scores):
        print(
            f"\nscores that come with it, by Kendall's weighted tau with transfer ({label(regime)}), mean over tasks:"
        )
        for one in scores:
            if one.regime == regime and one.tau is not None:
                known = ESTIMATORS.get(one.score)
                title = known.title if known else "source accuracy" if one.score == SOURCE else one.score
                p = "" if one.p is None else f", p = {one.p:.3f}"
                tau = f"{signed(one.tau.value)} ({signed(one.tau.low)} to {signed(one.tau.high)})"
                print(f"{title}: {tau}{p}; its first choice costs {one.regret:.1f} points on average")


# Not tables of transfer: another ImageNet measure against top-1, over timm's results.
MEASURES = {f"timm-{name}": name for name in ("real", "v2", "a", "r", "sketch")}


def _list(tables: "list[Published]", as_json: bool) -> None:
    from ..published import library_names
    from ..results import counted

    if as_json:
        found = [{"name": one.name, "title": one.title, "paper": one.paper, "source": one.source,
                  "models": list(one.models), "tasks": list(one.tasks), "regimes": list(one.regimes)}
                 for one in tables]  # fmt: skip
        print(json_text({"tables": found, "names": [*library_names(), *MEASURES]}))
        return
    for one in tables:
        size = f"{counted(len(one.models), 'model')}, {counted(len(one.tasks), 'task')}"
        names = [name for name in library_names() if name.startswith(f"{one.name}-")]
        print(f"{one.name}: {one.title} ({size})" + (f"; also {', '.join(names)}" if names else ""))
    print(f"{', '.join(MEASURES)}: another ImageNet measure against top-1 accuracy, over timm's published results")


def _print(found: "Summary") -> None:
    from rich.console import Console
    from rich.table import Table

    from ..published import summary_lines
    from ..results import label

    console = Console(width=None if sys.stdout.isatty() else 160)
    table = found.table
    print(f"{table.name}: {table.title}\n{table.paper or table.source}\nsource: {table.source}\n")
    for one in found.regimes:
        shown = Table("model", "ImageNet", "mean transfer", *one.tasks, title=label(one.regime), title_justify="left")
        order = sorted(range(len(one.models)), key=lambda at: (-one.imagenet[at], one.models[at]))
        for at in order:
            model, top = one.models[at], one.imagenet[at]
            cells = [f"{100 * table.values[one.regime, model, task]:.1f}" for task in one.tasks]
            shown.add_row(model, "–" if top != top else f"{100 * top:.2f}", f"{100 * one.transfer[at]:.2f}", *cells)
        console.print(shown)
        if one.left_out:
            print(f"left out, without an ImageNet accuracy or a task: {', '.join(one.left_out)}")
    for line in summary_lines(found):
        print(line)


def _print_measure(found: Mapping[str, Any], as_json: bool) -> None:
    if as_json:
        print(json_text(found))
        return
    print(
        f"{found['y']} on top1, {found['rows']:,} rows of {found['source']}: r = {found['r']:.3f}\n"
        f"slope below the median of {100 * found['median']:.3f}: {found['slope_below']:.3f}; at or above it: "
        f"{found['slope_above']:.3f}; change {found['change']:.3f}, 95 % interval {found['change_interval'][0]:.3f} to "
        f"{found['change_interval'][1]:.3f} as if the rows were independent; they share weights and architectures, so "
        "it is too narrow"
    )


@app.command("tasks", rich_help_panel=DATA)
def tasks_command(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of docs/tasks.md.")] = False,
) -> None:
    """List the public data sets of `featune prepare`: classes, images, metric, licence, where to get them.

    Example: featune tasks --json
    """
    from ..catalogue import TASKS, tasks_json, tasks_markdown, tasks_table

    if as_json:
        print(json_text(tasks_json(TASKS.values())))
    elif markdown:
        print(tasks_markdown(TASKS.values()), end="")
    else:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else 120).print(tasks_table(TASKS.values()))


@app.command(rich_help_panel=DATA)
def prepare(
    task: Annotated[str, typer.Argument(help="A name from `featune tasks`.")],
    raw: Annotated[Path, typer.Option("--raw", help="Folder that the official download was unpacked in.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of prepared tasks; writes OUT/TASK.")] = Path("data"),
    variant: Annotated[
        str, typer.Option("--variant", help="Another protocol; see `featune tasks --json`.")
    ] = "default",
    download: Annotated[
        bool, typer.Option("--download", help="Download and unpack it into RAW first, if that is allowed.")
    ] = False,
    decode: Annotated[bool, typer.Option(help="Decode every image once, to find broken ones now.")] = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Turn an official download into a checked task: train.csv, val.csv, test.csv, task.json.

    Example: featune prepare pets --raw downloads --download
    """
    with errors():
        from ..catalogue import download as fetch
        from ..catalogue import entry
        from ..datasets import described, prepare_official

        progress = progress_of(quiet)
        entry(task).check_variant(variant)
        if download:
            fetch(entry(task), raw, progress)
        progress.say(f"{task}: reading {raw}")
        made = prepare_official(task, raw, out, variant=variant, decode=decode, progress=progress)
        if as_json:
            print(json_text(described(made)))
            return
        channels = f", {made.channels} channels" if made.channels != 3 else ""
        print(f"{made.name}: {len(made.classes)} classes, {counts(made.counts)}, metric {made.metric}{channels}")
        print(f"source: {made.source}")
        for note in made.notes:
            print(f"note: {note}")
        print(f"folder: {made.folder}")
