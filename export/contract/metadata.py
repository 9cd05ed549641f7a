"""What an artefact says of itself: its contract, its verdict, and the files that belong to it.

Both lie in the ONNX file's own metadata, so a copied artefact keeps them. `content_digest` covers everything
but the verdict, and the verdict names that digest: whoever edits a weight or the contract voids the verdict.
"""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.store import file_digest, plain, written_whole

from .thresholds import PRECISIONS

CONTRACT, VERDICT = "featune", "featune.verdict"  # the metadata entries
ESSENTIAL = ("spec", "weights", "width", "input", "precision", "target")  # of a contract
# What ONNX Runtime 1.31 and TensorRT 11.4 take; onnx itself writes newer ones by default.
MAX_IR = 13
MAX_OPSET = {"onnxruntime": 26, "tensorrt": 25}
CONTRIBUTED = "com.microsoft"  # ONNX Runtime's own operators


def read_graph(path: str | os.PathLike[str]) -> Any:
    """The file's ModelProto, without the weights that lie in files beside it.

    Raises BadInput for what is no ONNX file, and for external data that is missing, too short or elsewhere.
    """
    import onnx

    try:
        proto = onnx.load(os.fspath(path), load_external_data=False)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such artefact; make it with `featune export`") from error
    except Exception as error:  # protobuf's own errors
        raise BadInput(f"{path} is not an ONNX file ({str(error)[:200]}); export the model again") from error
    external_files(proto, Path(path))
    return proto


def check_versions(proto: Any, path: str | os.PathLike[str], runtime: str = "onnxruntime") -> None:
    """Raises BadInput where the runtime does not take the file's IR version or an opset of it."""
    if proto.ir_version > MAX_IR:
        raise BadInput(f"{path}: IR version {proto.ir_version}, at most {MAX_IR} is taken; export the model again")
    for entry in proto.opset_import:
        if entry.domain in ("", "ai.onnx") and entry.version > MAX_OPSET[runtime]:
            raise BadInput(
                f"{path}: opset {entry.version}, {runtime} takes at most {MAX_OPSET[runtime]}; export the model again"
            )
        if entry.domain.startswith(CONTRIBUTED) and runtime == "tensorrt":
            used = sorted({node.op_type for node in proto.graph.node if node.domain == entry.domain})
            if used:
                raise BadInput(f"{path}: {', '.join(used)} are ONNX Runtime's own operators, unknown to TensorRT")


def contract_of(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The artefact's preprocessing contract. Raises BadInput for a file that Featune did not write."""
    found = entry_of(read_graph(path), CONTRACT)
    if found is None:
        raise BadInput(f"{path} carries no preprocessing contract; use a file that `featune export` wrote")
    if lacking := [key for key in ESSENTIAL if key not in found]:
        raise BadInput(f"{path}: its contract lacks {', '.join(lacking)}; export the model again")
    if not isinstance(found["spec"], dict) or not isinstance(found["spec"].get("view"), dict):
        raise BadInput(f"{path}: the spec of its contract has no view; export the model again")
    if found["precision"] not in PRECISIONS or not isinstance(found["input"], dict) or "side" not in found["input"]:
        raise BadInput(f"{path}: precision or input of its contract is damaged; export the model again")
    return found


def channels_of(contract: dict[str, Any]) -> int:
    """Of the images that the artefact takes; the contract of one of 3 does not say so."""
    return int(contract["spec"]["view"].get("channels", 3))


def verdict_of(path: str | os.PathLike[str]) -> dict[str, Any] | None:
    """The verdict that the artefact carries, as it was written; None where it has none."""
    return entry_of(read_graph(path), VERDICT)


def entry_of(proto: Any, key: str) -> dict[str, Any] | None:
    """One metadata entry, None where it is absent. Raises BadInput for one that is not a JSON object."""
    for entry in proto.metadata_props:
        if entry.key == key:
            try:
                found = json.loads(entry.value)
            except ValueError as error:
                raise BadInput(f"the metadata {key!r} of this file is damaged ({error}); export it again") from error
            if not isinstance(found, dict):
                raise BadInput(f"the metadata {key!r} of this file is {entry.value[:40]!r}; export the model again")
            return found
    return None


def set_entry(proto: Any, key: str, value: object) -> None:
    """Write one metadata entry, in place of an earlier one of that key."""
    kept = [(entry.key, entry.value) for entry in proto.metadata_props if entry.key != key]
    del proto.metadata_props[:]
    for name, text in sorted([*kept, (key, json.dumps(plain(value), sort_keys=True))]):
        entry = proto.metadata_props.add()
        entry.key, entry.value = name, text


def write_verdict(path: str | os.PathLike[str], verdict: object) -> None:
    """Put the verdict into the artefact, in place of an earlier one."""
    proto = read_graph(path)
    set_entry(proto, VERDICT, verdict)
    with written_whole(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))


def content_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the artefact without its verdict: the graph, the contract and every external file."""
    proto = read_graph(path)
    kept = [entry for entry in proto.metadata_props if entry.key != VERDICT]
    kept = [(entry.key, entry.value) for entry in kept]
    del proto.metadata_props[:]
    for key, value in sorted(kept):
        entry = proto.metadata_props.add()
        entry.key, entry.value = key, value
    sha = hashlib.sha256(proto.SerializeToString(deterministic=True))
    for file in external_files(proto, Path(path)):
        sha.update(f"{file.name}:{file_digest(file)};".encode())
    return sha.hexdigest()


def external_files(proto: Any, path: Path) -> list[Path]:
    """The files beside `path` that hold its large weights, each checked: there, inside the folder, long enough.

    A location that leaves the folder would let a graph file read any file of this machine into its weights.
    """
    folder = path.resolve().parent
    found: dict[Path, None] = {}
    for tensor in tensors(proto.graph):
        if tensor.data_location != tensor.EXTERNAL:
            continue
        entry = {item.key: item.value for item in tensor.external_data}
        location = entry.get("location", "")
        file = (folder / location).resolve()
        if not location or Path(location).is_absolute() or not file.is_relative_to(folder):
            raise BadInput(f"{path}: weights at {location!r}, outside the artefact's folder; do not use this file")
        if not file.is_file():
            raise BadInput(f"{path}: its weights are in {location}, which is missing; keep both files together")
        parts = [entry.get("offset") or "0", entry.get("length") or "0"]
        if not all(part.isdecimal() for part in parts):
            raise BadInput(f"{path}: weights at bytes {' + '.join(parts)} of {location}; do not use this file")
        end = sum(map(int, parts))
        if file.stat().st_size < end:
            raise BadInput(f"{path}: {location} has {file.stat().st_size} bytes, {end} expected; copy it again")
        found[file] = None
    return list(found)


def tensors(graph: Any) -> Iterator[Any]:
    """Every constant of a graph: initializers, attributes, and those of its subgraphs."""
    yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            for inner in [*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs]:
                yield from tensors(inner)
