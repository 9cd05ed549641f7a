"""A user's own function that makes a model, named `module:function` or `file.py:function`."""

import functools
import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import BadInput
from ..paths import is_below
from ..store import digest, file_digest

GIVEN = "featune_factory_"  # how the names of modules begin that are given as files
INSTALLED = [Path(sysconfig.get_path(name)).resolve() for name in ("stdlib", "platstdlib", "purelib", "platlib")]
PACKAGES = {"site-packages", "dist-packages"}  # of whichever interpreter, prefix or user


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


def require_own(factory: str, folders: Sequence[Path], remedy: str) -> None:
    """Raises BadInput for a factory whose code is not the user's own: a file below one of the folders.

    Nothing is executed that is not below them: a file by its path, and a module by the place where its top-level
    package would be imported from. What that code takes from libraries is no factory either. remedy: what else than
    writing such code the user of this command can do.
    """
    name, _, function = factory.rpartition(":")
    place = folders[0] / name if name.endswith(".py") else _place_of(name.partition(".")[0])
    if place is None or not is_below(place, folders) or is_below(place, INSTALLED):
        raise BadInput(
            f"factory {factory!r:.200}: its code lies outside {folders[0].resolve()}; give a file of your own there, "
            f"`file.py:function`, or {remedy}"
        )
    made = factory_of(f"{place.resolve()}:{function}" if name.endswith(".py") else factory)
    while isinstance(made, functools.partial):
        made = made.func
    home = sys.modules.get(str(getattr(made, "__module__", None) or type(made).__module__))
    if home is None or not _is_own(home):
        raise BadInput(
            f"factory {factory!r:.200}: {function} is a function of {home.__name__ if home else 'no module'}; write "
            f"one of your own around it, or {remedy}"
        )


def _place_of(package: str) -> Path | None:
    """The file or folder that a top-level package would be imported from; nothing is imported."""
    try:
        found = importlib.util.find_spec(package) if package.isidentifier() else None
    except (ImportError, ValueError):
        return None
    if found is None:
        return None
    places = list(found.submodule_search_locations or ())
    origin = found.origin if found.origin and Path(found.origin).is_file() else next(iter(places), None)
    return Path(origin) if origin else None


def factory_of(name: str) -> Callable[..., nn.Module]:
    module, _, function = name.rpartition(":")
    made = getattr(_module(module), function, None)
    if not callable(made):
        raise BadInput(f"{module} has no function {function!r}; check `factory`")
    return made


@functools.cache
def sources_digest(name: str) -> str:
    """Of the code behind a factory: its module's file and those of the user's own modules that it takes things from.

    Modules of the standard library and of installed packages have versions and are left out, but for the factory's own.
    Read once, when the code is: a file that is changed later has no part in this process. What a module imports only
    while it runs is not seen.
    """
    first = _module(name.rpartition(":")[0])
    found: dict[str, ModuleType] = {}
    waiting = [first]
    while waiting:
        module = waiting.pop()
        if module.__name__ in found or (module is not first and not _is_own(module)):
            continue
        found[module.__name__] = module
        waiting += [other for value in list(vars(module).values()) if (other := _module_of(value)) is not None]
    files = [(module, _file_of(module)) for module in found.values()]
    return digest(sorted((_called(module), file_digest(file)) for module, file in files if file))


def _called(module: ModuleType) -> str:
    """The module's name; a file's that was given by its path is called after the file alone, wherever it lies."""
    return Path(str(module.__file__)).name if module.__name__.startswith(GIVEN) else module.__name__


def _module_of(value: object) -> ModuleType | None:
    """The module that a value is, or is of; None where it does not say, in whatever way."""
    try:
        if isinstance(value, ModuleType):
            return value
        return sys.modules.get(str(getattr(value, "__module__", "")))
    except Exception:  # an object that answers for its attributes itself, such as a proxy, raises what it likes
        return None


def _file_of(module: ModuleType) -> Path | None:
    """The file of a module's code. Some only look like modules: `torch.ops` says that its file is "_ops.py"."""
    try:
        file, origin = getattr(module, "__file__", None), getattr(module, "__spec__", None)
    except Exception:  # as above
        return None
    if not isinstance(file, str) or (origin is None and not Path(file).is_absolute()):
        return None
    return Path(file) if Path(file).is_file() else None


def _is_own(module: ModuleType) -> bool:
    file = _file_of(module)
    if file is None or module.__name__.partition(".")[0] == "featune":
        return False
    return not is_installed(file)


def is_installed(file: Path) -> bool:
    """Whether a file is of an interpreter or of an installed package: of any site, the user's and Debian's too.

    A folder that is a link is one's own source; files that are links are how some installers put packages in place.
    """
    place = file if file.is_symlink() else file.resolve()
    return bool(PACKAGES & set(place.parts)) or any(place.is_relative_to(folder) for folder in INSTALLED)


@functools.cache
def _module(name: str) -> ModuleType:
    if not name.endswith(".py"):
        try:
            return importlib.import_module(name)
        except ImportError as error:
            raise BadInput(f"factory module {name!r} cannot be imported: {error}") from error
    if not Path(name).is_file():
        raise BadInput(f"{name}: no such file; give `factory` as `file.py:function` seen from the study file")
    loader = importlib.util.spec_from_file_location(f"{GIVEN}{digest(name)}", name)
    assert loader is not None
    assert loader.loader is not None
    module = importlib.util.module_from_spec(loader)
    sys.modules[loader.name] = module
    loader.loader.exec_module(module)
    return module


def made_by_factory(name: str, factory: str, arguments: Mapping[str, Any]) -> nn.Module:
    """What a factory returns. Raises BadInput where it does not take the arguments or returns no module."""
    check_arguments(name, factory, arguments)
    model = factory_of(factory)(**arguments)
    if not isinstance(model, nn.Module):
        found = type(model).__name__
        raise BadInput(f"{factory} returned {found}, expected a torch.nn.Module; let it return the model")
    for key, value in model.state_dict().items():
        if nn.parameter.is_lazy(value) or value.is_meta:
            why = "no shape yet, of a lazy layer" if nn.parameter.is_lazy(value) else "no numbers, on the meta device"
            raise BadInput(f"{factory}: its {key} has {why}; weights expected: let it run the model once, or load them")
    return model


def check_arguments(name: str, factory: str, arguments: Mapping[str, Any]) -> None:
    """Raises BadInput where a factory does not take these keyword arguments, or needs others."""
    try:
        signature = inspect.signature(factory_of(factory))
    except ValueError:  # a callable without a signature; it is called and sees
        return
    try:
        signature.bind_partial(**arguments)
    except TypeError as error:
        raise BadInput(
            f"{name}: its factory takes no such argument ({error}); give {factory} that parameter"
        ) from error
    try:
        signature.bind(**arguments)
    except TypeError as error:
        raise BadInput(
            f"{name}: its factory needs more than it is given ({error}; it takes {signature}); give the others with "
            "--model-kwargs NAME=VALUE (`kwargs` of a study file), or let them have defaults"
        ) from error
