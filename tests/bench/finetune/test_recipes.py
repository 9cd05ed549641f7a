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


def test_timms_names_of_augmentation_and_mixing_change_their_fields() -> None:
    options = {"scale": (0.3, 1.0), "ratio": (0.9, 1.1), "mixup_prob": 0.4, "mixup_switch_prob": 0.2, "bce_loss": True}
    options |= {"mixup": 0.2, "cutmix": 1.0}
    (recipe,) = chosen_recipes("default", FACTS, options).candidates
    assert (recipe.augmentation.scale, recipe.augmentation.ratio) == ((0.3, 1.0), (0.9, 1.1))
    assert (recipe.mixup_prob, recipe.mixup_switch_prob, recipe.loss) == (0.4, 0.2, "bce")
    with pytest.raises(BadInput, match="give it once"):
        chosen_recipes("default", FACTS, {"bce_loss": True}, ["loss=auto"])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("rand-m9-n3-inc1", ("randaugment", 3, 27)),  # 9 of timm's 10 is 27 of torchvision's 30
        ("rand-m7-mstd0-p1.0", ("randaugment", 2, 21)),
        ("rand", ("randaugment", 2, 30)),  # timm's defaults: two operations, the strongest
        ("augmix-m3-w3", ("augmix", 2, 9)),
        ("trivialaugment", ("trivialaugment", 2, 9)),
        ("none", ("none", 2, 9)),
    ],
)
def test_timms_aa_becomes_the_augmentation_that_it_means(text: str, expected: tuple[str, int, int]) -> None:
    (recipe,) = chosen_recipes("default", FACTS, {"aa": text}).candidates
    found = recipe.augmentation
    assert (found.auto_augment, found.operations, found.magnitude) == expected


def test_our_own_name_of_aa_leaves_the_strength_to_set() -> None:
    (recipe,) = chosen_recipes("default", FACTS, {"aa": "randaugment"}, ["augmentation.magnitude=7"]).candidates
    assert (recipe.augmentation.auto_augment, recipe.augmentation.magnitude) == ("randaugment", 7)
    with pytest.raises(BadInput, match="is given by an option too"):
        chosen_recipes("default", FACTS, {"aa": "rand-m9"}, ["augmentation.magnitude=7"])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"mixup_prob": 0.5}, "--mixup-prob 0.5 found, nothing is mixed; give --mixup or --cutmix too"),
        ({"mixup_switch_prob": 0.3, "mixup": 0.2}, "give --mixup and --cutmix too"),
        ({"momentum": 0.9, "opt": "lamb"}, "lamb takes none"),
    ],
)
def test_an_option_that_nothing_heeds_is_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        chosen_recipes("default", FACTS, options)


@pytest.mark.parametrize("optimizer", ["sgd", "rmsprop", "lars"])
def test_momentum_is_heeded_by_optimizers_that_have_one(optimizer: str) -> None:
    (recipe,) = chosen_recipes("default", FACTS, {"momentum": 0.8, "opt": optimizer}).candidates
    assert recipe.momentum == 0.8


def test_a_magnitude_of_aa_is_as_strong_here_as_in_timm() -> None:
    """Of operations that grow with it, by timm's own tables: degrees, shears, and factors of colour less 1."""
    from timm.data.auto_augment import LEVEL_TO_ARG
    from torchvision.transforms.autoaugment import RandAugment

    (recipe,) = chosen_recipes("default", FACTS, {"aa": "rand-m9-inc1"}).candidates
    space = RandAugment()._augmentation_space(31, (224, 224))

    def here(name: str) -> float:
        return float(space[name][0][recipe.augmentation.magnitude])

    hparams = {"translate_const": 250, "magnitude_std": 0}
    for ours, timms, less in (("Rotate", "Rotate", 0), ("ShearX", "ShearX", 0), ("Color", "ColorIncreasing", 1)):
        assert abs(LEVEL_TO_ARG[timms](9, hparams)[0] - less) == pytest.approx(here(ours), rel=1e-6)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("rand-m9-mstd0.5", "mstd0.5 found, rand with mNUMBER, nNUMBER, inc1, mstd0, p1 expected; leave it out"),
        ("rand-m9-inc0", "inc0 found"),
        ("rand-m9-tweights", "tweights found"),
        ("rand-m11", "m11 found, m0 to m10 expected"),
        ("augmix-d2", "d2 found, augmix with m3"),
        ("rand-m9-m5", "m found twice; give it once"),
        ("rand-n0", "n0 found, one operation or more expected"),
        ("", "--aa '' found"),
        ("original-mstd0.5", "not here; expected rand-m9-n2-inc1"),
        ("v0", "one of none, randaugment, trivialaugment, augmix"),
    ],
)
def test_what_of_aa_is_not_here_is_refused_with_what_is(text: str, said: str) -> None:
    with pytest.raises(BadInput, match=said):
        chosen_recipes("default", FACTS, {"aa": text})
