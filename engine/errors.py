"""Every error that Featune raises on purpose.

FeatuneError            exit code 1
├── BadInput            2   usage, configuration or data: what was found, what was expected, what to do
│   └── BadImages       2   files that could not be read as images, all of them
├── ParityFailed        3   an exported model is not the model
├── Missing             4   a GPU, a library, a token or a file that this machine lacks
├── CellFailed          1   one or more cells of a study failed; the report says which
└── SaidElsewhere           another process of the run says why it ended; its exit code
"""

import difflib
import inspect
from collections.abc import Iterable


class FeatuneError(Exception):
    exit_code = 1


class BadInput(FeatuneError):
    exit_code = 2


class BadImages(BadInput):
    """Files that could not be read as images.

    problems: (path, reason) of every one of them. remedy: what to do about them.
    """

    def __init__(self, problems: Iterable[tuple[str, str]], remedy: str = "repair or remove"):
        self.problems, self.remedy = tuple(problems), remedy
        listed = "\n".join(f"  {path}: {reason}" for path, reason in self.problems)
        count = len(self.problems)
        noun = "file is not a readable image" if count == 1 else "files are not readable images"
        if any("channels" in reason for _, reason in self.problems):
            remedy += ", or read them with the channels that they have (--in-chans, or in_chans of a task)"
        super().__init__(f"{count} {noun}; {remedy}:\n{listed}")

    def __reduce__(self) -> tuple[type["BadImages"], tuple[object, str]]:
        return type(self), (self.problems, self.remedy)


class ParityFailed(FeatuneError):
    exit_code = 3


class Missing(FeatuneError):
    exit_code = 4


class CellFailed(FeatuneError):
    exit_code = 1


class SaidElsewhere(FeatuneError):
    """Another process of the same run says why it ended. This one has its exit code, and nothing to say."""

    def __init__(self, exit_code: int):
        self.exit_code = exit_code
        super().__init__("another process of this run has ended; it says why")


def nearest(word: str, known: Iterable[str], count: int = 3) -> str:
    """`; nearest: a, b` for an unknown word, or nothing when no known word is close."""
    close = difflib.get_close_matches(word, sorted(known), n=count, cutoff=0.5)
    return f"; nearest: {', '.join(close)}" if close else ""


def first_line(error: BaseException) -> str:
    """What an error says, short enough for a line of ours."""
    return inspect.cleandoc(str(error)).split("\n")[0][:200] or type(error).__name__
