"""`featune demo` and `featune study`, put together."""

import typer

from .arrays import arrays_app
from .files import files_app
from .looking import look_app
from .running import demo, run_app

STUDIES = "Studies"
app = typer.Typer()
app.command(rich_help_panel=STUDIES)(demo)
study_app = typer.Typer(no_args_is_help=True, help="Run a study file, show its progress, write its report.")
for part in (run_app, look_app, files_app, arrays_app):
    study_app.add_typer(part)
app.add_typer(study_app, name="study", rich_help_panel=STUDIES)
