"""gMLP: a perceptron over the channels whose middle is gated by a mix of the tokens."""

import keras
from keras import ops

from mixlib.blocks.dropout import ByteDropout, stochastic_depth
from mixlib.blocks.fused import GELU, LayerNorm
from mixlib.checks import check_gelu, check_tokens, check_whole
from mixlib.layers import Layer


@keras.saving.register_keras_serializable("mixlib")
class SpatialGatingUnit(keras.layers.Layer):
    """Multiply one half of the channels by a linear mix, over the tokens, of the other half.

    ``(batch, tokens, channels) -> (batch, tokens, channels / 2)``. It starts with a near-zero
    kernel and a bias of one: the gate is one and the unit passes its first half through.

    Raises
    ------
    ValueError
        When the number of channels is odd, or the input is not (batch, tokens, channels) or has
        another number of tokens or channels than the unit was built for.

    References
    ----------
    Liu et al., Pay Attention to MLPs, 2021, section 2.1, equation 4. The paper gives no numbers for
    "near zero" and the norm's epsilon; these are timm's (standard deviation 1e-6, epsilon 1e-5).
    """

    def build(self, input_shape):
        check_tokens(self, input_shape)
        _, self.num_tokens, self.num_channels = input_shape
        if self.num_channels % 2:
            raise ValueError(
                "SpatialGatingUnit splits the channels in halves, so their number must be even; "
                f"got {self.num_channels}."
            )
        self.norm = LayerNorm(epsilon=1e-5, dtype=self.dtype_policy, name="norm")
        self.norm.build((*input_shape[:-1], self.num_channels // 2))
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.num_tokens, self.num_tokens),
            initializer=keras.initializers.RandomNormal(stddev=1e-6),
        )
        self.bias = self.add_weight(name="bias", shape=(self.num_tokens,), initializer="ones")

    def call(self, x):
        check_tokens(self, x.shape)
        u, v = ops.split(x, 2, axis=-1)  # (batch, tokens, channels / 2) each
        # gate[b, s, c] = sum over t of kernel[t, s] * v[b, t, c], plus bias[s]
        gate = ops.einsum("btc,ts->bsc", self.norm(v), self.kernel)
        return u * (gate + self.bias[:, None])

    def compute_output_shape(self, input_shape):
        return *input_shape[:-1], input_shape[-1] // 2


@keras.saving.register_keras_serializable("mixlib")
class GMLPBlock(Layer):
    """One block of gMLP, ``(batch, tokens, channels) -> (batch, tokens, channels)``.

    Parameters
    ----------
    mlp_dim : int
        Width before the gate, an even number (d_ffn in the paper, 6 times the channels). Half of it
        comes out of the gate.
    dropout_rate : float
        Share of the outputs that is dropped in training, before the residual is added.
    gelu : {"tanh", "exact"}
        Form of the GELU. The paper does not say; timm uses the exact one.
    stochastic_depth_rate : float
        Share of the images that skip the block in training; for the others, what it adds is scaled
        by ``1 / (1 - rate)``.

    Raises
    ------
    ValueError
        When `mlp_dim` is not a positive even number, the form of the GELU is unknown, or the input
        is not (batch, tokens, channels) or has another number of tokens or channels than the block
        was built for.

    References
    ----------
    Liu et al., Pay Attention to MLPs, 2021, figure 1 and equations 1 and 4. It does not say how the
    kernels of the two dense layers are initialised: here LeCun-normal, as in MLP-Mixer's code; in
    timm Glorot-uniform.
    """

    def __init__(
        self,
        mlp_dim,
        dropout_rate=0.0,
        gelu="exact",
        stochastic_depth_rate=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.mlp_dim = check_whole("mlp_dim", mlp_dim)
        if mlp_dim % 2:
            raise ValueError(f"mlp_dim is split in two halves, so it must be even; got {mlp_dim}.")
        self.dropout_rate = dropout_rate
        self.gelu = check_gelu(gelu)
        self.stochastic_depth_rate = stochastic_depth_rate

    def build(self, input_shape):
        check_tokens(self, input_shape)
        batch, self.num_tokens, self.num_channels = input_shape

        def dense(units, name):
            return keras.layers.Dense(
                units, kernel_initializer="lecun_normal", dtype=self.dtype_policy, name=name
            )

        self.norm = LayerNorm(epsilon=1e-6, dtype=self.dtype_policy, name="norm")
        self.widen = dense(self.mlp_dim, "widen")
        self.activation = GELU(self.gelu, dtype=self.dtype_policy, name="gelu")
        self.gating = SpatialGatingUnit(dtype=self.dtype_policy, name="gating")
        self.narrow = dense(self.num_channels, "narrow")
        self.dropout = ByteDropout(self.dropout_rate, dtype=self.dtype_policy, name="dropout")
        self.stochastic_depth = stochastic_depth(self.stochastic_depth_rate, self.dtype_policy)
        self.norm.build(input_shape)
        self.widen.build(input_shape)
        self.gating.build((batch, self.num_tokens, self.mlp_dim))
        self.narrow.build((batch, self.num_tokens, self.mlp_dim // 2))

    def call(self, x, training=None):
        check_tokens(self, x.shape)
        z = self.activation(self.widen(self.norm(x)))
        z = self.dropout(self.narrow(self.gating(z)), training=training)
        return x + self.stochastic_depth(z, training=training)
