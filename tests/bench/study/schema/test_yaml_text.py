"""A study file's text: numbers by YAML 1.2, and texts that are refused before they cost time or memory."""

import pytest

from featune.bench.study.schema.yaml_text import Refused, values_of


@pytest.mark.parametrize(
    ("written", "value"),
    [
        # https://github.com/hiyouga/LlamaFactory/issues/4014: text in YAML 1.1, where a number needs a point
        ("1e-4", 0.0001),
        ("9E-1", 0.9),
        ("-1e+2", -100.0),
        ("2.e3", 2000.0),
        (".5", 0.5),
        ("010", 10),  # 8 in YAML 1.1
        ("0o17", 15),
        ("0x1F", 31),
        ("1_000", 1000),
        ("1:30", "1:30"),  # 90 in YAML 1.1
        ("2024-01-01", "2024-01-01"),  # a date in YAML 1.1
        ("'1e-4'", "1e-4"),
        ("no", False),
        ("'no'", "no"),
        ("e1", "e1"),
        ("1.2.3", "1.2.3"),
        ("~", None),
    ],
)
def test_plain_values_are_read_by_yaml_1_2(written: str, value: object) -> None:
    found, repeated = values_of(f"key: {written}")
    assert (found["key"], type(found["key"])) == (value, type(value))
    assert not repeated


# https://github.com/yaml/pyyaml/issues/165
@pytest.mark.parametrize(
    ("text", "lines"),
    [
        ("tasks: 1\nregimes: 2\ntasks: 3\n", ["line 3: key 'tasks' found again, first in line 1; keep one of them"]),
        ("r:\n  probe: {shots: 1}\n  probe: {shots: 5}\n", ["line 3: key 'probe' found again, first in line 2"]),
        ("r: {finetune: {epochs: 1, batch: 2, epochs: 50}}", ["line 1: key 'epochs' found again, first in line 1"]),
        ("- {a: 1,\n   'a': 2}", ["line 2: key 'a' found again, first in line 1"]),
        ("<<: {a: 1}\n<<: {b: 2}", ["line 2: key '<<' found again"]),
        ("1: a\n1: b\nx: {y: {z: 1, z: 2}}", ["line 2: key '1'", "line 3: key 'z'"]),
    ],
)
def test_a_key_that_stands_twice_is_found_at_every_level_with_its_lines(text: str, lines: list[str]) -> None:
    _, repeated = values_of(text)
    assert len(repeated) == len(lines)
    assert all(found.startswith(line) for found, line in zip(repeated, lines, strict=True))


def test_a_key_that_goes_over_a_merged_one_is_no_second_one() -> None:
    assert values_of("b: &b {x: 1, y: 2}\nc: {<<: *b, x: 3}") == ({"b": {"x": 1, "y": 2}, "c": {"x": 3, "y": 2}}, [])


BOMB = "\n".join(
    ["a0: &a0 [1,1,1,1,1,1,1,1,1]", *(f"a{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a: &a [*a]", r"line 1: \*a stands inside the value that it names; write"),
        ("a: &a\n  b:\n    - *a", r"line 3: \*a stands inside"),
        ("[" * 20_000, "line 1: more than 50 levels .* found, a study file has five; remove"),
        ("{a: " * 20_000, "more than 50 levels"),
        ("- " * 20_000 + "a", "more than 50 levels"),
        ("a: " + "9" * 5_000, "line 1: a whole number of 5,000 digits found, at most 19 expected; shorten"),
        ("seeds: [" + "1, " * 200_000 + "]", "line 1: more than 20,000 values found.* shorten"),
        (BOMB, "line 5: more than 20,000 values found, aliases written out"),
        ("a: " + "b" * 1_000_001, "1,000,004 characters found, at most 1,000,000 expected; remove"),
        ("a: [", "is not YAML: .*line 1, column 5.*; mend that place"),
        ("a: 1\n---\nb: 2", "is not YAML: expected a single document"),
        ("a: !!python/object:os.system {}", "line 1: tag .* found, plain values expected; remove the tag"),
        ("a: !!set {b}", "tag .* found"),
        ("a: !!int 'x'", "is not YAML: invalid literal for int"),
        ("? [1, 2]\n: 3", "is not YAML: .*unhashable key"),
        ("a: \x00", "is not YAML: unacceptable character"),
    ],
)
def test_what_has_no_end_or_too_much_or_is_no_yaml_is_refused(text: str, says: str) -> None:
    with pytest.raises(Refused, match=says):
        values_of(text)
