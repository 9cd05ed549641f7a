"""A user's own function that makes a model, named `module:function` or `file.py:function`."""

import functools
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from engine.errors import BadInput
from engine.store import digest


def resolved_factory(factory: str, folder: Path) -> str:
    """`file.py:function` with an absolute path, `module:function` as it is; both are looked up now."""
    module, _, function = factory.rpartition(":")
    if not module or not function:
        raise BadInput(f"factory {factory!r}: expected `module:function` or `file.py:function`")
    if module.endswith(".py"):
        module = str((folder / module).resolve())
    resolved = f"{module}:{function}"
    factory_of(resolved)
    return resolved


def factory_of(name: str) -> Callable[..., nn.Module]:
    module, _, function = name.rpartition(":")
    made = getattr(_module(module), function, None)
    if not callable(made):
        raise BadInput(f"{module} has no function {function!r}; check `factory`")
    return made


@functools.cache
def _module(name: str) -> ModuleType:
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise BadInput(f"factory module {name!r} cannot be imported: {error}") from error
    if not Path(name).is_file():
        raise BadInput(f"{name}: no such file; give `factory` as `file.py:function` seen from the study file")
    loader = importlib.util.spec_from_file_location(f"featune_factory_{digest(name)}", name)
    assert loader is not None
    assert loader.loader is not None
    module = importlib.util.module_from_spec(loader)
    sys.modules[loader.name] = module
    loader.loader.exec_module(module)
    return module


def check_arguments(name: str, factory: str, arguments: Mapping[str, Any]) -> None:
    """Raises BadInput where a factory does not take these keyword arguments."""
    try:
        inspect.signature(factory_of(factory)).bind_partial(**arguments)
    except TypeError as error:
        raise BadInput(
            f"{name}: its factory takes no such argument ({error}); give {factory} that parameter"
        ) from error
    except ValueError:  # a callable without a signature; it is called and sees
        pass
