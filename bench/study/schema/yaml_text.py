"""A study file's text to plain values, by YAML 1.2's rules for numbers, with repeated keys and bombs refused.

PyYAML reads YAML 1.1, where `1e-4` is text, `010` is 8, `1:30` is 90 and the last of two equal keys wins in silence.
Here numbers and dates follow the core schema of YAML 1.2 (yaml.org/spec/1.2.2, section 10.3.2); unquoted yes, no, on
and off stay booleans, as files of before have them.
"""

import re
from pathlib import Path
from typing import Any

import yaml
from yaml.events import AliasEvent
from yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from featune.engine.errors import BadInput
from featune.engine.paths import refuse_devices

MOST_BYTES = 1_000_000
MOST_VALUES = 20_000  # with aliases counted as often as they stand for something
MOST_LEVELS = 50
MOST_DIGITS = 19  # what a whole number of 64 bits has
FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9][0-9_]*(\.[0-9]*)?)([eE][-+]?[0-9]+)?$|[-+]?\.(inf|Inf|INF)$|\.(nan|NaN|NAN)$")
INT = re.compile(r"[-+]?[0-9][0-9_]*$|0o[0-7]+$|0x[0-9a-fA-F]+$")
REPLACED = {f"tag:yaml.org,2002:{kind}" for kind in ("float", "int", "timestamp")}
TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "map", "seq")}


class Refused(Exception):
    """Why a text is no study file: what was found, what is expected, what to do."""


def values_of(text: str) -> tuple[Any, list[str]]:
    """(the text's value, what is wrong with its keys: each repeated one with its lines). Raises Refused."""
    if len(text) > MOST_BYTES:
        raise Refused(
            f"{len(text):,} characters found, at most {MOST_BYTES:,} expected; remove what is no setting, or make "
            "several studies of it"
        )
    try:
        loader = _Loader(text)
        value = loader.get_single_data()
        return value, [said for _, said in sorted(loader.repeated)]
    except (yaml.YAMLError, ValueError, KeyError) as error:  # the last two of what a tag says and a value is not
        said = " ".join(str(error).replace('in "<unicode string>", ', "").split())
        raise Refused(f"is not YAML: {said[:300]}; mend that place") from error


def text_values(path: Path) -> tuple[dict[Any, Any], list[str]]:
    """(the mapping that a study file holds, what is wrong with its keys). Raises BadInput for what is none."""
    refuse_devices(path)
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise BadInput(f"{path}: {error.strerror}; give the path of a study file") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not YAML: {error}; write it in UTF-8") from error
    try:
        value, repeated = values_of(text)
    except Refused as refused:
        joint = " " if str(refused).startswith("is not") else ": "
        raise BadInput(f"{path}{joint}{refused}") from refused
    if not isinstance(value, dict):
        raise BadInput(f"{path}: expected a mapping with name, models and tasks, found {type(value).__name__}")
    return value, repeated


class _Loader(yaml.SafeLoader):
    """Counts what it composes, so that a file that stands for too much is refused before memory is.

    open: the anchor, or None, of each list or mapping that is being composed.
    """

    def __init__(self, text: str):
        super().__init__(text)
        self.repeated: list[tuple[int, str]] = []
        self.open: list[str | None] = []
        self.sizes: dict[int, int] = {}  # values that a node stands for, by its id
        self.composed: list[Node] = []  # held, so that ids stay theirs

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()
        line = event.start_mark.line + 1
        if isinstance(event, AliasEvent) and event.anchor in self.open:
            raise Refused(f"line {line}: *{event.anchor} stands inside the value that it names; write the value out")
        tag = getattr(event, "tag", None)
        if tag not in (None, "!", *TAGS):
            raise Refused(f"line {line}: tag {tag!r} found, plain values expected; remove the tag")
        if len(self.open) > MOST_LEVELS:
            raise Refused(
                f"line {line}: more than {MOST_LEVELS} levels of lists and mappings found, a study file has five; "
                "remove the brackets or indents that are too many"
            )
        node = super().compose_node(parent, index)
        size = self._size(node)
        if size > MOST_VALUES or len(self.composed) > MOST_VALUES:
            raise Refused(
                f"line {line}: more than {MOST_VALUES:,} values found, aliases written out; a study file has hundreds "
                "at most; shorten the list, or make several studies of it"
            )
        return node

    def _size(self, node: Any) -> int:
        if id(node) not in self.sizes:
            parts: list[Node] = []
            if isinstance(node, SequenceNode):
                parts = node.value
            elif isinstance(node, MappingNode):
                parts = [part for pair in node.value for part in pair]
            self.sizes[id(node)] = 1 + sum(map(self._size, parts))
            self.composed.append(node)
        return self.sizes[id(node)]

    def compose_sequence_node(self, anchor: Any) -> Any:
        self.open.append(anchor)
        try:
            return super().compose_sequence_node(anchor)
        finally:
            self.open.pop()

    def compose_mapping_node(self, anchor: Any) -> Any:
        self.open.append(anchor)
        try:
            node = super().compose_mapping_node(anchor)
        finally:
            self.open.pop()
        lines: dict[tuple[str, str], int] = {}
        for key, _ in node.value:
            if not isinstance(key, ScalarNode):
                continue  # refused where it is constructed
            line, name = key.start_mark.line + 1, (key.tag, key.value)
            if name in lines:
                again = f"line {line}: key {key.value[:80]!r} found again, first in line {lines[name]}"
                self.repeated.append((line, f"{again}; keep one of them"))
            lines.setdefault(name, line)
        return node


def _whole(loader: _Loader, node: ScalarNode) -> int | float:
    text = node.value.replace("_", "")
    if len(text) > MOST_DIGITS + 3:
        line = node.start_mark.line + 1
        raise Refused(
            f"line {line}: a whole number of {len(text):,} digits found, at most {MOST_DIGITS} expected; shorten it, "
            "or put it in quotes where it is a name"
        )
    for start, base in (("0o", 8), ("0x", 16)):
        if text.startswith(start):
            return int(text[2:], base)
    return int(text)


def _number(loader: _Loader, node: ScalarNode) -> float:
    return float(node.value.replace("_", "").lower().replace(".inf", "inf").replace(".nan", "nan"))


# PyYAML's table of what a plain scalar may be, by its first character, less what YAML 1.2 reads otherwise.
_Loader.yaml_implicit_resolvers = {
    first: [(tag, rule) for tag, rule in rules if tag not in REPLACED]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", INT, list("-+0123456789"))
_Loader.add_implicit_resolver("tag:yaml.org,2002:float", FLOAT, list("-+.0123456789"))
_Loader.add_constructor("tag:yaml.org,2002:int", _whole)
_Loader.add_constructor("tag:yaml.org,2002:float", _number)
