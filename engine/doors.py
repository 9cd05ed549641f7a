"""How a room hands on its public names without importing its modules before they are asked for."""

import ast
import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable
from typing import Any


def lazy_exports(package: str) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """A package's `__getattr__` and `__dir__` (PEP 562), read from the imports that its `if TYPE_CHECKING:` holds.

    So a public name is written where type checkers and editors look for it, and its module is imported when the
    name is first used. Raises AttributeError for any other name.
    """

    @functools.cache
    def homes() -> dict[str, str]:
        spec = importlib.util.find_spec(package)
        source = spec.loader.get_source(package)  # type: ignore[union-attr]
        branches = [node for node in ast.parse(source).body if isinstance(node, ast.If)]
        imports = [node for branch in branches for node in branch.body if isinstance(node, ast.ImportFrom)]
        return {alias.name: "." * node.level + str(node.module) for node in imports for alias in node.names}

    def get(name: str) -> Any:
        if name not in homes():
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(importlib.import_module(homes()[name], package), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(homes())
