"""`featune doctor` and `featune cache`: this machine, and the folder that Featune keeps on it."""

import datetime
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from ..terminal import Json, Quiet, errors, json_text, progress_of

MACHINE = "This machine"
MARKS = {"fine": "ok   ", "note": "note ", "fault": "FAULT"}
app = typer.Typer()


@app.command(rich_help_panel=MACHINE)
def doctor(
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda or cuda:N, that is to be used. (default: what is there)")
    ] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Without the self-test, which takes up to a minute.")] = False,
    as_json: Json = False,
) -> None:
    """Say what this machine can do: versions that fit, GPU, providers, disk, folders, a self-test. Exit 4 for a fault.

    Example: featune doctor --device cuda
    """
    with errors():
        from featune.engine.errors import Missing
        from featune.engine.store import plain

        from ..doctor import examined, faults_of

        checks = []
        for check in examined(device, quick=quick):
            checks.append(check)
            if not as_json:
                print(f"{MARKS[check.state]} {check.subject}: {check.found}")
                if check.remedy:
                    print(f"      remedy: {check.remedy}", flush=True)
        faults = faults_of(checks)
        if as_json:
            print(json_text({"fit": not faults, "checks": plain(checks)}))
        if faults:
            sys.stdout.flush()
            said = "; ".join(dict.fromkeys(f"{each.subject}: {each.remedy}" for each in faults))
            raise Missing(f"{len(faults)} {'fault' if len(faults) == 1 else 'faults'} found; {said}")


cache_app = typer.Typer(no_args_is_help=True, help="Care of the cache folder: its size, what may go, what is damaged.")
app.add_typer(cache_app, name="cache", rich_help_panel=MACHINE)

Folder = Annotated[Path | None, typer.Option("--cache", help="The folder. (default: FEATUNE_CACHE_DIR, or the user's)")]
Kinds = Annotated[
    str | None, typer.Option("--kind", help="features, graphs, plans, provider, tuned, data; several by commas.")
]


@cache_app.command("du")
def cache_du(
    cache: Folder = None,
    largest: Annotated[int, typer.Option(min=0, help="Items that are listed, the largest first.")] = 5,
    as_json: Json = False,
) -> None:
    """Say how much lies in the cache, by kind, and since when it was not used.

    Example: featune cache du --largest 20
    """
    with errors():
        from featune.engine.store import plain

        from ..cache import LIMIT, contents, limit_of, totals
        from ..doctor import shown_size

        folder = _cache(cache)
        items = contents(folder)
        if as_json:
            value = {"cache": str(folder), "bytes": sum(item.bytes for item in items), "kinds": plain(totals(items))}
            value |= {"limit": limit_of(os.environ), "largest": plain(items[:largest])}
            print(json_text(value))
            return
        limit = limit_of(os.environ)
        allowed = "" if limit is None else f" of {shown_size(limit)} that are allowed ({LIMIT})"
        print(f"{folder}: {shown_size(sum(item.bytes for item in items))}{allowed}")
        for each in totals(items):
            if each.items:
                used = _day(each.used or 0.0)
                print(f"  {each.kind:9} {shown_size(each.bytes):>9} in {each.items:,} items, the oldest used on {used}")
        for item in items[:largest]:
            print(f"  {shown_size(item.bytes):>9} {item.kind}/{item.name}, used on {_day(item.used)}")


@cache_app.command("prune")
def cache_prune(
    max_size: Annotated[
        str | None, typer.Option(help="What the cache may have, 50GB for example. (default: FEATUNE_CACHE_LIMIT)")
    ] = None,
    older_than: Annotated[str | None, typer.Option(help="Not used for so long: 12h, 30d or 8w.")] = None,
    kind: Kinds = None,
    recent_too: Annotated[bool, typer.Option("--recent-too", help="Also what was used in the last 25 hours.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would go, and remove nothing.")] = False,
    cache: Folder = None,
    as_json: Json = False,
) -> None:
    """Remove what was not used for longest, until the cache has a size. What is at work or another user's stays.

    Example: featune cache prune --max-size 50GB
    """
    with errors():
        from featune.engine.store import plain

        from ..cache import KINDS, limit_of, parsed_age, parsed_size, pruned
        from ..doctor import shown_size

        limit = limit_of(os.environ) if older_than is None else None
        found = pruned(
            _cache(cache),
            most=parsed_size(max_size) if max_size is not None else limit,
            older=parsed_age(older_than) if older_than is not None else None,
            kinds=[each.strip() for each in kind.split(",")] if kind else tuple(KINDS),
            recent_too=recent_too,
            dry=dry_run,
        )
        if as_json:
            print(json_text(plain(found)))
            return
        would = "would be removed" if dry_run else "removed"
        print(f"{found.removed} items {would}, {shown_size(found.freed)}; {shown_size(found.left)} left")
        for reason, size in found.kept.items():
            print(f"kept: {shown_size(size)} {reason}")


@cache_app.command("verify")
def cache_verify(cache: Folder = None, quiet: Quiet = False, as_json: Json = False) -> None:
    """Read every byte of the cache; exit 1 if an item is not what was written. Changes nothing.

    Example: featune cache verify
    """
    with errors():
        from featune.engine.store import plain

        from ..cache import damaged_items

        with progress_of(quiet).stage("verifying") as advance:
            count, damaged = damaged_items(_cache(cache), advance)
        if as_json:
            print(json_text({"checked": count, "damaged": plain(damaged)}))
        else:
            for each in damaged:
                print(f"{each.kind}/{each.name}: {each.reason}; it is not used, and made again when asked for")
            print(f"{count - len(damaged)} of {count} items are whole")
        if damaged:
            raise typer.Exit(1)


def _cache(given: Path | None) -> Path:
    from featune.engine.errors import BadInput
    from featune.engine.store import cache_dir

    folder = given or cache_dir()
    if folder.exists() and not folder.is_dir():
        raise BadInput(f"{folder}: a file found, the folder of a cache expected")
    return folder


def _day(seconds: float) -> str:
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%d")
