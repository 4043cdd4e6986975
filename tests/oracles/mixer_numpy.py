"""MLP-Mixer in NumPy, from the paper: Tolstikhin et al. 2021, section 2, equation 1, figure 1.

A forward pass on the weights of the official code (google-research/vision_transformer), under the
names of its ``.npz`` files. Shares no code with mixlib, and computes in float64. What the paper
leaves open is as in the official code: tanh GELU, epsilon 1e-6 in the norms.
"""

import math

import numpy as np


def official_shapes(
    patch_size,
    hidden_dim,
    num_blocks,
    tokens_mlp_dim,
    channels_mlp_dim,
    image_size=224,
    num_classes=1000,
):
    """Names and shapes of an official checkpoint: kernels are (..., inputs, outputs)."""
    length = (image_size // patch_size) ** 2

    def norm(name):
        return {f"{name}/scale": (hidden_dim,), f"{name}/bias": (hidden_dim,)}

    def dense(name, inputs, outputs):
        return {f"{name}/kernel": (*inputs, outputs), f"{name}/bias": (outputs,)}

    def mlp(name, width, hidden):
        first = dense(f"{name}/Dense_0", (width,), hidden)
        return first | dense(f"{name}/Dense_1", (hidden,), width)

    shapes = dense("stem", (patch_size, patch_size, 3), hidden_dim)
    for index in range(num_blocks):
        block = f"MixerBlock_{index}"
        shapes |= norm(f"{block}/LayerNorm_0")
        shapes |= mlp(f"{block}/token_mixing", length, tokens_mlp_dim)
        shapes |= norm(f"{block}/LayerNorm_1")
        shapes |= mlp(f"{block}/channel_mixing", hidden_dim, channels_mlp_dim)
    shapes |= norm("pre_head_layer_norm")
    return shapes | dense("head", (hidden_dim,), num_classes)


def forward(weights, images, gelu="tanh"):
    """Class scores and pooled features of images.

    Parameters
    ----------
    weights : mapping of str to numpy.ndarray
        The names and shapes of `official_shapes`.
    images : numpy.ndarray
        Shape (batch, height, width, 3).
    gelu : {"tanh", "exact"}

    Returns
    -------
    logits : numpy.ndarray
        Shape (batch, classes).
    pooled : numpy.ndarray
        Shape (batch, channels), what the head is applied to.
    """
    weights = {name: np.asarray(array, "float64") for name, array in weights.items()}
    activate = {"tanh": _gelu_tanh, "exact": _gelu_exact}[gelu]

    def norm(name, x):
        centred = x - x.mean(-1, keepdims=True)
        deviation = np.sqrt((centred**2).mean(-1, keepdims=True) + 1e-6)
        return centred / deviation * weights[f"{name}/scale"] + weights[f"{name}/bias"]

    def dense(name, x):
        return x @ weights[f"{name}/kernel"] + weights[f"{name}/bias"]

    def mlp(name, x):
        return dense(f"{name}/Dense_1", activate(dense(f"{name}/Dense_0", x)))

    x = _embed(images, weights["stem/kernel"], weights["stem/bias"])
    blocks = {name.split("/")[0] for name in weights if name.startswith("MixerBlock_")}
    for index in range(len(blocks)):
        block = f"MixerBlock_{index}"
        across = norm(f"{block}/LayerNorm_0", x).swapaxes(1, 2)  # (batch, channels, tokens)
        x = x + mlp(f"{block}/token_mixing", across).swapaxes(1, 2)
        x = x + mlp(f"{block}/channel_mixing", norm(f"{block}/LayerNorm_1", x))
    pooled = norm("pre_head_layer_norm", x).mean(axis=1)
    return dense("head", pooled), pooled


def _embed(images, kernel, bias):
    """Project patch after patch, row by row; the result is (batch, tokens, channels)."""
    size = kernel.shape[0]
    rows, columns = (length // size for length in images.shape[1:3])
    tokens = [
        np.tensordot(images[:, top : top + size, left : left + size], kernel, axes=3)
        for top in range(0, rows * size, size)
        for left in range(0, columns * size, size)
    ]
    return np.stack(tokens, axis=1) + bias


def _gelu_tanh(x):
    return x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * x * x)))


def _gelu_exact(x):
    erf = np.frompyfunc(math.erf, 1, 1)(x / math.sqrt(2)).astype("float64")
    return x / 2 * (1 + erf)
