"""The house's import rules, as data: a module imports only from rows above its own."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LEVELS = """
engine.errors engine.encoded engine.machine
engine.store
engine.scoring
engine.accuracy
engine.f1 engine.calibration
engine.ranking
engine.factories engine.hub engine.weights
engine.configs
engine.metrics engine.models
engine.fingerprints engine.decoding
engine.images engine.views engine.runners
engine.batches engine.fitting engine.passes engine.tensorrt_callbacks
engine.tensorrt_runner
engine.plan_runner
engine.verdict engine.feature_files engine.tuning
engine.features engine.finetune
engine.feature_store
engine.rows engine.losses engine.products
engine.design
engine.logistic
engine.preconditioner
engine.newton
engine.walk
engine.path
engine.probe
engine.neighbours
export.parity export.samples
export.contract
export.departure export.nodes export.alone
export.unread export.products
export.graph export.halves export.int8
export.precision export.plan export.gate
export.plan_gate
export.backends export.known
export.named export.wanted
export.command export.verifying
bench.progress bench.lists bench.demo_data bench.marks bench.intervals bench.data bench.source_scores
bench.ranks bench.entries bench.choosing bench.origins
bench.catalogue_kornblith bench.stored
bench.shards bench.feature_scores bench.runs bench.ticks bench.labels bench.catalogue bench.splits bench.usertables
bench.tasks bench.stats bench.throughput bench.estimators bench.executors bench.panels bench.drawing
bench.raw bench.downloads bench.listing
bench.layouts bench.regimes bench.lines bench.paired bench.results
bench.data_files bench.torch_items bench.studyentries
bench.data_shards bench.data_torch bench.data_hub
bench.sources
bench.data_tasks
bench.manifests
bench.extraction
bench.official_fang bench.official_hpa bench.official_kornblith bench.official_cifar bench.official_imagenet
bench.official
bench.correlation bench.wording bench.judging
bench.transfer
bench.answer bench.legend bench.tables
bench.judgement
bench.throughput_figure bench.page
bench.figures
bench.report
bench.pretrain
bench.study
bench.estimates bench.studyfile bench.probing
bench.demo
bench.terminal
bench.cli_study bench.cli_data bench.cli_export bench.cli_features
bench.cli
"""
LEVEL = {name: number for number, row in enumerate(LEVELS.split("\n")) for name in row.split()}
HEAVY = {"torch", "timm", "onnx", "onnxruntime", "numpy", "scipy", "sklearn", "matplotlib", "pydantic", "yaml", "rich"}
LAZY = {"onnx", "onnxruntime", "tensorrt", "matplotlib", "sklearn", "scipy", "ray", "pandas"}


def modules() -> dict[str, Path]:
    return {
        f"{package}.{path.stem}": path
        for package in ("engine", "export", "bench")
        for path in sorted((ROOT / package).glob("*.py"))
        if path.stem != "__init__"
    }


def imported(tree: ast.AST) -> set[str]:
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def top_level(path: Path) -> set[str]:
    """What importing the module imports: not what its functions import, nor what only type checkers see."""
    tree = ast.parse(path.read_text())
    tree.body = [n for n in tree.body if not isinstance(n, ast.If | ast.FunctionDef | ast.ClassDef)]
    return {name.partition(".")[0] for name in imported(tree)}


@pytest.mark.parametrize("name", modules())
def test_a_module_imports_only_from_rows_above_its_own(name: str) -> None:
    ours = imported(ast.parse(modules()[name].read_text())) & set(LEVEL)
    assert name in LEVEL, f"{name} has no place in LEVELS"
    wrong = sorted(other for other in ours if LEVEL[other] >= LEVEL[name])
    assert not wrong, f"{name} imports {wrong}, which are not above it"


@pytest.mark.parametrize("name", modules())
def test_packages_that_are_slow_to_import_wait_inside_functions(name: str) -> None:
    assert not top_level(modules()[name]) & LAZY


def test_the_command_line_imports_nothing_heavy_before_a_command_runs() -> None:
    assert not top_level(modules()["bench.cli"]) & HEAVY


def test_only_the_study_opens_a_test_split() -> None:
    opens = [name for name, path in modules().items() if 'load("test")' in path.read_text()]
    assert opens == ["bench.study"]
    loads = ast.walk(ast.parse(modules()["bench.regimes"].read_text()))
    assert not [n for n in loads if isinstance(n, ast.Attribute) and n.attr == "load"]


def test_every_package_file_holds_one_docstring_and_nothing_else() -> None:
    for package in ("engine", "export", "bench"):
        body = ast.parse((ROOT / package / "__init__.py").read_text()).body
        assert len(body) == 1
        assert isinstance(body[0], ast.Expr)
