"""Position embeddings."""

import keras
import numpy as np
import pytest

import mixlib

to_numpy = keras.ops.convert_to_numpy


@pytest.fixture
def layer():
    made = mixlib.PositionEmbedding(6)
    made.build((None, 6, 4))
    return made


def test_same_rows_for_every_image_whatever_its_values(layer):
    table = to_numpy(layer.embeddings)
    output = to_numpy(layer(np.random.default_rng(0).normal(size=(3, 6, 4))))
    np.testing.assert_array_equal(output, np.stack([table] * 3))


def test_a_shorter_sequence_takes_the_first_rows(layer):
    table = to_numpy(layer.embeddings)
    np.testing.assert_array_equal(to_numpy(layer(np.zeros((1, 4, 4))))[0], table[:4])


def test_positions_that_do_not_exist(layer):
    with pytest.raises(ValueError, match="7 tokens came, but there are embeddings for 6"):
        layer(np.zeros((1, 7, 4)))


def test_tokens_of_other_channels(layer):
    with pytest.raises(ValueError, match="of 4 channels, but got 6 tokens of 5 channels"):
        layer(np.zeros((1, 6, 5)))


def test_an_unknown_number_of_positions(layer):
    tokens = keras.Input((None, 4))
    for call in (layer.call, mixlib.PositionEmbedding(6)):
        with pytest.raises(ValueError, match="expects tokens of shape .* with tokens and channels"):
            call(tokens)


def test_initialiser():
    layer = mixlib.PositionEmbedding(6, initializer="ones")
    np.testing.assert_array_equal(to_numpy(layer(np.zeros((1, 6, 4)))), np.ones((1, 6, 4)))
    assert mixlib.PositionEmbedding(6).initializer.__class__.__name__ == "GlorotUniform"


@pytest.mark.parametrize("length", [0, -1, 2.5])
def test_impossible_length(length):
    with pytest.raises(ValueError, match="sequence_length must be a whole number"):
        mixlib.PositionEmbedding(length)
