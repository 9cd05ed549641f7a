"""One thing that was looked at: what was found, and what to do where it is wrong."""

import dataclasses
from typing import Literal

State = Literal["fine", "note", "fault"]


# The file lies in the repository; who installed from PyPI has none.
FITTING = "pip install --force-reinstall featune, with -c constraints.txt of Featune's repository for versions that fit"


@dataclasses.dataclass(frozen=True)
class Check:
    """subject: what was looked at. state: `note` is worth knowing, `fault` stands in the way. remedy: of the latter."""

    subject: str
    state: State
    found: str
    remedy: str = ""


def fine(subject: str, found: str) -> Check:
    return Check(subject, "fine", found)


def note(subject: str, found: str, remedy: str = "") -> Check:
    return Check(subject, "note", found, remedy)


def fault(subject: str, found: str, remedy: str) -> Check:
    return Check(subject, "fault", found, remedy)
