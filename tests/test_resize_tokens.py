"""`convert.resize_tokens`: what is exact, and how much a trained model keeps."""

import keras
import numpy as np
import pytest

import mixlib
from mixlib import convert, data

to_numpy = keras.ops.convert_to_numpy
SMALL = {"image_size": 32, "num_blocks": 2, "hidden_dim": 16}


def drawn_weights(model):
    """Give a model random weights everywhere, zeros would hide errors."""
    random = np.random.default_rng(0)
    for weight in model.trainable_weights:
        weight.assign(random.normal(0.1, 0.3, weight.shape))
    return model


def images(height, width, batch=2):
    return np.random.default_rng(1).integers(0, 256, (batch, height, width, 3)).astype("float32")


def off(actual, expected):
    return np.abs(to_numpy(actual) - to_numpy(expected)).max() / np.abs(to_numpy(expected)).max()


@pytest.mark.parametrize("name", ["mixer_tiny", "fnet_tiny", "gmlp_tiny", "keras_fnet"])
@pytest.mark.parametrize("larger", [48, (32, 64)])
def test_to_a_larger_size_and_back_is_exact(name, larger):
    model = drawn_weights(mixlib.create(name, **SMALL))
    resized = convert.resize_tokens(model, larger)
    shape = (larger, larger) if isinstance(larger, int) else larger
    assert resized(images(*shape)).shape == (2, 100)
    again = convert.resize_tokens(resized, 32)
    assert off(again(images(32, 32)), model(images(32, 32))) < 1e-4


@pytest.mark.parametrize("name", ["mixer_tiny", "gmlp_tiny"])
def test_images_of_one_colour_are_classified_as_before(name):
    model = drawn_weights(mixlib.create(name, **SMALL))
    weights = {weight.path: weight for weight in model.trainable_weights}
    for path, axes in convert._over_tokens(model):
        if "out" in axes:  # the same for every token, so that tokens that are alike stay alike
            first = to_numpy(weights[path])[..., :1]
            weights[path].assign(np.broadcast_to(first, weights[path].shape))
    resized = convert.resize_tokens(model, 64)
    small = np.broadcast_to(np.float32([30, 90, 200]), (1, 32, 32, 3))
    large = np.broadcast_to(np.float32([30, 90, 200]), (1, 64, 64, 3))
    assert off(resized(large), model(small)) < 1e-4


def test_position_embeddings_are_interpolated():
    model = mixlib.create("fnet_tiny", **SMALL)
    rows, columns = np.meshgrid(np.arange(8.0), np.arange(8.0), indexing="ij")
    ramp = np.stack([rows.ravel(), columns.ravel()] * 8, axis=1)
    model.get_layer("positions").embeddings.assign(ramp)
    larger = to_numpy(convert.resize_tokens(model, 64).get_layer("positions").embeddings)
    larger = larger.reshape(16, 16, 16)
    np.testing.assert_allclose(larger[1:-1, 5, 0], np.arange(0.25, 7, 0.5), atol=1e-6)
    np.testing.assert_allclose(larger[5, 1:-1, 1], np.arange(0.25, 7, 0.5), atol=1e-6)


def test_the_published_models_keep_their_tokens():
    """Their preprocessing resizes every image to 64 pixels."""
    model = drawn_weights(mixlib.create("keras_mixer", num_blocks=1))
    resized = convert.resize_tokens(model, 48)
    for old, new in zip(model.weights, resized.weights, strict=True):
        np.testing.assert_array_equal(to_numpy(old), to_numpy(new))


def test_images_in_another_number_of_colours():
    model = mixlib.build_classifier(mixlib.MixerBlock(4, 8), patch_size=8, channels=1)
    assert convert.resize_tokens(model, 48).input_shape == (None, 48, 48, 1)


def mixer_behind(preprocessing):
    block = mixlib.MixerBlock(8, 16)
    return mixlib.build_classifier([block], patch_size=8, preprocessing=preprocessing)


@pytest.mark.parametrize(
    "create, tokens",
    [
        (lambda: mixer_behind(keras.layers.Resizing(64, 64)), 64),
        (lambda: mixer_behind(mixlib.augment.ResizeFlipZoom(64, name="enlarge")), 64),
        (lambda: mixer_behind(keras.layers.ZeroPadding2D(4)), 49),  # 7 x 7 for 48 + 2 x 4 pixels
        (
            lambda: mixlib.create(
                "fnet_tiny", preprocessing=keras.layers.Resizing(40, 40), **SMALL
            ),
            100,
        ),
    ],
    ids=["resizing", "resize_flip_zoom", "padding", "fnet_with_positions"],
)
def test_whatever_happens_to_images_before_they_are_cut(create, tokens):
    model = drawn_weights(create())
    resized = convert.resize_tokens(model, 48)
    assert resized.get_layer("patches").output.shape[1] == tokens
    assert resized(images(48, 48)).shape == (2, 100)
    again = convert.resize_tokens(resized, 32)
    assert off(again(images(32, 32)), model(images(32, 32))) < 1e-4


def test_what_cannot_be_resized():
    with pytest.raises(ValueError, match="block_0 the widths of the perceptrons are the number"):
        convert.resize_tokens(mixlib.create("keras_mixer", preprocessing=False, num_blocks=1), 64)
    with pytest.raises(ValueError, match="patch size of 4 does not divide an image of 33x33"):
        convert.resize_tokens(mixlib.create("mixer_tiny", num_blocks=1), 33)


def test_a_trained_model_keeps_most_of_what_it_knows():
    """At 96 pixels its patches show other details, yet most of its answers stay right."""
    keras.utils.set_random_seed(0)
    dataset = data.load("shapes", 4_000, 1_000)

    def at(pictures, size):
        return to_numpy(keras.ops.image.resize(pictures.astype("float32"), (size, size)))

    model = mixlib.create(
        "mixer_tiny",
        image_size=64,
        patch_size=8,
        num_blocks=1,
        hidden_dim=64,
        preprocessing=mixlib.augment.normalization(),
    )
    model.compile(
        keras.optimizers.Adam(4e-3), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    model.fit(at(dataset.x_train, 64), dataset.y_train, batch_size=64, epochs=6, verbose=0)
    answers = {}
    for name, size, classifier in (
        ("old", 64, model),
        ("new", 96, convert.resize_tokens(model, 96)),
        ("back", 64, convert.resize_tokens(convert.resize_tokens(model, 96), 64)),
    ):
        logits = classifier.predict(at(dataset.x_test, size), verbose=0)
        answers[name] = logits.argmax(axis=1)
    right = {name: np.mean(answer == dataset.y_test) for name, answer in answers.items()}
    assert right["old"] > 0.4
    assert right["new"] > 0.75 * right["old"]
    assert np.mean(answers["back"] == answers["old"]) > 0.99


def test_position_embeddings_of_images_that_are_not_square():
    model = mixlib.create("fnet_tiny", image_size=(16, 32), num_blocks=0, hidden_dim=4)
    rows, columns = np.meshgrid(np.arange(4.0), np.arange(8.0), indexing="ij")
    ramps = np.stack([rows.ravel(), columns.ravel()] * 2, axis=1)
    model.get_layer("positions").embeddings.assign(ramps)
    larger = convert.resize_tokens(model, (16, 64)).get_layer("positions").embeddings
    larger = keras.ops.convert_to_numpy(larger).reshape(4, 16, 4)
    np.testing.assert_allclose(larger[:, 5, 0], np.arange(4), atol=1e-5)
    np.testing.assert_allclose(larger[2, 1:-1, 1], np.arange(0.25, 7, 0.5), atol=1e-5)


def test_the_examples_gate_and_the_statistics_of_keras_normalisation_are_kept():
    inputs = images(32, 32)
    normalise = keras.layers.Normalization()
    normalise.adapt(inputs)
    model = mixlib.create("keras_gmlp", num_blocks=1, hidden_dim=8, preprocessing=normalise)
    drawn_weights(model)
    again = convert.resize_tokens(convert.resize_tokens(model, 64), 32)
    assert off(again(inputs), model(inputs)) < 1e-3
