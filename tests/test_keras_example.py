"""The published example's layers: their equations, written out again in NumPy, and their sizes."""

import math

import keras
import numpy as np
import pytest

from mixlib.keras_example import FNetLayer, MLPMixerLayer, gMLPLayer

to_numpy = keras.ops.convert_to_numpy
erf = np.vectorize(math.erf)


def gelu(x):
    return 0.5 * x * (1 + erf(x / math.sqrt(2)))


def norm(x, gamma, beta):
    centred = x - x.mean(-1, keepdims=True)
    return centred / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * gamma + beta


def randomised(layer, shape):
    """The layer with random weights, these weights by path, and an input."""
    layer.build(shape)
    random = np.random.default_rng(0)
    for weight in layer.weights:
        weight.assign(random.normal(0.2, 0.4, weight.shape))
    names = ["/".join(weight.path.split("/")[1:]) for weight in layer.weights]
    values = [to_numpy(weight).astype("float64") for weight in layer.weights]
    weights = dict(zip(names, values, strict=True))
    return weights, random.normal(size=(2, *shape[1:]))


def assert_equal(layer, x, expected):
    assert np.abs(to_numpy(layer(x)) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_mixer():
    layer = MLPMixerLayer(16, 12, 0.2)
    w, x = randomised(layer, (None, 16, 12))

    def mlp(x, name):
        hidden = gelu(x @ w[f"{name}/widen/kernel"] + w[f"{name}/widen/bias"])
        return hidden @ w[f"{name}/narrow/kernel"] + w[f"{name}/narrow/bias"]

    shared = w["normalize/gamma"], w["normalize/beta"]
    y = x + mlp(norm(x, *shared).transpose(0, 2, 1), "mlp1").transpose(0, 2, 1)
    assert_equal(layer, x, y + mlp(norm(y, *shared), "mlp2"))


def test_fnet():
    layer = FNetLayer(12, 0.2)
    w, x = randomised(layer, (None, 16, 12))
    y = norm(np.fft.fft2(x).real + x, w["normalize1/gamma"], w["normalize1/beta"])
    hidden = gelu(y @ w["ffn/widen/kernel"] + w["ffn/widen/bias"])
    z = y + hidden @ w["ffn/narrow/kernel"] + w["ffn/narrow/bias"]
    assert_equal(layer, x, norm(z, w["normalize2/gamma"], w["normalize2/beta"]))


def test_gmlp():
    layer = gMLPLayer(16, 12, 0.2)
    w, x = randomised(layer, (None, 16, 12))
    y = norm(x, w["normalize1/gamma"], w["normalize1/beta"])
    widen = "channel_projection1/widen"
    u, v = np.split(gelu(y @ w[f"{widen}/kernel"] + w[f"{widen}/bias"]), 2, axis=-1)
    v = norm(v, w["normalize2/gamma"], w["normalize2/beta"]).transpose(0, 2, 1)
    v = v @ w["spatial_projection/kernel"] + w["spatial_projection/bias"]
    out = (u * v.transpose(0, 2, 1)) @ w["channel_projection2/kernel"]
    assert_equal(layer, x, y + out + w["channel_projection2/bias"])


@pytest.mark.parametrize(
    "layer, parameters",
    [
        (MLPMixerLayer(64, 256, 0.2), 41_920),
        (FNetLayer(256, 0.2), 132_608),
        (gMLPLayer(64, 256, 0.2), 202_560),
    ],
)
def test_parameters(layer, parameters):
    layer.build((None, 64, 256))
    assert layer.count_params() == parameters


def test_gmlp_gate_starts_with_a_bias_of_one():
    layer = gMLPLayer(16, 12, 0.2)
    layer.build((None, 16, 12))
    np.testing.assert_array_equal(to_numpy(layer.spatial_projection.bias), np.ones(16))


def test_dropout_is_where_it_was_published():
    """Mixer: at the end of each perceptron. FNet: inside its perceptron. gMLP: before the gate."""
    mixer, fnet, gmlp = MLPMixerLayer(16, 12, 0.2), FNetLayer(12, 0.2), gMLPLayer(16, 12, 0.2)
    for layer in (mixer, fnet, gmlp):
        layer.build((None, 16, 12))
    names = [
        [layer.name for layer in part.layers]
        for part in (mixer.mlp1, mixer.mlp2, fnet.ffn, gmlp.channel_projection1)
    ]
    assert names == [
        ["widen", "gelu", "narrow", "dropout"],
        ["widen", "gelu", "narrow", "dropout"],
        ["widen", "gelu", "dropout", "narrow"],
        ["widen", "gelu", "dropout"],
    ]


@pytest.mark.parametrize(
    "layer", [MLPMixerLayer(16, 12, 0.2), FNetLayer(12, 0.2), gMLPLayer(16, 12, 0.2)]
)
def test_channels_of_another_number_than_it_was_made_for(layer):
    said = "built for 16 tokens of 12 channels, but got 16 tokens of 8 channels"
    with pytest.raises(ValueError, match=said):
        layer.build((None, 16, 8))


def test_kernels_start_as_published():
    """By Glorot's rule; the gate's, which Keras' Dense would draw so, too, at random."""
    layer = gMLPLayer(64, 256, 0.2)
    layer.build((None, 64, 256))
    for dense in (layer.channel_projection1.layers[0], layer.spatial_projection):
        kernel = keras.ops.convert_to_numpy(dense.kernel)
        assert np.std(kernel) == pytest.approx((2 / sum(kernel.shape)) ** 0.5, rel=0.04)
