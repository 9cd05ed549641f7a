"""`featune tasks` and `featune prepare`: parse, call one function, print."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from .terminal import Json, Quiet, counts, errors, json_text, progress_of

DATA = "Data"
app = typer.Typer()


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
