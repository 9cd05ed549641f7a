"""What the commands share: options, progress, and errors as messages with exit codes."""

import contextlib
import functools
import inspect
import sys
from collections.abc import Callable, Iterator
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


VIEW_PANEL = "View and model: by default what the model says of itself"
# Of timm's scripts, by their names; `tap` is ours. (type, what it is)
VIEW_OPTIONS: dict[str, tuple[Any, str]] = {
    "img_size": (int, "Pixels of the square that the model sees."),
    "mean": (str, "Of each channel, or one for all: 0.5 or 0.485,0.456,0.406."),
    "std": (str, "As --mean."),
    "crop_pct": (float, "The square's share of the resized image, such as 0.95."),
    "crop_mode": (str, "center, squash or border."),
    "interpolation": (str, "bilinear, bicubic, nearest, lanczos, box or hamming."),
    "model_kwargs": (list[str], "NAME=VALUE of the constructor or factory; may be repeated."),
    "tap": (str, "The layer of file.py:function whose output is the feature."),
}


def with_view(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of VIEW_OPTIONS, which it gets as `view`, the parts of a model's entry."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        with errors():
            from featune.export.commands import entry_of, parsed_kwargs, parsed_numbers

            options = {name: given.pop(name) for name in VIEW_OPTIONS}
            options |= {name: parsed_numbers(f"--{name}", options[name]) for name in ("mean", "std")}
            options["model_kwargs"] = parsed_kwargs(options["model_kwargs"])
            view = entry_of(options)
        command(**given, view=view)

    own = [each for each in inspect.signature(command).parameters.values() if each.name != "view"]
    shown = {
        name: Annotated[kind | None, typer.Option(f"--{name.replace('_', '-')}", help=help, rich_help_panel=VIEW_PANEL)]
        for name, (kind, help) in VIEW_OPTIONS.items()
    }
    kinds = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(name, kinds, default=None, annotation=each) for name, each in shown.items()]
    run.__signature__ = inspect.Signature([*(each.replace(kind=kinds) for each in own), *more])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in [*own, *more]}
    return run


def progress_of(quiet: bool) -> "Progress":
    from ..progress import progress_for

    return progress_for(quiet)


def counts(counts: Any) -> str:
    return ", ".join(f"{count} {split}" for split, count in counts.items())
