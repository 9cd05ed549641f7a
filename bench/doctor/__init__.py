"""What `featune doctor` looks at: versions and whether they fit, GPU, providers, disk and folders, known numbers."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .check import Check
    from .examination import Machine, examined, faults_of
    from .folders import shown_size
    from .known_numbers import self_test
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["Check", "Machine", "examined", "faults_of", "self_test", "shown_size"]
