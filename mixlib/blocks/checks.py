"""What every block checks about its arguments and its input, with errors that say what to do."""


def check_width(name, width):
    """Return `width`, or raise ValueError when it is not a positive whole number."""
    if not isinstance(width, int) or width < 1:
        raise ValueError(f"{name} must be a whole number, 1 or more; got {width!r}.")
    return width


def check_gelu(gelu):
    """Return `gelu`, or raise ValueError when there is no such form."""
    if gelu not in ("tanh", "exact"):
        raise ValueError(f'gelu must be "tanh" or "exact"; got {gelu!r}.')
    return gelu


def check_tokens(layer, shape):
    """Raise ValueError unless `shape` is (batch, tokens, channels), the same tokens as built for.

    Parameters
    ----------
    layer : keras.layers.Layer
        Its ``num_tokens`` and ``num_channels``, where it has them, are what it was built for.
    shape : tuple of int
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
