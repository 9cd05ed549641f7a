"""The numbers that a page shows, section by section, and which of them a JSON file does not hold."""

import importlib
import re
from collections.abc import Iterator, Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

NUMBER = re.compile(r"[−+-]?\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?")


class Sections(HTMLParser):
    """The visible text of each section, drawings left out; a space between any two elements."""

    def __init__(self) -> None:
        super().__init__()
        self.text: dict[str, str] = {}
        self.section, self.hidden = "", 0

    def handle_starttag(self, tag: str, attributes: Any) -> None:
        if tag == "section":
            self.section = dict(attributes)["id"]
        self.hidden += tag in ("svg", "script", "style")
        if tag == "small":
            self.handle_data(" ")

    def handle_endtag(self, tag: str) -> None:
        self.hidden -= tag in ("svg", "script", "style")
        if tag == "section":
            self.section = ""
        if tag in ("td", "th", "p", "li", "dd", "dt", "small", "span", "figcaption", "h2"):
            self.handle_data(" ")

    def handle_data(self, data: str) -> None:
        if self.section and not self.hidden:
            self.text[self.section] = self.text.get(self.section, "") + data


def leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, dict):
        for key, each in value.items():
            yield key
            yield from leaves(each)
    elif isinstance(value, list):
        for each in value:
            yield from leaves(each)
    else:
        yield value


def tokens(text: str) -> set[str]:
    return {found.strip("+−-,").rstrip(".") for found in NUMBER.findall(text)}


def unknown(text: str, values: list[Any], exempt: set[str]) -> set[str]:
    """Numbers of the text that are neither in a text of the values nor a number of theirs, rounded."""
    said = exempt.union(*(tokens(str(each)) for each in values if isinstance(each, str)))
    numbers = [float(each) for each in values if isinstance(each, int | float) and not isinstance(each, bool)]
    missing = set()
    for token in tokens(text) - said:
        plain = token.replace(",", "")
        digits = len(plain.partition("e")[0].partition(".")[2])
        if "e" in plain:
            known = {f"{abs(number):.{digits}e}" for number in numbers}
        else:
            known = {f"{abs(times * number):.{digits}f}" for number in numbers for times in (1, 100)}
        if plain not in known:
            missing.add(token)
    return missing


def sections(html: str) -> dict[str, str]:
    """The visible text of each <section> by its id."""
    parser = Sections()
    parser.feed(html)
    return parser.text


def template_numbers(room: str, templates: Sequence[str]) -> set[str]:
    """What stands in the templates' own prose."""
    folder = Path(str(importlib.import_module(room).__file__)).parent
    text = "".join((folder / name).read_text(encoding="utf-8") for name in templates)
    return tokens(re.sub(r"{[{%].*?[%}]}|<[^>]*>", " ", text))
