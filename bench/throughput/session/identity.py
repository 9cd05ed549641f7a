"""What a kept result is of: the content of weights, code, images and machine. A file's path says nothing of them."""

from collections.abc import Mapping
from typing import Any

from featune.engine.images import folder_items
from featune.engine.store import digest
from featune.export.commands import spec_of_model

from .opening import Source

# What of the environment a result depends on; a later date or another load does not void it.
SAME = ("machine", "processor", "processors", "instruction_sets", "device", "gpu", "driver", "versions")


class Identity:
    """Names results. here: the environment."""

    def __init__(self, source: Source, here: Mapping[str, Any]):
        self.source = source
        self.same = {name: here.get(name) for name in SAME}
        self.data = folder_items(source.data).content_digest if source.data else ""
        self._models: dict[str, str] = {}

    def key(self, kind: str, model: str | None, value: Any) -> str:
        """The digest of a result's kind, of what was asked and of the content that it was asked of. model: None where
        none was opened."""
        if model is None:
            return digest([kind, value, self.same])
        return digest([kind, value, self.model(model), self.data, self.source.allow_fallback, self.same])

    def model(self, name: str) -> str:
        if name not in self._models:
            self._models[name] = spec_of_model(name, self.source.checkpoint, self.source.untrained).digest
        return self._models[name]
