"""Makes the files that fast backends need, and refuses those that are wrong.

The package is called as a function too: `featune.export("resnet50", "resnet50.onnx", data="photos/")`.
"""

import sys
from types import ModuleType
from typing import Any


class _CallablePackage(ModuleType):
    """Lets `featune.export` be the package and the function of that name (Python's documented way: set __class__)."""

    def __call__(self, *arguments: Any, **options: Any) -> Any:
        """See `featune.export.commands.export`."""
        from .commands import export

        return export(*arguments, **options)


sys.modules[__name__].__class__ = _CallablePackage
