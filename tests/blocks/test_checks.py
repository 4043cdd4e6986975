"""What blocks check, and what they say."""

import keras
import pytest

from mixlib.blocks.checks import check_gelu, check_tokens, check_width


@pytest.mark.parametrize("width", [0, -3, 1.5, "8", None])
def test_width(width):
    with pytest.raises(ValueError, match=f"mlp_dim must be a whole number, .* got {width!r}"):
        check_width("mlp_dim", width)
    assert check_width("mlp_dim", 8) == 8


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
