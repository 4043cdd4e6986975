"""What a model costs to run, counted from its layers."""

import math

import keras

from mixlib.blocks import FourierTransform, SpatialGatingUnit


def count_flops(model):
    """Count the floating-point operations of one forward pass of one image.

    A multiply-add counts as two. Dense layers count, the mixing of tokens in gates, and Fourier
    transforms: by the fast algorithm, 5/2 n log2 n operations for n real values. Norms, activations
    and sums do not, as is usual; they take time all the same.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        Built, for a known number of tokens.

    Returns
    -------
    int
    """
    counted = {
        keras.layers.Dense: lambda layer, size: 2 * size * layer.units,
        SpatialGatingUnit: lambda layer, size: 2 * (size // 2) * layer.num_tokens,
        FourierTransform: lambda layer, size: round(2.5 * size * math.log2(size)),
    }
    total = 0
    for layer in model._flatten_layers():
        if type(layer) in counted:
            size = math.prod(layer.get_build_config()["input_shape"][1:])  # values of one image
            total += counted[type(layer)](layer, size)
    return total


def count_parameters(model):
    """Count the weights of a model that training changes.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer

    Returns
    -------
    int
    """
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)
