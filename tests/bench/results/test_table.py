"""Rows as one table: what is kept apart, and what is one thing."""

from report_rows import row

from featune.bench.results import collect


def test_published_rows_stay_apart_from_measured_ones() -> None:
    rows = [row("a", "digits", right=180), row("a", "digits", right=270, source="Kornblith et al. 2019")]
    results = collect(rows)
    assert results.regimes == ("probe", "probe [Kornblith et al. 2019]")
    assert results.value("digits", "a", "probe") == 0.5


def test_two_metrics_on_one_task_are_two_tasks() -> None:
    rows = [row("a", "digits"), row("a", "digits", metric="mean_per_class")]
    assert collect(rows).tasks == ("digits (mean_per_class)", "digits (top1)")
