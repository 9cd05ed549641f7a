"""The report's files and its table for the terminal, of any study."""

import dataclasses
import io
import random
from pathlib import Path

import pytest
from report_rows import failed, lines_of, page, row, speeds, study

from featune.bench.report import results_table, write_report
from featune.bench.results import Row
from featune.engine.errors import BadInput

# --- Files


def test_the_same_rows_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    rows, rates = [*study(4, 2, ("probe", "scratch")), failed(row("late", "task-0"))], speeds(4)
    write_report(tmp_path / "a", "A study", rows, rates)
    random.Random(3).shuffle(rows)
    random.Random(3).shuffle(rates)
    write_report(tmp_path / "b", "A study", rows, rates)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert {"results.csv", "correlations.csv", "throughput.csv", "report.html"} < {str(name) for name in names}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_the_csv_keeps_every_row_and_every_digit(tmp_path: Path) -> None:
    rows = [*study(3, 2, ("probe",)), failed(row("x", "task-0"), 'two\nlines, and a "quote"')]
    write_report(tmp_path, "A study", rows)
    lines = lines_of(tmp_path / "results.csv")
    assert len(lines) == len(rows)
    assert {float(line["value"]) for line in lines if line["value"]} == {one.value for one in rows if one.value}
    assert 'two\nlines, and a "quote"' in {line["error"] for line in lines}
    assert (tmp_path / "results.csv").read_bytes().count(b"\r\n") == len(rows) + 1


def test_a_study_without_speeds_leaves_no_old_throughput_behind(tmp_path: Path) -> None:
    rows = study(2, 1, ("probe",))
    write_report(tmp_path, "A study", rows, speeds(2))
    assert (tmp_path / "figures" / "throughput.png").exists()
    write_report(tmp_path, "A study", rows)
    assert not (tmp_path / "throughput.csv").exists()
    assert not (tmp_path / "figures" / "throughput.png").exists()


# --- Any study


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([row("a", "digits", source_top1=0.7)], id="one model, one task, one regime"),
        pytest.param([row("a", "digits")], id="no source accuracy"),
        pytest.param([row("a", "digits", low=None, high=None, source_top1=0.7)], id="no intervals"),
        pytest.param([failed(row("a", "digits"))], id="nothing but a failure"),
        pytest.param([row("a", "x", right=0, source_top1=0.0), row("b", "x", right=360, source_top1=1.0)], id="0, 1"),
        pytest.param([row("a", "x", source_top1=0.5), row("b", "y", source_top1=0.6)], id="no task in common"),
        pytest.param([row(m, "x", source_top1=0.5) for m in "abcd"], id="all models alike"),
        pytest.param([row("a", "x", metric="quadratic_kappa", value=-0.1, low=-0.2, high=0.1)], id="below zero"),
        pytest.param(study(5)[:17], id="half finished"),
        pytest.param(study(2, 2, ("knn", "finetune", "mine")), id="a regime of one's own"),
    ],
)  # fmt: skip
def test_any_study_has_a_report_and_a_table(rows: list[Row], tmp_path: Path) -> None:
    assert "</html>" in page(tmp_path, rows)
    assert results_table(rows).row_count >= 1
    assert (tmp_path / "correlations.csv").exists()


def test_speeds_alone_make_a_report(tmp_path: Path) -> None:
    assert "Throughput only" in page(tmp_path, [], speeds(2))


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="run the study first"):
        write_report(tmp_path, "A study", [])


# --- The terminal


def test_the_terminal_table_takes_names_literally() -> None:
    from rich.console import Console

    console = Console(width=160, file=io.StringIO())
    console.print(results_table([row("[red]a[/red]", "digits"), failed(row("b", "digits"))]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]a[/red]" in text
    assert "69.4 [64.4–74.2]" in text
    assert "failed" in text


def test_texts_that_a_spreadsheet_would_run_are_escaped_and_numbers_are_not(tmp_path: Path) -> None:
    names = ["=cmd|' /C calc'!A0", "+1", "-1", "@sum", " =1", "\t=1", "plain", "a-b"]
    rows = [row(name, "t", source_top1=None) for name in names]
    page(tmp_path, [*rows, failed(row("fails", "t"), "-1 is no rate")])
    found = lines_of(tmp_path / "results.csv")
    assert {line["model"] for line in found} == {*("'" + name for name in names[:6]), *names[6:], "fails"}
    assert {line["error"] for line in found} == {"", "'-1 is no rate"}
    assert {line["seed"] for line in found} == {"0"}
    kappa = dataclasses.replace(row("m", "t"), metric="quadratic_kappa", value=-0.25, low=-0.5, high=0.1)
    page(tmp_path, [kappa])
    assert lines_of(tmp_path / "results.csv")[0]["value"] == "-0.25"


def test_marks_that_turn_a_names_direction_are_shown(tmp_path: Path) -> None:
    html = page(tmp_path, [row("net\u202egnp.exe", "t\u2066")])
    assert "\u202e" not in html + (tmp_path / "results.csv").read_text()
    assert "\\u202e" in html


def test_a_name_of_thousands_of_letters_is_shortened_with_few_measurements(monkeypatch: pytest.MonkeyPatch) -> None:
    from featune.bench.report.figures import text_labels

    width, asked = text_labels.text_width, []
    monkeypatch.setattr(text_labels, "text_width", lambda text, bold=False: asked.append(text) or width(text, bold))
    short = text_labels.shortened("i" * 100_000 + "end", 150)
    assert short.startswith("iii")
    assert short.endswith("end")
    assert len(asked) < 15
    assert max(map(len, asked)) <= text_labels.LETTERS + 1
    assert width(short) <= 150 < width("i" + short)
    text = "vit_small_patch16_224.augreg_in21k_ft_in1k"
    kept = [text[: (k + 1) // 2] + "…" + text[len(text) - k // 2 :] for k in range(3, len(text))]
    assert text_labels.shortened(text, 150) == max((one for one in kept if width(one) <= 150), key=len)
