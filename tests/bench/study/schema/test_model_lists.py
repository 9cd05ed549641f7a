"""Models by pattern and by list file, and the JSON schema for editors."""

from pathlib import Path

import pytest
import timm

from featune.bench.study.schema import TEMPLATE, json_schema, parsed
from featune.bench.study.schema.settings import SETTINGS


def models(path: Path, text: str) -> list[str]:
    file = path / "study.yaml"
    file.write_text(f"name: a\nmodels: {text}\ntasks: [{{folder: images}}]\n")
    read = parsed(file)
    if read.faults.problems:
        raise ValueError("; ".join(read.faults.problems))
    return [str(one.architecture) for _, one in read.models]


def test_a_pattern_is_every_pretrained_model_that_matches_and_none_twice(tmp_path: Path) -> None:
    found = models(tmp_path, "[resnet18.a1_in1k, 'resnet18.a*_in1k']")
    assert found[0] == "resnet18.a1_in1k"
    assert sorted(found) == sorted(timm.list_models("resnet18.a*_in1k", pretrained=True))
    with pytest.raises(
        ValueError, match=r"models\[0\]: no pre-trained timm model matches 'resnet18x\*'; nearest: resnet18"
    ):
        models(tmp_path, "['resnet18x*']")


def test_a_list_file_has_one_name_or_pattern_a_line(tmp_path: Path) -> None:
    (tmp_path / "models.txt").write_text("# mine\nresnet18.a1_in1k\n\nresnet34.a*_in1k  # all of them\n")
    found = models(tmp_path, "[{list: models.txt}, vit_tiny_patch16_224]")
    assert found[0] == "resnet18.a1_in1k"
    assert found[-1] == "vit_tiny_patch16_224"
    assert "resnet34.a1_in1k" in found
    with pytest.raises(ValueError, match=r"models\[0\]\.list: .*absent\.txt cannot be read"):
        models(tmp_path, "[{list: absent.txt}]")
    (tmp_path / "empty.txt").write_text("# none\n")
    with pytest.raises(ValueError, match="no model found"):
        models(tmp_path, "[{list: empty.txt}]")


def test_the_template_is_a_study_file_as_it_stands() -> None:
    read = parsed(TEMPLATE)
    assert read.faults.problems == []
    assert [one.architecture for _, one in read.models] == ["resnet18.a1_in1k", "mobilenetv3_small_100.lamb_in1k"]


def test_the_json_schema_names_every_key_and_takes_what_is_optional_as_such() -> None:
    found = json_schema()
    assert {"name", "models", "tasks", "regimes", "seeds", "x", "published"} <= set(found["properties"])
    assert found["required"] == ["name", "tasks"]
    assert found["anyOf"] == [{"required": ["models"]}, {"required": ["pretrain"]}]
    assert "imagenet_top1" in found["$defs"]["Model"]["properties"]
    assert found["$defs"]["Model"]["additionalProperties"] is False
    assert set(found["properties"]["regimes"]["anyOf"][0]["items"]["enum"]) == set(SETTINGS)
    assert all("required" not in found["$defs"][f"Regime {name}"] for name in SETTINGS)
    references = {text for text in str(found).split("'") if text.startswith("#/$defs/")}
    assert {one.removeprefix("#/$defs/") for one in references} <= set(found["$defs"])
