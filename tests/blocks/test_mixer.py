"""MLP-Mixer's block."""

import keras
import numpy as np
import pytest

import mixlib

to_numpy = keras.ops.convert_to_numpy


@pytest.fixture
def block():
    made = mixlib.MixerBlock(10, 24)
    made.build((None, 16, 12))
    return made


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 16, 12)).astype("float32")


def test_parameters(block):
    norms = 2 * 2 * 12
    tokens = 16 * 10 + 10 + 10 * 16 + 16
    channels = 12 * 24 + 24 + 24 * 12 + 12
    assert block.count_params() == norms + tokens + channels


def test_norms_as_in_the_official_code(block):
    assert block.token_norm.epsilon == block.channel_norm.epsilon == 1e-6
    assert block.token_norm is not block.channel_norm
    assert block.gelu == "tanh"


def test_token_mixing_mixes_tokens_and_leaves_channels_apart(block, x):
    """With channel mixing off, a changed token reaches every token, and a channel only itself."""
    for dense in (block.channel_mixing.widen, block.channel_mixing.narrow):
        dense.set_weights([np.zeros(weight.shape) for weight in dense.weights])
    # Doubling about its mean keeps a token's norm, so one value is changed after the norm instead.
    block.token_norm.call = lambda inputs: inputs
    changed = x.copy()
    changed[:, 3, 5] += 1
    moved = np.abs(to_numpy(block(changed)) - to_numpy(block(x))) > 1e-7
    assert moved[:, :, 5].all()
    assert not np.delete(moved, 5, axis=2).any()


def test_channel_mixing_leaves_tokens_apart(block, x):
    for dense in (block.token_mixing.widen, block.token_mixing.narrow):
        dense.set_weights([np.zeros(weight.shape) for weight in dense.weights])
    changed = x.copy()
    changed[:, 3, 5] += 1
    moved = np.abs(to_numpy(block(changed)) - to_numpy(block(x))) > 1e-7
    assert moved[:, 3].all()
    assert not np.delete(moved, 3, axis=1).any()


def test_residual_carries_the_input(block, x):
    for weight in block.trainable_weights:
        weight.assign(np.zeros(weight.shape))
    np.testing.assert_array_equal(to_numpy(block(x)), x)


@pytest.mark.parametrize("widths", [(0, 8), (8, -1), (8, 2.0)])
def test_impossible_widths(widths):
    with pytest.raises(ValueError, match="mlp_dim must be a whole number"):
        mixlib.MixerBlock(*widths)
