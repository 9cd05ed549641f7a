"""Models of the hub by the bytes behind their names: a server in the hub's manner, timm's own loading, no network."""

import contextlib
import hashlib
import http.server
import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import timm
import torch
from safetensors.torch import save_file

from featune.engine.errors import BadInput, Missing
from featune.engine.models import classifier, spec_from_entry, spec_from_string
from featune.engine.models.hub import TOLD, weights_now, without_retries

PART = """
import json, sys
from featune.engine.errors import FeatuneError
from featune.engine.models import classifier, spec_from_string
for name in sys.argv[1:]:
    spec = spec_from_string(name)
    try:
        weight = float(classifier(spec).state_dict()["fc.bias"][0])
    except FeatuneError as error:
        weight = str(error)
    print(json.dumps([spec.weights, spec.digest, weight]))
"""


class Hub:
    """Serves files as the hub does: their digest as ETag, the commit in a header. asked: (method, path)."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.asked: list[tuple[str, str]] = []
        hub = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self) -> None:
                hub.asked.append((self.command, self.path))
                data = hub.files.get(self.path.replace("/resolve/main/", "/"))
                self.send_response(404 if data is None else 200)
                if data is None:
                    self.send_header("X-Error-Code", "EntryNotFound")
                else:
                    self.send_header("ETag", f'"{hashlib.sha256(data).hexdigest()}"')
                    self.send_header(
                        "X-Repo-Commit", hashlib.sha1(repr(sorted(hub.files.items())).encode()).hexdigest()
                    )
                self.send_header("Content-Length", str(len(data or b"")))
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(data or b"")

            do_GET = do_HEAD = answer

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        thread = threading.Thread(target=self.server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{self.server.server_address[1]}"
        finally:
            self.server.shutdown()
            self.server.server_close()
            thread.join()


def resnet(bias: float, path: Path) -> Path:
    model = timm.create_model("test_resnet")
    torch.nn.init.constant_(model.fc.bias, bias)
    save_file(model.state_dict(), path)
    return path


def loaded(endpoint: str, cache: Path, *names: str, offline: str = "0") -> list[tuple[str, str, float | str]]:
    """(weights, digest, first bias) of each model, by a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("HF_")}
    environment |= {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "HF_HUB_DISABLE_XET": "1", "NO_PROXY": "127.0.0.1"}
    environment["HF_HUB_OFFLINE"] = offline
    done = subprocess.run([sys.executable, "-c", PART, *names], env=environment, stdout=subprocess.PIPE, check=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines()]


def test_weights_of_the_hub_are_named_by_their_bytes_with_and_without_the_network(tmp_path: Path) -> None:
    hub = Hub()
    one = "/timm/test_resnet.r160_in1k/model.safetensors"
    two = "/someone/net/pytorch_model.bin"
    names = ("test_resnet.r160_in1k", "hf-hub:someone/net")
    hub.files[one] = resnet(1.0, tmp_path / "a").read_bytes()
    torch.save(timm.create_model("test_resnet").state_dict() | {"fc.bias": torch.full((1000,), 5.0)}, tmp_path / "b")
    hub.files[two] = (tmp_path / "b").read_bytes()
    hub.files["/someone/net/config.json"] = json.dumps(
        {"architecture": "test_resnet", "num_classes": 1000, "pretrained_cfg": {"input_size": [3, 32, 32]}}
    ).encode()
    with hub.serving() as endpoint:
        first = loaded(endpoint, tmp_path / "hf", *names)
        assert [bias for _, _, bias in first] == [1.0, 5.0]
        assert all("#" in weights for weights, _, _ in first)
        assert loaded(endpoint, tmp_path / "hf", *names) == first
        downloads = [path for method, path in hub.asked if method == "GET" and "/resolve/" in path]
        assert len(downloads) == len(set(downloads)) == 3
        hub.files[one] = resnet(2.0, tmp_path / "a").read_bytes()
        hub.files["/someone/net/config.json"] += b"\n"
        second = loaded(endpoint, tmp_path / "hf", *names)
    assert [bias for _, _, bias in second] == [2.0, 5.0]
    assert not {digest for _, digest, _ in first} & {digest for _, digest, _ in second}
    assert loaded(endpoint, tmp_path / "hf", *names, offline="1") == second
    (weights, _, missing), *_ = loaded(endpoint, tmp_path / "empty", names[0], offline="1")
    assert weights == "hub:timm/test_resnet.r160_in1k"
    assert "could not be fetched" in str(missing)


def test_a_hub_that_does_not_answer_is_asked_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[str] = []

    def silent(url: str) -> None:
        asked.append(url)
        raise TimeoutError

    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", silent)
    monkeypatch.setattr("featune.engine.models.hub._SILENT", threading.Event())
    monkeypatch.setenv(TOLD, "")  # and so put back afterwards
    for name in ("timm/one", "timm/two"):
        assert weights_now({"hub": name, "hub_files": ["model.safetensors", "pytorch_model.bin"]}) == ""
    assert len(asked) == 1


def test_a_hub_that_breaks_off_is_asked_once_and_never_again_for_the_weights(tmp_path: Path) -> None:
    """The hub's client alone would try six times for each file, with pauses of 23 s in all."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def hang_up() -> None:
            with contextlib.suppress(OSError):
                while True:
                    call, _ = server.accept()
                    asked.append(call.recv(1000))
                    call.close()

        threading.Thread(target=hang_up, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.getsockname()[1]}"
        ((weights, _, said),) = loaded(endpoint, tmp_path, "test_resnet.r160_in1k")
    assert weights == "hub:timm/test_resnet.r160_in1k"
    assert "could not be fetched" in str(said)
    assert len([each for each in asked if each.startswith((b"HEAD /timm", b"GET /timm"))]) == 1


def test_a_process_knows_from_the_one_that_started_it_that_the_hub_is_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr("featune.engine.models.hub._SILENT", threading.Event())
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.get_hf_file_metadata", lambda url: pytest.fail("asked"))
    monkeypatch.setenv(TOLD, "1")
    assert weights_now({"hub": "timm/one", "hub_files": ["model.safetensors"]}) == ""
    with without_retries():
        assert constants.HF_HUB_OFFLINE
    assert not constants.HF_HUB_OFFLINE


def test_a_folder_of_a_model_is_named_by_its_bytes_and_not_by_its_place(tmp_path: Path) -> None:
    folder = tmp_path / "net"
    timm.models.save_for_hf(timm.create_model("test_resnet"), folder, safe_serialization=True)
    spec = spec_from_string(f"local-dir:{folder}")
    classifier(spec)
    moved = folder.rename(tmp_path / "moved")
    assert spec_from_string(f"local-dir:{moved}").digest == spec.digest
    other = spec_from_string(f"local-dir:{moved}")
    resnet(7.0, moved / "model.safetensors")
    changed = spec_from_string(f"local-dir:{moved}")
    assert changed.digest != spec.digest
    assert classifier(changed).state_dict()["fc.bias"][0] == 7.0
    with pytest.raises(BadInput, match="have changed since"):
        classifier(other)


@pytest.mark.parametrize("damage", ["no weights", "no config", "half the weights", "no folder"])
def test_a_damaged_folder_of_a_model_is_one_sentence(damage: str, tmp_path: Path) -> None:
    folder = tmp_path / "net"
    timm.models.save_for_hf(timm.create_model("test_resnet"), folder, safe_serialization=True)
    weights = folder / "model.safetensors"
    if damage == "no config":
        (folder / "config.json").unlink()
    elif damage == "half the weights":
        weights.write_bytes(weights.read_bytes()[:5000])
    else:
        for file in folder.iterdir():
            if damage == "no folder" or file.suffix != ".json":
                file.unlink()
    with pytest.raises((BadInput, Missing), match=str(folder)):
        classifier(spec_from_string(f"local-dir:{folder}"))


@pytest.mark.parametrize(
    "config", ["{}", "[]", "1", "{", '{"architecture": 3}', '{"architecture": "test_resnet", "pretrained_cfg": 3}']
)
@pytest.mark.parametrize("pretrained", [True, False])
def test_a_config_that_is_not_timms_is_one_sentence(config: str, pretrained: bool, tmp_path: Path) -> None:
    resnet(1.0, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(config)
    with pytest.raises(BadInput, match=rf"{tmp_path}: expected a folder with config.json .* \(config.json: "):
        spec_from_entry({"architecture": f"local-dir:{tmp_path}", "pretrained": pretrained})


def test_a_folder_that_is_not_there_is_no_question_of_the_network(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=f"{tmp_path}/net: expected a folder with config.json and a weight file"):
        spec_from_entry({"architecture": f"local-dir:{tmp_path}/net", "pretrained": False})
