"""The rooms of the house and who may use whom; `docs/architecture.md` says what each is for."""

import ast
import graphlib
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
# room: the rooms that it may use. A room is a folder with modules, or one of a package's own modules.
ROOMS = """
engine.errors:
engine.doors:
engine.machine:
engine.paths: engine.errors
engine.disk: engine.errors
engine.store: engine.errors engine.paths engine.disk
engine.models: engine.errors engine.paths engine.store
engine.images: engine.errors engine.store engine.machine engine.models
engine.runners: engine.errors engine.machine
engine.tensorrt: engine.errors engine.runners
engine.metrics: engine.errors
engine.features: engine.errors engine.store engine.machine engine.models engine.images engine.runners
engine.logistic_regression: engine.errors
engine.probe: engine.errors engine.logistic_regression
engine.accuracies: engine.errors
engine.recipe: engine.errors engine.store engine.images
engine.finetune: engine.errors engine.store engine.machine engine.models engine.images engine.runners engine.probe
    engine.features engine.recipe
engine.search: engine.errors engine.store engine.images engine.finetune

export.contract: engine.errors engine.store engine.runners engine.probe
export.graph: engine.errors engine.store engine.models export.contract
export.precision: engine.errors engine.store engine.machine engine.runners export.contract
export.gate: engine.errors engine.store engine.machine engine.models engine.images engine.runners export.contract
    export.graph
export.backends: engine.errors engine.store engine.models engine.runners engine.tensorrt export.contract export.graph
    export.precision export.gate
export.commands: engine.accuracies engine.errors engine.store engine.models engine.images engine.runners engine.features
    engine.tensorrt export.contract export.graph export.precision export.gate export.backends

bench.progress:
bench.training_log: engine.errors engine.metrics engine.store
bench.terminal: engine.errors engine.store export.commands bench.progress
bench.stats: engine.errors engine.metrics
bench.stats.slopes: engine.errors engine.metrics bench.stats
bench.stats.studies: engine.errors engine.metrics bench.stats
bench.results: engine.errors engine.paths engine.store engine.metrics bench.stats
bench.tasks: engine.errors engine.paths engine.store engine.images engine.metrics
bench.catalogue: engine.errors engine.paths engine.store bench.progress
bench.generated: engine.errors engine.store
bench.data: engine.errors engine.machine engine.paths engine.store engine.images bench.progress bench.tasks
    bench.catalogue bench.generated
bench.datasets: engine.errors engine.store engine.images bench.progress bench.tasks bench.catalogue bench.data
bench.features: engine.errors engine.store engine.models engine.images engine.runners engine.features export.commands
    bench.progress bench.tasks bench.data bench.estimators
bench.imagenet: engine.accuracies engine.errors engine.store engine.images engine.paths engine.features export.commands
    bench.progress bench.stats bench.tasks bench.data bench.datasets bench.features
bench.pretrain: engine.errors engine.machine engine.paths engine.store engine.models engine.images engine.metrics
    engine.recipe engine.finetune bench.progress bench.estimators bench.stats bench.tasks bench.data
    bench.training_log
bench.regimes: engine.errors engine.models engine.images engine.metrics engine.features engine.logistic_regression
    engine.probe engine.finetune export.commands bench.tasks bench.data bench.features bench.training_log
bench.published: engine.accuracies engine.errors engine.metrics engine.paths engine.store bench.stats
    bench.stats.slopes bench.stats.studies bench.results
bench.throughput: engine.errors engine.store engine.machine engine.runners bench.stats bench.results
bench.throughput.session: engine.errors engine.store engine.machine engine.models engine.images engine.runners
    engine.tensorrt engine.features export.contract export.gate export.backends export.commands bench.progress
    bench.throughput
bench.estimators: engine.errors engine.metrics bench.stats bench.results
bench.study.axes: engine.accuracies engine.models export.commands
bench.study.schema: engine.errors engine.paths engine.store engine.images engine.finetune engine.search bench.regimes
    bench.estimators
bench.study: engine.errors engine.paths engine.store engine.machine engine.models engine.images engine.runners
    engine.metrics engine.features export.contract export.gate export.backends export.commands bench.progress
    bench.stats bench.results bench.tasks bench.data bench.features bench.regimes bench.throughput bench.estimators
    bench.study.schema bench.study.axes bench.published bench.imagenet bench.pretrain bench.cache
bench.study.cluster: engine.errors engine.models engine.paths engine.store bench.progress bench.results bench.tasks
    bench.study
bench.finetune: engine.errors engine.paths engine.store engine.models engine.images engine.finetune engine.search
    bench.progress bench.results bench.tasks bench.data bench.regimes bench.study.schema bench.study bench.throughput
    bench.training_log
bench.report.figures: engine.store
bench.report.figures.studies: bench.stats bench.stats.studies bench.results bench.report.figures
bench.report.pages: engine.store bench.results bench.report.figures
bench.report.findings: engine.metrics bench.stats bench.stats.slopes bench.stats.studies bench.results
bench.report: engine.errors engine.store engine.metrics bench.stats bench.results bench.estimators bench.report.figures
    bench.report.figures.studies bench.report.pages bench.report.findings bench.stats.slopes
bench.report.several: engine.errors engine.store bench.comparison bench.report bench.report.figures
    bench.report.figures.studies bench.report.pages bench.results
bench.choose: engine.accuracies engine.errors engine.paths engine.store engine.machine engine.models engine.images
    engine.runners engine.metrics engine.features engine.logistic_regression engine.probe engine.finetune engine.search
    export.backends export.commands export.gate bench.progress bench.stats bench.stats.studies bench.results bench.tasks
    bench.data bench.features bench.regimes bench.throughput bench.study bench.finetune bench.report.figures
    bench.report.pages
bench.throughput.report: engine.accuracies engine.errors engine.store bench.results bench.report.figures
    bench.report.pages bench.throughput
bench.comparison: engine.metrics bench.stats bench.results
bench.demo: engine.errors engine.store engine.models engine.images engine.finetune bench.progress bench.results
    bench.generated bench.tasks bench.data bench.regimes bench.estimators bench.study bench.pretrain
bench.api: engine.errors engine.store engine.models engine.images engine.runners engine.features engine.finetune
    export.commands bench.cache bench.progress bench.tasks bench.data bench.features bench.regimes bench.study
    bench.finetune
bench.cache: engine.errors engine.store export.backends export.gate bench.features
bench.doctor: engine.errors engine.store engine.models engine.images engine.runners engine.tensorrt
    engine.logistic_regression export.backends
bench.cli.studies: engine.errors engine.runners engine.store bench.comparison bench.demo bench.progress bench.published
    bench.report bench.report.several bench.results bench.study bench.study.cluster bench.terminal
bench.cli.finetuning: engine.finetune bench.terminal
bench.cli: engine.errors engine.store engine.models engine.images engine.runners engine.features engine.finetune
    export.commands bench.cli.studies bench.cli.finetuning bench.terminal bench.estimators bench.published bench.results
    bench.catalogue bench.data bench.datasets bench.features bench.imagenet bench.regimes bench.study
    bench.study.cluster bench.finetune bench.throughput bench.throughput.session bench.throughput.report bench.report
    bench.demo bench.choose bench.doctor bench.cache bench.pretrain engine.search
"""
MAY_USE = {
    room.strip(): set(used.split())
    for room, _, used in (line.partition(":") for line in ROOMS.replace("\n    ", " ").splitlines() if line)
}
PACKAGES = ("engine", "export", "bench")
HEAVY = {"torch", "timm", "onnx", "onnxruntime", "numpy", "scipy", "sklearn", "matplotlib", "pydantic", "yaml", "rich"}
LAZY = {"onnx", "onnxruntime", "tensorrt", "matplotlib", "sklearn", "scipy", "ray", "pandas"}
MOST_MODULES, MOST_LINES = 10, 300


def modules(root: Path = ROOT) -> dict[str, Path]:
    """`engine.models.spec` -> its file; doors (`__init__.py`) are none."""
    return {
        ".".join(path.relative_to(root).with_suffix("").parts): path
        for package in PACKAGES
        for path in sorted((root / package).rglob("*.py"))
        if path.stem != "__init__"
    }


def room_of(module: str) -> str:
    """A module's room; a module that lies in a package itself is a room of its own."""
    folder = module.rpartition(".")[0]
    return module if folder in PACKAGES else folder


def absolute(node: ast.ImportFrom, module: str) -> str:
    """Where an import of ours points to, without `featune.`; a relative one is seen from the module."""
    if not node.level:
        return str(node.module).removeprefix("featune.")
    base = module.split(".")[: -node.level]
    return ".".join([*base, node.module] if node.module else base)


def imports(module: str, source: str) -> Iterator[tuple[str, str]]:
    """(module or room, name) of every import of ours, those inside functions too."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            origin = absolute(node, module)
            if origin.partition(".")[0] in PACKAGES:
                yield from ((origin, alias.name) for alias in node.names)


def exported(room: str) -> list[str]:
    """The names that a room's door hands on."""
    door = importlib.import_module(f"featune.{room}")
    return list(getattr(door, "__all__", ()))


def faults(module: str, source: str) -> list[str]:
    """What a module imports against the table, or past a door."""
    ours, found = room_of(module), []
    for origin, name in imports(module, source):
        room = origin if origin in MAY_USE else room_of(origin)
        if room == ours:
            continue
        if room not in MAY_USE:
            found.append(f"{module}: {origin} is no room")
        elif room not in MAY_USE[ours]:
            found.append(f"{module}: {ours} may not use {room} ({name})")
        elif room != origin:
            found.append(f"{module}: {name} is taken from {origin}, past the door of {room}")
        elif origin.count(".") > 1 or (ROOT / origin.replace(".", "/")).is_dir():
            found += [] if name in exported(room) else [f"{module}: {room} does not hand on {name}"]
    return found


def top_level(path: Path) -> set[str]:
    """What importing the module imports: not what its functions import, nor what only type checkers see."""
    found = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            found.add(str(node.module).partition(".")[0])
    return found


def test_the_table_lists_every_room_and_no_other() -> None:
    assert set(MAY_USE) == {room_of(module) for module in modules()}
    assert set.union(*MAY_USE.values()) <= set(MAY_USE)


def test_the_table_has_no_cycle_and_goes_from_engine_to_export_to_bench() -> None:
    list(graphlib.TopologicalSorter(MAY_USE).static_order())
    for room, used in MAY_USE.items():
        levels = [PACKAGES.index(other.partition(".")[0]) for other in used]
        assert max(levels, default=0) <= PACKAGES.index(room.partition(".")[0])


@pytest.mark.parametrize("module", modules())
def test_a_module_uses_only_rooms_of_the_table_and_enters_them_by_their_doors(module: str) -> None:
    assert not faults(module, modules()[module].read_text())


@pytest.mark.parametrize(
    ("module", "line", "fault"),
    [
        ("engine.probe.protocol", "from ..logistic_regression.penalty_path import fit_path", "past the door of"),
        ("export.gate.verdicts", "from featune.engine.models.spec import ModelSpec", "past the door of"),
        ("bench.report.page", "from .figures.marks import Figure", "past the door of"),
        ("engine.metrics.f1", "from ..models import ModelSpec", "engine.metrics may not use engine.models"),
        ("engine.store", "from featune.bench.progress import Progress", "engine.store may not use bench.progress"),
        ("bench.stats.intervals", "from ..results import Row", "bench.stats may not use bench.results"),
        ("bench.report.figures.axis", "from ..page import page_html", "bench.report.figures may not use bench.report"),
        ("bench.study.running", "from ..stats import _counts", "bench.stats does not hand on _counts"),
        ("engine.probe.protocol", "from ..nowhere import thing", "is no room"),
    ],
)
def test_a_planted_import_is_found(module: str, line: str, fault: str) -> None:
    found = faults(module, f"def inside():\n    {line}\n")
    assert len(found) == 1
    assert fault in found[0]


@pytest.mark.parametrize("room", [room for room in MAY_USE if (ROOT / room.replace(".", "/")).is_dir()])
def test_a_door_hands_on_what_it_lists(room: str) -> None:
    door = importlib.import_module(f"featune.{room}")
    assert door.__doc__
    for name in exported(room):
        assert not (ROOT / room.replace(".", "/") / f"{name}.py").exists(), f"{name} is a module of {room} too"
        assert getattr(door, name) is not None
    with pytest.raises(AttributeError):
        door.no_such_name  # noqa: B018


def test_no_room_is_a_hall_and_no_module_a_scroll() -> None:
    found = modules()
    rooms = [room_of(module) for module in found]
    assert {room: rooms.count(room) for room in set(rooms) if rooms.count(room) > MOST_MODULES} == {}
    lines = {module: len(path.read_text().splitlines()) for module, path in found.items()}
    assert {module: count for module, count in lines.items() if count > MOST_LINES} == {}


def test_our_modules_are_imported_under_featune_or_relatively() -> None:
    wrong = []
    for path in [*modules().values(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]:
        wrong += [f"{path}: {name}" for name in top_level(path) & set(PACKAGES)]
    assert not wrong, "a second copy of the module would be imported"


@pytest.mark.parametrize("name", modules())
def test_packages_that_are_slow_to_import_wait_inside_functions(name: str) -> None:
    assert not top_level(modules()[name]) & LAZY


def test_the_command_line_imports_nothing_heavy_before_a_command_runs() -> None:
    assert not top_level(modules()["bench.cli.app"]) & HEAVY


def test_only_the_study_opens_a_test_split() -> None:
    opens = [name for name, path in modules().items() if 'load("test")' in path.read_text()]
    assert opens == ["bench.study.last_run", "bench.study.measuring"]
    regimes = [path for name, path in modules().items() if room_of(name) == "bench.regimes"]
    loads = [node for path in regimes for node in ast.walk(ast.parse(path.read_text()))]
    assert not [node for node in loads if isinstance(node, ast.Attribute) and node.attr == "load"]


def architecture_page() -> str:
    return (ROOT / "docs" / "architecture.md").read_text()


def lines_of_rooms() -> list[list[str]]:
    """The picture's lines, each as the full names of its rooms."""
    package, found = "", []
    for line in architecture_page().split("## Who may use whom")[1].split("```")[1].splitlines():
        names = line.replace("|", "").split()
        if names and names[0] in PACKAGES:
            package, *names = names
        if names:
            found.append([f"{package}.{name}" for name in names])
    return found


def test_the_page_has_a_line_for_every_room_and_no_other() -> None:
    described = re.findall(r"^\| `((?:engine|export|bench)\.[\w.]+)` \| \S", architecture_page(), flags=re.MULTILINE)
    assert sorted(described) == sorted(MAY_USE)


def test_the_picture_shows_every_room_once() -> None:
    assert sorted(room for line in lines_of_rooms() for room in line) == sorted(MAY_USE)


def test_a_room_uses_only_rooms_above_its_line_of_the_picture() -> None:
    above: set[str] = set()
    for line in lines_of_rooms():
        for room in line:
            assert MAY_USE[room] <= above, f"{room} uses {sorted(MAY_USE[room] - above)}; move it down"
        above |= set(line)
