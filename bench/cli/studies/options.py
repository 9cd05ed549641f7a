"""Options and arguments that commands of studies share."""

from pathlib import Path
from typing import Annotated

import typer

Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the results. (default: runs/NAME)")]
StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
OnlyCells = Annotated[
    list[str] | None,
    typer.Option("--only", metavar="KEY=NAME", help="These cells: model=, task=, regime= or seed=, with wildcards."),
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N. (default: the file's)")]
