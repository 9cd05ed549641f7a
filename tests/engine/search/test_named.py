"""Recipes by name, against their papers' numbers (see the sources in RECIPES)."""

import math

import pytest

from featune.engine.errors import BadInput
from featune.engine.search import RECIPES, Facts, recipe_named


def test_kornblith2019_has_seven_rates_and_eight_decays_that_are_divided_by_the_rate() -> None:
    recipes = RECIPES["kornblith2019"].candidates(Facts(5000))
    assert len(set(recipes)) == 56
    rates = sorted({recipe.learning_rates[0] for recipe in recipes})
    assert (len(rates), rates[0], rates[-1]) == (7, 1e-4, 0.1)
    decays = sorted({round(recipe.weight_decay * recipe.learning_rates[0], 10) for recipe in recipes})
    assert decays[0] == 0
    assert min(decays[1:]) == pytest.approx(1e-6, rel=1e-3)
    assert max(decays) == pytest.approx(1e-3, rel=1e-3)
    assert {(recipe.steps, recipe.batch, recipe.batch_norm) for recipe in recipes} == {(20_000, 256, "kornblith2019")}


def test_kornblith2019_from_scratch_takes_twice_the_steps_and_higher_rates() -> None:
    recipes = RECIPES["kornblith2019"].candidates(Facts(5000, scratch=True))
    rates = sorted({recipe.learning_rates[0] for recipe in recipes})
    assert (len(set(recipes)), rates[0], rates[-1]) == (56, 1e-3, 1.0)
    assert {recipe.steps for recipe in recipes} == {40_000}
    assert max(recipe.weight_decay * recipe.learning_rates[0] for recipe in recipes) == pytest.approx(
        10**-1.5, rel=1e-3
    )


def test_fang2023_divides_the_decay_of_adamw_only() -> None:
    recipes = RECIPES["fang2023"].candidates(Facts(5000))
    assert len(set(recipes)) == 40
    assert {recipe.weight_decay for recipe in recipes if recipe.optimizer == "sgd"} == {1e-3, 1e-4, 1e-5, 1e-6, 0.0}
    of_adamw = {recipe.learning_rates[0]: recipe.weight_decay for recipe in recipes if recipe.optimizer == "adamw"}
    assert sorted(of_adamw) == [1e-5, 1e-4, 1e-3, 1e-2]
    assert max(r.weight_decay * r.learning_rates[0] for r in recipes if r.optimizer == "adamw") == pytest.approx(1e-3)
    assert {(recipe.epochs, recipe.batch, recipe.image_size) for recipe in recipes} == {(30, 128, 256)}
    assert {recipe.epochs for recipe in RECIPES["fang2023"].candidates(Facts(5000, scratch=True))} == {50}


@pytest.mark.parametrize(
    ("images", "steps", "mixup"),
    [(19_999, 500, 0.0), (20_000, 10_000, 0.1), (499_999, 10_000, 0.1), (500_000, 20_000, 0.1)],
)
def test_bit_hyperrule_goes_by_the_number_of_images(images: int, steps: int, mixup: float) -> None:
    (recipe,) = RECIPES["bit-hyperrule"].candidates(Facts(images))
    assert (recipe.steps, recipe.mixup, recipe.batch, recipe.learning_rates) == (steps, mixup, 512, (0.003,))
    if images < 20_000:
        assert [round(share * steps) for share in (recipe.warmup, *recipe.milestones)] == [100, 200, 300, 400]


@pytest.mark.parametrize(("small", "side"), [(True, 128), (False, 480)])
def test_bit_hyperrule_goes_by_the_size_of_the_images(small: bool, side: int) -> None:
    (recipe,) = RECIPES["bit-hyperrule"].candidates(Facts(1000, small_images=small))
    assert recipe.image_size == side


def test_lp_ft_starts_from_the_probe_and_refuses_random_weights() -> None:
    assert {recipe.start for recipe in RECIPES["lp-ft"].candidates(Facts(100))} == {"probe"}
    with pytest.raises(BadInput, match="choose another recipe"):
        RECIPES["lp-ft"].candidates(Facts(100, scratch=True))


@pytest.mark.parametrize("scratch", [False, True])
def test_the_default_is_one_short_training(scratch: bool) -> None:
    recipes = RECIPES["default"].candidates(Facts(1000, scratch=scratch))
    assert len(recipes) == 1
    assert math.isfinite(recipes[0].learning_rates[0])


def test_our_own_recipes_shrink_and_the_papers_do_not() -> None:
    on = {name for name, named in RECIPES.items() if all(r.shrink_on_load for r in named.candidates(Facts(100)))}
    off = {name for name, named in RECIPES.items() if not any(r.shrink_on_load for r in named.candidates(Facts(100)))}
    assert (on, off) == ({"default", "lp-ft"}, {"kornblith2019", "fang2023", "bit-hyperrule"})


def test_an_unknown_recipe_names_the_nearest() -> None:
    with pytest.raises(BadInput, match="nearest: fang2023"):
        recipe_named("fang")
