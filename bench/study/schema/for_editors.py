"""The study file as a JSON schema, for editors that complete and check YAML by one."""

from typing import Any

from featune.engine.search import RECIPES

from .entries import ModelEntry, StudyEntry, TaskEntry
from .pretraining import PretrainEntry
from .settings import SETTINGS

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema() -> dict[str, Any]:
    """One object: the keys of a study file with their types and bounds, models and tasks by their own, and regimes.

    What a schema cannot say, such as that exactly one of a task's places is given, `featune study run` says.
    """
    whole: dict[str, Any] = StudyEntry.model_json_schema(mode="validation")
    definitions: dict[str, Any] = whole.pop("$defs", {})

    def refer(name: str, kind: Any) -> dict[str, str]:
        found = kind.model_json_schema(mode="validation", ref_template="#/$defs/{model}")
        definitions.update(found.pop("$defs", {}))
        found["additionalProperties"] = name == "Arguments" or found.get("additionalProperties", False)
        definitions[name] = found
        return {"$ref": f"#/$defs/{name}"}

    text, nothing = {"type": "string"}, {"type": "null"}
    properties = whole["properties"]
    model, task = refer("Model", ModelEntry), refer("Task", TaskEntry)
    _aliases(definitions["Model"])
    properties["models"]["items"] = {"anyOf": [text, model]}
    properties["tasks"]["items"] = task
    properties["pretrain"] = refer("Pretrain", PretrainEntry)
    whole["required"].remove("models")
    whole["anyOf"] = [{"required": ["models"]}, {"required": ["pretrain"]}]
    for name in ("x", "published"):
        properties[name] = {"anyOf": [properties[name], properties[name]["items"]]}
    properties["estimators"] = {"anyOf": [properties["estimators"], {"const": "all"}]}
    kinds = [_partial(refer(f"Regime {name}", kind), definitions, f"Regime {name}") for name, kind in SETTINGS.items()]
    properties["regimes"] = {
        "anyOf": [
            {"type": "array", "items": {"enum": [*SETTINGS]}},
            {"type": "object", "additionalProperties": {"anyOf": [nothing, *kinds]}},
        ]
    }
    return {"$schema": DIALECT, **whole, "title": "Featune study", "$defs": definitions}


def _partial(reference: dict[str, str], definitions: dict[str, Any], name: str) -> dict[str, str]:
    """All of a regime's settings have defaults; `kind` says which regime it is under another name."""
    found = definitions[name]
    found.pop("required", None)
    found["properties"]["kind"] = {"enum": [*SETTINGS]}
    if "learning_rates" in found["properties"]:
        found["properties"]["recipe"] = {"enum": [*RECIPES]}
    for part in definitions.values():
        if part.get("title") == "AugmentationEntry":
            part.pop("required", None)
    return reference


def _aliases(found: dict[str, Any]) -> None:
    """A model's source accuracy goes by two names."""
    properties = found["properties"]
    top = properties.get("source_top1") or properties.get("imagenet_top1")
    properties["source_top1"] = properties["imagenet_top1"] = top
