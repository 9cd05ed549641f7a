"""Fetching with resume and hash, from a server on this machine."""

import contextlib
import functools
import hashlib
import http.server
import inspect
import shutil
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from make_layouts import eurosat

import featune.bench.catalogue.downloads
from featune.bench.catalogue import TASKS, Archive, download, fetch
from featune.bench.progress import Silent
from featune.engine.errors import BadInput, Missing

CONTENT = bytes(range(256)) * 40


class Files(http.server.SimpleHTTPRequestHandler):
    """Serves a folder, from the byte that is asked for, and writes down what it was asked."""

    asked: list[str | None] = []  # noqa: RUF012
    version: str | None = None  # what the server calls the file that it has

    def do_GET(self) -> None:
        wanted = self.headers.get("Range")
        self.asked.append(wanted)
        content = Path(self.translate_path(self.path)).read_bytes()
        if self.headers.get("If-Range") not in (None, self.version):
            wanted = None
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Length", str(len(content) - start))
        if self.version:
            self.send_header("ETag", self.version)
        self.end_headers()
        self.wfile.write(content[start:])

    def log_message(self, format: str, *args: object) -> None:
        return


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    (tmp_path / "served").mkdir()
    (tmp_path / "served" / "a.bin").write_bytes(CONTENT)
    Files.asked, Files.version = [], None
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


def stopped_at_half(server: str, folder: Path) -> None:
    """A fetch of a file without a hash that is killed on its way."""

    def stop(done: int, total: int) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(Archive(f"{server}/a.bin", None), folder, stop)
    part = folder / "a.bin.part"
    part.write_bytes(part.read_bytes()[:1000])


@pytest.mark.parametrize(
    ("before", "after", "asked"),
    [
        ('"one"', '"one"', "bytes=1000-"),  # the same version goes on
        ('"one"', '"two"', "bytes=1000-"),  # the server sends the whole of another
        (None, None, None),  # nobody knows which version the half is of
        ('W/"one"', 'W/"one"', None),  # nor by a weak mark
    ],
)
def test_a_resumed_fetch_never_mixes_two_versions(
    before: str | None, after: str | None, asked: str | None, server: str, tmp_path: Path
) -> None:
    Files.version = before
    stopped_at_half(server, tmp_path / "raw")
    content = CONTENT if before == after and asked else CONTENT[::-1]
    (tmp_path / "served" / "a.bin").write_bytes(content)
    Files.version = after
    file = fetch(Archive(f"{server}/a.bin", None), tmp_path / "raw", lambda done, total: None)
    assert file.read_bytes() == content
    assert Files.asked == [None, asked]
    assert [path.name for path in (tmp_path / "raw").iterdir()] == ["a.bin"]


def test_a_name_that_would_leave_the_folder_is_refused_before_it_is_asked_for(server: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"the file's name '\.\.'"):
        fetch(Archive(f"{server}/..", None), tmp_path / "raw", lambda done, total: None)
    assert Files.asked == []


def test_without_a_network_the_user_is_told_what_to_do(tmp_path: Path) -> None:
    closed = Archive("http://127.0.0.1:9/a.bin", None)
    with pytest.raises(Missing, match=r"a\.bin cannot be fetched .* or put the file into"):
        fetch(closed, tmp_path, lambda done, total: None)


def test_what_may_not_be_downloaded_for_the_user_is_told_step_by_step(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="kaggle competitions download -c aptos2019-blindness-detection"):
        download(TASKS["aptos2019"], tmp_path, Silent())


def eurosat_archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """EuroSAT's archive made of the fixture: torchvision takes ours only if it has the published hash."""
    from torchvision.datasets import utils

    eurosat(tmp_path / "made")
    raw = tmp_path / "raw" / "eurosat"
    raw.mkdir(parents=True)
    with zipfile.ZipFile(raw / "EuroSAT.zip", "w") as packed:
        for file in sorted((tmp_path / "made" / "eurosat").rglob("*.jpg")):
            packed.write(file, file.relative_to(tmp_path / "made" / "eurosat"))
    monkeypatch.setattr(featune.bench.catalogue.downloads, "_is_whole", lambda path, archive: True)
    monkeypatch.setattr(utils, "check_md5", lambda path, md5, **more: md5 == TASKS["eurosat"].archives[0].md5)
    return raw


def test_torchvision_unpacks_what_was_fetched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = eurosat_archive(tmp_path, monkeypatch)
    (raw / "mine.txt").write_text("not to be touched")
    download(TASKS["eurosat"], tmp_path / "raw", Silent())
    assert (raw / "2750" / "River" / "River_10.jpg").exists()
    assert sorted(path.name for path in raw.iterdir()) == ["2750", "EuroSAT.zip", "mine.txt"]
    assert [path.name for path in raw.parent.iterdir()] == ["eurosat"]
    (raw / "EuroSAT.zip").unlink()
    download(TASKS["eurosat"], tmp_path / "raw", Silent())  # unpacked already: nothing is fetched


def test_a_killed_unpacking_is_done_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from torchvision.datasets import eurosat as module

    raw = eurosat_archive(tmp_path, monkeypatch)
    whole = module.download_and_extract_archive

    def killed(url: str, download_root: str, **more: object) -> None:
        whole(url, download_root, **more)
        for name in ("Forest", "River"):
            shutil.rmtree(Path(download_root, "2750", name))
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "download_and_extract_archive", killed)
    with pytest.raises(KeyboardInterrupt):
        download(TASKS["eurosat"], tmp_path / "raw", Silent())
    assert not (raw / "2750").exists()
    monkeypatch.setattr(module, "download_and_extract_archive", whole)
    download(TASKS["eurosat"], tmp_path / "raw", Silent())
    assert len(list(raw.rglob("*.jpg"))) == 36


def test_half_an_archive_is_refused_with_what_to_remove(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = eurosat_archive(tmp_path, monkeypatch)
    data = (raw / "EuroSAT.zip").read_bytes()
    (raw / "EuroSAT.zip").write_bytes(data[: len(data) // 2])
    with pytest.raises(Missing, match=r"eurosat could not be unpacked .*remove its archives from"):
        download(TASKS["eurosat"], tmp_path / "raw", Silent())
    assert not (raw / "2750").exists()


def test_a_folder_that_cannot_be_written_is_named(server: str, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file where a folder should be")
    with pytest.raises(BadInput, match=r"a\.bin\.part: cannot be written .*choose another --raw"):
        fetch(archive(server), tmp_path / "raw", lambda done, total: None)


@pytest.mark.parametrize("name", [name for name, facts in TASKS.items() if facts.archives])
def test_addresses_names_hashes_and_folders_are_torchvisions(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What its class asks for where nothing is there, against the catalogue; a change on either side is seen."""
    import torchvision.datasets

    facts = TASKS[name]
    kind = getattr(torchvision.datasets, facts.torchvision)
    module = sys.modules[kind.__module__]
    asked: list[tuple[str, str, str | None, str]] = []

    def noting(function: Callable[..., object]) -> Callable[..., None]:
        def note(*values: object, **named: object) -> None:
            told = inspect.signature(function).bind(*values, **named).arguments
            url, folder = str(told["url"]), Path(told.get("download_root") or told["root"])
            file = told.get("filename") or url.rpartition("/")[2]
            asked.append((url, file, told.get("md5"), folder.relative_to(tmp_path).as_posix()))

        return note

    for function in ("download_and_extract_archive", "download_url"):
        if hasattr(module, function):
            monkeypatch.setattr(module, function, noting(getattr(module, function)))
    for part in facts.parts:
        with contextlib.suppress(RuntimeError, OSError):  # what it then looks for is not there
            kind(str(tmp_path), download=True, **part)
    assert asked == [(one.url, one.name, one.md5, one.folder) for one in facts.archives]
