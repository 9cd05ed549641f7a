"""Which recipes a command line means."""

import dataclasses
from pathlib import Path

import pytest

from featune.bench.finetune.recipes import chosen_recipes, read_recipe, with_fields, write_recipe
from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe
from featune.engine.search import RECIPES, Facts

FACTS = Facts(images=1000)


def test_a_recipe_is_read_from_its_file_as_it_was_written(tmp_path: Path) -> None:
    for name, named in RECIPES.items():
        recipe = named.candidates(FACTS)[-1]
        write_recipe(tmp_path / "recipe.yaml", recipe, name)
        assert read_recipe(tmp_path / "recipe.yaml") == recipe


def test_timms_batch_size_is_of_one_backward_pass() -> None:
    (recipe,) = chosen_recipes("default", FACTS, {"batch_size": 16, "grad_accum_steps": 4}).candidates
    assert (recipe.batch, recipe.accumulation) == (64, 4)


def test_warmup_epochs_are_a_share_of_the_steps() -> None:
    (recipe,) = chosen_recipes("default", FACTS, {"warmup_epochs": 2, "epochs": 10}).candidates
    assert recipe.warmup == pytest.approx(0.2)
    (recipe,) = chosen_recipes("default", FACTS, {"warmup_epochs": 1, "steps": 100, "batch_size": 50}).candidates
    assert recipe.warmup == pytest.approx(20 / 100)


def test_epochs_go_before_the_steps_of_a_recipe() -> None:
    (recipe,) = chosen_recipes("bit-hyperrule", FACTS, {"epochs": 3}).candidates
    assert (recipe.steps, recipe.epochs) == (None, 3)


def test_a_rate_or_an_optimizer_that_is_given_leaves_only_the_rest_of_the_grid() -> None:
    assert len(chosen_recipes("kornblith2019", FACTS, {"lr": 0.01, "weight_decay": 0.0}).candidates) == 1
    assert len(chosen_recipes("fang2023", FACTS, {"opt": "sgd"}).candidates) == 20


def test_any_field_is_set_by_its_name() -> None:
    sets = ["warmup=5e-2", "augmentation.vflip=0.5", "trained=head", "learning_rates=[0.1, 0.01]"]
    found = chosen_recipes("default", FACTS, {}, sets).candidates
    assert {(one.warmup, one.augmentation.vflip, one.trained) for one in found} == {(0.05, 0.5, "head")}
    assert [one.learning_rates for one in found] == [(0.1,), (0.01,)]  # each rate is a candidate


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["warmpu=1"], "no field 'warmpu' of a recipe; nearest: warmup"),
        (["warmup"], "field=value expected"),
        (["warmup=fast"], "warmup"),
        (["augmentation.flip=1"], "nearest: augmentation.vflip, augmentation.hflip"),
        (["batch=0"], "batch"),
    ],
)
def test_a_wrong_setting_is_refused_with_what_was_expected(sets: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        chosen_recipes("default", FACTS, {}, sets)


def test_an_option_and_a_setting_of_one_field_are_refused() -> None:
    with pytest.raises(BadInput, match="give it once"):
        chosen_recipes("default", FACTS, {"mixup": 0.2}, ["mixup=0.3"])


def test_an_unknown_name_and_a_missing_file_say_which_there_are(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no recipe named 'kornblith'; nearest: kornblith2019"):
        chosen_recipes("kornblith", FACTS, {})
    with pytest.raises(BadInput, match="no such recipe"):
        chosen_recipes(str(tmp_path / "mine.yaml"), FACTS, {})


def test_a_file_may_say_only_what_differs(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("epochs: 3\nlearning_rates: [1e-3]\naugmentation: {vflip: 0.5}\n")
    recipe = read_recipe(tmp_path / "mine.yaml")
    assert recipe == dataclasses.replace(
        Recipe(), epochs=3, learning_rates=(1e-3,), augmentation=dataclasses.replace(Recipe().augmentation, vflip=0.5)
    )


def test_with_fields_keeps_the_rest() -> None:
    recipe = Recipe(optimizer="adamw", epochs=7)
    assert with_fields(recipe, {"mixup": 0.1}) == dataclasses.replace(recipe, mixup=0.1)
