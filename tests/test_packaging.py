"""What a wheel, an sdist and the image of `Dockerfile.gpu` are made of: the whole package, with or without links."""

import tomllib
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
PACKAGES = ("engine", "export", "bench")


@pytest.fixture(scope="module")
def targets() -> Any:
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]


def test_a_wheel_takes_the_folders_themselves_so_that_one_from_an_sdist_without_links_is_whole(targets: Any) -> None:
    wheel = targets["wheel"]
    own = {str(path.relative_to(ROOT)) for path in (ROOT / "featune").glob("*.py")}
    assert set(wheel["only-include"]) == own | set(PACKAGES)
    assert wheel["sources"] == {package: f"featune/{package}" for package in PACKAGES}


def test_an_sdist_holds_all_that_a_wheel_is_made_of_and_every_page(targets: Any) -> None:
    held = set(targets["sdist"]["include"])
    assert {"featune", *PACKAGES, "studies", "docs"} <= held
    assert all((ROOT / name).exists() for name in held)


def test_the_image_copies_the_folders_that_the_links_of_featune_lead_to() -> None:
    copied = [line.split()[1:] for line in (ROOT / "Dockerfile.gpu").read_text().splitlines() if "COPY" in line]
    assert [["featune", "featune"], *([package, package] for package in PACKAGES)] == copied[1:5]
    for package in PACKAGES:
        assert (ROOT / "featune" / package).resolve() == ROOT / package
