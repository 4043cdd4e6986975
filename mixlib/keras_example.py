"""The three layers of the published Keras example, as published, departures and all.

One thing is rounded: dropout at a rate of 0.2 drops 51 of 256 values, see `blocks.ByteDropout`.

What the papers say is in `mixlib.blocks`; the book's chapters show where the two differ and measure
what it costs.

References
----------
Salama, Image classification with modern MLP models, keras.io, 2021.
"""

import keras
from keras import ops

from mixlib.blocks.dropout import ByteDropout
from mixlib.blocks.fnet import FourierTransform
from mixlib.blocks.fused import GELU, LayerNorm
from mixlib.checks import check_tokens, check_whole
from mixlib.layers import Layer


class _ExampleLayer(Layer):
    """What the three layers share: their sublayers' precision."""

    def _dense(self, units, name, **options):
        return keras.layers.Dense(units, dtype=self.dtype_policy, name=name, **options)

    def _norm(self, name):
        return LayerNorm(epsilon=1e-6, dtype=self.dtype_policy, name=name)

    def _gelu(self, name):
        return GELU("exact", dtype=self.dtype_policy, name=name)

    def _dropout(self, name):
        return ByteDropout(self.dropout_rate, dtype=self.dtype_policy, name=name)


@keras.saving.register_keras_serializable("mixlib")
class MLPMixerLayer(_ExampleLayer):
    """The example's MLP-Mixer layer, ``(batch, tokens, channels) -> (batch, tokens, channels)``.

    One layer norm serves both halves, and both perceptrons are `num_patches` wide.

    Parameters
    ----------
    num_patches : int
        Number of tokens, and hidden width of both perceptrons.
    hidden_units : int
        Number of channels.
    dropout_rate : float
        Share of each perceptron's outputs that is dropped in training.

    Raises
    ------
    ValueError
        When a size is not positive, or the input is not (batch, tokens, channels) or has another
        number of tokens or channels.
    """

    def __init__(self, num_patches, hidden_units, dropout_rate, **kwargs):
        super().__init__(**kwargs)
        self.num_patches = self.num_tokens = check_whole("num_patches", num_patches)
        self.hidden_units = self.num_channels = check_whole("hidden_units", hidden_units)
        self.dropout_rate = dropout_rate

    def build(self, input_shape):
        check_tokens(self, input_shape)
        transposed = (input_shape[0], self.hidden_units, self.num_patches)
        self.normalize = self._norm("normalize")
        self.mlp1 = self._mlp("mlp1", self.num_patches)
        self.mlp2 = self._mlp("mlp2", self.hidden_units)
        self.normalize.build(input_shape)
        self.mlp1.build(transposed)
        self.mlp2.build(input_shape)

    def _mlp(self, name, units):
        layers = [
            self._dense(self.num_patches, "widen"),
            self._gelu("gelu"),
            self._dense(units, "narrow"),
            self._dropout("dropout"),
        ]
        return keras.Sequential(layers, name=name)

    def call(self, inputs, training=None):
        check_tokens(self, inputs.shape)
        x = ops.transpose(self.normalize(inputs), (0, 2, 1))  # (batch, channels, tokens)
        x = ops.transpose(self.mlp1(x, training=training), (0, 2, 1))  # (batch, tokens, channels)
        x = x + inputs
        return x + self.mlp2(self.normalize(x), training=training)


@keras.saving.register_keras_serializable("mixlib")
class FNetLayer(_ExampleLayer):
    """The example's FNet layer, ``(batch, tokens, channels) -> (batch, tokens, channels)``.

    The feed-forward perceptron is as wide as the channels, with dropout between its dense layers.

    Parameters
    ----------
    embedding_dim : int
        Number of channels, and hidden width of the perceptron.
    dropout_rate : float
        Share of the perceptron's hidden values that is dropped in training.

    Raises
    ------
    ValueError
        When a size is not positive, or the input is not (batch, tokens, channels) or has another
        number of channels.
    """

    def __init__(self, embedding_dim, dropout_rate, **kwargs):
        super().__init__(**kwargs)
        self.embedding_dim = self.num_channels = check_whole("embedding_dim", embedding_dim)
        self.dropout_rate = dropout_rate

    def build(self, input_shape):
        check_tokens(self, input_shape)
        self.fourier = FourierTransform(dtype=self.dtype_policy, name="fourier")
        self.normalize1, self.normalize2 = self._norm("normalize1"), self._norm("normalize2")
        layers = [
            self._dense(self.embedding_dim, "widen"),
            self._gelu("gelu"),
            self._dropout("dropout"),
            self._dense(self.embedding_dim, "narrow"),
        ]
        self.ffn = keras.Sequential(layers, name="ffn")
        for layer in (self.fourier, self.normalize1, self.normalize2, self.ffn):
            layer.build(input_shape)

    def call(self, inputs, training=None):
        check_tokens(self, inputs.shape)
        x = self.normalize1(self.fourier(inputs) + inputs)
        return self.normalize2(x + self.ffn(x, training=training))


@keras.saving.register_keras_serializable("mixlib")
class gMLPLayer(_ExampleLayer):  # noqa: N801 (the published name)
    """The example's gMLP layer, ``(batch, tokens, channels) -> (batch, tokens, channels)``.

    It adds the normalised input, not the input, to its output, so that a stack of such layers is
    post-norm and the input's scale is lost; and its gate's weights start random, not near zero.

    Parameters
    ----------
    num_patches : int
        Number of tokens.
    embedding_dim : int
        Number of channels; the perceptron is twice as wide before the gate.
    dropout_rate : float
        Share of the values before the gate that is dropped in training.

    Raises
    ------
    ValueError
        When a size is not positive, or the input is not (batch, tokens, channels) or has another
        number of tokens or channels.
    """

    def __init__(self, num_patches, embedding_dim, dropout_rate, **kwargs):
        super().__init__(**kwargs)
        self.num_patches = self.num_tokens = check_whole("num_patches", num_patches)
        self.embedding_dim = self.num_channels = check_whole("embedding_dim", embedding_dim)
        self.dropout_rate = dropout_rate

    def build(self, input_shape):
        check_tokens(self, input_shape)
        self.normalize1, self.normalize2 = self._norm("normalize1"), self._norm("normalize2")
        layers = [
            self._dense(2 * self.embedding_dim, "widen"),
            self._gelu("gelu"),
            self._dropout("dropout"),
        ]
        self.channel_projection1 = keras.Sequential(layers, name="channel_projection1")
        self.spatial_projection = self._dense(
            self.num_patches, "spatial_projection", bias_initializer="ones"
        )
        self.channel_projection2 = self._dense(self.embedding_dim, "channel_projection2")
        for layer in (
            self.normalize1,
            self.channel_projection1,
            self.normalize2,
            self.channel_projection2,
        ):
            layer.build(input_shape)
        self.spatial_projection.build((input_shape[0], self.embedding_dim, self.num_patches))

    def call(self, inputs, training=None):
        check_tokens(self, inputs.shape)
        x = self.normalize1(inputs)
        projected = self.channel_projection1(x, training=training)
        u, v = ops.split(projected, 2, axis=-1)  # (batch, tokens, channels) each
        v = ops.transpose(self.normalize2(v), (0, 2, 1))  # (batch, channels, tokens)
        v = ops.transpose(self.spatial_projection(v), (0, 2, 1))
        return x + self.channel_projection2(u * v)
