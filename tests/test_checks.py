"""What is checked of sizes, of arguments and of tokens, and what is said."""

import re

import keras
import numpy as np
import pytest

import mixlib
from mixlib.checks import (
    check_gelu,
    check_labels,
    check_tokens,
    check_whole,
    height_and_width,
)


@pytest.mark.parametrize("value", [0, -3, 1.5, "8", None, True, np.True_, np.int64(0), np.ones(1)])
def test_what_is_no_size(value):
    said = f"mlp_dim must be a whole number, 1 or more; got {value!r}."
    with pytest.raises(ValueError, match=re.escape(said)):
        check_whole("mlp_dim", value)


@pytest.mark.parametrize("value", [8, np.int64(8), np.uint8(8)])
def test_whole_numbers_of_any_kind(value):
    assert type(check_whole("mlp_dim", value)) is int
    assert height_and_width(value) == height_and_width((value, 8)) == (8, 8)


@pytest.mark.parametrize("image_size", [0, True, "8", (8, 8, 3), (8, 0), (8, 8.0), None])
def test_what_is_no_height_and_width(image_size):
    with pytest.raises(ValueError, match="image_size must be"):
        height_and_width(image_size)


def test_numpy_integers_make_the_same_model():
    made = [mixlib.create("gmlp_tiny", kind(7), kind(16), num_blocks=1) for kind in (int, np.int64)]
    assert made[0].output_shape == made[1].output_shape == (None, 7)
    assert made[0].input_shape == made[1].input_shape == (None, 16, 16, 3)
    for size in (True, 8.0):
        with pytest.raises(ValueError, match="must be a whole number"):
            mixlib.Patches(size)


def test_gelu():
    with pytest.raises(ValueError, match='"tanh" or "exact"; got \'fast\''):
        check_gelu("fast")
    assert check_gelu("exact") == "exact"


@pytest.mark.parametrize("shape", [(2, 16), (2, None, 8), (2, 16, None), (2, 4, 4, 8)])
def test_tokens_of_unknown_shape(shape):
    with pytest.raises(ValueError, match="Dropout expects tokens of shape"):
        check_tokens(keras.layers.Dropout(0.1), shape)


def test_tokens_fixed_by_what_was_built():
    layer = keras.layers.Dropout(0.1)
    check_tokens(layer, (None, 5, 8))
    layer.num_tokens = 4
    with pytest.raises(ValueError, match="built for 4 tokens of 8 channels, but got 5"):
        check_tokens(layer, (None, 5, 8))


@pytest.mark.parametrize(
    "labels", [np.zeros((5, 1), int), np.zeros(4, int), np.zeros(5), ["a"] * 5, np.int64(3)]
)
def test_what_are_no_labels_of_five_images(labels):
    with pytest.raises(ValueError, match=r"a whole number for each of 5 images, shape \(5,\)"):
        check_labels(labels, np.zeros((5, 2)))


def test_labels_below_zero():
    with pytest.raises(ValueError, match="numbers of classes, from 0; they go from -1 to 2"):
        check_labels([0, -1, 2])


def test_labels_of_any_whole_type():
    for labels in ([0, 1, 2], np.arange(3, dtype="uint8"), np.arange(3, dtype="int64")):
        np.testing.assert_array_equal(check_labels(labels), [0, 1, 2])
