"""Tables as spreadsheets and scripts write them."""

from collections.abc import Iterable
from pathlib import Path

import pytest
from make_layouts import picture

from featune.bench.tasks import read_table, table_layout
from featune.engine.errors import BadInput

IMAGES = [(f"im/{name}/{i}.png", name) for name in "ab" for i in range(6)]


@pytest.fixture
def table(tmp_path: Path) -> Path:
    for path, _ in IMAGES:
        picture(tmp_path / path)
    picture(tmp_path / "im/a/red, round.png")
    return tmp_path / "t.csv"


def text(separator: str = ",", end: str = "\n", more: Iterable[str] = (), **called: str) -> str:
    lines = [f"{path}{separator}{called.get(name, name)}" for path, name in IMAGES]
    return "".join(line + end for line in (f"path{separator}label", *lines, *more))


@pytest.mark.parametrize(
    ("written", "classes"),
    [
        ("\ufeff" + text(), ("a", "b")),
        (text(";", "\r\n"), ("a", "b")),
        (text(end="\r"), ("a", "b")),
        (text("\t"), ("a", "b")),
        (text(more=['"im/a/red, round.png",a']), ("a", "b")),
        (text(a="NA", b="None"), ("NA", "None")),
        (text(a="007", b="7"), ("007", "7")),
        (text(a="TRUE", b="no"), ("TRUE", "no")),
        ("sep=;\n" + text(";"), ("a", "b")),
        ('\ufeff"sep=;"\r\n' + text(";", "\r\n"), ("a", "b")),
        ("SEP=\t\n" + text("\t"), ("a", "b")),
        ("sep=|\n" + text("|"), ("a", "b")),
        ("\n\r\n" + text(), ("a", "b")),
        ("# exported, by a tool\n" + text(), ("a", "b")),
        (text(";").replace("label", "label;note, free", 1), ("a", "b")),
        (text("\t").replace("label", "label\tnote; or, more", 1), ("a", "b")),
    ],
)
def test_what_spreadsheets_write_is_read(written: str, classes: tuple[str, ...], table: Path) -> None:
    table.write_bytes(written.encode())
    assert table_layout(table, 0).classes == classes


@pytest.mark.parametrize(
    ("written", "reason"),
    [
        (text().encode("utf-16"), "UTF-8"),
        (text().replace("/", "\\").encode(), "write / for"),
        (b"#exported\n" + text().encode(), "'#exported' is taken for the header"),
        (text().partition("\n")[2].encode(), "no column path and label; found im/a/0.png, a; expected a header"),
        (text("|").encode(), "separated by comma, semicolon or tab"),
        (b"\n" + text(more=["a,b,c"]).encode(), "line 15: 2 values expected, 3 found"),
    ],
)
def test_what_is_no_such_table_is_refused_by_its_reason(written: bytes, reason: str, table: Path) -> None:
    table.write_bytes(written)
    with pytest.raises(BadInput, match=reason):
        table_layout(table, 0)


@pytest.mark.parametrize(("yes", "no"), [("True", "False"), ("TRUE", "FALSE"), ("true", "false"), ("1.0", "0.0")])
def test_columns_of_true_and_false_are_marks(yes: str, no: str, table: Path) -> None:
    lines = [f"{path},{yes if name == 'a' else no},{yes if name == 'b' else no}" for path, name in IMAGES]
    table.write_text("\n".join(["path,label:a,label:b", *lines]))
    layout = table_layout(table, 0)
    assert layout.classes == ("a", "b")
    assert {labels for items in layout.splits.values() for labels in items.labels} == {(0,), (1,)}


@pytest.mark.parametrize("spelling", ["{}", "./{}", "im/b/../../{}", "{root}/{}", "im/./{rest}", ".//{}"])
def test_one_file_in_two_lines_is_one_image_however_it_is_spelt(spelling: str, table: Path) -> None:
    path = spelling.format("im/a/0.png", root=table.parent, rest="a/0.png")
    table.write_text(text(more=[f"{path},b"]))
    with pytest.raises(BadInput, match=r"im/a/0\.png has two lines of different labels"):
        table_layout(table, 0)
    table.write_text(text(more=[f"{path},a"]))
    splits = table_layout(table, 0).splits
    assert [sum(path == "im/a/0.png" for path in items.paths) for items in splits.values()].count(0) == 2


def test_other_spellings_of_different_files_stay_as_they_are(table: Path) -> None:
    table.write_text(text().replace("im/a", "./im/a"))
    paths = sorted(path for items in table_layout(table, 0).splits.values() for path in items.paths)
    assert paths == sorted(read_table(table)["path"])
