"""The README and the pages: paths that they name are there."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_modules_and_pages_that_a_page_names_are_there(page: Path) -> None:
    text = page.read_text()
    modules = re.findall(r"`((?:engine|export|bench|tests|benchmarks|studies|docs)/[\w/.-]+\.\w+)`", text)
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    absent = [name for name in modules if not (ROOT / name).exists()]
    absent += [name for name in links if not (page.parent / name).exists()]
    assert not absent
