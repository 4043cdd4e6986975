"""The contract of every layer: shapes, serialisation, gradients, precision, compilation."""

import inspect
import shutil

import keras
import numpy as np
import pytest

import mixlib
from mixlib import augment, blocks, keras_example

TOKENS, CHANNELS = 16, 12
LAYERS = {
    "ResizeFlipZoom": lambda **k: augment.ResizeFlipZoom(20, seed=7, **k),
    "Normalization": lambda **k: augment.Normalization(**k),
    "RandomAffine": lambda **k: augment.RandomAffine(True, 0.1, 20, 0.2, 0.1, seed=7, **k),
    "Patches": lambda **k: mixlib.Patches(4, **k),
    "PositionEmbedding": lambda **k: mixlib.PositionEmbedding(20, **k),
    "ByteDropout": lambda **k: blocks.ByteDropout(0.5, **k),
    "GELU": lambda **k: blocks.GELU("tanh", **k),
    "LayerNorm": lambda **k: blocks.LayerNorm(epsilon=1e-6, **k),
    "MLP": lambda **k: blocks.MLP(24, dropout_rate=0.5, **k),
    "MixerBlock": lambda **k: mixlib.MixerBlock(10, 24, dropout_rate=0.5, **k),
    "FourierTransform": lambda **k: mixlib.FourierTransform(**k),
    "FNetBlock": lambda **k: mixlib.FNetBlock(24, dropout_rate=0.5, **k),
    "SpatialGatingUnit": lambda **k: mixlib.SpatialGatingUnit(**k),
    "GMLPBlock": lambda **k: mixlib.GMLPBlock(24, dropout_rate=0.5, **k),
    "MLPMixerLayer": lambda **k: keras_example.MLPMixerLayer(TOKENS, CHANNELS, 0.5, **k),
    "FNetLayer": lambda **k: keras_example.FNetLayer(CHANNELS, 0.5, **k),
    "gMLPLayer": lambda **k: keras_example.gMLPLayer(TOKENS, CHANNELS, 0.5, **k),
}
NOTHING_TO_TRAIN = {
    "ResizeFlipZoom", "Normalization", "RandomAffine", "Patches", "FourierTransform", "ByteDropout",
    "GELU",
}  # fmt: skip
STARTS_ALIKE = NOTHING_TO_TRAIN | {"LayerNorm"}
TAKES_IMAGES = {"ResizeFlipZoom", "Normalization", "RandomAffine", "Patches"}
ANY_RANK = {"ByteDropout", "GELU", "LayerNorm", "MLP"}
WITH_DROPOUT = {
    "ByteDropout", "MLP", "MixerBlock", "FNetBlock", "GMLPBlock", "MLPMixerLayer", "FNetLayer",
    "gMLPLayer",
}  # fmt: skip
every_layer = pytest.mark.parametrize("name", LAYERS)


def inputs(name, seed=0):
    shape = (3, 16, 8, 3) if name in TAKES_IMAGES else (3, TOKENS, CHANNELS)
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def randomise(layer, seed=0):
    """Give every weight a random value, so that none is zero or tiny, or a negative variance."""
    random = np.random.default_rng(seed)
    layer.set_weights([random.normal(0.3, 0.3, weight.shape) for weight in layer.weights])
    if isinstance(layer, augment.Normalization):
        layer.adapt_variance.assign(abs(layer.adapt_variance.numpy()) + 0.1)


def to_numpy(tensor):
    return keras.ops.convert_to_numpy(tensor)


def model_of(name, **options):
    x = inputs(name)
    layer = LAYERS[name](**options)
    model = keras.Sequential([keras.Input(x.shape[1:]), layer])
    randomise(layer)
    return model, layer, x


def test_every_public_layer_is_tested():
    public = {
        name
        for module in (mixlib, augment, blocks, keras_example)
        for name, value in vars(module).items()
        if isinstance(value, type)
        and issubclass(value, keras.layers.Layer)
        and not name.startswith("_")
    }
    assert public - {"Layer"} == set(LAYERS)  # which most of them are


@every_layer
def test_output_shape(name):
    layer, x = LAYERS[name](), inputs(name)
    expected = {
        "ResizeFlipZoom": (3, 20, 20, 3),
        "Patches": (3, 8, 48),
        "SpatialGatingUnit": (3, TOKENS, CHANNELS // 2),
    }
    expected = expected.get(name, x.shape)
    assert tuple(layer.compute_output_shape(x.shape)) == expected
    assert layer(x).shape == expected
    assert layer(keras.Input(x.shape[1:])).shape == (None, *expected[1:])


@every_layer
def test_reloads_with_the_same_outputs(name, tmp_path):
    model, _, x = model_of(name)
    model.save(tmp_path / "model.keras")
    reloaded = keras.saving.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(to_numpy(reloaded(x)), to_numpy(model(x)))


@every_layer
def test_config_has_every_argument(name):
    layer = LAYERS[name](name="named", dtype="mixed_bfloat16")
    config = layer.get_config()
    arguments, of_keras = (
        set(inspect.signature(kind.__init__).parameters)
        for kind in (type(layer), keras.layers.Layer)
    )
    assert arguments - of_keras <= set(config)
    again = type(layer).from_config(config)
    assert again.get_config() == config
    assert again.compute_dtype == "bfloat16"


def test_a_class_that_derives_from_a_layer_has_the_arguments_of_both():
    class Named(mixlib.MixerBlock):
        def __init__(self, purpose, **kwargs):
            super().__init__(**kwargs)
            self.purpose = purpose

    layer = Named("a test", tokens_mlp_dim=10, channels_mlp_dim=24, name="named")
    again = Named.from_config(layer.get_config())
    assert again.get_config() == layer.get_config()
    assert (again.purpose, again.tokens_mlp_dim) == ("a test", 10)


@every_layer
def test_a_step_of_training_moves_every_weight(name):
    model, layer, x = model_of(name)
    model.compile(keras.optimizers.SGD(1.0), "mse")
    before = [to_numpy(weight) for weight in layer.trainable_weights]
    assert bool(before) == (name not in NOTHING_TO_TRAIN)
    if before:
        target = np.random.default_rng(1).normal(size=model.output_shape[1:]).astype("float32")
        model.train_on_batch(x, np.stack([target] * len(x)))
    for weight, old in zip(layer.trainable_weights, before, strict=True):
        if name == "PositionEmbedding":  # the last four positions are not in use
            assert not np.array_equal(to_numpy(weight)[:TOKENS], old[:TOKENS])
        else:
            assert not np.array_equal(to_numpy(weight), old), weight.path
        assert np.isfinite(to_numpy(weight)).all(), weight.path


@pytest.mark.parametrize("name", sorted(set(LAYERS) - STARTS_ALIKE))
def test_two_layers_differ_at_the_start(name):
    x = inputs(name)
    first, second = LAYERS[name](), LAYERS[name]()
    first(x), second(x)
    pairs = zip(first.weights, second.weights, strict=True)
    assert any(not np.array_equal(to_numpy(one), to_numpy(two)) for one, two in pairs)


@pytest.mark.parametrize("name", sorted(WITH_DROPOUT))
def test_dropout_acts_in_training_only(name):
    _, layer, x = model_of(name)
    np.testing.assert_array_equal(to_numpy(layer(x)), to_numpy(layer(x, training=False)))
    first, second = (to_numpy(layer(x, training=True)) for _ in range(2))
    assert not np.array_equal(first, second)


@every_layer
def test_sublayers_and_weights_are_named(name):
    _, layer, _ = model_of(name)
    paths = [weight.path for weight in layer.trainable_weights]
    assert len(set(paths)) == len(paths)
    for sublayer in layer._flatten_layers(include_self=False):
        # Keras' own names end in a number, or repeat the class; ours say what the layer is for.
        assert sublayer.name not in ("dense", "layer_normalization", "sequential")
        assert not any(sublayer.name.startswith(p) for p in ("dense_", "layer_norm", "sequential"))


@every_layer
@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(name, policy):
    model, layer, x = model_of(name, dtype=policy)
    expected = to_numpy(model_of(name)[0](x)).astype("float32")
    output = layer(x)
    assert keras.backend.standardize_dtype(output.dtype) == policy.removeprefix("mixed_")
    assert {weight.dtype for weight in layer.weights} <= {"float32", "int32", "int64"}  # a count
    actual = to_numpy(keras.ops.cast(output, "float32"))
    assert np.abs(actual - expected).max() <= 0.05 * np.abs(expected).max()


@pytest.mark.skipif(
    keras.backend.backend() == "torch" and not shutil.which("c++"),
    reason="torch.compile needs a C++ compiler",
)
@every_layer
def test_compiled_equals_eager(name):
    model, layer, x = model_of(name)
    model.compile(jit_compile=True)
    expected = to_numpy(layer(x))
    assert np.abs(model.predict(x, verbose=0) - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", sorted(set(LAYERS) - TAKES_IMAGES - ANY_RANK))
def test_wrong_rank(name):
    with pytest.raises(ValueError, match=r"\(batch, tokens, channels\)"):
        LAYERS[name]()(np.zeros((2, TOKENS), "float32"))


@pytest.mark.parametrize("name", ["MixerBlock", "SpatialGatingUnit", "GMLPBlock"])
def test_a_built_layer_refuses_another_number_of_tokens(name):
    _, layer, x = model_of(name)
    with pytest.raises(ValueError, match=r"built for 16 tokens of 12 channels, but got 15"):
        layer(x[:, 1:])


@pytest.mark.parametrize("name", ["MLPMixerLayer", "gMLPLayer"])
def test_the_example_refuses_another_number_of_tokens(name):
    with pytest.raises(ValueError, match="built for 16 tokens of 12 channels, but got 15"):
        LAYERS[name]()(inputs(name)[:, 1:])


@pytest.mark.parametrize("name", ["MixerBlock", "FNetBlock", "GMLPBlock"])
def test_a_built_block_refuses_another_number_of_channels(name):
    _, layer, x = model_of(name)
    with pytest.raises(ValueError, match="11 channels"):
        layer(x[:, :, 1:])


def parts_of(layer, kind, tokens, channels):
    """The layers of a kind inside of a layer that is built for tokens."""
    layer.build((None, tokens, channels))
    inside = layer._flatten_layers(include_self=False)
    return [part for part in inside if isinstance(part, kind)]


@pytest.mark.parametrize(
    "block, options",
    [(blocks.MixerBlock, (8, 16)), (blocks.FNetBlock, (16,)), (blocks.GMLPBlock, (16,))],
)
def test_a_block_hands_its_options_on(block, options):
    layer = block(*options, dropout_rate=0.3, stochastic_depth_rate=0.4)
    rates = {part.name: part.rate for part in parts_of(layer, keras.layers.Dropout, 6, 8)}
    assert rates == {"dropout": 0.3, "stochastic_depth": 0.4}
    for form in ("tanh", "exact"):
        layer = block(*options, gelu=form)
        assert {part.form for part in parts_of(layer, blocks.GELU, 6, 8)} == {form}


@pytest.mark.parametrize("implementation", ["fft", "dft"])
def test_an_fnet_block_takes_the_transform_it_is_told(implementation):
    block = blocks.FNetBlock(16, implementation=implementation)
    block.build((None, 6, 8))
    assert block.fourier.implementation == implementation


@pytest.mark.parametrize(
    "layer, options",
    [
        (keras_example.MLPMixerLayer, (16, 12)),
        (keras_example.FNetLayer, (12,)),
        (keras_example.gMLPLayer, (16, 12)),
    ],
)
def test_a_published_layer_drops_at_the_rate_it_is_given(layer, options):
    parts = parts_of(layer(*options, 0.3), keras.layers.Dropout, 16, 12)
    assert {part.rate for part in parts} == {0.3}


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("name", ["mixer_tiny", "fnet_tiny", "gmlp_tiny"])
def test_keras_quantizes_a_new_model(name):
    model = mixlib.create(name, num_classes=10, num_blocks=1, preprocessing=False)
    model.get_layer("head").kernel.assign(np.random.default_rng(1).normal(size=(128, 10)))
    images = np.random.default_rng(0).normal(size=(4, 32, 32, 3)).astype("float32")
    before = keras.ops.convert_to_numpy(model(images))
    new = keras.models.clone_model(model)
    new.set_weights(model.get_weights())
    new.quantize("int8")
    after = keras.ops.convert_to_numpy(new(images))
    assert 0 < abs(after - before).max() < 0.1 * abs(before).max()


def test_a_layer_that_passes_its_arguments_on():
    @keras.saving.register_keras_serializable("test")
    class Passing(mixlib.MixerBlock):
        def __init__(self, *args, level=1, **options):
            super().__init__(*args, **options)
            self.level = level

    config = Passing(4, 8, level=2, gelu="exact").get_config()
    assert (config["tokens_mlp_dim"], config["level"], config["gelu"]) == (4, 2, "exact")
    assert Passing.from_config(config).get_config() == config
