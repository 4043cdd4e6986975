"""The published preprocessing, and its parts."""

import keras
import numpy as np
import pytest

import mixlib
from mixlib import augment

to_numpy = keras.ops.convert_to_numpy


@pytest.fixture
def images():
    return np.random.default_rng(0).integers(0, 256, (64, 32, 32, 3)).astype("uint8")


def test_default_statistics_are_applied(images):
    mean, variance = np.array(augment.CIFAR100_MEAN), np.array(augment.CIFAR100_VARIANCE)
    output = to_numpy(augment.normalization()(images))
    np.testing.assert_allclose(output, (images - mean) / np.sqrt(variance), atol=1e-5)


def test_adapt_reaches_layers_inside_a_model(images):
    model = mixlib.create("keras_mixer")
    assert augment.adapt(model, images) == 1
    normalised = to_numpy(model.get_layer("preprocessing").get_layer("normalization")(images))
    np.testing.assert_allclose(normalised.mean(axis=(0, 1, 2)), 0, atol=1e-3)
    np.testing.assert_allclose(normalised.std(axis=(0, 1, 2)), 1, atol=1e-3)


def test_adapted_statistics_are_saved(images, tmp_path):
    model = mixlib.create("mixer_tiny", num_blocks=1)
    augment.adapt(model, images[:, :16])
    model.get_layer("head").kernel.assign(np.random.default_rng(0).normal(size=(128, 100)))
    model.save(tmp_path / "model.keras")
    again = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(again(images)), to_numpy(model(images)))


def test_nothing_to_adapt(images):
    assert augment.adapt(mixlib.create("keras_mixer", preprocessing=False), images) == 0


def test_inference_is_normalise_and_resize_alone(images):
    layer = augment.preprocessing()
    output = to_numpy(layer(images))
    assert output.shape == (64, 64, 64, 3)
    np.testing.assert_array_equal(output, to_numpy(layer(images, training=False)))
    resized = keras.ops.image.resize(augment.normalization()(images), (64, 64))
    np.testing.assert_allclose(output, to_numpy(resized), atol=1e-5)


def test_calling_a_model_does_not_augment(images):
    model = mixlib.build_classifier(
        [],
        preprocessing=augment.preprocessing(image_size=None),
        head_initializer="glorot_uniform",
    )
    first, second = (to_numpy(model(images)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    np.testing.assert_allclose(first, model.predict(images, verbose=0), rtol=1e-4, atol=1e-4)


def test_flip_mirrors_about_half_of_the_images_left_to_right(images):
    layer = augment.preprocessing(image_size=None, zoom=0.0, seed=1)
    still, drawn = to_numpy(layer(images)), to_numpy(layer(images, training=True))
    kept = np.isclose(drawn, still, atol=1e-5).all(axis=(1, 2, 3))
    mirrored = np.isclose(drawn, still[:, :, ::-1], atol=1e-5).all(axis=(1, 2, 3))
    assert (kept ^ mirrored).all()
    assert 16 < mirrored.sum() < 48


def test_zoom_scales_height_and_width_by_up_to_a_fifth():
    """The width of a white bar in the middle tells the factor."""
    bar = np.zeros((200, 40, 40, 1), "float32")
    bar[:, :, 10:30] = 1.0
    layer = augment.preprocessing(
        image_size=None, horizontal_flip=False, mean=[0.0], variance=[1.0], seed=2
    )
    widths = to_numpy(layer(bar, training=True))[:, 20, :, 0].sum(axis=1)
    assert 20 / 1.2 - 0.5 <= widths.min() < 18 and 22 < widths.max() <= 20 / 0.8 + 0.5


def test_parts_can_be_left_out():
    names = [layer.name for layer in augment.preprocessing().layers]
    assert names == ["normalization", "resize", "flip", "zoom"]
    few = augment.preprocessing(image_size=None, horizontal_flip=False, zoom=0)
    assert [layer.name for layer in few.layers] == ["normalization"]
