"""Recipes: what the published one says, and what none can say."""

import dataclasses
import inspect
import json
import math

import numpy as np
import pytest

import mixlib
from mixlib import augment, recipes
from mixlib.recipes import Recipe


def test_the_published_recipe():
    recipe = recipes.get_recipe("keras_example")
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (50, 128, 1e-4)
    assert recipe.schedule == "plateau" and not recipe.changes_images
    assert (recipe.reduce_factor, recipe.reduce_patience, recipe.stop_patience) == (0.5, 5, 10)
    assert (recipe.validation, recipe.validation_fraction) == ("last", 0.1)
    rates = [recipe.learning_rate_of(f"keras_{name}") for name in ("mixer", "fnet", "gmlp")]
    assert rates == [0.005, 0.001, 0.003]


@pytest.mark.parametrize("name", recipes.RECIPES)
def test_recipes_are_known_by_their_names(name):
    assert recipes.get_recipe(name).name == name


def test_a_recipe_of_ones_own():
    recipe = Recipe("mine", mixup=0.1)
    assert recipes.get_recipe(recipe) is recipe and recipe.changes_images
    with pytest.raises(dataclasses.FrozenInstanceError):
        recipe.epochs = 3


def test_an_unknown_recipe():
    with pytest.raises(ValueError, match="'fast'. Expected one of: keras_example, baseline"):
        recipes.get_recipe("fast")


@pytest.mark.parametrize(
    "fields, said",
    [
        ({"validation": "first"}, 'validation must be "stratified" or "last"; got \'first\''),
        ({"schedule": "linear"}, 'schedule must be "plateau" or "cosine"; got \'linear\''),
        ({"decayed": "none"}, 'decayed must be "all" or "kernels"'),
        ({"epochs": 0}, "epochs must be a whole number, 1 or more; got 0"),
        ({"batch_size": 0}, "batch_size must be a whole number, 1 or more"),
        ({"mixup": 1.5}, "mixup must be a number from 0 to 1; got 1.5"),
        ({"mixup": 0.6, "cutmix": 0.5}, "together 1 at most; got 0.6 and 0.5"),
        ({"ema": 0.1}, 'go with schedule="cosine"'),
        ({"warmup_epochs": 2}, 'go with schedule="cosine"'),
        ({"schedule": "cosine", "restore_best": False}, 'go with schedule="plateau", not "cosine"'),
        ({"schedule": "cosine", "stop_patience": 3}, "changed: stop_patience"),
        ({"learning_rate": -1.0}, "learning_rate must be a number from 0 to inf; got -1.0"),
        ({"learning_rate": math.nan}, "learning_rate must be a number from 0"),
        ({"weight_decay": -1.0}, "weight_decay must be a number from 0"),
        ({"clip_norm": -1.0}, "clip_norm must be a number from 0"),
        ({"reduce_factor": 2.0}, "reduce_factor must be a number from 0 to 1"),
        ({"reduce_factor": 1.0}, "reduce_factor must be below 1"),
        ({"learning_rate": "1e-3"}, "learning_rate must be a number from 0 to inf; got '1e-3'"),
        ({"stop_patience": -1}, "stop_patience must be a number from 0"),
        ({"validation_fraction": 3.0}, "validation_fraction must be a number from 0 to 1; got 3.0"),
        ({"augmentation": {"slide": 0.1}}, "augmentation has no slide. It has: colour, erasing"),
        ({"learning_rates": {"mine": -1.0}}, r"learning_rates\['mine'\] must be a number from 0"),
        ({"label_smoothing": True}, "label_smoothing must be a number from 0 to 1; got True"),
        ({"drop_incomplete": "no"}, "drop_incomplete must be True or False; got 'no'"),
    ],
)
def test_what_no_recipe_can_say(fields, said):
    with pytest.raises(ValueError, match=said):
        Recipe("odd", **fields)


def test_numpys_numbers_become_pythons():
    rate = np.float32(0.5)
    recipe = Recipe(
        "numpy",
        epochs=np.int64(3),
        drop_incomplete=np.True_,
        learning_rate=rate,
        learning_rates={"a": rate},
        stop_patience=np.int32(5),
        augmentation={"rotation": np.int64(5)},
    )
    fields = dataclasses.asdict(recipe)
    assert json.loads(json.dumps(fields)) == fields
    assert (recipe.stop_patience, recipe.drop_incomplete, recipe.learning_rate) == (5, True, 0.5)


def test_the_augmentation_of_a_recipe_is_that_of_the_layers():
    functions = augment.augmentation, augment.RandomAffine
    names = {name for made in functions for name in inspect.signature(made).parameters}
    assert recipes._AUGMENTATION == names - {"affine", "kwargs", "seed"}


@pytest.mark.parametrize("run", mixlib.list_runs(), ids=lambda run: run.name)
def test_the_recipe_of_a_stored_run_is_one(run):
    assert Recipe(**run.metrics["recipe"]).name == run.metrics["recipe"]["name"]


@pytest.mark.parametrize(
    "fields",
    [{"label_smoothing": 0.1}, {"cutmix": 0.1}, {"mixup": 0.1}, {"augmentation": {"shift": 0.1}}],
)
def test_each_ingredient_changes_images(fields):
    assert Recipe("one", **fields).changes_images
    assert not Recipe("none").changes_images


@pytest.mark.parametrize("name", ["keras_example", "baseline"])
def test_the_best_weights_count_unless_it_is_said_otherwise(name):
    assert recipes.get_recipe(name).restore_best
