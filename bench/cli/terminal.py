"""What the commands share: options, progress, and errors as messages with exit codes."""

import contextlib
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from ..progress import Progress

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
InChans = Annotated[
    int | None,
    typer.Option("--in-chans", min=1, max=4, help="Read images as grey (1), LA (2), RGB (3) or RGBA (4). (default: 3)"),
]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")]


@contextlib.contextmanager
def errors() -> Iterator[None]:
    """Our own errors, and a disk that is full, as one message and an exit code; all else keeps its traceback."""
    from featune.engine.errors import FeatuneError

    try:
        yield
    except FeatuneError as error:
        print(f"featune: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except OSError as error:
        from featune.engine.store import NO_WRITING, unwritable

        if error.errno not in NO_WRITING:
            raise
        refused = unwritable(error.filename or "a file", error)
        print(f"featune: {refused}", file=sys.stderr)
        raise typer.Exit(refused.exit_code) from None
    except KeyboardInterrupt:
        print("featune: interrupted; finished work is saved, run the command again to resume", file=sys.stderr)
        raise typer.Exit(130) from None


def progress_of(quiet: bool) -> "Progress":
    from ..progress import progress_for

    return progress_for(quiet)


def counts(counts: Any) -> str:
    return ", ".join(f"{count} {split}" for split, count in counts.items())
