"""A drawing of matplotlib's made fit to stand beside others in a page: own ids, named colours, few bytes."""

import re
import xml.etree.ElementTree as ElementTree

from .marks import ABOUT
from .style import COLOURS, INK, MUTED, RULE, TRACK

# Colours that the page gives names to, so that its dark scheme can change them (bench/report/pages/page.css).
NAMED = {"#ffffff": "page", INK: "ink", MUTED: "muted", RULE: "rule", TRACK: "track"} | {
    colour.lower(): f"c{at}" for at, colour in enumerate(COLOURS, 1)
}
DIGITS = re.compile(r"-?\d+\.\d{2,}")
SPACES = re.compile(r" *([A-Za-z]) *| {2,}")  # of a path
FAMILY = re.compile(r"font-family: [^;]*;? ?|; font-family: [^;]*$")  # the page's own is taken
REFERRED = re.compile(r"(?:url\(#|href=\"#)([^)\"]+)")
_REFERENCE = re.compile(r"url\(#([^)]+)\)")
# What a browser shows; where it has none of these narrower faces, it falls back to the measured one.
FACES = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


def named_colours(style: str) -> str:
    """The style with the page's names for its colours, which stand behind where the page has none."""

    def name(found: re.Match[str]) -> str:
        colour = found.group().lower()
        return f"var(--{NAMED[colour]}, {colour})" if colour in NAMED else colour

    return re.sub(r"#[0-9a-fA-F]{6}\b", name, style)


def detach(root: ElementTree.Element, prefix: str) -> None:
    """Make the drawing fit to stand beside others in a page: own ids, no page-wide style, no namespaces.

    And short, as a figure may have thousands of marks: tenths of a px, short ids, and what like marks share said once.
    """
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
    for element in root.iter("g"):
        if element.get("id", "").startswith(ABOUT):
            _say_whose(element)
    known = {element.get("id", ""): f"{prefix}{at}" for at, element in enumerate(root.iter()) if element.get("id")}
    for element in root.iter():
        for name, value in list(element.attrib.items()):
            plain = name.rpartition("}")[2]
            if plain == "id":
                value = known[value]
            elif plain == "href":
                value = f"#{known[value[1:]]}"
            else:
                value = _REFERENCE.sub(lambda found: f"url(#{known[found[1]]})", value)
            if plain in ("d", "x", "y"):
                value = DIGITS.sub(lambda number: f"{float(number[0]):.1f}".removesuffix(".0"), value)
            if plain == "d":
                value = SPACES.sub(lambda found: found[1] or " ", value).strip()
            if plain == "style":
                value = FAMILY.sub("", value)
            del element.attrib[name]
            element.set(plain, named_colours(value) if plain == "style" else value)
    _drop_needless(root)
    for parent in root.iter("g"):
        if len(parent) > 1 and {child.tag for child in parent} in ({"use"}, {"path"}):
            _hoist(parent)


def _drop_needless(root: ElementTree.Element) -> None:
    """Ids that nothing refers to, turns by nothing, and the spaces between elements."""
    text = ElementTree.tostring(root, encoding="unicode")
    used = set(REFERRED.findall(text))
    for element in root.iter():
        if element.get("id") not in used:
            element.attrib.pop("id", None)
        if element.get("transform", "").startswith("rotate(-0 "):
            del element.attrib["transform"]
        if element.tag not in ("text", "tspan") and not (element.text or "").strip():
            element.text = None
        if not (element.tail or "").strip():
            element.tail = None


def _hoist(parent: ElementTree.Element) -> None:
    """What the styles of all children have in common becomes the parent's."""
    styles = [[part.strip() for part in child.get("style", "").split(";") if part.strip()] for child in parent]
    shared = (part for part in styles[0] if all(part in each for each in styles))
    common = [part for part in shared if not part.startswith("opacity")]  # that a child does not inherit
    if not common or parent.get("style"):
        return
    parent.set("style", "; ".join(common))
    for child, style in zip(parent, styles, strict=True):
        own = [part for part in style if part not in common]
        child.attrib.pop("style", None)
        if own:
            child.set("style", "; ".join(own))


def _say_whose(group: ElementTree.Element) -> None:
    """`data-m`, the model's place in the page's tables, on each point of the group, or on the group of one bar."""
    whose = group.attrib.pop("id").removeprefix(ABOUT).split(",")
    points = list(group.iter("use"))
    if len(points) == len(whose):
        for point, place in zip(points, whose, strict=True):
            if place:
                point.set("data-m", place)
    elif len(whose) == 1:
        group.set("data-m", whose[0])
