"""One classifier for all."""

import keras
import numpy as np
import pytest

import mixlib

to_numpy = keras.ops.convert_to_numpy


def images(size=32, batch=2):
    return np.random.default_rng(0).normal(size=(batch, size, size, 3)).astype("float32")


def test_is_the_composition_of_its_parts():
    model = mixlib.build_classifier(
        [mixlib.MixerBlock(8, 16), mixlib.GMLPBlock(16)],
        num_classes=7,
        embedding_dim=12,
        positional_encoding=True,
        head_initializer="glorot_uniform",
    )
    x = keras.ops.matmul(mixlib.Patches(4)(images()), model.get_layer("stem").kernel)
    x = x + model.get_layer("positions").embeddings
    for layer in model.layers:
        if isinstance(layer, mixlib.MixerBlock | mixlib.GMLPBlock):
            x = layer(x)
    head = model.get_layer("head")
    expected = keras.ops.matmul(keras.ops.mean(x, axis=1), head.kernel) + head.bias
    assert expected.shape == (2, 7)
    np.testing.assert_allclose(to_numpy(model(images())), to_numpy(expected), rtol=1e-4, atol=1e-6)


def test_takes_a_single_layer_for_blocks():
    model = mixlib.build_classifier(mixlib.FNetBlock(16), embedding_dim=12)
    assert model.output_shape == (None, 100)


def test_positions_are_there_when_asked_for():
    def names(**options):
        return [layer.name for layer in mixlib.build_classifier([], **options).layers]

    assert "positions" not in names()
    assert "positions" in names(positional_encoding=True)


def test_images_need_not_be_square():
    model = mixlib.build_classifier(
        mixlib.MixerBlock(8, 16), image_size=(16, 24), patch_size=8, embedding_dim=12
    )
    assert model.input_shape == (None, 16, 24, 3)
    assert model.get_layer("patches").output.shape == (None, 6, 192)


def test_logits_are_float32_under_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = mixlib.build_classifier(mixlib.MixerBlock(8, 16), embedding_dim=12)
        logits = model(images())
    finally:
        keras.config.set_dtype_policy("float32")
    assert keras.backend.standardize_dtype(logits.dtype) == "float32"
    assert model.get_layer("stem").compute_dtype == "bfloat16"


def test_a_block_that_changes_the_tokens():
    with pytest.raises(ValueError, match=r"must keep the shape of the tokens.*'gate' returns"):
        mixlib.build_classifier([mixlib.SpatialGatingUnit(name="gate")])


def test_impossible_sizes():
    with pytest.raises(ValueError, match="does not divide"):
        mixlib.build_classifier([], patch_size=5)
    with pytest.raises(ValueError, match="num_classes must be a whole number"):
        mixlib.build_classifier([], num_classes=0)
    with pytest.raises(ValueError, match="embedding_dim must be a whole number"):
        mixlib.build_classifier([], embedding_dim=-2)


def test_another_image_size_is_refused():
    model = mixlib.build_classifier([], embedding_dim=12)
    with pytest.raises(ValueError, match="shape"):
        model(images(40))


@pytest.mark.parametrize("predict", ["call", "predict"])
def test_images_of_another_size_are_told_how_to_go_on(predict):
    model = mixlib.create("mixer_tiny", num_blocks=1)
    images = np.zeros((2, 48, 32, 3), "float32")
    with pytest.raises(ValueError, match=r"\(batch, 32, 32, 3\), but got .*convert.resize_tokens"):
        model(images) if predict == "call" else model.predict(images, verbose=0)


def test_takes_images_in_every_form_that_keras_takes():
    model = mixlib.create("mixer_tiny", num_blocks=1, num_classes=3, preprocessing=False)
    logits = model.predict(images(), verbose=0)
    for given in ({"images": images()}, [images()]):
        np.testing.assert_array_equal(model.predict(given, verbose=0), logits)
        np.testing.assert_allclose(keras.ops.convert_to_numpy(model(given)), logits, atol=1e-6)


def test_tokens_are_pooled_whatever_the_data_format():
    keras.config.set_image_data_format("channels_first")
    try:
        model = mixlib.build_classifier([], patch_size=4, embedding_dim=12)
    finally:
        keras.config.set_image_data_format("channels_last")
    assert model.get_layer("pool").output.shape == (None, 12)


def test_layers_are_told_whether_they_are_trained():
    seen = []

    class Probe(keras.layers.Layer):
        def call(self, x, training=None):
            seen.append(training)
            return x

    model = mixlib.build_classifier(mixlib.MixerBlock(4, 4), preprocessing=Probe(), num_classes=3)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    for run, told in (
        (lambda: model.fit(images(), np.array([0, 1]), verbose=0), True),
        (lambda: model.predict(images(), verbose=0), False),
        (lambda: model(images(), training=True), True),
    ):
        seen.clear()
        run()
        assert seen[-1] is told


def test_preprocessing_that_trains_by_default_leaves_dropout_off():
    resized = keras.layers.Resizing(8, 8, data_format="channels_last")  # as its kind, it trains
    options = {"preprocessing": resized, "dropout_rate": 0.5, "head_initializer": "ones"}
    model = mixlib.build_classifier([], patch_size=4, num_classes=3, **options)
    once, twice, trained = (
        keras.ops.convert_to_numpy(model(images(), **told)) for told in ({}, {}, {"training": True})
    )
    np.testing.assert_array_equal(once, twice)
    assert not np.array_equal(once, trained)


def test_preprocessing_that_is_random_by_default_waits_for_a_training():
    flip = keras.layers.RandomFlip("horizontal", seed=0, data_format="channels_last")
    options = {"preprocessing": flip, "head_initializer": "lecun_normal"}
    model = mixlib.build_classifier([], patch_size=4, num_classes=3, **options)
    plain = mixlib.build_classifier([], patch_size=4, num_classes=3, head_initializer="ones")
    plain.set_weights(model.get_weights()[-4:])
    for _ in range(3):
        np.testing.assert_allclose(
            keras.ops.convert_to_numpy(model(images())),
            keras.ops.convert_to_numpy(plain(images())),
            atol=1e-5,
        )


def test_how_a_classifier_starts():
    model = mixlib.build_classifier([], embedding_dim=4)
    assert type(model.get_layer("stem").kernel_initializer).__name__ == "LecunNormal"
    assert not keras.ops.convert_to_numpy(model(images())).any()  # no class is preferred


@pytest.mark.parametrize("channels", [0, True, 1.5])
def test_channels_that_are_none(channels):
    with pytest.raises(ValueError, match="channels must be a whole number"):
        mixlib.build_classifier([], channels=channels)


def test_what_is_pooled_is_dropped():
    model = mixlib.build_classifier([], dropout_rate=0.5, embedding_dim=4)
    assert [layer.name for layer in model.layers][-3:] == ["pool", "dropout", "head"]
