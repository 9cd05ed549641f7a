"""The verdict on an exported file: measured against torch on real images, kept in the file, required before use."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .samples import Sample, folder_sample, halves, held_out, own_sample, varied
    from .scope import scope_of
    from .verdicts import LEAST_LABELLED, REFERENCE, Verdict, judge, parity_record, require_passing
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "LEAST_LABELLED",
    "REFERENCE",
    "Sample",
    "Verdict",
    "folder_sample",
    "halves",
    "held_out",
    "judge",
    "own_sample",
    "parity_record",
    "require_passing",
    "scope_of",
    "varied",
]
