"""Fetching with resume and hash, from a server on this machine."""

import functools
import hashlib
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from make_layouts import eurosat

import bench.downloads
from bench.catalogue import TASKS
from bench.downloads import download, fetch
from bench.entries import Archive
from bench.progress import Silent
from engine.errors import BadInput, Missing

CONTENT = bytes(range(256)) * 40


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, from the byte that is asked for, and writes down what it was asked."""

    asked: list[str | None] = []  # noqa: RUF012

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        content = Path(self.translate_path(self.path)).read_bytes()
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.bin").write_bytes(CONTENT)
    Files.asked = []
    handler = functools.partial(Files, directory=str(tmp_path / "served"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as found:
        thread = threading.Thread(target=found.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{found.server_address[1]}"
        found.shutdown()
        thread.join()


def archive(server: str, content: bytes = CONTENT) -> Archive:
    return Archive(f"{server}/a.bin", hashlib.md5(content, usedforsecurity=False).hexdigest())


def test_a_killed_fetch_goes_on_where_it_was(server: str, tmp_path: Path) -> None:
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw" / "a.bin.part").write_bytes(CONTENT[:1000])
    steps: list[tuple[int, int]] = []
    file = fetch(archive(server), tmp_path / "raw", lambda done, total: steps.append((done, total)))
    assert file.read_bytes() == CONTENT
    assert Files.asked == ["bytes=1000-"]
    assert steps[-1] == (len(CONTENT), len(CONTENT))
    assert not (tmp_path / "raw" / "a.bin.part").exists()


def test_a_whole_archive_is_not_fetched_again(server: str, tmp_path: Path) -> None:
    for _ in range(2):
        fetch(archive(server), tmp_path / "raw", lambda done, total: None)
    assert Files.asked == [None]


def test_a_file_of_other_content_is_not_kept(server: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"a\.bin: md5 .* expected, another found"):
        fetch(archive(server, b"what was published"), tmp_path / "raw", lambda done, total: None)
    assert not list((tmp_path / "raw").iterdir())


def test_without_a_network_the_user_is_told_what_to_do(tmp_path: Path) -> None:
    closed = Archive("http://127.0.0.1:9/a.bin", None)
    with pytest.raises(Missing, match=r"a\.bin cannot be fetched .* or put the file into"):
        fetch(closed, tmp_path, lambda done, total: None)


def test_what_may_not_be_downloaded_for_the_user_is_told_step_by_step(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="kaggle competitions download -c aptos2019-blindness-detection"):
        download(TASKS["aptos2019"], tmp_path, Silent())


def test_torchvision_unpacks_what_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """EuroSAT's archive made of the fixture: torchvision takes ours only if it has the published hash."""
    from torchvision.datasets import utils

    eurosat(tmp_path / "made")
    raw = tmp_path / "raw" / "eurosat"
    raw.mkdir(parents=True)
    with zipfile.ZipFile(raw / "EuroSAT.zip", "w") as packed:
        for file in sorted((tmp_path / "made" / "eurosat").rglob("*.jpg")):
            packed.write(file, file.relative_to(tmp_path / "made" / "eurosat"))
    monkeypatch.setattr(bench.downloads, "_is_whole", lambda path, archive: True)
    monkeypatch.setattr(utils, "check_md5", lambda path, md5, **more: md5 == TASKS["eurosat"].archives[0].md5)
    download(TASKS["eurosat"], tmp_path / "raw", Silent())
    assert (raw / "2750" / "River" / "River_10.jpg").exists()
    (raw / "EuroSAT.zip").unlink()
    download(TASKS["eurosat"], tmp_path / "raw", Silent())  # unpacked already: nothing is fetched


@pytest.mark.parametrize("name", [name for name, facts in TASKS.items() if facts.archives])
def test_hashes_are_the_ones_that_torchvision_checks(name: str) -> None:
    import inspect

    import torchvision.datasets

    source = inspect.getsource(inspect.getmodule(getattr(torchvision.datasets, TASKS[name].torchvision)))
    for one in TASKS[name].archives:
        assert one.name in source
        assert one.md5 is None or one.md5 in source
