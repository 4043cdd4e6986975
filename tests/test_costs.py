"""Costs: by hand for a block, and against the figures that timm publishes."""

import json
import math
import pathlib

import keras
import pytest

import mixlib
from mixlib import costs

TIMM = json.loads((pathlib.Path(__file__).parent / "oracles" / "timm_published.json").read_text())
GMACS = {
    name.removesuffix("_224"): figures["gmacs"]
    for name, figures in TIMM["models"].items()
    if name.removesuffix("_224") in mixlib.presets.PRESETS
}
TOKENS, CHANNELS = 16, 24


def built(layer):
    layer.build((None, TOKENS, CHANNELS))
    return layer


def test_mixer_block_by_hand():
    tokens_mlp = 2 * CHANNELS * TOKENS * 10
    channels_mlp = 2 * TOKENS * CHANNELS * 30
    block = built(mixlib.MixerBlock(10, 30))
    assert costs.count_flops(block) == 2 * (tokens_mlp + channels_mlp)


def test_gmlp_block_by_hand():
    dense = TOKENS * CHANNELS * 40 + TOKENS * 20 * CHANNELS
    gate = TOKENS * TOKENS * 20
    assert costs.count_flops(built(mixlib.GMLPBlock(40))) == 2 * (dense + gate)


def test_fourier_transform_by_hand():
    size = TOKENS * CHANNELS
    assert costs.count_flops(built(mixlib.FourierTransform())) == round(
        2.5 * size * math.log2(size)
    )


def test_convolution_and_attention_by_hand():
    convolution = keras.layers.Conv2D(7, 3, 2, padding="same")
    convolution.build((None, 9, 8, 5))
    assert costs.count_flops(convolution) == 2 * (5 * 4) * (3 * 3 * 5 * 7)
    for layer, multiplications in (
        (keras.layers.Conv2D(7, 3), (7 * 6) * (3 * 3 * 4 * 7)),
        (keras.layers.Conv2D(6, 3, 2, "same", groups=2), (5 * 4) * (3 * 3 * 2 * 6)),
        (keras.layers.Conv2D(7, (3, 1), dilation_rate=2), (5 * 8) * (3 * 4 * 7)),
        (keras.layers.DepthwiseConv2D(3, 2, "same", depth_multiplier=3), (5 * 4) * (3 * 3 * 4 * 3)),
    ):
        layer.build((None, 9, 8, 4))
        assert costs.count_flops(layer) == 2 * multiplications
    attention = keras.layers.MultiHeadAttention(4, 6)
    attention.build((None, TOKENS, CHANNELS), (None, TOKENS, CHANNELS))
    projections = 4 * TOKENS * CHANNELS * CHANNELS
    assert costs.count_flops(attention) == 2 * (projections + 2 * TOKENS * TOKENS * CHANNELS)


def test_attention_to_other_tokens_of_other_widths():
    queries, others = keras.Input((10, 16)), keras.Input((4, 12))
    attention = keras.layers.MultiHeadAttention(2, 4, value_dim=6, output_shape=32)
    model = keras.Model([queries, others], attention(queries, others))
    projections = 10 * 16 * 8 + 4 * 12 * (8 + 12) + 10 * 12 * 32
    scores_and_sums = 10 * 4 * (8 + 12)
    assert costs.count_flops(model) == 2 * (projections + scores_and_sums)


def test_timm_agrees_on_nine_models():
    assert len(GMACS) == 9


@pytest.mark.parametrize("name", GMACS)
def test_flops_are_those_of_timm(name):
    with keras.StatelessScope(initialize_variables=False):
        flops = costs.count_flops(mixlib.create(name))
    # timm rounds to a hundredth, and counts some elementwise work besides.
    assert flops / 2e9 == pytest.approx(GMACS[name], rel=0.01, abs=0.005)


def test_parameters_are_those_that_training_changes():
    model = mixlib.create("keras_mixer")
    assert costs.count_parameters(model) == model.count_params() - 7  # the normalisation's
    model.get_layer("stem").trainable = False
    assert costs.count_parameters(model) == model.count_params() - 7 - (192 * 256 + 256)


def test_what_is_not_built_is_refused():
    with pytest.raises(ValueError, match="hidden is not built yet.*call it on images"):
        costs.count_flops(keras.Sequential([keras.layers.Dense(3, name="hidden")]))
    with pytest.raises(ValueError, match="fresh is not built yet"):
        costs.count_flops(mixlib.MixerBlock(4, 4, name="fresh"))
    tokens = keras.Input((None, 16))
    with pytest.raises(ValueError, match=r"hidden takes inputs of unknown size, \[\(None, 16\)\]"):
        costs.count_flops(keras.Model(tokens, keras.layers.Dense(3, name="hidden")(tokens)))
