"""The `featune` command. Heavy imports wait inside the commands, so that help answers at once."""

from typing import Annotated

import typer

from ..terminal import write_in_any_encoding
from . import (
    choose_commands,
    export_commands,
    feature_commands,
    finetune_commands,
    imagenet_commands,
    machine_commands,
    public_commands,
    studies,
    throughput_commands,
)

app = typer.Typer(
    name="featune",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Does a better ImageNet model help on my data, and what does it cost? "
    "Frozen features, fine-tuning and throughput of timm models, compared with their ImageNet accuracy.",
    epilog="Exit codes: 0 all done; 1 some cell failed; 2 usage or data; 3 an exported file differs from its model; "
    "4 something is missing on this machine; 130 interrupted after saving.",
)
PARTS = (
    studies, public_commands, feature_commands, finetune_commands, choose_commands, throughput_commands,
    export_commands, imagenet_commands, machine_commands,
)  # fmt: skip
for part in PARTS:
    app.add_typer(part.app)


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"featune {version('featune')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Options that stand before every command."""
    write_in_any_encoding()


if __name__ == "__main__":
    app()
