"""Recipes and experiments."""

import dataclasses
import math
import types

import keras
import numpy as np
import pytest

import mixlib
from mixlib import data, distribution, recipes, runs, training
from mixlib.recipes import Recipe


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


def test_the_decay_of_2021_does_not_follow_the_learning_rate():
    for independent, left in ((False, 1 - 0.1 * 0.01), (True, 1 - 0.01)):
        recipe = Recipe("d", learning_rate=0.1, weight_decay=0.01, independent_decay=independent)
        model = small_model()
        training.compile_model(model, recipe)
        weight = keras.Variable([2.0])
        model.optimizer.apply([keras.ops.zeros(1)], [weight])
        np.testing.assert_allclose(keras.ops.convert_to_numpy(weight), 2 * left, rtol=1e-6)
    again = keras.optimizers.deserialize(keras.optimizers.serialize(model.optimizer))
    assert isinstance(again, training.IndependentAdamW) and again.weight_decay == 0.01


def test_the_decay_of_2021_can_spare_biases():
    model = small_model()
    fields = {"independent_decay": True, "decayed": "kernels", "weight_decay": 0.1}
    training.compile_model(model, Recipe("d", **fields))
    bias, kernel = model.get_layer("head").bias, model.get_layer("stem").kernel
    bias.assign(np.ones(100))
    before = keras.ops.convert_to_numpy(kernel)
    variables = model.trainable_variables
    model.optimizer.apply([keras.ops.zeros(variable.shape) for variable in variables], variables)
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(bias), 1)
    np.testing.assert_allclose(keras.ops.convert_to_numpy(kernel), 0.9 * before, rtol=1e-5)


def test_what_an_experiment_leaves(dataset):
    model = small_model()
    experiment = mixlib.run_experiment(model, dataset, "baseline", epochs=3, verbose=0)
    metrics, history = experiment.metrics, experiment.history
    columns = "loss top_1 top_5 val_loss val_top_1 val_top_5 learning_rate seconds".split()
    assert sorted(history) == sorted(columns)
    assert {len(values) for values in history.values()} == {3}
    assert metrics["model"] == "small" and metrics["recipe"]["name"] == "baseline"
    assert metrics["epochs"] == metrics["recipe"]["epochs"] == 3
    assert metrics["seconds_per_epoch"] == sorted(history["seconds"])[1]
    assert metrics["flops"] == mixlib.costs.count_flops(model) != metrics["parameters"]
    assert metrics["dataset_sha256"] == dataset.checksum()
    assert (metrics["train_images"], metrics["validation_images"]) == (270, 30)
    assert metrics["parameters"] == sum(weight.size for weight in weights_of(model))
    assert 0 <= metrics["test_top_1"] <= metrics["test_top_5"] <= 1
    assert metrics["seconds_per_epoch"] > 0


@pytest.mark.parametrize("restore", [True, False])
def test_reported_figures_are_those_of_the_weights_that_count(dataset, restore):
    """The model is spoilt after two epochs; reported is the best epoch, or else the last."""

    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                head = self.model.get_layer("head").kernel
                head.assign(100 * np.random.default_rng(0).normal(size=head.shape))

    recipe = Recipe("short", batch_size=32, restore_best=restore)
    model = small_model()
    experiment = mixlib.run_experiment(
        model, dataset, recipe, epochs=4, callbacks=[Spoil()], verbose=0
    )
    metrics, history = experiment.metrics, experiment.history
    assert np.argmin(history["val_loss"]) < 2
    best = int(np.argmin(history["val_loss"])) if restore else 3
    assert metrics["best_epoch"] == best + 1
    assert metrics["validation_loss"] == pytest.approx(history["val_loss"][best], rel=1e-4)
    logits = model.predict(dataset.x_test, verbose=0)
    assert metrics["test_top_1"] == pytest.approx((logits.argmax(1) == dataset.y_test).mean())
    fifth = np.sort(logits, axis=1)[:, -5]
    own = logits[np.arange(100), dataset.y_test]
    assert metrics["test_top_5"] == pytest.approx((own >= fifth).mean(), abs=1e-6)
    train, validation = mixlib.training.split(dataset, recipe, seed=0)
    assert len(train[1]) == metrics["train_images"] and len(validation[1]) == 30
    answers = model.predict(train[0], verbose=0).argmax(1)
    assert metrics["train_top_1"] == pytest.approx((answers == train[1]).mean())


def test_scores_of_answers():
    """Of equal scores the first class wins; what is no number is never the better answer."""
    logits = np.zeros((4, 7), "float32")
    logits[1, 6], logits[2, :5], logits[3, 3:] = 1, [5, 4, 3, 2, 1], np.nan
    scores = mixlib.training._scores(logits[:3], np.array([5, 6, 4]))
    losses = -np.log([1 / 7, np.e / (6 + np.e), np.e / np.exp(logits[2]).sum()])
    assert scores == pytest.approx({"loss": losses.mean(), "top_1": 1 / 3, "top_5": 2 / 3})
    assert mixlib.training._scores(logits[3:], np.array([3]))["top_1"] == 0
    nothing = mixlib.training._scores(np.full((2, 7), np.nan, "float32"), np.array([0, 1]))
    assert np.isnan(nothing["loss"]) and nothing["top_1"] == nothing["top_5"] == 0


def test_an_epoch_without_a_loss_is_not_the_best(dataset):
    class Spoil(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                head = self.model.get_layer("head").kernel
                head.assign(np.full(head.shape, np.nan))

    experiment = mixlib.run_experiment(
        small_model(), dataset, "baseline", epochs=2, callbacks=[Spoil()], verbose=0
    )
    assert np.isnan(experiment.history["val_loss"]).tolist() == [False, True]
    assert experiment.metrics["best_epoch"] == 1
    assert np.isfinite(experiment.metrics["test_loss"])


def test_stops_early_and_lowers_the_learning_rate(dataset):
    recipe = Recipe("still", learning_rate=1e-9, reduce_patience=1, stop_patience=3, batch_size=128)
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


@pytest.mark.parametrize(("on_cpu", "devices"), [(True, 1), (False, 1), (False, 4)])
def test_an_accelerator_makes_several_steps_a_call_on_jax(monkeypatch, on_cpu, devices):
    monkeypatch.setattr(training.fused, "on_cpu", lambda: on_cpu)
    many = keras.backend.backend() == "jax" and not on_cpu and devices == 1
    assert training._steps_a_call(devices) == (8 if many else 1)


@pytest.mark.skipif(keras.backend.backend() != "jax", reason="elsewhere each step is a call")
# With MixUp and a teacher, one step a call is wrapped as well.
@pytest.mark.parametrize(("wrapped", "drop_incomplete"), [(False, False), (True, True)])
def test_several_steps_a_call_are_the_same_steps(dataset, monkeypatch, wrapped, drop_incomplete):
    fields = {"schedule": "cosine", "warmup_epochs": 1.0, "ema": 0.1, "clip_norm": 1.0}
    if wrapped:
        fields |= {"mixup": 0.5, "distillation": 0.5}
    teacher = small_model("master") if wrapped else None
    # 33 steps of 8 images, and one of 6. In calls of 16: 16, 16, the last and that.
    recipe = Recipe("r", batch_size=8, drop_incomplete=drop_incomplete, **fields)
    left = []
    for count in (1, 16):
        calls = []
        count_calls = keras.callbacks.LambdaCallback(
            on_train_batch_end=lambda batch, logs, calls=calls: calls.append(batch)
        )
        monkeypatch.setattr(training, "_steps_a_call", lambda devices, count=count: count)
        model = small_model()
        options = {"epochs": 2, "verbose": 0, "callbacks": [count_calls], "teacher": teacher}
        experiment = mixlib.run_experiment(model, dataset, recipe, **options)
        assert len(calls) == 2 * -(-(33 if drop_incomplete else 34) // count)
        del experiment.history["seconds"]
        loss = experiment.metrics["test_loss"]
        left.append(({**experiment.history, "test loss": loss}, weights_of(model)))
    (history, weights), (other_history, other_weights) = left
    for name, values in history.items():
        np.testing.assert_allclose(values, other_history[name], rtol=1e-6, err_msg=name)
    for one, other in zip(weights, other_weights, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_learns(dataset):
    recipe = Recipe("eager", learning_rate=1e-2, batch_size=32)
    history = mixlib.run_experiment(small_model(), dataset, recipe, epochs=5, verbose=0).history
    assert history["loss"][-1] < 0.9 * np.log(100)


def test_the_normalisation_is_fitted_to_the_training_images(dataset):
    model = small_model()
    mixlib.run_experiment(model, dataset, "baseline", epochs=1, verbose=0)
    layer = model.get_layer("preprocessing").get_layer("normalization")
    mean = keras.ops.convert_to_numpy(layer.mean).ravel()
    np.testing.assert_allclose(mean, dataset.x_train.mean(axis=(0, 1, 2)), rtol=1e-4)


def test_the_last_tenth_validates_in_the_published_recipe(dataset):
    train, validation = training.split(dataset, recipes.RECIPES["keras_example"], seed=0)
    np.testing.assert_array_equal(validation[0], dataset.x_train[270:])
    np.testing.assert_array_equal(train[1], dataset.y_train[:270])


def test_a_stratified_part_validates_otherwise():
    dataset = data.load("shapes", 1_000, 100)
    train, validation = training.split(dataset, recipes.RECIPES["baseline"], seed=0)
    assert np.bincount(validation[1]).tolist() == [1] * 100
    assert np.bincount(train[1]).tolist() == [9] * 100


def test_the_last_images_are_no_validation_of_images_sorted_by_class(dataset):
    order = np.argsort(dataset.y_train, kind="stable")
    x_train, y_train = dataset.x_train[order], dataset.y_train[order]
    in_order = dataclasses.replace(dataset, x_train=x_train, y_train=y_train)
    with pytest.raises(ValueError, match=r"those of shapes are sorted\. Shuffle them"):
        training.split(in_order, recipes.RECIPES["keras_example"], seed=0)
    training.split(in_order, recipes.RECIPES["baseline"], seed=0)


@pytest.mark.parametrize("validation", ["last", "stratified"])
@pytest.mark.parametrize("fraction", [0.0, 0.001, 1.0])
def test_no_image_to_validate_or_to_train(dataset, validation, fraction):
    recipe = Recipe("odd", validation=validation, validation_fraction=fraction)
    with pytest.raises(ValueError, match="leaves a part empty"):
        mixlib.run_experiment(small_model(), dataset, recipe, epochs=1)


def test_fewer_than_five_classes(dataset):
    few = np.flatnonzero(dataset.y_train < 3), np.flatnonzero(dataset.y_test < 3)
    names = dataset.class_names[:3]
    three = mixlib.data.Dataset(
        "three", dataset.x_train[few[0]], dataset.y_train[few[0]],
        dataset.x_test[few[1]], dataset.y_test[few[1]], names,
    )  # fmt: skip
    plain = Recipe("few", validation_fraction=0.4)
    for recipe in (plain, dataclasses.replace(plain, label_smoothing=0.1)):
        model = small_model(num_classes=3)
        metrics = mixlib.run_experiment(model, three, recipe, epochs=1, verbose=0).metrics
        assert metrics["test_top_5"] == 1


def test_circumstances_are_those_of_the_start(dataset, monkeypatch):
    """A commit that is made while a training runs is not the one that was trained."""
    monkeypatch.setenv("MIXLIB_COMMIT", "before")
    commit = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: monkeypatch.setenv("MIXLIB_COMMIT", "after")
    )
    experiment = mixlib.run_experiment(
        small_model(), dataset, "baseline", epochs=1, callbacks=[commit], verbose=0
    )
    assert experiment.circumstances["commit"] == "before"


@pytest.mark.parametrize("epochs", [0, -1, 1.5])
def test_no_epoch_to_train(dataset, epochs):
    with pytest.raises(ValueError, match="epochs must be a whole number, 1 or more"):
        mixlib.run_experiment(small_model(), dataset, epochs=epochs)


def test_data_that_does_not_fit_the_model(dataset):
    with pytest.raises(ValueError, match="scores 7 classes, but shapes has 100"):
        mixlib.run_experiment(small_model(num_classes=7), dataset)
    with pytest.raises(ValueError, match=r"takes images of shape \(64, 64, 3\)"):
        mixlib.run_experiment(small_model(image_size=64), dataset)


def test_compile_model_takes_the_learning_rate_of_the_model():
    rates = {"keras_mixer": 0.005, "keras_fnet": 0.001, "keras_gmlp": 0.003}
    for name, rate in rates.items():
        model = mixlib.create(name)
        training.compile_model(model, "keras_example")
        assert float(model.optimizer.learning_rate) == pytest.approx(rate)
        assert isinstance(model.optimizer, keras.optimizers.AdamW)
    with pytest.raises(ValueError, match="Unknown recipe 'nothing'"):
        training.compile_model(model, "nothing")


STRONG = Recipe(
    "strong, in short",
    batch_size=64,
    drop_incomplete=True,
    learning_rate=5e-3,
    weight_decay=0.05,
    decayed="kernels",
    clip_norm=1.0,
    schedule="cosine",
    warmup_epochs=1,
    ema=0.02,
    label_smoothing=0.1,
    augmentation={"shift": 0.125, "rotation": 10.0, "colour": 0.2, "erasing": 0.25},
    mixup=0.25,
    cutmix=0.25,
)


def test_learns_by_a_recipe_with_everything(dataset):
    experiment = mixlib.run_experiment(small_model(), dataset, STRONG, epochs=6, verbose=0)
    metrics, history = experiment.metrics, experiment.history
    assert history["loss"][-1] < 0.98 * history["loss"][0]
    assert metrics["best_epoch"] == metrics["epochs"] == 6
    logits = experiment.model.predict(dataset.x_test, verbose=0)
    assert metrics["test_top_1"] == pytest.approx((logits.argmax(1) == dataset.y_test).mean())
    assert metrics["recipe"]["augmentation"]["shift"] == 0.125


def test_the_learning_rate_warms_up_and_falls_to_zero(dataset):
    history = mixlib.run_experiment(small_model(), dataset, STRONG, epochs=5, verbose=0).history
    rates = history["learning_rate"]  # at the beginning of each epoch
    assert rates[0] == 0 and rates[1] == pytest.approx(5e-3)
    half_cosine = 5e-3 * (1 + np.cos(np.pi * np.arange(4) / 4)) / 2
    np.testing.assert_allclose(rates[1:], half_cosine, rtol=1e-5)


def test_a_cosine_needs_the_number_of_steps():
    with pytest.raises(ValueError, match=r"Give steps=\(steps an epoch, epochs\)"):
        training.compile_model(small_model(), STRONG)


def test_a_warm_up_may_end_within_an_epoch_and_takes_half_of_a_training_at_most():
    for epochs, warmup, steps, expected in (
        (8, 1.5, (5, 15, 80), (1 / 3, 1, 0)),
        (2, 10.0, (5, 10, 20), (1 / 2, 1, 0)),
    ):
        recipe = Recipe("r", schedule="cosine", warmup_epochs=warmup)
        rate = training._cosine(1.0, recipe, 10, epochs)
        assert [float(rate(step)) for step in steps] == pytest.approx(expected, abs=1e-6)


def test_the_average_spans_its_share_of_the_training():
    model = small_model()
    training.compile_model(model, Recipe("r", schedule="cosine", ema=0.1), steps=(10, 5))
    assert model.optimizer.ema_momentum == pytest.approx(np.exp(-1 / 5))


def test_the_average_of_the_weights_takes_their_place(dataset):
    """Two trainings that differ in nothing else end apart, the average nearer to the start."""

    class Last(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.weights = weights_of(self.model)

    trained = {}
    for ema in (0.0, 0.3):
        recipe = Recipe("averaged", schedule="cosine", learning_rate=0.01, ema=ema, batch_size=64)
        model, last = small_model(), Last()
        start = weights_of(model)
        mixlib.run_experiment(model, dataset, recipe, epochs=3, callbacks=[last], verbose=0)
        trained[ema] = start, last.weights, weights_of(model)
    for one, other in zip(trained[0.0][1], trained[0.3][1], strict=True):
        np.testing.assert_allclose(one, other, atol=1e-5)
    start, last, average = (np.concatenate([w.ravel() for w in part]) for part in trained[0.3])
    assert 0.05 < np.linalg.norm(average - last) / np.linalg.norm(last - start) < 1
    for last, end in zip(*trained[0.0][1:], strict=True):
        np.testing.assert_array_equal(last, end)


def test_weight_decay_can_spare_biases_and_norms():
    for decayed, spared in (("all", False), ("kernels", True)):
        model = small_model()
        recipe = Recipe("decayed", schedule="cosine", decayed=decayed)
        training.compile_model(model, recipe, steps=(4, 2))
        model.optimizer.build(model.trainable_variables)
        uses = model.optimizer._use_weight_decay
        names = {variable.name for variable in model.trainable_variables if not uses(variable)}
        assert names == ({"bias", "gamma", "beta"} if spared else set())


@pytest.fixture
def augmented():
    """A classifier that gives back the mean of its image, and what a recipe makes of it."""

    def make(**fields):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [keras.Input((32, 32, 3)), keras.layers.Flatten(), keras.layers.Dense(10)], name="mean"
        )
        kernel = np.zeros((32 * 32 * 3, 10), "float32")
        kernel[:, 0] = 1 / len(kernel)
        model.set_weights([kernel, np.zeros(10)])
        return training.AugmentedTraining(model, Recipe("mixed", **fields))

    return make


def changed(model, training):
    """Mean of the image and targets for images that are as bright as their label says."""
    keras.utils.set_random_seed(0)
    labels = np.arange(500) % 10
    images = np.broadcast_to(labels[:, None, None, None], (500, 32, 32, 3)).astype("float32")
    given = model({"images": images, "labels": labels}, training=training)
    return labels, *(keras.ops.convert_to_numpy(given[key]) for key in ("logits", "targets"))


@pytest.mark.parametrize("fields", [{"mixup": 0.5}, {"cutmix": 0.5}, {"mixup": 0.2, "cutmix": 0.3}])
def test_images_and_targets_are_mixed_in_the_same_shares(augmented, fields):
    labels, logits, targets = changed(augmented(**fields), training=True)
    np.testing.assert_allclose(targets.sum(axis=1), 1, rtol=1e-5)
    # CutMix counts whole pixels, its targets fractions of them.
    np.testing.assert_allclose(logits[:, 0], targets @ np.arange(10), atol=0.6)
    mixed = targets.max(axis=1) < 1
    assert 0.5 * 0.8 < mixed.mean() < 0.5 * 1.2  # some meet an image of their own class
    np.testing.assert_array_equal(targets[~mixed].argmax(axis=1), labels[~mixed])


def test_nothing_is_changed_outside_of_training(augmented):
    model = augmented(mixup=0.5, cutmix=0.5, label_smoothing=0.1, augmentation={"shift": 0.1})
    labels, logits, targets = changed(model, training=False)
    np.testing.assert_array_equal(targets, np.eye(10)[labels])
    np.testing.assert_allclose(logits[:, 0], labels, rtol=1e-4, atol=1e-5)


def test_labels_are_smoothed_in_training(augmented):
    labels, _, targets = changed(augmented(label_smoothing=0.2), training=True)
    np.testing.assert_allclose(targets, 0.8 * np.eye(10)[labels] + 0.02, rtol=1e-5)


@pytest.mark.parametrize(
    "images, at_most, devices, size",
    [(5_000, 128, 1, 125), (10_000, 512, 1, 500), (30, 128, 1, 30), (4_999, 128, 1, 128),
     (5_000, 128, 4, 100), (40, 128, 4, 40)],
)  # fmt: skip
def test_batches_that_measure_are_all_of_one_size(images, at_most, devices, size):
    assert training._even_batch_size(images, at_most, devices) == size


def test_an_incomplete_batch_can_be_left_out(dataset):
    images, labels = dataset.x_train, dataset.y_train
    share = mixlib.distribution.Share()
    sizes = [
        [len(batches[index][1]) for index in range(len(batches))]
        for drop in (False, True)
        for batches in [training._Batches(images, labels, 128, share, drop)]
    ]
    assert sizes == [[128, 128, 44], [128, 128]]


@pytest.mark.parametrize("fields", [{"label_smoothing": 0.1}, {"mixup": 0.5}])
def test_the_classifier_is_told_that_it_is_trained(fields):
    layers = [keras.Input((8, 8, 3)), keras.layers.Dropout(0.5), keras.layers.Flatten()]
    model = training.AugmentedTraining(keras.Sequential(layers), Recipe("r", **fields))
    given = {"images": np.ones((4, 8, 8, 3), "float32"), "labels": np.arange(4)}
    for told in (True, False):
        logits = keras.ops.convert_to_numpy(model(given, training=told)["logits"])
        assert (logits == 0).any() == told


def test_the_recipes_augmentation_reaches_the_classifier():
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten()]
    recipe = Recipe("r", augmentation={"colour": 0.4, "horizontal_flip": False})
    model = training.AugmentedTraining(keras.Sequential(layers), recipe)
    given = {"images": np.full((64, 8, 8, 3), 128, "float32"), "labels": np.zeros(64, int)}
    for told in (True, False):
        logits = keras.ops.convert_to_numpy(model(given, training=told)["logits"])
        assert ((np.abs(logits - 128) > 1).mean() > 0.5) == told


def test_a_recipe_without_augmentation_leaves_the_images_as_they_are():
    """Not even mirrored: where classes are places, that would make labels wrong."""
    layers = [keras.Input((8, 8, 3)), keras.layers.Flatten()]
    model = training.AugmentedTraining(keras.Sequential(layers), Recipe("r", label_smoothing=0.1))
    images = np.random.default_rng(0).integers(0, 256, (64, 8, 8, 3)).astype("uint8")
    logits = model({"images": images, "labels": np.zeros(64, int)}, training=True)["logits"]
    np.testing.assert_array_equal(keras.ops.convert_to_numpy(logits), images.reshape(64, -1))


def test_an_architecture_is_the_same_when_it_is_made_again_and_no_other():
    def made(rate=0.1, form="tanh", **options):
        flip = keras.layers.RandomFlip()  # draws a seed of its own
        blocks = [mixlib.MixerBlock(8, 8, gelu=form), mixlib.GMLPBlock(8, dropout_rate=rate)]
        before = keras.Sequential([flip, mixlib.augment.preprocessing(image_size=None)])
        return runs.architecture_checksum(
            mixlib.build_classifier(blocks, embedding_dim=8, preprocessing=before, **options)
        )

    assert made() == made()
    others = [made(rate=0.2), made(form="exact"), made(dropout_rate=0.1), made(num_classes=7)]
    assert len({made(), *others}) == 5
    rates = [runs.architecture_checksum(mixlib.create("mixer", num_blocks=2)) for _ in range(2)]
    rates.append(
        runs.architecture_checksum(mixlib.create("mixer", num_blocks=2, stochastic_depth_rate=0.3))
    )
    assert rates[0] == rates[1] != rates[2]


def test_the_images_come_in_another_order_every_epoch():
    dataset, seen = data.load("shapes", 40, 10), []
    batches = training._Batches(dataset.x_train, dataset.y_train, 8, mixlib.distribution.Share())
    model = small_model()
    training.compile_model(model, "baseline")
    epochs = training._Epochs(batches, 0, {})
    epochs.set_model(model)
    for epoch in (0, 1, 0):
        epochs.on_epoch_begin(epoch)
        seen.append(list(batches.order))
    assert sorted(seen[0]) == list(range(40)) != seen[0]
    assert seen[0] == seen[2] != seen[1]


@pytest.fixture
def fitted(monkeypatch):
    """A function that returns what `run_experiment` hands to fit, and does not train."""

    class ReachedError(Exception):
        pass

    def run(dataset, recipe, **options):
        given = {}

        def fit(self, batches, **rest):
            given.update(rest, batches=batches)
            raise ReachedError

        monkeypatch.setattr(keras.Model, "fit", fit)
        with pytest.raises(ReachedError):
            mixlib.run_experiment(small_model(), dataset, recipe, verbose=0, **options)
        return given

    return run


def test_the_split_follows_the_seed_and_the_last_batch_the_recipe(fitted):
    dataset, recipe = data.load("shapes", 300, 100), Recipe("r", batch_size=64)
    parts = [fitted(dataset, recipe, seed=s)["validation_data"].labels.tolist() for s in (1, 1, 2)]
    assert parts[0] == parts[1] != parts[2]
    assert len(fitted(dataset, recipe)["batches"]) == 5
    assert len(fitted(dataset, dataclasses.replace(recipe, drop_incomplete=True))["batches"]) == 4


def test_gradients_are_clipped_to_the_recipes_norm():
    model = small_model()
    training.compile_model(model, Recipe("clipped", clip_norm=1.5))
    assert model.optimizer.global_clipnorm == 1.5


def test_the_weights_of_mixtures_are_those_of_their_papers():
    mixing = training.AugmentedTraining(small_model(), Recipe("r", mixup=0.5, cutmix=0.5))
    assert mixing.mix_up.alpha == 0.8 and tuple(mixing.cut_mix.factor) == (1, 1)


def test_the_plateau_is_the_recipes():
    assert {one.monitor for one in training._plateau(Recipe("p"))} == {"val_loss"}
    recipe = Recipe("p", reduce_factor=0.3, reduce_patience=4, stop_patience=7, restore_best=False)
    reduce, stop = training._plateau(recipe)
    assert (reduce.factor, reduce.patience) == (0.3, 4)
    assert (stop.patience, stop.restore_best_weights) == (7, False)


def test_the_learning_rate_in_the_metrics_is_the_models():
    recipe = Recipe("r", learning_rates={"small": 0.007})
    dataset = data.load("shapes", 100, 20)
    found = mixlib.run_experiment(small_model(), dataset, recipe, epochs=1, verbose=0)
    assert found.metrics["learning_rate"] == 0.007


def test_labels_that_are_not_one_an_image(dataset):
    model = small_model()
    labels = dataset.y_test[:, None]
    with pytest.raises(ValueError, match=r"Labels of shape \(n, 1\): labels\[:, 0\]"):
        training.measure(model, dataset.x_test, labels)
    with pytest.raises(ValueError, match="no images to measure"):
        training.measure(model, dataset.x_test[:0], dataset.y_test[:0])


@pytest.mark.parametrize("policy", ["bfloat16", "float64"])
def test_clipping_needs_weights_in_float32(dataset, policy):
    try:
        keras.config.set_dtype_policy(policy)
        model = small_model()
    finally:
        keras.config.set_dtype_policy("float32")
    recipe = dataclasses.replace(training.get_recipe("baseline"), clip_norm=1.0)
    with pytest.raises(ValueError, match=f"can't do for weights in {policy}"):
        mixlib.run_experiment(model, dataset, recipe, 1, verbose=0)


def test_labels_beyond_the_models_classes(dataset):
    model = small_model()
    with pytest.raises(ValueError, match="from 0 to .*; they go from 1000 to 1000"):
        training.measure(model, dataset.x_test, np.full_like(dataset.y_test, 1000))


def test_what_could_not_be_measured_is_refused_before_the_training(dataset):
    none = dataclasses.replace(dataset, x_test=dataset.x_test[:0], y_test=dataset.y_test[:0])
    with pytest.raises(ValueError, match="no test images"):
        mixlib.run_experiment(small_model(), none, epochs=1, verbose=0)
    grey = dataclasses.replace(
        dataset, x_train=dataset.x_train[..., :1], x_test=dataset.x_test[..., :1]
    )
    model = mixlib.build_classifier([], channels=1)
    with pytest.raises(ValueError, match="changes colours, and images of shapes have 1 channels"):
        mixlib.run_experiment(model, grey, "strong", epochs=1, verbose=0)


def test_numbers_of_numpy_and_gaps_in_a_log_can_be_stored(dataset, tmp_path):
    class Seldom(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            if epoch:
                logs["seldom"] = 3.0

    recipe = Recipe("own", batch_size=np.int64(64), learning_rates=types.MappingProxyType({}))
    trained = mixlib.run_experiment(
        small_model(),
        dataset,
        recipe,
        epochs=np.int64(2),
        seed=np.int64(1),
        callbacks=[Seldom()],
        checkpoint=tmp_path / "c.npz",
        verbose=0,
    )
    history = mixlib.save_run(trained, tmp_path / "run").history
    assert math.isnan(history["seldom"][0]) and history["seldom"][1] == 3.0


@pytest.mark.parametrize("recipe", ["baseline", "fair"])
def test_callbacks_store_the_classifier_whatever_the_recipe(dataset, tmp_path, recipe):
    class Asks(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.logits = self.model.predict(dataset.x_test, verbose=0)

    model, asks = small_model(), Asks()
    whole, weights = tmp_path / "m.keras", tmp_path / "m.weights.h5"
    callbacks = [
        keras.callbacks.ModelCheckpoint(whole),
        keras.callbacks.ModelCheckpoint(weights, save_weights_only=True),
        asks,
    ]
    mixlib.run_experiment(model, dataset, recipe, epochs=1, callbacks=callbacks, verbose=0)
    other = small_model()
    other.load_weights(weights)
    for stored in (keras.saving.load_model(whole), other):
        logits = stored.predict(dataset.x_test, verbose=0)
        np.testing.assert_allclose(logits, asks.logits, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("recipe", ["baseline", "fair"])
def test_precision_is_that_of_the_layers(dataset, tmp_path, recipe):
    class Scales(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            self.kind = type(self.model.optimizer).__name__

    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = small_model()
    finally:
        keras.config.set_dtype_policy("float32")
    model.save(tmp_path / "half.keras")
    scales = Scales()
    for half in (model, keras.saving.load_model(tmp_path / "half.keras")):
        trained = mixlib.run_experiment(
            half, dataset, recipe, epochs=1, callbacks=[scales], verbose=0
        )
        assert trained.metrics["precision"] == "mixed_float16"
        assert scales.kind == "LossScaleOptimizer"


def epoch_of(model, seed, epoch):
    """The order of the images in an epoch; the model's generators are seeded for it, too."""
    images = data.load("shapes", 40, 10)
    batches = training._Batches(images.x_train, images.y_train, 8, distribution.Share())
    training.compile_model(model, "baseline")
    epochs = training._Epochs(batches, seed, {})
    epochs.set_model(model)
    epochs.on_epoch_begin(epoch)
    return batches.order.tolist()


def test_every_generator_gets_a_seed_of_its_own():
    model = mixlib.create("gmlp_tiny", num_blocks=3, dropout_rate=0.1)
    epoch_of(model, 0, 0)
    drawn = [
        int(keras.ops.convert_to_numpy(variable)[0])
        for variable in model.non_trainable_variables
        if variable.name == "seed_generator_state"
    ]
    assert len(set(drawn)) == len(drawn) > 2


def test_the_epochs_of_two_seeds_are_not_the_same_ones():
    assert epoch_of(small_model(), 0, 1) != epoch_of(small_model(), 1, 0)


def test_fewer_images_than_a_batch_are_a_batch():
    images = np.zeros((10, 4, 4, 3)), np.zeros(10)
    batches = training._Batches(*images, 64, distribution.Share(), drop_incomplete=True)
    assert len(batches) == batches.steps == 1 and len(batches[0][1]) == 10


def test_the_model_comes_back_compiled(dataset):
    recipe = Recipe("mixed", mixup=0.5)
    found = mixlib.run_experiment(small_model(), dataset, recipe, epochs=1, verbose=0)
    loss, *_ = found.model.evaluate(dataset.x_test, dataset.y_test, verbose=0)
    assert loss == pytest.approx(found.metrics["test_loss"], rel=1e-4)
