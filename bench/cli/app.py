"""The `featune` command. Heavy imports wait inside the commands, so that help answers at once."""

import os
import sys
from collections.abc import Iterator
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from ..terminal import errors, write_in_any_encoding
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


UNLIMITED = ("cache", "doctor")  # commands that look at the cache; they change nothing that is not asked for
TIMED = ("choose", "throughput")  # they time models in this process nearly all the time


def _keep_limit(context: typer.Context) -> None:
    """Keep the cache to FEATUNE_CACHE_LIMIT while the command runs, and when it ends.

    Its function is what runs: help, and options that are refused, come before it.
    """
    if not os.environ.get("FEATUNE_CACHE_LIMIT"):
        return
    from featune.engine.store import cache_dir

    from ..cache import EVERY, LIMIT, Pruned, limit_kept, limit_of
    from ..doctor import shown_size

    most, asked, told = limit_of(os.environ), context.invoked_subcommand, set[str]()
    if most is None or asked in UNLIMITED:
        return

    def tell(found: Pruned) -> None:
        if found.removed:
            said = f"removed {found.removed} items, {shown_size(found.freed)}, that were not used for longest"
            print(f"{LIMIT}: {said}; {shown_size(found.left)} left", file=sys.stderr)
        if found.left > most and not told:
            told.add(LIMIT)
            kept = "; ".join(f"{shown_size(size)} {reason}" for reason, size in found.kept.items())
            said = f"the cache has {shown_size(found.left)}, {shown_size(most)} are allowed"
            print(f"{LIMIT}: {said}; kept: {kept or 'records alone are left'}", file=sys.stderr)

    every = None if asked in TIMED else EVERY
    for command in _commands(context.command):  # made for this call alone
        if command.callback:
            command.callback = limit_kept(cache_dir(), most, tell, every)(command.callback)


def _commands(command: Any) -> Iterator[Any]:
    """The commands of a group, and of the groups in it."""
    if isinstance(command, TyperGroup):
        for each in command.commands.values():
            yield from _commands(each)
    else:
        yield command


@app.callback()
def main(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Options that stand before every command."""
    write_in_any_encoding()
    with errors():
        _keep_limit(context)


if __name__ == "__main__":
    app()
