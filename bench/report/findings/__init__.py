"""What a closer look at a study finds: sentences for people, numbers for programs."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .finding import Finding
    from .looking import closer_look, printable_values, report_json
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["Finding", "closer_look", "printable_values", "report_json"]
