"""Study files that somebody sent: names, addresses and settings made to escape, run code or crash.

python benchmarks/hostile_studies.py [--count 2000] [--seed 0]

Each case is given to `featune study status` and `featune study report`, and read and prepared as `featune study run`
does before its work. Python's audit events tell what was opened for writing, removed, executed or connected to. A case
fails where something is written outside the study's output, the cache and `data` beside the study, a program or a
factory is run, an address other than this machine's is asked, or an error escapes as a traceback.
"""

import argparse
import contextlib
import http.server
import io
import os
import random
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

NAMES = [
    *(
        "../../victim",
        "..",
        ".",
        "",
        "/etc/passwd",
        "a/b",
        "a\\b",
        "x" * 256,
        "ü" * 200,
        "a\0b",
        "\u202egnp.exe",
        "-rf",
    ),
    *("~", "$(touch ran)", "`touch ran`", "%2e%2e", "con", " ", "\n", "a" * 255, "ok", "{0..9}", "|touch ran", "é"),
    *("=cmd|' /C calc'!A0", "<script>alert(1)</script>", ".hidden", "\ud800"),
]
PATHS = [
    *("..", "colours", "colours/../..", "/etc", "/dev/zero", "nowhere", "x" * 300, "a\0b", "~/x", "study.yaml"),
    *("table.csv", "//host/share", "."),
]
HOSTS = [
    *("{server}", "{server}/../../../..", "{server}/a/..", "{server}//etc", "user:pass@{server}"),
    *("{server}/%2e%2e/%2e%2e", "{server}/{{a,..}}/..", "{server}/{{0..99999999999}}", "{server}/" + "x" * 300),
    *("", "..", "{server}/?a=/../..", "{server}/${{HOME}}"),
]
FILES = [
    *("a.tar", ".bash_aliases", "", "..", "a.tar?x=/../y", "x" * 260 + ".tar", "{0..3}.tar", "a.tar#../b"),
    *("a\\..\\b.tar", "a\0.tar"),
]
FACTORIES = [
    *("os:system", "subprocess:call", "builtins:eval", f"{os.__file__}:system", "code.py:net", "../code.py:net"),
    *("a:b:c", ":", "torch.hub:load", "pickle:loads", "code:net", "importlib:import_module", "/dev/stdin:x"),
]
VALUES: list[Any] = [
    *(None, -1, 0, 1e308, float("nan"), float("inf"), 10**30, "", "x", [], {}, [[]], {"a": {}}, True, "1e-4", b"x"),
]
TASK_KEYS = (
    *("metric", "seed", "duplicates", "in_chans", "folds", "splits", "input_key", "target_key", "root", "download"),
)
MODEL_KEYS = (
    *("name", "kwargs", "checkpoint", "pretrained", "side", "mean", "std", "crop_pct", "tap", "family", "source_n"),
)
STUDY_KEYS = ("seeds", "backend", "device", "source", "notes", "estimators", "regimes", "more")


class Watch:
    """What Python does while `on`: writing outside the allowed folders, running programs, asking other machines."""

    def __init__(self, *allowed: Path):
        self.allowed = [str(folder.resolve()) for folder in allowed]
        self.on, self.reading, self.seen = False, False, list[str]()
        sys.addaudithook(self)

    def __call__(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.on:
            return
        if event == "featune.elsewhere" or (event == "featune.own" and self.reading):
            self.seen.append(event)
        elif event in ("os.system", "subprocess.Popen", "os.exec", "os.posix_spawn", "os.fork", "pty.spawn"):
            self.seen.append(f"{event} {arguments[:2]}")
        elif event == "socket.connect" and arguments[1][0] not in ("127.0.0.1", "::1"):
            self.seen.append(f"{event} {arguments[1]}")
        elif event == "open" and self._writes(arguments[1], arguments[2]):
            self._check(event, arguments[0])
        elif event in ("os.remove", "os.rmdir", "os.mkdir", "os.truncate", "shutil.rmtree", "os.symlink", "os.rename"):
            self._check(event, arguments[1 if event in ("os.symlink", "os.rename") else 0])

    @staticmethod
    def _writes(mode: Any, flags: Any) -> bool:
        if isinstance(mode, str):
            return any(letter in mode for letter in "wax+")
        return bool(flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT))

    def _check(self, event: str, path: Any) -> None:
        if isinstance(path, int):
            return
        with contextlib.suppress(ValueError):
            place = os.path.realpath(os.fsdecode(path))
            if place != "/dev/null" and not any(place == one or place.startswith(one + "/") for one in self.allowed):
                self.seen.append(f"{event} {place[:200]}")


@contextlib.contextmanager
def server() -> Iterator[str]:
    """Answers every address with a few bytes that are no tar."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Length", "8")
            self.end_headers()
            self.wfile.write(b"evil = 1")

        def log_message(self, format: str, *arguments: object) -> None:
            return

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as found:
        threading.Thread(target=found.serve_forever, daemon=True).start()
        yield f"127.0.0.1:{found.server_address[1]}"
        found.shutdown()


def case(rng: random.Random, address: str) -> dict[str, Any]:
    """A study as a mapping; most of it is right, so that what is wrong is reached."""
    pick = rng.choice
    model: dict[str, Any] = {"architecture": "test_resnet", "pretrained": False, "side": 32}
    if rng.random() < 0.4:
        model = {"factory": pick(FACTORIES), "kwargs": {"command": "touch ran", "cmd": "touch ran"}, "side": 32}
    task: dict[str, Any] = {"folder": "colours"}
    if rng.random() < 0.5:
        url = f"http://{pick(HOSTS).format(server=address)}/{pick(FILES)}"
        task = {"images": f"{pick(['wds', 'wds', 'wds', 'torch', 'hfds'])}/{pick([url, url, pick(NAMES)])}"}
        task["download"] = "://" in task["images"]
    elif rng.random() < 0.3:
        task = {pick(["folder", "csv", "parquet", "prepared", "images"]): pick(PATHS)}
    study: dict[str, Any] = {"name": "s", "models": [model], "tasks": [task], "regimes": ["probe"]}
    for part, keys in ((model, MODEL_KEYS), (task, TASK_KEYS), (study, STUDY_KEYS)):
        if rng.random() < 0.3:
            part[pick(keys)] = pick([pick(VALUES), pick(NAMES), pick(PATHS)])
    for part in (study, task, model):
        if rng.random() < 0.3:
            part["name"] = pick(NAMES)
    return study


def faults(study: dict[str, Any], folder: Path, watch: Watch) -> list[str]:
    """What a case did that it should not."""
    import typer.testing
    import yaml

    from featune.bench.cli.app import app
    from featune.bench.study import prepared, read_study
    from featune.engine.errors import FeatuneError

    path, found = folder / "study.yaml", []
    try:
        path.write_text(yaml.safe_dump(study), encoding="utf-8")
    except UnicodeEncodeError:
        return []  # nobody can send it
    # A name that is no output folder is to be refused; the others write below `out`.
    more = ["--out", str(folder / "out")] if len(str(study["name"])) % 2 else []
    watch.seen.clear()
    watch.on = watch.reading = True
    for command in ("status", "report"):
        result = typer.testing.CliRunner().invoke(app, ["study", command, str(path), *more])
        if result.exception and not isinstance(result.exception, SystemExit):
            found.append(f"{command}: {''.join(traceback.format_exception(result.exception))[-600:]}")
    watch.reading = False
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            prepared(*read_study(path, folder / "out"))
    except FeatuneError:
        pass
    except Exception as error:
        found.append(f"run: {''.join(traceback.format_exception(error))[-900:]}")
    watch.on = False
    return [*found, *watch.seen]


def attack(count: int, seed: int, folder: Path) -> list[str]:
    """The cases that did what they should not, with what they did."""
    import numpy as np
    from PIL import Image

    work, rng = folder / "a" / "b" / "work", random.Random(seed)
    for number in range(15):
        file = work / "colours" / ("red", "green", "blue")[number % 3] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.random.default_rng(number).integers(0, 255, (32, 32, 3), dtype=np.uint8)).save(file)
    (work / "code.py").write_text("import sys\nsys.audit('featune.own')\n")
    (work.parent / "code.py").write_text("import sys\nsys.audit('featune.elsewhere')\n")
    (work / "table.csv").write_text("path,label\ncolours/red/0.png,red\n")
    os.environ |= {"FEATUNE_CACHE_DIR": str(folder / "cache"), "HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hf")}
    os.chdir(work)
    small = {"architecture": "test_resnet", "pretrained": False, "side": 32}
    right = {"name": "s", "models": [small], "tasks": [{"folder": "colours"}], "regimes": ["probe"]}
    faults(right, work, Watch())  # what libraries do when they are first used
    watch = Watch(work / "out", work / "runs", work / "data", folder / "cache", folder / "hf")
    wrong = []
    with server() as address:
        for number in range(count):
            study = case(rng, address)
            if did := faults(study, work, watch):
                wrong.append(f"case {number}: {study}\n    " + "\n    ".join(did))
    kept = {"a", "cache", "hf"}
    wrong += [f"{path} was made" for path in folder.iterdir() if path.name not in kept]
    return wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory() as made:
        wrong = attack(given.count, given.seed, Path(made))
        os.chdir("/")
    print("\n".join(wrong))
    print(f"{given.count} cases, {len(wrong)} wrong, {time.perf_counter() - began:.0f} s")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
