"""FNet: the tokens are mixed by a Fourier transform, which has no weights."""

import math

import keras
import numpy as np
from keras import ops

from mixlib.blocks.fused import LayerNorm
from mixlib.blocks.mlp import MLP
from mixlib.checks import check_gelu, check_tokens, check_whole
from mixlib.layers import Layer


@keras.saving.register_keras_serializable("mixlib")
class FourierTransform(Layer):
    """Real part of the two-dimensional Fourier transform over tokens and channels.

    ``(batch, tokens, channels) -> (batch, tokens, channels)``

    Parameters
    ----------
    implementation : {"fft", "dft"}
        ``"fft"``: the backend's fast transform, in float32 (other precisions are cast there and
        back). ``"dft"``: products with cosine and sine matrices, in the layer's own precision.
        On a CPU ``"fft"`` took 0.65 to 0.9 of the time of ``"dft"`` for 64 tokens of 256 channels;
        the paper found it faster on GPUs as well, and ``"dft"`` faster on TPUs where sequences are
        short.
    norm : {"backward", "ortho"}
        Named as in NumPy. ``"backward"``: unnormalised, as in the paper. The output's scale grows
        with the square root of tokens times channels, and its first value is the sum of all inputs.
        It may overflow in float16, whose largest value is 65,504, but not in bfloat16. ``"ortho"``:
        divided by that square root, so that the transform, before its real part is taken, preserves
        the norm.

    Raises
    ------
    ValueError
        For an unknown norm or implementation, or an input that is not (batch, tokens, channels).

    References
    ----------
    Lee-Thorp et al., FNet: Mixing Tokens with Fourier Transforms, 2021, section 3.2, equation 3.
    """

    def __init__(self, implementation="fft", norm="backward", **kwargs):
        super().__init__(**kwargs)
        if norm not in ("backward", "ortho"):
            raise ValueError(f'norm must be "backward" or "ortho"; got {norm!r}.')
        if implementation not in ("fft", "dft"):
            raise ValueError(f'implementation must be "fft" or "dft"; got {implementation!r}.')
        self.implementation = implementation
        self.norm = norm

    def build(self, input_shape):
        check_tokens(self, input_shape)

    def call(self, x):
        check_tokens(self, x.shape)
        return self._fft(x) if self.implementation == "fft" else self._dft(x)

    def _fft(self, x):
        real = ops.cast(x, "float32")
        real, _ = ops.fft2((real, ops.zeros_like(real)))
        if self.norm == "ortho":
            real = real / math.sqrt(x.shape[1] * x.shape[2])
        return ops.cast(real, x.dtype)

    def _dft(self, x):
        # Re(F_t x F_c) = C_t x C_c - S_t x S_c, with F = C - iS the DFT matrix. The two products
        # over the channels are one with the matrices side by side; so are those over the tokens.
        _, tokens, channels = x.shape
        over_channels = ops.convert_to_tensor(np.concatenate(self._matrices(channels), 1), x.dtype)
        cosine, sine = self._matrices(tokens)
        over_tokens = ops.convert_to_tensor(np.concatenate([cosine, -sine], 1), x.dtype)
        # (batch, tokens, channels) -> (batch, tokens, 2, channels) -> (batch, 2 tokens, channels)
        x = ops.matmul(ops.reshape(x, (-1, channels)), over_channels)
        x = ops.transpose(ops.reshape(x, (-1, tokens, 2, channels)), (0, 2, 1, 3))
        return ops.matmul(over_tokens, ops.reshape(x, (-1, 2 * tokens, channels)))

    def _matrices(self, size):
        """Cosine and sine matrices of the transform, each (size, size) in float32."""
        # The product is reduced modulo the size first: large angles would lose digits.
        steps = np.outer(np.arange(size), np.arange(size)) % size
        angles = 2 * np.pi * steps / size
        scale = 1 if self.norm == "backward" else 1 / math.sqrt(size)
        return tuple((scale * part).astype("float32") for part in (np.cos(angles), np.sin(angles)))


def fnet_initializer(initializer=None):
    """The initialiser of an FNet's kernels: the given one, or else the official code's."""
    return keras.initializers.get(initializer or keras.initializers.RandomNormal(stddev=0.02))


@keras.saving.register_keras_serializable("mixlib")
class FNetBlock(Layer):
    """One encoder block of FNet, ``(batch, tokens, channels) -> (batch, tokens, channels)``.

    Parameters
    ----------
    mlp_dim : int
        Hidden width of the feed-forward perceptron (4 times the channels in the paper).
    dropout_rate : float
        Share of the perceptron's outputs that is dropped in training.
    gelu : {"tanh", "exact"}
        Form of the GELU. The official code uses the tanh approximation.
    implementation : {"fft", "dft"}
        How the Fourier transform is computed; see `FourierTransform`.
    fourier_norm : {"backward", "ortho"}
        How it is normalised. "backward", the paper's, makes its output about
        ``sqrt(tokens * channels / 2)`` times as large as the residual it is added to, which is all
        but lost. "ortho" keeps the residual and learns faster at first; after short trainings it
        was no better.
    kernel_initializer : str or keras.initializers.Initializer, optional
        Default: N(0, 0.02), which suits the paper's 768 channels. With far fewer, the perceptron
        adds next to nothing at first; "lecun_normal" grows as the width shrinks.
    stochastic_depth_rate : float
        Share of the images that skip the feed-forward perceptron in training; for the others, its
        output is scaled by ``1 / (1 - rate)``.

    Raises
    ------
    ValueError
        When `mlp_dim` is not positive, an option is unknown, or the input is not (batch, tokens,
        channels) or has another number of channels than the block was built for.

    References
    ----------
    Lee-Thorp et al., FNet: Mixing Tokens with Fourier Transforms, 2021, section 3.2 and figure 1.
    The norms come after the residual sums; their epsilon of 1e-12 and the kernels' N(0, 0.02) are
    those of the official code, which initialises the bias of the perceptron's first layer from
    N(0, 0.02), too, not with 0.
    """

    def __init__(
        self,
        mlp_dim,
        dropout_rate=0.0,
        gelu="tanh",
        implementation="fft",
        fourier_norm="backward",
        kernel_initializer=None,
        stochastic_depth_rate=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mlp_dim = check_whole("mlp_dim", mlp_dim)
        self.dropout_rate = dropout_rate
        self.gelu = check_gelu(gelu)
        self.implementation = implementation
        self.fourier_norm = fourier_norm
        self.kernel_initializer = fnet_initializer(kernel_initializer)
        self.stochastic_depth_rate = stochastic_depth_rate

    def build(self, input_shape):
        check_tokens(self, input_shape)
        self.num_channels = input_shape[-1]

        def norm(name):
            return LayerNorm(epsilon=1e-12, dtype=self.dtype_policy, name=name)

        self.fourier = FourierTransform(
            self.implementation, self.fourier_norm, dtype=self.dtype_policy, name="fourier"
        )
        self.mixing_norm, self.output_norm = norm("mixing_norm"), norm("output_norm")
        self.feed_forward = MLP(
            self.mlp_dim,
            self.dropout_rate,
            self.gelu,
            kernel_initializer=self.kernel_initializer,
            stochastic_depth_rate=self.stochastic_depth_rate,
            dtype=self.dtype_policy,
            name="feed_forward",
        )
        self.fourier.build(input_shape)
        self.mixing_norm.build(input_shape)
        self.feed_forward.build(input_shape)
        self.output_norm.build(input_shape)

    def call(self, x, training=None):
        check_tokens(self, x.shape)
        x = self.mixing_norm(x + self.fourier(x))
        return self.output_norm(x + self.feed_forward(x, training=training))
