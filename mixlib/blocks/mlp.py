"""The two-layer perceptron that Mixer and FNet share."""

import keras

from mixlib.blocks.dropout import ByteDropout, stochastic_depth
from mixlib.blocks.fused import GELU
from mixlib.checks import check_gelu, check_whole
from mixlib.layers import Layer


@keras.saving.register_keras_serializable("mixlib")
class MLP(Layer):
    """Two dense layers with a GELU between them: widen, bend, narrow back.

    Acts on the last axis, ``(…, channels) -> (…, channels)``.

    Parameters
    ----------
    hidden_dim : int
        Width between the two dense layers.
    dropout_rate : float
        Share of the outputs that is dropped in training.
    gelu : {"tanh", "exact"}
        Form of the GELU: the tanh approximation, or the exact one, with the error function.
    kernel_initializer : str or keras.initializers.Initializer
        Of both dense layers.
    stochastic_depth_rate : float
        Share of the images whose outputs are all dropped in training, so that only the residual
        around the perceptron remains; the others' are scaled by ``1 / (1 - rate)``.

    Raises
    ------
    ValueError
        When `hidden_dim` is not positive, or there is no such form of the GELU.

    References
    ----------
    Hendrycks and Gimpel, Gaussian Error Linear Units, 2016; Huang et al., Deep networks with
    stochastic depth, 2016.
    """

    def __init__(
        self,
        hidden_dim,
        dropout_rate=0.0,
        gelu="tanh",
        kernel_initializer="lecun_normal",
        stochastic_depth_rate=0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.hidden_dim = check_whole("hidden_dim", hidden_dim)
        self.dropout_rate = dropout_rate
        self.gelu = check_gelu(gelu)
        self.kernel_initializer = keras.initializers.get(kernel_initializer)
        self.stochastic_depth_rate = stochastic_depth_rate

    def build(self, input_shape):
        def dense(units, name):
            return keras.layers.Dense(
                units,
                kernel_initializer=self.kernel_initializer.clone(),
                dtype=self.dtype_policy,
                name=name,
            )

        self.widen = dense(self.hidden_dim, "widen")
        self.activation = GELU(self.gelu, dtype=self.dtype_policy, name="gelu")
        self.narrow = dense(input_shape[-1], "narrow")
        self.dropout = ByteDropout(self.dropout_rate, dtype=self.dtype_policy, name="dropout")
        self.stochastic_depth = stochastic_depth(
            self.stochastic_depth_rate, self.dtype_policy, axes=len(input_shape)
        )
        self.widen.build(input_shape)
        self.narrow.build((*input_shape[:-1], self.hidden_dim))

    def call(self, x, training=None):
        x = self.activation(self.widen(x))
        x = self.dropout(self.narrow(x), training=training)
        return self.stochastic_depth(x, training=training)
