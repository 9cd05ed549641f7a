"""`python -m featune` is the command `featune`."""

from .bench.cli.app import app

app(prog_name="featune")
