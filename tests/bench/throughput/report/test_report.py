"""The report of rows: what follows from them, its files, and two reports compared."""

import csv
import dataclasses
import io
import json
import math
from pathlib import Path

import pytest
from throughput_rows import document, row

from featune.bench.throughput import Configuration, Row, Setup
from featune.bench.throughput.report import (
    compare_documents,
    comparison_lines,
    derived,
    published_speeds,
    read_document,
    recommendations,
    summary_lines,
    write_report,
)
from featune.engine.errors import BadInput
from featune.engine.store import write_json

NAMES = ("model", "infer_samples_per_sec", "infer_step_time", "infer_batch_size", "infer_img_size", "param_count",
         "infer_gmacs")  # fmt: skip


def test_a_longer_build_is_earned_back_after_so_many_images() -> None:
    torch, onnx = row("torch", 0.02, build=1.0), row("onnxruntime", 0.01, build=11.0)
    found = derived(onnx, [torch, onnx], document([torch, onnx]))
    images = 10 / (0.02 - 0.01)
    assert found.break_even == pytest.approx(images, rel=0.01)
    # After so many both took equally long.
    assert 1.0 + images / torch.rate == pytest.approx(11.0 + images / onnx.rate, rel=0.01)


def test_what_is_not_faster_never_earns_its_build_back_and_what_builds_no_longer_has_nothing_to_earn() -> None:
    torch = row("torch", 0.01, build=5.0)
    slow, quick = row("onnxruntime", 0.02, build=11.0), row("onnxruntime", 0.02, build=4.0)
    assert derived(slow, [torch, slow], document([torch, slow])).break_even == math.inf
    assert derived(quick, [torch, quick], document([torch, quick])).break_even == 0


def test_share_of_the_peak_and_cost_of_a_million_are_by_hand() -> None:
    one = row("torch", 0.02)
    found = derived(one, [one], document([one]))
    assert found.peak_share == pytest.approx(1.5 * 50 / 100, rel=0.01)
    assert found.million_cost == pytest.approx(1.8 / 3600 * 1e6 / 50, rel=0.01)


def test_the_fastest_that_passed_its_gate_is_recommended() -> None:
    torch, onnx = row("torch", 0.02), row("onnxruntime", 0.01, build=11.0)
    wild = dataclasses.replace(row("torch-compile", 0.005), opened={"gate": None})
    [found] = recommendations([torch, onnx, wild], document([torch, onnx, wild]))
    assert found.setup == "onnxruntime"
    assert "2.00 times as fast as torch" in found.sentence
    assert "torch-compile ran faster but has no passing gate" in found.sentence
    assert "earned back after 998 images" in found.sentence


def test_a_lead_that_is_not_settled_is_called_so() -> None:
    torch, onnx = row("torch", 0.01), row("onnxruntime", 0.00999)
    [found] = recommendations([torch, onnx], document([torch, onnx]))
    assert "equal to torch within 3 %" in found.sentence


def test_only_scope_c_speaks_of_extraction() -> None:
    kernel, files = row("torch", 0.02), row("torch", 0.02, configuration={"scope": "c", "mode": "files"})
    found = recommendations([kernel, files], document([kernel, files]))
    assert ["extraction" in each.sentence for each in found] == [False, True]


def test_a_failed_row_is_in_every_file_with_its_reason(tmp_path: Path) -> None:
    failed = Row(Configuration(Setup("resnet18.a1_in1k", "tensorrt"), 4), error="no <CUDA> device")
    rows = [row("torch", 0.02), failed]
    write_report(tmp_path, rows, document(rows))
    assert "no &lt;CUDA&gt; device" in (tmp_path / "report.html").read_text()
    assert "no <CUDA> device" in (tmp_path / "results.csv").read_text()


def test_the_csv_has_timms_columns_and_numbers_in_timms_units(tmp_path: Path) -> None:
    rows = [row("torch", 0.02), row("onnxruntime", 0.01)]
    write_report(tmp_path, rows, document(rows))
    lines = list(csv.DictReader(io.StringIO((tmp_path / "results.csv").read_text())))
    assert tuple(lines[0])[: len(NAMES)] == NAMES
    first = lines[0]
    rate, step, batch = (float(first[f"infer_{name}"]) for name in ("samples_per_sec", "step_time", "batch_size"))
    assert rate == pytest.approx(1000 * batch / step)
    assert (first["infer_img_size"], float(first["param_count"]), first["source"]) == ("224", 11.69, "measured")


def test_timms_published_speeds_stand_beside_and_are_marked(tmp_path: Path) -> None:
    file = tmp_path / "benchmark-infer-amp-rtx4090.csv"
    file.write_text(",".join(NAMES) + "\nresnet18.tv_in1k,9000.5,28.4,256,224,11.69,1.82\nvgg11,1,2,3,4,5,6\n")
    beside = published_speeds(file, ["resnet18"])
    assert [each.columns["model"] for each in beside] == ["resnet18.tv_in1k"]
    rows = [row("torch", 0.02)]
    write_report(tmp_path, rows, document(rows), beside)
    page = (tmp_path / "report.html").read_text()
    assert "published by timm: benchmark-infer-amp-rtx4090" in page
    assert "9000.5" in (tmp_path / "results.csv").read_text()
    file.write_text("name,speed\nresnet18,1\n")
    with pytest.raises(BadInput, match="no column model"):
        published_speeds(file, ["resnet18"])


def test_the_page_is_one_file_and_draws_what_there_is(tmp_path: Path) -> None:
    rows = [row(backend, seconds / size, configuration={"mode": f"batch {size}"}, model=model)
            for model, seconds in (("resnet18.a1_in1k", 0.02), ("resnet50.a1_in1k", 0.05))
            for backend in ("torch", "onnxruntime") for size in (1, 8)]  # fmt: skip
    rows = [dataclasses.replace(each, configuration=dataclasses.replace(
        each.configuration, batch=int(each.configuration.mode[6:]))) for each in rows]  # fmt: skip
    page = write_report(tmp_path, rows, document(rows)).read_text()
    assert page.count("<svg") >= 5
    assert 'id="figure-accuracy"' in page
    for said in ("A/A spread", "No energy: no counter", "G fp32 multiply-adds/s"):
        assert said in page


def test_a_report_read_back_compares_as_equal_to_itself(tmp_path: Path) -> None:
    rows = [row("torch", 0.02), row("onnxruntime", 0.01)]
    write_report(tmp_path, rows, document(rows))
    again = read_document(tmp_path / "report.json")
    found = compare_documents(again, again)
    assert [each.verdict.word for each in found.compared] == ["equal", "equal"]
    assert (found.differences, found.only) == ([], [])


def test_two_reports_say_what_became_faster_and_what_else_differs() -> None:
    old = document([row("torch", 0.02), row("onnxruntime", 0.01)])
    new = document([row("torch", 0.016)])
    new["environment"] = {**new["environment"], "versions": {"torch": "3"}}
    found = compare_documents(old, new)
    assert [each.verdict.word for each in found.compared] == ["faster"]
    lines = comparison_lines(found)
    assert lines[0] == "version of torch: 2 | 3"
    assert "50.0" in lines[1] or "49.9" in lines[1]
    assert "onnxruntime" in lines[-1]
    assert "in the first file only" in lines[-1]


def test_a_file_that_is_no_report_is_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "x.json", {"rows": [1]})
    with pytest.raises(BadInput, match="is no report of featune throughput"):
        read_document(tmp_path / "x.json")
    with pytest.raises(BadInput, match="cannot be read"):
        read_document(tmp_path / "none.json")


def test_what_was_measured_before_is_dated_so(tmp_path: Path) -> None:
    rows = [row("torch", 0.02)]
    one = document(rows)
    assert not any("measured" in line for line in summary_lines(rows, one))
    one |= {"kept": 1, "measured": ["2026-01-02T03:04:05", "2026-01-02T03:04:05"]}
    assert "Nothing was measured now: this was measured at 2026-01-02T03:04:05" in summary_lines(rows, one)[0]
    write_report(tmp_path, rows, one)
    page = (tmp_path / "report.html").read_text()
    assert "<dt>Measured</dt><dd>at 2026-01-02T03:04:05</dd>" in page.replace("\n", "")


def test_the_terminal_is_told_the_spread_and_what_is_undecided() -> None:
    rows = [row("torch", 0.02)]
    one = document(rows)
    one["verdicts"][0]["pairs"] = [{"word": "undecided", "sentence": "a against b is undecided"}]
    lines = summary_lines(rows, one)
    assert "A/A spread of this machine: 0.4%." in lines
    assert any("a against b is undecided" in line for line in lines)


def test_the_json_has_the_raw_samples(tmp_path: Path) -> None:
    rows = [row("torch", 0.02)]
    write_report(tmp_path, rows, document(rows))
    value = json.loads((tmp_path / "report.json").read_text())
    assert value["rows"][0]["blocks"][0]["samples"] == list(rows[0].blocks[0].samples)
