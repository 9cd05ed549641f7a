"""What the commands share: options, progress, output of any encoding, and errors as messages with exit codes."""

import codecs
import contextlib
import functools
import inspect
import io
import json
import os
import shlex
import sys
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from .progress import Progress

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
InChans = Annotated[
    int | None,
    typer.Option("--in-chans", min=1, max=4, help="Read images as grey (1), LA (2), RGB (3) or RGBA (4). (default: 3)"),
]
Seed = Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of splits that are cut, and of draws.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")]
Splits = Annotated[str, typer.Option(help="As test=validation; of a data string.")]
InputKey = Annotated[str | None, typer.Option(help="Column or extension of the image, of a data string.")]
TargetKey = Annotated[str | None, typer.Option(help="Column or field of the label, of a data string.")]
DataRoot = Annotated[Path | None, typer.Option(help="The folder of named data. (default: data)")]
Download = Annotated[bool, typer.Option("--download", help="Download named data that are missing.")]
Metric = Annotated[str, typer.Option(help="Of a folder or table; a prepared task has its own.")]
Device = Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")]
Precision = Annotated[str | None, typer.Option(help="fp32, fp16, bf16, int8, or auto. (default: fp32)")]
Untrained = Annotated[bool, typer.Option("--untrained", help="Random weights; nothing is fetched.")]
Decoder = Annotated[str, typer.Option(help="fast, or exact: Pillow's own resizing.")]
OnError = Annotated[str, typer.Option(help="For bad files: stop, with all of them listed, or skip.")]
BatchSize = Annotated[
    int | None, typer.Option("--batch", "--batch-size", min=1, help="Batch size. (default: searched)")
]
Workers = Annotated[int | None, typer.Option(min=1, help="Threads. (default: searched)")]
Fallback = Annotated[bool, typer.Option("--allow-fallback", help="Accept another provider.")]
Limit = Annotated[int | None, typer.Option(min=1, help="Only the first N images.")]


@contextlib.contextmanager
def errors(alike: bool = False) -> Iterator[None]:
    """Our own errors, and a disk that is full, as one message and an exit code; all else keeps its traceback.

    alike: they follow from the command line alone, so that of several processes (torchrun) the first one says them.
    """
    from featune.engine.errors import FeatuneError, SaidElsewhere

    try:
        yield
    except FeatuneError as error:
        if not isinstance(error, SaidElsewhere) and not (alike and os.environ.get("RANK", "0") != "0"):
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

    def view_of(options: dict[str, Any]) -> Any:
        from featune.export.commands import entry_of, parsed_kwargs, parsed_numbers

        options |= {name: parsed_numbers(f"--{name}", options[name]) for name in ("mean", "std")}
        return entry_of(options | {"model_kwargs": parsed_kwargs(options["model_kwargs"])})

    shown = {
        name: Annotated[kind | None, typer.Option(f"--{name.replace('_', '-')}", help=help, rich_help_panel=VIEW_PANEL)]
        for name, (kind, help) in VIEW_OPTIONS.items()
    }
    return with_options(command, "view", shown, view_of)


def with_options(
    command: Callable[..., None], name: str, shown: Mapping[str, Any], made: Callable[[dict[str, Any]], Any]
) -> Callable[..., None]:
    """The command with more options, which it gets as one keyword. shown: their annotations; made: what they become."""

    @functools.wraps(command)
    def run(**given: Any) -> None:
        with errors(alike=True):
            found = made({each: given.pop(each) for each in shown})
        command(**given, **{name: found})

    own = [each for each in inspect.signature(command).parameters.values() if each.name != name]
    kinds = inspect.Parameter.KEYWORD_ONLY
    more = [inspect.Parameter(name, kinds, default=None, annotation=each) for name, each in shown.items()]
    run.__signature__ = inspect.Signature([*(each.replace(kind=kinds) for each in own), *more])  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in [*own, *more]}
    return run


PLAIN = {"\u2013": "-", "\u2014": "-", "\u2019": "'", "\u2018": "'", "\u201c": '"', "\u201d": '"', "\u2026": "...",
         "\u00d7": "x", "\u00b1": "+-", "\u2212": "-", "\u2264": "<=", "\u2265": ">="}  # fmt: skip
RESCUE = "featune-plain"


def plain_letters(error: UnicodeError) -> tuple[str | bytes, int]:
    """What an output's encoding lacks, in letters that it has: a dash for a dash, e for e with an accent, else ?.

    Bytes of a file's name that are no text come back as they were.
    """
    if not isinstance(error, UnicodeEncodeError):
        raise error
    letter = error.object[error.start]
    if "\udc80" <= letter <= "\udcff":
        return bytes([ord(letter) - 0xDC00]), error.start + 1
    bare = unicodedata.normalize("NFKD", letter).encode("ascii", "ignore").decode()
    return PLAIN.get(letter, bare or "?"), error.start + 1


def write_in_any_encoding() -> None:
    """An output that is not UTF-8, such as a log's, takes every text; a finished command does not fail for a dash."""
    codecs.register_error(RESCUE, plain_letters)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors=RESCUE)


def json_text(value: Any) -> str:
    """For stdout: letters as they are where it takes them, else as JSON's own escapes, from which they come back."""
    text = json.dumps(value, indent=1, ensure_ascii=False)
    try:
        text.encode(getattr(sys.stdout, "encoding", None) or "ascii")
    except UnicodeEncodeError:  # bytes of a file's name that are no text among them
        return json.dumps(value, indent=1)
    return text


def command_line(*words: object, **options: object) -> str:
    """A command as it was given, to be run again; None, False or an empty list was not given, True is a flag.

    A list is an option that was given several times.
    """
    found = list(words)
    for name, value in options.items():
        for each in value if isinstance(value, list) else [value]:
            if each is not None and each is not False:
                found += [f"--{name.replace('_', '-')}", *([] if each is True else [each])]
    return shlex.join(map(str, found))


def progress_of(quiet: bool) -> "Progress":
    from .progress import progress_for

    return progress_for(quiet)


def counts(counts: Any) -> str:
    return ", ".join(f"{count} {split}" for split, count in counts.items())
