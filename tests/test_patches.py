"""Patches and back."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import mixlib
from mixlib.patches import num_patches

to_numpy = keras.ops.convert_to_numpy


def images(height, width, channels=3, batch=2):
    size = batch * height * width * channels
    return np.arange(size, dtype="float32").reshape(batch, height, width, channels)


@settings(max_examples=25, deadline=None)
@given(
    rows=st.integers(1, 5), columns=st.integers(1, 5), size=st.integers(1, 6),
    channels=st.integers(1, 4), batch=st.integers(1, 3),
)  # fmt: skip
def test_round_trip(rows, columns, size, channels, batch):
    x = images(rows * size, columns * size, channels, batch)
    patches = mixlib.Patches(size)(x)
    assert patches.shape == (batch, rows * columns, size * size * channels)
    back = mixlib.unpatchify(patches, size, (rows * size, columns * size))
    np.testing.assert_array_equal(to_numpy(back), x)


@pytest.mark.parametrize("height, width, size", [(16, 16, 4), (12, 20, 4), (6, 9, 3)])
def test_same_patches_in_the_same_order_as_keras(height, width, size):
    x = images(height, width)
    ours = to_numpy(mixlib.Patches(size)(x))
    theirs = to_numpy(keras.ops.image.extract_patches(x, size))
    np.testing.assert_array_equal(ours, theirs.reshape(ours.shape))


def test_order_is_row_by_row():
    x = images(4, 6, channels=1, batch=1)
    second = to_numpy(mixlib.Patches(2)(x))[0, 1]
    np.testing.assert_array_equal(second, [2, 3, 8, 9])


def test_keeps_the_type_of_whole_numbers():
    patches = mixlib.Patches(2, dtype="uint8")(images(4, 4).astype("uint8"))
    assert keras.backend.standardize_dtype(patches.dtype) == "uint8"


def test_a_patch_size_that_does_not_divide():
    with pytest.raises(ValueError, match="patch size of 5 does not divide an image of 32x30"):
        mixlib.Patches(5)(images(32, 30))
    with pytest.raises(ValueError, match="does not divide"):
        mixlib.unpatchify(np.zeros((1, 4, 12)), 2, 5)
    with pytest.raises(ValueError, match="does not divide"):
        num_patches((8, 9), 4)


def test_built_for_one_size_checks_the_next():
    layer = mixlib.Patches(4)
    layer(images(8, 8))
    with pytest.raises(ValueError, match="does not divide"):
        layer(images(8, 9))


@pytest.mark.parametrize("shape", [(8, 8, 3), (8, 8), (1, 2, 8, 8, 3)])
def test_wrong_rank(shape):
    with pytest.raises(ValueError, match=r"expects images of shape \(batch, height, width"):
        mixlib.Patches(4)(np.zeros(shape, "float32"))


@pytest.mark.parametrize("size", [0, -4, 2.0, "4"])
def test_impossible_patch_size(size):
    with pytest.raises(ValueError, match="patch_size must be a whole number, 1 or more; got"):
        mixlib.Patches(size)


@pytest.mark.parametrize("shape", [(1, 3, 12), (1, 4, 13), (4, 12)])
def test_unpatchify_says_what_it_expects(shape):
    with pytest.raises(ValueError, match=r"need patches of shape \(batch, 4, 4 x channels\)"):
        mixlib.unpatchify(np.zeros(shape), 2, 4)
