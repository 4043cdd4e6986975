"""The perceptron that Mixer and FNet share."""

import math

import keras
import numpy as np
import pytest

from mixlib.blocks import MLP

to_numpy = keras.ops.convert_to_numpy
GELU = {
    "exact": np.vectorize(lambda x: 0.5 * x * (1 + math.erf(x / math.sqrt(2)))),
    "tanh": lambda x: 0.5 * x * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))),
}


@pytest.mark.parametrize("form", GELU)
def test_equals_numpy(form):
    layer = MLP(7, gelu=form)
    layer.build((None, 4))
    random = np.random.default_rng(0)
    weights = [random.normal(size=weight.shape) for weight in layer.weights]
    layer.set_weights(weights)
    kernel_1, bias_1, kernel_2, bias_2 = weights
    x = random.normal(size=(5, 3, 4))
    expected = GELU[form](x @ kernel_1 + bias_1) @ kernel_2 + bias_2
    assert np.abs(to_numpy(layer(x)) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_its_two_kernels_are_drawn_apart():
    layer = MLP(4, kernel_initializer=keras.initializers.RandomNormal())
    layer.build((None, 4))
    assert not np.array_equal(*(to_numpy(dense.kernel) for dense in (layer.widen, layer.narrow)))


def test_lecun_normal_kernels_and_zero_biases():
    layer = MLP(400)
    layer.build((None, 100))
    assert np.std(to_numpy(layer.widen.kernel)) == pytest.approx(1 / math.sqrt(100), rel=0.05)
    assert np.std(to_numpy(layer.narrow.kernel)) == pytest.approx(1 / math.sqrt(400), rel=0.05)
    assert not to_numpy(layer.widen.bias).any() and not to_numpy(layer.narrow.bias).any()


@pytest.mark.parametrize("shape", [(8, 6), (8, 5, 6), (8, 5, 7, 6)])
def test_stochastic_depth_drops_whole_images_of_any_rank(shape):
    keras.utils.set_random_seed(0)
    layer = MLP(12, stochastic_depth_rate=0.5)
    output = to_numpy(layer(np.ones(shape, "float32"), training=True))
    assert output.shape == shape
    dropped = (output == 0).reshape(8, -1)
    assert (dropped.all(axis=1) == dropped.any(axis=1)).all() and 0 < dropped[:, 0].sum() < 8


def test_the_outputs_are_dropped():
    keras.utils.set_random_seed(0)
    outputs = MLP(64, dropout_rate=0.5)(np.ones((50, 8), "float32"), training=True)
    assert 0.4 < (to_numpy(outputs) == 0).mean() < 0.6
