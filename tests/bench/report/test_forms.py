"""The report's other forms: report.json holds every number of the page, Markdown, Parquet, SVG; the page's policy."""

import base64
import hashlib
import json
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from page_numbers import leaves, sections, template_numbers, tokens, unknown
from report_rows import REGIMES, failed, row, speeds, study

from featune.bench.estimators import ESTIMATORS
from featune.bench.report import write_report
from featune.bench.results import Estimate

SECTIONS = {  # of the page, and the keys of report.json that hold its numbers
    "answer": ("title", "notes", "answer", "choice", "faster", "figures"), "every-model": ("models", "source"),
    "bill": ("bill", "bill_energy"), "figures": ("figures", "models"), "tables": ("tables",),
    "trainings": ("trainings", "of_trainings"),
    "correlation_table": ("correlation_table", "correlations"), "closer": ("closer", "findings"),
    "estimators": ("estimators",), "throughput": ("throughput",), "failures": ("failures",),
    "made": ("made", "recipes", "metrics", "splits", "environment"),
}  # fmt: skip
TEMPLATES = ("report.html.j2", "pages/parts.html.j2")


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report that has every section."""
    out = tmp_path_factory.mktemp("whole")
    rows = [failed(one) if at == 7 else one for at, one in enumerate(study(8, 3))]
    details = {"learning_rate": 0.03, "rates": [0.1, 0.03], "train_top1": 0.5, "majority_test": 0.14,
               "recipe": {"epochs": 7}}  # fmt: skip
    rows.append(row("late", "task-0", "finetune", details=details, source_top1=0.66, seed=0))
    estimates = [Estimate(one.cell.task, one.cell.model, name, "0" * 16, one.value, 0.1, 100)
                 for one in rows if one.cell.regime == "probe" and one.value for name in ESTIMATORS]  # fmt: skip
    write_report(out, "A study", rows, speeds(8), estimates, notes=["offline miniature"], command="featune demo")
    return out


def test_every_number_of_the_page_is_in_report_json(written: Path) -> None:
    text = sections((written / "report.html").read_text(encoding="utf-8"))
    document = json.loads((written / "report.json").read_text(encoding="utf-8"))
    assert set(text) == set(SECTIONS), "a section that nobody reads"
    prose = template_numbers("featune.bench.report", TEMPLATES)
    captions = {str(at) for at in range(1, 1 + len(document["figures"]))}
    for section, keys in SECTIONS.items():
        assert len(tokens(text[section])) >= 1, section
        values = [leaf for key in keys for leaf in leaves(document[key])]
        assert unknown(text[section], values, prose | captions) == set(), section


def test_a_number_that_is_not_in_the_file_would_be_found() -> None:
    assert unknown("83.4 % of 1,200", [0.8341, 1200], set()) == set()
    assert unknown("83.5 % of 1,201", [0.8341, 1200], set()) == {"83.5", "1,201"}


def test_the_policy_names_the_one_script_of_the_page_and_lets_nothing_else_in(written: Path) -> None:
    html = (written / "report.html").read_text(encoding="utf-8")
    scripts = re.findall(r"<script[^>]*>(.*?)</script>", html, flags=re.DOTALL)
    assert len(scripts) == 1
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)[0].replace("&#39;", "'")
    assert f"script-src 'sha256-{digest}'" in policy
    assert "default-src 'none'" in policy
    assert not re.search(r"https?:|//\w|@import|\son\w+=", html)


def test_points_are_linked_with_the_lines_of_the_tables(written: Path) -> None:
    html = (written / "report.html").read_text(encoding="utf-8")
    models = json.loads((written / "report.json").read_text(encoding="utf-8"))["models"]["lines"]
    for at, line in enumerate(models):
        assert f'<tr data-m="{at}"><th class="name" scope="row">{line["model"].replace("_", "_<wbr>")[:6]}' in html
    figures = re.findall(r'<figure id="figure-(\w+)">(.*?)</figure>', html, flags=re.DOTALL)
    for name, figure in figures:
        assert set(re.findall(r'data-m="(\d+)"', figure)) <= {str(at) for at in range(len(models))}, name
        assert len(set(re.findall(r'data-m="(\d+)"', figure))) >= 8, name
    tables = set(re.findall(r'data-table="([\w-]+)"', html))
    assert tables == {"models", "table-1", "table-2", "table-3"}
    assert all(f'<table id="{name}"' in html for name in tables)


def test_a_study_of_sixteen_models_and_twelve_tasks_stays_under_a_megabyte(tmp_path: Path) -> None:
    write_report(tmp_path, "A study", study(16, 12), speeds(16))
    assert (tmp_path / "report.html").stat().st_size < 1_000_000


def test_the_drawings_are_files_of_their_own_without_the_pages_colours(written: Path) -> None:
    for path in (written / "figures").glob("*.svg"):
        text = path.read_text(encoding="utf-8")
        root = ElementTree.fromstring(text)
        assert root.tag == "{http://www.w3.org/2000/svg}svg"
        assert "var(--" not in text
        assert list(root.iter("{http://www.w3.org/2000/svg}text")), path.name
    assert {path.stem for path in (written / "figures").glob("*.svg")} == {
        path.stem for path in (written / "figures").glob("*.png")
    }


def test_markdown_says_what_the_page_says_and_escapes_names(tmp_path: Path, written: Path) -> None:
    document = json.loads((written / "report.json").read_text(encoding="utf-8"))
    text = (written / "report.md").read_text(encoding="utf-8")
    assert document["answer"]["take"] in text.replace("\\", "")
    assert "| what is bought |" in text
    assert "loss is not finite at step 120" in text
    write_report(tmp_path, "A study", [row("a|<b>*c*", "t"), row("d", "t")])
    assert "| a\\|\\<b\\>\\*c\\* |" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_parquet_has_the_rows_with_their_types(written: Path) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    table = parquet.read_table(written / "results.parquet")
    assert table.num_rows == 8 * 3 * len(REGIMES) + 1
    assert str(table.schema.field("value").type) == "double"
    assert table.column("value").null_count == 1, "the failed cell"
    assert set(table.column("regime").to_pylist()) == set(REGIMES)
