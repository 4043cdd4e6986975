"""Layer normalisation and GELU for training on a CPU, each in one pass instead of a dozen.

Both compute what Keras computes. On a CPU most of their time goes into reading and writing the same
tensor again for every small operation, and again for every small operation's gradient. Here each is
one function, and its gradient another, which XLA compiles to a loop or two. Sums along a row are
matrix products, the fastest sums that a CPU has. At inference, on accelerators, and on PyTorch,
whose own versions are fast, Keras' layers run as they are.
"""

import functools
import math

import keras
from keras import ops

from mixlib.checks import check_gelu
from mixlib.layers import Layer


@keras.saving.register_keras_serializable("mixlib")
class LayerNorm(keras.layers.LayerNormalization):
    """`keras.layers.LayerNormalization`, faster where it trains on a CPU.

    Parameters
    ----------
    epsilon : float
        Added to the variance.
    **kwargs
        As for `keras.layers.LayerNormalization`. Only a norm over the last axis, with scale and
        centre, and not in float64, is faster.

    References
    ----------
    Ba et al., Layer Normalization, 2016.
    """

    def __init__(self, epsilon=1e-3, **kwargs):
        super().__init__(epsilon=epsilon, **kwargs)

    def call(self, inputs, training=None):
        usual = self.gamma is None or self.beta is None or len(self.gamma.shape) != 1
        usual = usual or self.axis not in (-1, [-1], inputs.ndim - 1, [inputs.ndim - 1])
        usual = usual or getattr(self, "rms_scaling", False) or self.compute_dtype == "float64"
        if not training or usual or not on_cpu():
            return super().call(inputs)
        gamma, beta = ops.cast(self.gamma, "float32"), ops.cast(self.beta, "float32")
        outputs = _norm(ops.cast(inputs, "float32"), gamma, beta, self.epsilon)
        return ops.cast(outputs, self.compute_dtype)


@keras.saving.register_keras_serializable("mixlib")
class GELU(Layer):
    """The Gaussian error linear unit, ``x`` times the standard normal CDF at ``x``.

    Parameters
    ----------
    form : {"tanh", "exact"}
        The tanh approximation, or the one with the error function.

    References
    ----------
    Hendrycks and Gimpel, Gaussian Error Linear Units, 2016.
    """

    def __init__(self, form="exact", **kwargs):
        super().__init__(**kwargs)
        self.form = check_gelu(form)
        self.built = True  # there is nothing to build, but Keras quantizes built layers only

    def call(self, x, training=None):
        if not training or not on_cpu():
            return ops.gelu(x, approximate=self.form == "tanh")
        return _gelu(x, self.form)


@functools.cache
def on_cpu():
    """Whether the backend gains from this, and sees no device but CPUs."""
    if keras.backend.backend() not in ("tensorflow", "jax"):
        return False
    return all(device.startswith("cpu") for device in keras.distribution.list_devices())


def _compiled(function):
    """The function compiled by XLA on TensorFlow; JAX compiles the whole step in any case."""
    if keras.backend.backend() != "tensorflow":
        return function
    import tensorflow as tf

    return tf.function(function, jit_compile=True, autograph=False)


def _norm(x, gamma, beta, epsilon):
    @ops.custom_gradient
    def norm(x, gamma, beta):
        y, mean, scale = _norm_forwards(x, gamma, beta, epsilon)
        return y, lambda upstream: _norm_backwards(x, mean, scale, gamma, upstream)

    return norm(x, gamma, beta)


@_compiled
def _norm_forwards(x, gamma, beta, epsilon):
    mean = _weighted_rows(x, ops.full_like(gamma, 1 / gamma.shape[0]))
    deviation = x - mean
    variance = _weighted_rows(deviation**2, ops.full_like(gamma, 1 / gamma.shape[0]))
    scale = ops.rsqrt(variance + epsilon)
    return deviation * scale * gamma + beta, mean, scale


@_compiled
def _norm_backwards(x, mean, scale, gamma, upstream):
    normed = (x - mean) * scale
    weights = gamma / gamma.shape[0]
    along = _weighted_rows(upstream * normed, weights)  # what a change of the scale gives
    gradient = scale * (upstream * gamma - _weighted_rows(upstream, weights) - normed * along)
    outer = tuple(range(x.ndim - 1))
    return gradient, ops.sum(upstream * normed, outer), ops.sum(upstream, outer)


def _weighted_rows(x, weights):
    """Weighted sums over the last axis, which stays with a length of 1."""
    sums = ops.matmul(ops.reshape(x, (-1, x.shape[-1])), weights[:, None])
    return ops.reshape(sums, (*ops.shape(x)[:-1], 1))


def _gelu(x, form):
    @ops.custom_gradient
    def gelu(x):
        return _gelu_forwards(x, form), lambda upstream: _gelu_backwards(x, form, upstream)

    return gelu(x)


@_compiled
def _gelu_forwards(x, form):
    return ops.gelu(x, approximate=form == "tanh")


@_compiled
def _gelu_backwards(x, form, upstream):
    if form == "exact":
        distribution = 0.5 * (1 + ops.erf(x * math.sqrt(0.5)))
        density = ops.exp(-0.5 * x * x) * (1 / math.sqrt(2 * math.pi))
        return upstream * (distribution + x * density)
    slope = math.sqrt(2 / math.pi)
    tanh = ops.tanh(slope * x * (1 + 0.044715 * x * x))
    inner = slope * (1 + 3 * 0.044715 * x * x)
    return upstream * (0.5 * (1 + tanh) + 0.5 * x * (1 - tanh * tanh) * inner)
