"""Dropout by bytes: the share, the scale, and when it is off."""

import keras
import numpy as np
import pytest

import mixlib
from mixlib.blocks import ByteDropout
from mixlib.blocks.dropout import stochastic_depth

BYTES = hasattr(keras.ops, "view")


def dropped(rate, shape=(40, 30, 101), **options):
    keras.utils.set_random_seed(0)
    return keras.ops.convert_to_numpy(ByteDropout(rate, **options)(np.ones(shape), training=True))


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.2, 0.5, 0.9])
def test_share_and_scale(rate):
    values = dropped(rate)
    exact = round(256 * rate) / 256 if BYTES else rate
    kept = values[values != 0]
    np.testing.assert_allclose(kept, 1 / (1 - exact), rtol=1e-6)
    deviation = np.sqrt(exact * (1 - exact) / values.size)
    assert abs((values == 0).mean() - exact) < 5 * deviation
    assert abs(values.mean() - 1) < 5 * deviation / (1 - exact)


def test_every_place_is_dropped_on_its_own():
    """Neither neighbours nor the four bytes of a word agree more often than by chance."""
    gone = dropped(0.5, (1000, 64)) == 0
    assert np.abs(gone.mean(axis=0) - 0.5).max() < 5 * 0.5 / np.sqrt(1000)
    correlations = np.corrcoef(gone.T) - np.eye(64)
    assert np.abs(correlations).max() < 5 / np.sqrt(1000)


def test_every_call_draws_anew_and_a_seed_repeats():
    layer = ByteDropout(0.5, seed=3)
    x = np.ones((4, 50), "float32")
    first, second, again = (
        keras.ops.convert_to_numpy(it(x, training=True))
        for it in (layer, layer, ByteDropout(0.5, seed=3))
    )
    assert (first != second).any()
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("rate, training", [(0.5, False), (0.5, None), (0.0, True), (0.001, True)])
def test_off(rate, training):
    x = np.arange(12.0, dtype="float32").reshape(3, 4)
    np.testing.assert_array_equal(ByteDropout(rate)(x, training=training), x)


def test_what_bytes_cannot_do_is_left_to_keras():
    assert not dropped(0.9999, (4, 5)).any()
    rows = dropped(0.5, (100, 8), noise_shape=(None, 1))
    assert (rows == rows[:, :1]).all() and set(rows[:, 0]) == {0.0, 2.0}


def test_wrong_rate():
    with pytest.raises(ValueError, match="1.5"):
        ByteDropout(1.5)


def test_stochastic_depth_drops_whole_images():
    keras.utils.set_random_seed(0)
    x = np.ones((2_000, 3, 4), "float32")
    values = keras.ops.convert_to_numpy(stochastic_depth(0.25)(x, training=True))
    images = values.reshape(2_000, -1)
    assert (images == images[:, :1]).all()
    np.testing.assert_allclose(images[images > 0], 4 / 3, rtol=1e-6)
    assert abs((images[:, 0] == 0).mean() - 0.25) < 5 * np.sqrt(0.25 * 0.75 / 2_000)


@pytest.mark.parametrize(
    "block",
    [
        mixlib.MixerBlock(8, 16, stochastic_depth_rate=0.5),
        mixlib.GMLPBlock(16, stochastic_depth_rate=0.5),
    ],
    ids=lambda block: type(block).__name__,
)
def test_a_block_that_is_skipped_gives_back_its_input(block):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(200, 6, 8)).astype("float32")
    block.build(x.shape)
    trained = keras.ops.convert_to_numpy(block(x, training=True))
    skipped = (trained == x).all(axis=(1, 2))
    branches = 2 if isinstance(block, mixlib.MixerBlock) else 1
    assert abs(skipped.mean() - 0.5**branches) < 0.15
    np.testing.assert_array_equal(
        keras.ops.convert_to_numpy(block(x)), keras.ops.convert_to_numpy(block(x, training=False))
    )
