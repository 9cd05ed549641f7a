"""`featune doctor`: what this machine can do, and what stands in the way; parse, call one function, print."""

import sys
from typing import Annotated

import typer

from ..terminal import Json, errors, json_text

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
