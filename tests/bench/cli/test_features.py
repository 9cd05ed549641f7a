import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from featune.bench.cli.app import app
from featune.engine.models import classifier, spec_from_entry
from tests.conftest import COLOURS, unpacked, write_image

MODEL = "test_vit"  # 0.4 million weights, 160 x 160 pixels


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def photographs(tmp_path: Path) -> Path:
    """Twelve JPEG files in three class folders."""
    for number, (name, colour) in enumerate(COLOURS.items()):
        for i in range(4):
            write_image(tmp_path / "photographs" / name / f"{i}.jpg", colour, 10 * number + i, (60, 50))
    return tmp_path / "photographs"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def extracted(*arguments: object) -> list[dict[str, object]]:
    random = () if "--checkpoint" in arguments else ("--untrained",)
    result = run("extract", *arguments, *random, "-q", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_extract_writes_rows_says_what_limited_it_and_computes_nothing_twice(
    own_cache: Path, photographs: Path, tmp_path: Path
) -> None:
    result = run("extract", MODEL, photographs, "--untrained", "-q", "--out", tmp_path / "rows.npz")
    assert result.exit_code == 0, result.output
    assert "12 x 64" in result.stdout
    assert "images/s" in result.stdout
    assert "of the time of" in result.stdout
    held = unpacked(tmp_path / "rows.npz")
    assert held["rows"].shape == (12, 64)
    assert held["path"][0].endswith("blue/0.jpg")
    assert held["label"].tolist() == [c for c in "012" for _ in range(4)]
    assert held["classes"].tolist() == ["blue", "green", "red"]
    assert "nothing was computed" in run("extract", MODEL, photographs, "--untrained", "-q").stdout


def test_rows_are_the_models_own(own_cache: Path, photographs: Path) -> None:
    from featune.engine.features import extract

    spec = spec_from_entry({"architecture": MODEL, "pretrained": False})
    (made,) = extracted(MODEL, photographs, "--decoder", "exact")
    rows, expected = np.load(str(made["file"])), extract(spec, photographs, decoder="exact").rows
    cosines = (rows * expected).sum(1) / np.linalg.norm(rows, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosines.min() > 0.99999


def test_several_models_are_written_each_with_its_own_key(own_cache: Path, photographs: Path) -> None:
    first, second = extracted(f"{MODEL},test_resnet", photographs)
    assert first["key"] != second["key"]
    assert first["pass"]["models"] == 2  # type: ignore[index]
    assert [row["key"] for row in extracted(MODEL, photographs)] == [first["key"]]


def test_whatever_changes_a_row_changes_the_key_and_a_label_does_not(
    own_cache: Path, photographs: Path, tmp_path: Path
) -> None:
    import torch

    spec = spec_from_entry({"architecture": MODEL, "pretrained": False})
    torch.save({key: value * 1.01 for key, value in classifier(spec).state_dict().items()}, tmp_path / "other.pth")
    keys = {
        "plain": extracted(MODEL, photographs),
        "backend": extracted(MODEL, photographs, "--backend", "torch"),
        "precision": extracted(MODEL, photographs, "--precision", "fp16"),
        "decoder": extracted(MODEL, photographs, "--decoder", "exact"),
        "architecture": extracted("test_resnet", photographs),
        "weights": extracted(MODEL, photographs, "--checkpoint", tmp_path / "other.pth"),
    }
    (photographs / "red" / "3.jpg").rename(photographs / "green" / "9.jpg")  # another label, another place
    keys["order"] = extracted(MODEL, photographs)
    (photographs / "green" / "9.jpg").rename(photographs / "red" / "3.jpg")
    write_image(photographs / "red" / "3.jpg", COLOURS["red"], 77, (60, 50))
    keys["bytes"] = extracted(MODEL, photographs)
    names = {name: made[0]["key"] for name, made in keys.items()}
    assert len(set(names.values())) == len(names), names
    (photographs / "red").rename(photographs / "violet")  # a label alone, the order stays
    assert extracted(MODEL, photographs)[0]["key"] == names["bytes"]


def test_bad_files_are_all_listed_and_can_be_skipped(own_cache: Path, photographs: Path) -> None:
    (photographs / "blue" / "1.jpg").write_bytes(b"")
    (photographs / "red" / "2.jpg").write_text("no image")
    result = run("extract", MODEL, photographs, "--untrained", "-q")
    assert result.exit_code == 2
    assert "blue/1.jpg: empty file" in result.stderr
    assert "red/2.jpg: not an image of a known format" in result.stderr
    assert not list((own_cache / "features").glob("*.npy"))
    result = run("extract", MODEL, photographs, "--untrained", "-q", "--on-error", "skip")
    assert result.exit_code == 0
    assert "10 x 64" in result.stdout
    assert "skipped: blue/1.jpg: empty file" in result.stdout


def test_an_artefact_of_featune_export_is_a_model(own_cache: Path, photographs: Path, tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    assert run("export", MODEL, "--untrained", "--data", photographs, "--out", graph).exit_code == 0
    result = run("extract", graph, photographs, "-q", "--json")
    assert result.exit_code == 0, result.output
    (made,) = json.loads(result.stdout)
    (direct,) = extracted(MODEL, photographs)
    assert np.array_equal(np.load(str(made["file"])), np.load(str(direct["file"])))


def test_a_wrong_artefact_is_refused(own_cache: Path, photographs: Path, tmp_path: Path) -> None:
    graph = tmp_path / "model.onnx"
    assert run("export", MODEL, "--untrained", "--data", photographs, "--out", graph).exit_code == 0
    damaged = bytearray(graph.read_bytes())
    damaged[len(damaged) // 2] ^= 0x41
    graph.write_bytes(damaged)
    assert run("extract", graph, photographs, "-q").exit_code in (2, 3)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["resnet18x", "DATA"], "no timm model named"),
        ([MODEL, "nowhere"], "nowhere"),
        ([MODEL, "DATA", "--decoder", "quick"], "no decoder named 'quick'"),
        ([MODEL, "DATA", "--on-error", "ignore"], "expected stop or skip"),
        ([MODEL, "DATA", "--backend", "tensort"], "no backend named 'tensort'"),
        ([MODEL, "DATA", "--precision", "fp8"], "fp8"),
        ([MODEL, "DATA", "--backend", "torch", "--precision", "int8"], "on cpu computes bf16, fp32"),
        ([MODEL, "DATA", "--out", "rows.csv"], "no format 'csv'"),
    ],
)
def test_a_wrong_word_is_named_with_what_is_known(
    own_cache: Path, photographs: Path, arguments: list[str], words: str
) -> None:
    given = [str(photographs) if text == "DATA" else text for text in arguments]
    result = run("extract", *given, "--untrained", "-q")
    assert result.exit_code == 2
    assert words in result.stderr


def test_features_are_listed_shown_verified_exported_and_removed(
    own_cache: Path, photographs: Path, tmp_path: Path
) -> None:
    from safetensors import safe_open

    (made,) = extracted(MODEL, photographs)
    key = str(made["key"])
    (entry,) = json.loads(run("features", "list", "--json").stdout)
    assert (entry["key"], entry["rows"], entry["width"], entry["state"]) == (key, 12, 64, "complete")
    assert key in run("features", "list").stdout
    record = json.loads(run("features", "show", key[:6]).stdout)
    assert record["pass"]["images"] == 12
    assert "1 of 1 files are whole" in run("features", "verify").stdout
    assert run("features", "export", key[:6], "--out", tmp_path / "rows.safetensors").exit_code == 0
    with safe_open(tmp_path / "rows.safetensors", "numpy") as held:
        assert np.array_equal(held.get_tensor("rows"), np.load(str(made["file"])))
        assert json.loads(held.metadata()["label"])[0] == "0"
    pq = pytest.importorskip("pyarrow.parquet", reason="pyarrow is not installed")
    assert run("features", "export", key, "--to", "parquet", "--out", tmp_path / "rows.pq").exit_code == 0
    table = pq.read_table(tmp_path / "rows.pq")
    assert np.array_equal(np.stack(table["features"].to_numpy(zero_copy_only=False)), np.load(str(made["file"])))
    path = Path(str(made["file"]))
    damaged = bytearray(path.read_bytes())
    damaged[-1] ^= 1
    path.write_bytes(damaged)
    result = run("features", "verify")
    assert (result.exit_code, "damaged" in result.stdout) == (1, True)
    assert run("features", "export", key, "--out", tmp_path / "again.npz").exit_code == 2
    assert run("features", "remove", key).exit_code == 0
    assert json.loads(run("features", "list", "--json").stdout) == []
    assert run("features", "remove").exit_code == 2
    assert run("features", "show", "zz").exit_code == 2


def test_a_killed_extraction_goes_on_to_the_same_bytes(
    photographs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "whole"))
    (whole,) = extracted(MODEL, photographs, "--batch", 1)
    slow = (
        "import sys, time, featune.engine.features.passes as p, featune.engine.features.extraction as f, dataclasses\n"
        "inner = p._run_on_cpu\n"
        "def run(*a):\n    time.sleep(0.2)\n    return inner(*a)\n"
        "p._run_on_cpu = run\n"
        "f.Options.__dataclass_fields__['save_seconds'].default = 0.0\n"
        "f.Options.__init__.__defaults__ = (*f.Options.__init__.__defaults__[:-1], 0.0)\n"
        "from featune.bench.cli.app import app\napp()\n"
    )
    environment = os.environ | {"FEATUNE_CACHE_DIR": str(tmp_path / "killed")}
    command = [sys.executable, "-c", slow, "extract", MODEL, str(photographs), "--untrained", "-q", "--batch", "1"]
    process = subprocess.Popen([*command, "--workers", "1"], env=environment, start_new_session=True)
    parts = tmp_path / "killed" / "features"
    deadline = time.monotonic() + 120
    while not any(json.loads(path.read_text())["done"] >= 3 for path in parts.glob("*.part.json")):
        assert time.monotonic() < deadline, "no rows came"
        assert process.poll() is None, "it ended before it could be killed"
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    assert not list(parts.glob("*.npy"))
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "killed"))
    listed = json.loads(run("features", "list", "--json").stdout)
    assert [entry["state"] for entry in listed] == ["unfinished"]
    (again,) = extracted(MODEL, photographs, "--batch", 1)
    assert again["pass"]["images"] < 12  # type: ignore[index]
    assert Path(str(again["file"])).read_bytes() == Path(str(whole["file"])).read_bytes()
    assert again["key"] == whole["key"]


def test_two_processes_on_one_key_give_one_result(own_cache: Path, photographs: Path) -> None:
    command = [sys.executable, "-c", "from featune.bench.cli.app import app; app()", "extract", MODEL, str(photographs)]
    processes = [
        subprocess.Popen([*command, "--untrained", "-q", "--json"], stdout=subprocess.PIPE, env=dict(os.environ))
        for _ in range(2)
    ]
    outputs = [json.loads(process.communicate(timeout=180)[0]) for process in processes]
    assert [process.returncode for process in processes] == [0, 0]
    assert outputs[0][0]["key"] == outputs[1][0]["key"]
    assert sorted(output[0]["pass"]["images"] for output in outputs) == [0, 12]
    assert "1 of 1 files are whole" in run("features", "verify").stdout


def test_notebook_names_are_where_the_docs_say() -> None:
    from featune.engine.features import Options, extract

    assert callable(extract)
    assert Options(on_error="skip").on_error == "skip"
