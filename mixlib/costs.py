"""What a model costs to run, counted from its layers."""

import functools
import math

import keras

from mixlib.blocks import FourierTransform, SpatialGatingUnit


def count_flops(model):
    """Count the floating-point operations of one forward pass of one image.

    A multiply-add counts as two. What counts is `Dense`, `Conv2D`, `DepthwiseConv2D` and
    `MultiHeadAttention` of Keras, the mixing of tokens in gates, and Fourier transforms: by the
    fast algorithm, 5/2 n log2 n operations for n real values. Norms, activations and sums do not,
    as is usual; they take time all the same. Nor do other layers.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        Built, for a known number of tokens.

    Returns
    -------
    int

    Raises
    ------
    ValueError
        When a layer that counts is not built.
    """
    total = 0
    for layer in model._flatten_layers():
        if type(layer) in _OPERATIONS:
            if not layer.built:
                raise ValueError(
                    f"{layer.name} is not built yet, so the size of its input is unknown. Build "
                    "the model first: call it on images."
                )
            shapes = layer.get_build_config()
            shape = shapes.get("input_shape") or shapes["shapes_dict"]["query_shape"]
            total += _OPERATIONS[type(layer)](layer, *shape[1:])
    return round(total)


def _attention(layer, tokens, channels):
    width = layer.num_heads * layer.key_dim
    # Queries, keys, values and output; scores, and the values that they weigh.
    return 2 * tokens * (4 * channels * width + 2 * tokens * width)


def _products(layer, *shape, summed=-1):
    """Each output is a sum of products, over all axes of the kernel but its last ones."""
    outputs = layer.compute_output_shape((None, *shape))[1:]
    return 2 * math.prod(outputs) * math.prod(layer.kernel.shape[:summed])


# Operations of a layer on an input of that shape, without the batch.
_OPERATIONS = {
    keras.layers.Dense: _products,
    keras.layers.Conv2D: _products,
    keras.layers.DepthwiseConv2D: functools.partial(_products, summed=-2),
    keras.layers.MultiHeadAttention: _attention,
    SpatialGatingUnit: lambda layer, tokens, channels: tokens * tokens * channels,
    FourierTransform: lambda layer, *shape: 2.5 * math.prod(shape) * math.log2(math.prod(shape)),
}


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
