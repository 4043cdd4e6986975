"""Learning from a teacher: its answers are the targets, and it stays as it is."""

import dataclasses

import keras
import numpy as np
import pytest

import mixlib
from mixlib import augment, data, training
from mixlib.recipes import Recipe

TAUGHT = Recipe(
    "taught",
    batch_size=50,
    learning_rate=0.01,
    schedule="cosine",  # no labels of validation images choose its epochs
    distillation=1.0,
    validation="last",
)


@pytest.fixture(scope="module")
def dataset():
    return data.load("shapes", 300, 100)


@pytest.fixture(scope="module")
def teacher(dataset):
    """A linear classifier that knows its data a little, normalised by a layer of Keras' own."""
    keras.utils.set_random_seed(1)
    normalise = keras.layers.Normalization()
    normalise.adapt(dataset.x_train)
    layers = [keras.Input(dataset.image_shape), normalise, keras.layers.Flatten()]
    model = keras.Sequential([*layers, keras.layers.Dense(dataset.num_classes)], name="master")
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(dataset.x_train, dataset.y_train, epochs=2, verbose=0)
    return model


def pupil():
    keras.utils.set_random_seed(0)
    return mixlib.build_classifier(
        mixlib.MixerBlock(16, 32),
        patch_size=8,
        embedding_dim=16,
        preprocessing=augment.preprocessing(image_size=None),
        name="pupil",
    )


def learn(dataset, teacher, recipe=TAUGHT, epochs=2, **options):
    return mixlib.run_experiment(
        pupil(), dataset, recipe, epochs, teacher=teacher, verbose=0, **options
    )


def flat(num_classes=10):
    """A model whose logits are the sum of an image's pixels, for every class a multiple of it."""
    layers = [keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(num_classes)]
    model = keras.Sequential(layers, name="flat")
    kernel = np.tile(np.linspace(-1e-3, 1e-3, num_classes), (48, 1))
    model.set_weights([kernel, np.zeros(num_classes)])
    return model


def targets_of(recipe, teach, training_=True):
    """200 images, their labels, and the targets that a classifier of them gets."""
    model = training.AugmentedTraining(flat(), recipe, teacher=teach)
    images = np.random.default_rng(0).integers(0, 256, (200, 4, 4, 3)).astype("float32")
    labels = np.arange(200) % 10
    given = model({"images": images, "labels": labels}, training=training_)
    return images, labels, keras.ops.convert_to_numpy(given["targets"])


def softmax(logits):
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return powers / powers.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("hard", [False, True])
@pytest.mark.parametrize("share", [1.0, 0.3])
def test_the_teachers_answers_take_their_share_of_the_target(share, hard):
    recipe = Recipe("r", distillation=share, hard_distillation=hard, label_smoothing=0.2)
    teach = flat()
    images, labels, targets = targets_of(recipe, teach)
    said = softmax(teach.predict(images, verbose=0))
    if hard:
        said = np.eye(10)[said.argmax(axis=1)]
    smoothed = 0.8 * np.eye(10)[labels] + 0.02
    np.testing.assert_allclose(targets, share * said + (1 - share) * smoothed, atol=1e-5)


@pytest.mark.skipif(not hasattr(keras, "distillation"), reason="Keras has it since 3.12")
def test_the_loss_is_keras_own_and_the_teachers_doubt():
    """Keras' divergence is our cross-entropy less the entropy of the teacher's answers."""
    pixels = np.random.default_rng(0).normal(size=(200, 4, 4, 3)).astype("float32")
    layers = [keras.Input((4, 4, 3)), keras.layers.Flatten()]
    student, teach = keras.Sequential(layers), keras.Sequential([*layers, keras.layers.Dense(48)])
    model = training.AugmentedTraining(student, Recipe("r", distillation=1.0), teacher=teach)
    training.compile_model(model, Recipe("r", distillation=1.0))
    labels = np.arange(200) % 48
    given = model({"images": pixels, "labels": labels}, training=True)
    ours = float(model.compute_loss(None, labels, given))
    logits = teach.predict(pixels, verbose=0)
    said = softmax(logits)
    doubt = -(said * np.log(said)).sum(axis=1).mean()
    # By name, which is the default, Keras 3.15 compares the logits themselves: see the chapter.
    keras_loss = keras.distillation.LogitsDistillation(1.0, keras.losses.KLDivergence())
    theirs = float(keras_loss.compute_loss(logits, pixels.reshape(200, -1)))
    np.testing.assert_allclose(ours - doubt, theirs, rtol=1e-4)


def test_nobody_teaches_outside_of_training():
    _, labels, targets = targets_of(Recipe("r", distillation=1.0), flat(), training_=False)
    np.testing.assert_array_equal(targets, np.eye(10)[labels])


def test_the_teacher_sees_the_images_that_the_classifier_sees():
    """Brightened, moved and mixed: both models hand back the pixels that they saw."""
    augmentation = {"colour": 0.4, "shift": 0.25}
    recipe = Recipe("r", distillation=1.0, mixup=0.5, cutmix=0.5, augmentation=augmentation)
    layers = [keras.Input((4, 4, 3)), keras.layers.Rescaling(0.1), keras.layers.Flatten()]
    classifier, teach = keras.Sequential(layers), keras.Sequential(layers)
    model = training.AugmentedTraining(classifier, recipe, teacher=teach)
    images = np.random.default_rng(0).integers(0, 256, (50, 4, 4, 3)).astype("float32")
    given = model({"images": images, "labels": np.arange(50) % 48}, training=True)
    seen, targets = (keras.ops.convert_to_numpy(given[key]) for key in ("logits", "targets"))
    assert np.abs(10 * seen - images.reshape(50, -1)).mean() > 10
    np.testing.assert_allclose(targets, softmax(seen), atol=1e-5)


def test_labels_without_a_share_do_not_count(dataset, teacher):
    """Where the teacher gives the whole target, wrong labels give the same weights."""
    wrong = dataclasses.replace(dataset, y_train=np.roll(dataset.y_train, 1))
    learned = [learn(one, teacher, epochs=4) for one in (dataset, wrong)]
    for one, other in zip(*(each.model.get_weights() for each in learned), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
    assert learned[1].history["loss"][-1] < learned[1].history["loss"][0] - 0.1


def test_the_teacher_stays_as_it_is(dataset, teacher):
    before = teacher.get_weights()
    answers = teacher.predict(dataset.x_test, verbose=0)
    metrics = learn(dataset, teacher, epochs=1).metrics
    assert teacher.trainable and len(teacher.trainable_weights) == 2
    for one, other in zip(before, teacher.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(answers, teacher.predict(dataset.x_test, verbose=0))
    assert metrics["teacher"] == "master" and metrics["recipe"]["distillation"] == 1
    assert metrics["teacher_sha256"] == mixlib.runs.weights_checksum(teacher)
    assert metrics["parameters"] == mixlib.costs.count_parameters(pupil())


def test_the_copy_that_teaches_stays_as_it_is(dataset, teacher):
    teach = training._copy(teacher)
    student = pupil()
    model = training.AugmentedTraining(student, TAUGHT, teacher=teach)
    assert len(model.trainable_weights) == len(student.trainable_weights)
    training.compile_model(model, TAUGHT, (4, 1))
    before, own = teach.get_weights(), student.get_weights()
    images = {"images": dataset.x_train[:200], "labels": dataset.y_train[:200]}
    model.fit(images, dataset.y_train[:200], batch_size=50, verbose=0)
    for one, other in zip(before, teach.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    assert any(np.any(one != other) for one, other in zip(own, student.get_weights(), strict=True))


def test_a_teacher_answers_as_it_does_outside_of_training():
    """Its dropout is off: where all is dropped, the answers would be level."""
    teach = flat()
    dropping = keras.Sequential([teach, keras.layers.Dropout(0.99)])
    _, _, targets = targets_of(Recipe("r", distillation=1.0), dropping)
    _, _, plain = targets_of(Recipe("r", distillation=1.0), teach)
    np.testing.assert_allclose(targets, plain, atol=1e-6)


def test_the_copy_that_teaches_answers_as_the_teacher(dataset, teacher):
    """Keras' Normalization keeps a copy of its statistics, which set_weights does not renew."""
    copy = training._copy(teacher)
    np.testing.assert_allclose(
        copy.predict(dataset.x_test, verbose=0),
        teacher.predict(dataset.x_test, verbose=0),
        rtol=1e-5,
    )


def test_a_checksum_tells_a_teacher_from_others(teacher):
    again = keras.models.clone_model(teacher)
    again.set_weights(teacher.get_weights())
    assert mixlib.runs.weights_checksum(again) == mixlib.runs.weights_checksum(teacher)
    again.set_weights([weight + 1 for weight in teacher.get_weights()])
    assert mixlib.runs.weights_checksum(again) != mixlib.runs.weights_checksum(teacher)


def test_a_recipe_with_distillation_needs_a_teacher_and_the_other_way_around(dataset, teacher):
    with pytest.raises(ValueError, match="'taught' has distillation=1.0, and there is no teacher"):
        learn(dataset, None)
    with pytest.raises(ValueError, match="'baseline' has distillation=0.0, and there is a teacher"):
        learn(dataset, teacher, "baseline")
    with pytest.raises(ValueError, match="give distillation too"):
        Recipe("r", hard_distillation=True)
    with pytest.raises(ValueError, match="distillation must be a number from 0 to 1; got 2"):
        Recipe("r", distillation=2)


def test_a_teacher_of_other_images_or_classes(dataset):
    with pytest.raises(ValueError, match=r"flat takes images of shape \(4, 4, 3\)"):
        learn(dataset, flat(dataset.num_classes))
    unbuilt = keras.Sequential([keras.layers.Dense(7)], name="unbuilt")
    with pytest.raises(ValueError, match="unbuilt has no known input. Give a functional model"):
        learn(dataset, unbuilt)
    layers = [keras.Input(dataset.image_shape), keras.layers.Flatten(), keras.layers.Dense(7)]
    with pytest.raises(ValueError, match="master scores 7 classes"):
        learn(dataset, keras.Sequential(layers, name="master"))


def test_a_taught_training_is_taken_up_again(dataset, teacher, tmp_path, monkeypatch):
    monkeypatch.setattr(mixlib.checkpoint.Checkpoint, "share", float("inf"))  # after every epoch

    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 2:
                raise KeyboardInterrupt

    path = tmp_path / "checkpoint.npz"
    with pytest.raises(KeyboardInterrupt):
        learn(dataset, teacher, epochs=3, checkpoint=path, callbacks=[Stop()])
    other = keras.models.clone_model(teacher)
    with pytest.raises(ValueError, match="it differs in teacher_sha256"):
        learn(dataset, other, epochs=3, checkpoint=path)
    resumed = learn(dataset, teacher, epochs=3, checkpoint=path)
    whole = learn(dataset, teacher, epochs=3)
    assert len(resumed.history["loss"]) == 3
    for one, other in zip(resumed.model.get_weights(), whole.model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)
