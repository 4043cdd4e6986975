"""What is checked of sizes, labels, arguments and tokens, with errors that say what to do."""

import numbers
from collections.abc import Iterable

import numpy as np


def check_whole(name, value, least=1):
    """Return `value` as an int, or raise ValueError unless it is an integer of at least `least`."""
    if isinstance(value, bool) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"{name} must be a whole number, {least} or more; got {value!r}.")
    return int(value)


def height_and_width(image_size):
    """Return (height, width) from a pair or one number, or raise ValueError for other sizes."""
    sizes = image_size if isinstance(image_size, Iterable) else (image_size, image_size)
    if len(sizes) != 2:
        raise ValueError(f"image_size must be one number, or height and width; got {image_size!r}.")
    return tuple(check_whole("image_size", size) for size in sizes)


def check_labels(labels, images=None, classes=None, name="labels"):
    """Return labels as an array, or raise ValueError unless each image has one class index."""
    labels = np.asarray(labels)
    count = len(labels) if images is None else len(images)
    if labels.shape != (count,) or labels.dtype.kind not in "iu":
        raise ValueError(
            f"{name} must be a whole number for each of {count} images, shape ({count},); got "
            f"{labels.dtype} of shape {labels.shape}. Labels of shape (n, 1): labels[:, 0]."
        )
    if count and not 0 <= labels.min() <= labels.max() < (np.inf if classes is None else classes):
        last = "" if classes is None else f" to {classes - 1}"
        raise ValueError(
            f"{name} must be numbers of classes, from 0{last}; they go from {labels.min()} to "
            f"{labels.max()}."
        )
    return labels


def check_gelu(gelu):
    """Return `gelu`, or raise ValueError when there is no such form."""
    if gelu not in ("tanh", "exact"):
        raise ValueError(f'gelu must be "tanh" or "exact"; got {gelu!r}.')
    return gelu


def check_images(layer, shape):
    """Raise ValueError unless `shape` is (batch, height, width, channels), known but for batch."""
    if len(shape) != 4 or None in shape[1:]:
        raise ValueError(
            f"{type(layer).__name__} expects images of shape (batch, height, width, channels), "
            f"with height, width and channels known, but got shape {tuple(shape)}."
        )


def check_tokens(layer, shape):
    """Raise ValueError unless `shape` is (batch, tokens, channels), the same tokens as built for.

    A layer's ``num_tokens`` and ``num_channels``, where it has them, are what it was built for.
    """
    kind = type(layer).__name__
    if len(shape) != 3 or None in shape[1:]:
        raise ValueError(
            f"{kind} expects tokens of shape (batch, tokens, channels), with tokens and channels "
            f"known, but got shape {tuple(shape)}."
        )
    built = getattr(layer, "num_tokens", shape[1]), getattr(layer, "num_channels", shape[2])
    if tuple(shape[1:]) != built:
        raise ValueError(
            f"{kind} was built for {built[0]} tokens of {built[1]} channels, but got {shape[1]} "
            f"tokens of {shape[2]} channels. Its weights fit one size only: feed images of the "
            "size that the model was built for, or build a new model for this size."
        )
