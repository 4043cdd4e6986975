"""Random weights and inputs that anyone can draw again: oracle scripts and tests need no files.

An array depends on its name and shape alone. It comes from `numpy.random.RandomState`, whose stream
NumPy keeps for good, seeded by the CRC-32 of the name. No array is zero or one everywhere, heads
and norms included: a weight that a converter forgets or swaps changes the result.
"""

import math
import zlib

import numpy as np


def draw(name, shape):
    """Draw the weight `name`.

    Its last part tells what it is: kernels, called ``kernel`` (..., inputs, outputs) or ``weight``
    (outputs, inputs, ...), are normal with variance 1 / inputs; gains of norms, called ``scale`` or
    ``weight`` (channels,), are 1 with a spread of 0.1; a ``bias`` has a spread of 0.1 around 0.

    Parameters
    ----------
    name : str
        Parts separated by dots or slashes.
    shape : sequence of int

    Returns
    -------
    numpy.ndarray
        float32, of the given shape.
    """
    shape = tuple(shape)
    kind = name.replace("/", ".").split(".")[-1]
    normal = _normal(name, shape)
    if kind == "bias":
        array = 0.1 * normal
    elif kind == "scale" or (kind == "weight" and len(shape) == 1):
        array = 1 + 0.1 * normal
    elif kind == "kernel":
        array = normal / math.sqrt(math.prod(shape[:-1]))
    elif kind == "weight":
        array = normal / math.sqrt(math.prod(shape[1:]))
    else:
        raise ValueError(f"{name!r} must end in kernel, weight, scale or bias.")
    return array.astype("float32")


def draw_all(shapes):
    """Draw every weight of a mapping from names to shapes, as a dictionary of arrays."""
    return {name: draw(name, shape) for name, shape in shapes.items()}


def images(batch=2, size=224):
    """Images (batch, size, size, 3), float32, standard normal: normalised noise."""
    return _normal("images", (batch, size, size, 3)).astype("float32")


def tokens(batch, length, channels):
    """Tokens (batch, length, channels), float32, standard normal."""
    return _normal("tokens", (batch, length, channels)).astype("float32")


def _normal(name, shape):
    return np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
