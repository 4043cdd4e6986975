"""What a model costs to run, counted from its layers."""

import functools
import math

import keras

from mixlib.blocks import FourierTransform, SpatialGatingUnit


def count_flops(model) -> int:
    """Count the floating-point operations of one forward pass of one image.

    A multiply-add counts as two. Counted are Keras' `Dense`, `Conv2D`, `DepthwiseConv2D` and
    `MultiHeadAttention`, the mixing of tokens in gates, and Fourier transforms, either
    implementation at the 5/2 n log2 n operations that the fast algorithm takes for n real values.
    Biases, norms, activations and additions are not, as is usual; they take time all the same. Nor
    are other layers, or subclasses of these. A layer that is used twice counts once.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
        Built, for a known number of tokens.

    Raises
    ------
    ValueError
        When the model, or a layer that counts, is not built, or the size of its input unknown.
    """
    total = 0
    for layer in model._flatten_layers():
        if type(layer) in _OPERATIONS:
            if not layer.built:
                raise ValueError(
                    f"{layer.name} is not built yet, so the size of its input is unknown. Build "
                    "the model first: call it on images."
                )
            config = layer.get_build_config()
            shapes = config.get("shapes_dict") or {"input_shape": config["input_shape"]}
            sizes = [tuple(shape[1:]) for shape in shapes.values()]
            if any(None in size for size in sizes):
                raise ValueError(
                    f"{layer.name} takes inputs of unknown size, {sizes}. Make the model for a "
                    "known number of tokens or pixels."
                )
            total += _OPERATIONS[type(layer)](layer, *sizes)
    if not model.built:
        raise ValueError(f"{model.name} is not built yet: call it on an input first.")
    return round(total)


def _attention(layer, query, value, key=None):
    (tokens, channels), (others, of_values), (_, of_keys) = query, value, key or value
    outputs = layer.compute_output_shape((None, *query), (None, *value))[-1]
    keys, values = layer.num_heads * layer.key_dim, layer.num_heads * layer.value_dim
    projections = tokens * channels * keys + others * (of_keys * keys + of_values * values)
    scores = tokens * others * (keys + values)  # with the sums of the values
    return 2 * (projections + scores + tokens * values * outputs)


def _products(layer, shape, summed=-1):
    """Each output is a sum of products, over all axes of the kernel but its last ones."""
    outputs = layer.compute_output_shape((None, *shape))[1:]
    return 2 * math.prod(outputs) * math.prod(layer.kernel.shape[:summed])


# Operations of a layer on inputs of these shapes, without the batch.
_OPERATIONS = {
    keras.layers.Dense: _products,
    keras.layers.Conv2D: _products,
    keras.layers.DepthwiseConv2D: functools.partial(_products, summed=-2),
    keras.layers.MultiHeadAttention: _attention,
    SpatialGatingUnit: lambda layer, shape: shape[0] * math.prod(shape),
    FourierTransform: lambda layer, shape: 2.5 * math.prod(shape) * math.log2(math.prod(shape)),
}


def count_parameters(model) -> int:
    """Count the trainable parameters of a model.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
    """
    return sum(math.prod(weight.shape) for weight in model.trainable_weights)
