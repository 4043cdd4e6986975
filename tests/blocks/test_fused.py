"""The fast forms equal Keras' own: values and gradients, in every precision, eager and compiled."""

import functools

import keras
import numpy as np
import pytest
from keras import ops

from mixlib.blocks import GELU, LayerNorm, fused

TOLERANCES = {"float32": 3e-6, "mixed_bfloat16": 2e-2, "mixed_float16": 3e-3}
Norm = keras.layers.LayerNormalization
SHAPES = [(5, 7), (3, 4, 16), (1, 5, 5, 8)]


class Offset(keras.layers.Layer):
    """Adds a weight of zeros: the gradient of the weight is that of the input."""

    def build(self, input_shape):
        self.offset = self.add_weight(name="offset", shape=input_shape, initializer="zeros")

    def call(self, inputs):
        return inputs + self.offset


def outputs_and_gradients(layer, x, eagerly=False):
    """What a layer returns in training, and the gradients of its input and its weights.

    A step of SGD with a rate of 1 moves every weight by its gradient, on any backend. The loss
    weighs each output differently.
    """
    factors = np.random.default_rng(1).normal(size=x.shape).astype("float32")

    def loss(_, y):
        weighed = ops.cast(y, "float32") * ops.convert_to_tensor(factors)
        return ops.sum(weighed, axis=tuple(range(1, x.ndim)))

    model = keras.Sequential([Offset(dtype=layer.dtype_policy), layer])
    model.build(x.shape)
    for weight in layer.weights:
        values = np.random.default_rng(2).normal(1, 0.3, weight.shape)
        weight.assign(values)
    model.compile(keras.optimizers.SGD(1.0), loss, run_eagerly=eagerly)
    before = [np.array(ops.convert_to_numpy(weight)) for weight in model.trainable_weights]
    y = ops.convert_to_numpy(ops.cast(model(x, training=True), "float32"))
    model.train_on_batch(x, x)
    after = [np.array(ops.convert_to_numpy(weight)) for weight in model.trainable_weights]
    return [y, *(a - b for a, b in zip(before, after, strict=True))]


def assert_equal(ours, keras_own, x, policy="float32", **options):
    came = outputs_and_gradients(ours, x, **options)
    expected = outputs_and_gradients(keras_own, x, **options)
    for a, b in zip(came, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=TOLERANCES[policy] * np.abs(b).max())


def tokens(shape, seed=0):
    return np.random.default_rng(seed).normal(0.5, 2, shape).astype("float32")


@pytest.mark.parametrize("policy", TOLERANCES)
@pytest.mark.parametrize("shape", SHAPES)
def test_layer_norm(shape, policy):
    made = (kind(epsilon=1e-6, dtype=policy) for kind in (LayerNorm, Norm))
    assert_equal(*made, tokens(shape), policy)


@pytest.mark.parametrize("policy", TOLERANCES)
@pytest.mark.parametrize("form", ["exact", "tanh"])
@pytest.mark.parametrize("shape", SHAPES)
def test_gelu(shape, form, policy):
    usual = functools.partial(ops.gelu, approximate=form == "tanh")
    usual = keras.layers.Activation(usual, dtype=policy)
    assert_equal(GELU(form, dtype=policy), usual, tokens(shape), policy)


@pytest.mark.parametrize(
    "options", [{"scale": False}, {"center": False}, {"axis": 1}, {"axis": (1, 2)}, {"axis": [2]}]
)
def test_other_layer_norms(options):
    """Eagerly: compiled, TensorFlow's own gradient without a centre is wrong every other time."""
    if keras.backend.backend() == "torch" and options == {"axis": 1}:
        pytest.skip("Keras 3.15's own norm, which ours is on PyTorch, takes no axis but the last.")
    assert_equal(LayerNorm(**options), Norm(**options), tokens((3, 4, 16)), eagerly=True)


def test_eagerly():
    x = tokens((3, 4, 16))
    assert_equal(LayerNorm(), Norm(), x, eagerly=True)
    assert_equal(GELU(), keras.layers.Activation("gelu"), x, eagerly=True)


def test_a_large_mean_costs_no_precision():
    """The variance is taken of deviations, not as a difference of two large sums."""
    x = 1000 + tokens((4, 8, 64)) / 2
    ours, exact = LayerNorm(epsilon=1e-6), np.asarray(x, "float64")
    exact = exact - exact.mean(axis=-1, keepdims=True)
    exact /= np.sqrt((exact**2).mean(axis=-1, keepdims=True) + 1e-6)
    y = ops.convert_to_numpy(ours(x, training=True))
    np.testing.assert_allclose(y, exact, atol=2e-3)


def test_double_precision_stays_double():
    x = 1 + 1e-5 * tokens((2, 3, 16)).astype("float64")
    ours, theirs = (
        ops.convert_to_numpy(kind(epsilon=1e-12, dtype="float64")(x, training=True))
        for kind in (LayerNorm, Norm)
    )
    np.testing.assert_array_equal(ours, theirs)


def test_training_takes_the_fast_form_and_nothing_else_does(monkeypatch):
    taken = []
    monkeypatch.setattr(fused, "_norm", lambda x, *args: taken.append("norm") or x)
    monkeypatch.setattr(fused, "_gelu", lambda x, form: taken.append(form) or x)
    monkeypatch.setattr(fused, "on_cpu", lambda: True)
    layers = keras.Sequential([LayerNorm(), GELU("tanh")])
    x = tokens((2, 3, 8))
    layers(x)
    layers(x, training=False)
    assert taken == []
    layers(x, training=True)
    assert taken == ["norm", "tanh"]
    monkeypatch.setattr(fused, "on_cpu", lambda: False)
    layers(x, training=True)
    assert taken == ["norm", "tanh"]


def test_unknown_form():
    with pytest.raises(ValueError, match="sigmoid"):
        GELU("sigmoid")


@pytest.mark.parametrize("devices, fast", [(["cpu:0", "cpu:1"], True), (["cpu:0", "gpu:0"], False)])
def test_the_fast_forms_are_for_a_cpu_alone(monkeypatch, devices, fast):
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: devices)
    fused.on_cpu.cache_clear()
    try:
        assert fused.on_cpu() == (fast and keras.backend.backend() != "torch")
    finally:
        fused.on_cpu.cache_clear()
