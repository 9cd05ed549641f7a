"""The size of the GPU image on paper: bytes on disk of every package that Featune needs, as installed here.

    python benchmarks/image_size.py [--base 0.25] [--system 0.12]

Sizes are those of each package's own record of files (compiled bytecode included), in decimal gigabytes. What cannot be
measured here is given as an option: the base image and the system's packages, in gigabytes.
"""

import argparse
import importlib.metadata

from packaging.requirements import Requirement


def closure(name: str, found: dict[str, int]) -> dict[str, int]:
    """Bytes of a package and of all that it requires, extras left out."""
    try:
        package = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        print(f"not installed here: {name}")
        return found
    key = package.metadata["Name"].lower().replace("_", "-")
    if key in found:
        return found
    files = [file.locate() for file in package.files or []]
    found[key] = sum(path.stat().st_size for path in files if path.is_file())
    for text in package.requires or []:
        wanted = Requirement(text)
        extras = wanted.extras or {""}
        if wanted.marker is None or any(wanted.marker.evaluate({"extra": ""}) for _ in extras):
            closure(wanted.name, found)
            for extra in wanted.extras:
                _extra(wanted.name, extra, found)
    return found


def _extra(name: str, extra: str, found: dict[str, int]) -> None:
    """What an extra of a package asks for, as cuda-toolkit's parts."""
    for text in importlib.metadata.distribution(name).requires or []:
        wanted = Requirement(text)
        if wanted.marker is not None and wanted.marker.evaluate({"extra": extra}):
            closure(wanted.name, found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--base", type=float, default=0.25)
    parser.add_argument("--system", type=float, default=0.12)
    options = parser.parse_args()
    found = closure("featune", {})
    for name, size in sorted(found.items(), key=lambda one: -one[1])[:16]:
        print(f"{size / 1e9:7.3f} GB  {name}")
    packages = sum(found.values()) / 1e9
    print(f"{packages:7.3f} GB  all {len(found)} packages")
    whole = packages + options.base + options.system
    print(f"{whole:7.3f} GB  with a base of {options.base} GB and {options.system} GB of system packages, no TensorRT")
    print(f"{10 - whole:7.3f} GB  are left for TensorRT up to 10 GB")


if __name__ == "__main__":
    main()
