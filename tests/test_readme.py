"""The README's Python example is run as it stands, on a smaller model and on images made here in the demo's place."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

README = Path(__file__).parent.parent / "README.md"


def test_the_readmes_python_example_runs_in_ten_lines(
    image_folder: Callable[..., Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    shutil.copytree(image_folder(train=8, val=2, test=4), tmp_path / "runs" / "demo" / "data" / "digits")
    monkeypatch.chdir(tmp_path)
    blocks = [part.split("```")[0] for part in README.read_text().split("```python\n")[1:]]
    (lines,) = [block for block in blocks if "featune.extract" in block]
    assert len([line for line in lines.splitlines() if line.strip()]) <= 10
    exec(lines.replace('"resnet18"', '"test_resnet"'), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[0] == "(24, 96) [0 0 0] train/blue/0.png"
    assert "top1" in printed[1]
    assert "n = 12" in printed[1]
    assert printed[-1] == "resnet18.onnx fp32 True"
