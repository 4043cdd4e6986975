"""Recipes and experiments."""

import dataclasses

import keras
import numpy as np
import pytest

import mixlib
from mixlib import data, training


@pytest.fixture(scope="module")
def dataset():
    return data.load("shapes", 300, 100)


def small_model(name="small", **options):
    keras.utils.set_random_seed(0)
    return mixlib.build_classifier(
        mixlib.MixerBlock(16, 32),
        patch_size=8,
        embedding_dim=16,
        preprocessing=mixlib.augment.preprocessing(image_size=None),
        name=name,
        **options,
    )


def weights_of(model):
    return [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]


def test_the_published_recipe():
    recipe = training.get_recipe("keras_example")
    assert (recipe.epochs, recipe.batch_size, recipe.weight_decay) == (50, 128, 1e-4)
    assert (recipe.reduce_factor, recipe.reduce_patience, recipe.stop_patience) == (0.5, 5, 10)
    assert (recipe.validation, recipe.validation_fraction) == ("last", 0.1)
    rates = [recipe.learning_rate_of(f"keras_{name}") for name in ("mixer", "fnet", "gmlp")]
    assert rates == [0.005, 0.001, 0.003]


def test_what_an_experiment_leaves(dataset):
    model = small_model()
    experiment = mixlib.run_experiment(model, dataset, "baseline", epochs=2, verbose=0)
    metrics, history = experiment.metrics, experiment.history
    columns = "loss top_1 top_5 val_loss val_top_1 val_top_5 learning_rate seconds".split()
    assert sorted(history) == sorted(columns)
    assert {len(values) for values in history.values()} == {2}
    assert metrics["model"] == "small" and metrics["recipe"]["name"] == "baseline"
    assert metrics["epochs"] == metrics["recipe"]["epochs"] == 2
    assert metrics["dataset_sha256"] == dataset.checksum()
    assert (metrics["train_images"], metrics["validation_images"]) == (270, 30)
    assert metrics["parameters"] == sum(weight.size for weight in weights_of(model))
    assert 0 <= metrics["test_top_1"] <= metrics["test_top_5"] <= 1
    assert metrics["seconds_per_epoch"] > 0


def test_reported_figures_are_those_of_the_restored_weights(dataset):
    """The model is spoilt after two epochs; what is reported is the best epoch's."""

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                head = self.model.get_layer("head").kernel
                head.assign(100 * np.random.default_rng(0).normal(size=head.shape))

    recipe = training.Recipe("short", batch_size=32)
    model = small_model()
    experiment = mixlib.run_experiment(
        model, dataset, recipe, epochs=4, callbacks=[Spoil()], verbose=0
    )
    metrics, history = experiment.metrics, experiment.history
    best = int(np.argmin(history["val_loss"]))
    assert best < 2 and metrics["best_epoch"] == best + 1
    assert metrics["validation_loss"] == pytest.approx(history["val_loss"][best], rel=1e-4)
    logits = model.predict(dataset.x_test, verbose=0)
    assert metrics["test_top_1"] == pytest.approx((logits.argmax(1) == dataset.y_test).mean())
    fifth = np.sort(logits, axis=1)[:, -5]
    own = logits[np.arange(100), dataset.y_test]
    assert metrics["test_top_5"] == pytest.approx((own >= fifth).mean(), abs=1e-6)


def test_stops_early_and_lowers_the_learning_rate(dataset):
    recipe = training.Recipe(
        "still", learning_rate=1e-9, reduce_patience=1, stop_patience=3, batch_size=128
    )
    history = mixlib.run_experiment(small_model(), dataset, recipe, epochs=9, verbose=0).history
    assert len(history["loss"]) < 9
    assert history["learning_rate"][-1] < 1e-9


def test_a_seed_repeats_an_experiment(dataset):
    trained = []
    for seed in (1, 1, 2):
        model = small_model()
        mixlib.run_experiment(model, dataset, "baseline", epochs=1, seed=seed, verbose=0)
        trained.append(weights_of(model))
    for one, two in zip(*trained[:2], strict=True):
        np.testing.assert_allclose(one, two, atol=1e-6)
    assert any(not np.allclose(one, two) for one, two in zip(*trained[1:], strict=True))


def test_learns(dataset):
    recipe = training.Recipe("eager", learning_rate=1e-2, batch_size=32)
    history = mixlib.run_experiment(small_model(), dataset, recipe, epochs=5, verbose=0).history
    assert history["loss"][-1] < 0.9 * np.log(100)


def test_the_normalisation_is_fitted_to_the_training_images(dataset):
    model = small_model()
    mixlib.run_experiment(model, dataset, "baseline", epochs=1, verbose=0)
    layer = model.get_layer("preprocessing").get_layer("normalization")
    mean = keras.ops.convert_to_numpy(layer.mean).ravel()
    np.testing.assert_allclose(mean, dataset.x_train.mean(axis=(0, 1, 2)), rtol=1e-4)


def test_the_last_tenth_validates_in_the_published_recipe(dataset):
    train, validation = training._split(dataset, training.RECIPES["keras_example"], seed=0)
    np.testing.assert_array_equal(validation[0], dataset.x_train[270:])
    np.testing.assert_array_equal(train[1], dataset.y_train[:270])


def test_a_stratified_part_validates_otherwise():
    dataset = data.load("shapes", 1_000, 100)
    train, validation = training._split(dataset, training.RECIPES["baseline"], seed=0)
    assert np.bincount(validation[1]).tolist() == [1] * 100
    assert np.bincount(train[1]).tolist() == [9] * 100


@pytest.mark.parametrize("epochs", [0, -1, 1.5])
def test_no_epoch_to_train(dataset, epochs):
    with pytest.raises(ValueError, match="epochs must be a whole number, 1 or more"):
        mixlib.run_experiment(small_model(), dataset, epochs=epochs)


def test_data_that_does_not_fit_the_model(dataset):
    with pytest.raises(ValueError, match="scores 7 classes, but shapes has 100"):
        mixlib.run_experiment(small_model(num_classes=7), dataset)
    with pytest.raises(ValueError, match=r"takes images of shape \(64, 64, 3\)"):
        mixlib.run_experiment(small_model(image_size=64), dataset)


def test_recipes_that_do_not_exist(dataset):
    with pytest.raises(ValueError, match="'fast'. Expected one of: keras_example, baseline"):
        mixlib.run_experiment(small_model(), dataset, "fast")
    with pytest.raises(ValueError, match='"stratified" or "last"'):
        training.Recipe("odd", validation="first")
    with pytest.raises(ValueError, match="epochs must be 1 or more"):
        training.Recipe("odd", epochs=0)


def test_a_recipe_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        training.Recipe("mine").epochs = 3


def test_compile_model_takes_the_learning_rate_of_the_model():
    rates = {"keras_mixer": 0.005, "keras_fnet": 0.001, "keras_gmlp": 0.003}
    for name, rate in rates.items():
        model = mixlib.create(name)
        training.compile_model(model, "keras_example")
        assert float(model.optimizer.learning_rate) == pytest.approx(rate)
        assert isinstance(model.optimizer, keras.optimizers.AdamW)
    with pytest.raises(ValueError, match="Unknown recipe 'nothing'"):
        training.compile_model(model, "nothing")
