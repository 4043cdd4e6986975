"""gMLP's gate and block."""

import keras
import numpy as np
import pytest

import mixlib

to_numpy = keras.ops.convert_to_numpy


@pytest.fixture
def x():
    return np.random.default_rng(0).normal(size=(2, 16, 12)).astype("float32")


@pytest.fixture
def block():
    made = mixlib.GMLPBlock(24)
    made.build((None, 16, 12))
    return made


def test_gate_starts_as_identity_on_its_first_half(x):
    output = to_numpy(mixlib.SpatialGatingUnit()(x))
    np.testing.assert_allclose(output, x[:, :, :6], rtol=1e-4, atol=1e-6)


def test_gate_equals_its_equation(x):
    gate = mixlib.SpatialGatingUnit()
    gate.build(x.shape)
    random = np.random.default_rng(1)
    gamma, beta = random.normal(size=(2, 6))
    kernel, bias = random.normal(size=(16, 16)), random.normal(size=16)
    gate.norm.set_weights([gamma, beta])
    gate.kernel.assign(kernel)
    gate.bias.assign(bias)
    u, v = x[:, :, :6], x[:, :, 6:]
    centred = v - v.mean(-1, keepdims=True)
    normalised = centred / np.sqrt(v.var(-1, keepdims=True) + 1e-5) * gamma + beta
    expected = u * np.stack([kernel.T @ image + bias[:, None] for image in normalised])
    assert np.abs(to_numpy(gate(x)) - expected).max() <= 1e-5 * np.abs(expected).max()


def test_gate_starts_near_zero_with_a_bias_of_one(x):
    gate = mixlib.SpatialGatingUnit()
    gate(x)
    assert 0 < np.abs(to_numpy(gate.kernel)).max() < 1e-5
    assert np.std(to_numpy(gate.kernel)) == pytest.approx(1e-6, rel=0.15)
    np.testing.assert_array_equal(to_numpy(gate.bias), np.ones(16))
    assert gate.norm.epsilon == 1e-5


def test_gate_needs_two_halves():
    with pytest.raises(ValueError, match="must be even; got 5"):
        mixlib.SpatialGatingUnit()(np.zeros((1, 4, 5), "float32"))


def test_block_starts_without_mixing_tokens(block, x):
    """At the start a token hardly sees the others; with a random gate it does."""
    changed = x.copy()
    changed[:, 3] += np.arange(12)
    moved = np.abs(to_numpy(block(changed)) - to_numpy(block(x))).max(axis=(0, 2))
    assert moved[3] > 1 and np.delete(moved, 3).max() < 1e-4
    block.gating.kernel.assign(np.random.default_rng(1).normal(size=(16, 16)))
    moved = np.abs(to_numpy(block(changed)) - to_numpy(block(x))).max(axis=(0, 2))
    assert np.delete(moved, 3).min() > 1e-4


def test_residual_carries_the_scale_of_the_input(block, x):
    """What the block adds does not depend on the input's scale, so the scale goes through."""
    difference = to_numpy(block(10 * x)) - to_numpy(block(x))
    np.testing.assert_allclose(difference, 9 * x, atol=1e-4)


def test_parameters(block):
    norm, widen, narrow = 2 * 12, 12 * 24 + 24, 12 * 12 + 12
    gate = 2 * 12 + 16 * 16 + 16
    assert block.count_params() == norm + widen + gate + narrow


def test_impossible_widths():
    with pytest.raises(ValueError, match="must be even; got 7"):
        mixlib.GMLPBlock(7)
    with pytest.raises(ValueError, match="mlp_dim must be a whole number"):
        mixlib.GMLPBlock(0)


def test_the_outputs_of_the_branch_are_dropped():
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(50, 6, 8)).astype("float32")
    y = to_numpy(mixlib.GMLPBlock(32, dropout_rate=0.5)(x, training=True))
    assert 0.4 < (y == x).mean() < 0.6


def test_lecun_normal_kernels():
    block = mixlib.GMLPBlock(800)
    block.build((None, 4, 100))
    for dense in (block.widen, block.narrow):
        kernel = to_numpy(dense.kernel)
        assert np.std(kernel) == pytest.approx(len(kernel) ** -0.5, rel=0.05)
