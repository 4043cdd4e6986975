"""MLP-Mixer: one perceptron across the tokens, one across the channels."""

import keras
from keras import ops

from mixlib.blocks.fused import LayerNorm
from mixlib.blocks.mlp import MLP
from mixlib.checks import check_gelu, check_tokens, check_whole
from mixlib.layers import Layer


@keras.saving.register_keras_serializable("mixlib")
class MixerBlock(Layer):
    """One block of MLP-Mixer, ``(batch, tokens, channels) -> (batch, tokens, channels)``.

    Parameters
    ----------
    tokens_mlp_dim : int
        Hidden width of the perceptron that mixes tokens (D_S in the paper).
    channels_mlp_dim : int
        Hidden width of the perceptron that mixes channels (D_C in the paper).
    dropout_rate : float
        Share of each perceptron's outputs that is dropped in training. The paper's models use 0.
    gelu : {"tanh", "exact"}
        Form of the GELU. The official code uses the tanh approximation, timm the exact one.
    stochastic_depth_rate : float
        Share of the images that skip each perceptron in training; for the others, its output is
        scaled by ``1 / (1 - rate)``.

    Raises
    ------
    ValueError
        When a width is not positive, the form of the GELU is unknown, or the input is not (batch,
        tokens, channels) or has another number of tokens or channels than the block was built for.

    References
    ----------
    Tolstikhin et al., MLP-Mixer: An all-MLP Architecture for Vision, 2021, equation 1. Kernels are
    LeCun-normal and the norms' epsilon is 1e-6, as in the official code.
    """

    def __init__(
        self,
        tokens_mlp_dim,
        channels_mlp_dim,
        dropout_rate=0.0,
        gelu="tanh",
        stochastic_depth_rate=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.tokens_mlp_dim = check_whole("tokens_mlp_dim", tokens_mlp_dim)
        self.channels_mlp_dim = check_whole("channels_mlp_dim", channels_mlp_dim)
        self.dropout_rate = dropout_rate
        self.gelu = check_gelu(gelu)
        self.stochastic_depth_rate = stochastic_depth_rate

    def build(self, input_shape):
        check_tokens(self, input_shape)
        batch, self.num_tokens, self.num_channels = input_shape

        def norm(name):
            return LayerNorm(epsilon=1e-6, dtype=self.dtype_policy, name=name)

        def mlp(width, name):
            return MLP(
                width,
                self.dropout_rate,
                self.gelu,
                stochastic_depth_rate=self.stochastic_depth_rate,
                dtype=self.dtype_policy,
                name=name,
            )

        self.token_norm, self.channel_norm = norm("token_norm"), norm("channel_norm")
        self.token_mixing = mlp(self.tokens_mlp_dim, "token_mixing")
        self.channel_mixing = mlp(self.channels_mlp_dim, "channel_mixing")
        self.token_norm.build(input_shape)
        self.token_mixing.build((batch, self.num_channels, self.num_tokens))
        self.channel_norm.build(input_shape)
        self.channel_mixing.build(input_shape)

    def call(self, x, training=None):
        check_tokens(self, x.shape)
        # (batch, tokens, channels) -> (batch, channels, tokens), and back
        y = ops.transpose(self.token_norm(x), (0, 2, 1))
        y = ops.transpose(self.token_mixing(y, training=training), (0, 2, 1))
        x = x + y
        return x + self.channel_mixing(self.channel_norm(x), training=training)
