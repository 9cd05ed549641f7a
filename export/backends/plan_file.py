"""A plan file: one JSON line, which says for what it was built and how it was judged, and TensorRT's bytes."""

import dataclasses
import hashlib
import json
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.store import digest, plain, written_whole
from featune.engine.tensorrt import BuildSettings

from ..contract import ESSENTIAL

MAGIC = "featune-plan-2"


@dataclasses.dataclass(frozen=True)
class PlanKey:
    """All that a plan depends on. graph: `content_digest` of the artefact. capability: such as `9.0`.

    tensorrt: the version of TensorRT; `tensorrt-rtx 1.7.1` and the like for TensorRT for RTX.
    """

    graph: str
    tensorrt: str
    gpu: str
    capability: str
    settings: BuildSettings

    @property
    def name(self) -> str:
        return digest(self)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan file's header. sha256: of TensorRT's bytes. contract: of the graph that it was built from, see
    `export/contract/metadata.py`. verdict: empty until the plan was judged; it names the `content` judged.
    """

    key: PlanKey
    sha256: str
    contract: dict[str, Any]
    verdict: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def content(self) -> str:
        """Names all of the plan but its verdict."""
        return digest([self.key, self.sha256, self.contract])

    @property
    def model(self) -> str:
        return str(self.contract["model"])

    @property
    def precision(self) -> str:
        return str(self.contract["precision"])


def write_plan(path: Path, header: Plan, blob: bytes) -> None:
    line = json.dumps({"format": MAGIC, **plain(header)}, sort_keys=True).encode()
    with written_whole(path) as temporary:
        temporary.write_bytes(line + b"\n" + blob)


def read_plan(path: Path) -> tuple[Plan, bytes]:
    """A plan file's header and TensorRT's bytes. Raises BadInput for another file, or a damaged one."""
    try:
        line, _, blob = path.read_bytes().partition(b"\n")
        value = json.loads(line)
        if value.pop("format") != MAGIC:
            raise ValueError("another format")
        settings = value["key"].pop("settings")
        settings["batches"] = tuple(settings["batches"])
        value["key"] = PlanKey(**value["key"], settings=BuildSettings(**settings))
        header = Plan(**value)
        if lacking := [name for name in ESSENTIAL if name not in header.contract]:
            raise KeyError(*lacking)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such plan; make it with `featune export --to tensorrt`") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is not a plan that Featune wrote; make it with `featune export`") from error
    if hashlib.sha256(blob).hexdigest() != header.sha256:
        raise BadInput(f"{path} is damaged: its bytes are not those that were written; build it again")
    return header, blob
