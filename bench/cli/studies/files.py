"""`featune study plan | compare | schema | init`: what is done with study files and their results, nothing measured."""

from pathlib import Path
from typing import Annotated

import typer

from ...terminal import Json, errors, json_text
from .options import Out, StudyPath

files_app = typer.Typer()


@files_app.command("plan")
def study_plan(path: StudyPath, out: Out = None, as_json: Json = False) -> None:
    """Count the cells that a study will measure and say what it costs, by rates that were measured. Runs nothing.

    Example: featune study plan mystudy.yaml
    """
    with errors():
        from ...study import outlook_lines, planned_cells

        found = planned_cells(path, out)
        if as_json:
            print(json_text(found))
            return
        for line in outlook_lines(found):
            print(line)


@files_app.command("compare")
def study_compare(
    first: Annotated[Path, typer.Argument(metavar="A", help="A study file, or the output folder of one.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="Another, or a later version.")],
    as_json: Json = False,
) -> None:
    """Compare two studies, or two versions of one, cell by cell. What was measured otherwise is not compared.

    Example: featune study compare runs/before runs/after
    """
    with errors():
        from featune.engine.errors import BadInput
        from featune.engine.store import plain

        from ...comparison import compare, comparison_lines
        from ...study import rows_at

        rows = [rows_at(path) for path in (first, second)]
        for path, of in zip((first, second), rows, strict=True):
            if not of:
                raise BadInput(f"{path}: no row found; give a study file that was run, or its output folder")
        found = compare(*rows)
        if as_json:
            print(json_text(plain(found)))
            return
        for line in comparison_lines(found):
            print(line)


@files_app.command("schema")
def study_schema() -> None:
    """Print the JSON schema of study files, by which editors complete and check them.

    Example: featune study schema > study.schema.json
    """
    with errors():
        from ...study import json_schema

        print(json_text(json_schema()))


@files_app.command("init")
def study_init(
    path: Annotated[Path, typer.Argument(help="The file to write; one that is there is kept.")] = Path("mine.yaml"),
) -> None:
    """Write a commented study file to start from.

    Example: featune study init mine.yaml
    """
    with errors():
        from featune.engine.errors import BadInput
        from featune.engine.store import write_text

        from ...study import TEMPLATE

        if path.exists():
            raise BadInput(f"{path} is there already and is kept; give another name")
        text = TEMPLATE.read_text(encoding="utf-8").replace("mine.yaml", path.name)
        write_text(path, text.replace("name: mine\n", f"name: {path.stem}\n"))
        print(path)
