"""Dropout: of single values, from a quarter of the random bits, and of whole branches."""

import keras
from keras import ops


@keras.saving.register_keras_serializable("mixlib")
class ByteDropout(keras.layers.Dropout):
    """Keras' dropout, with one random byte per value where Keras samples a 32-bit float.

    Sampling random numbers is the costliest part of dropout, and on a CPU among the costliest of a
    training step. A byte has 256 levels, so values are dropped at the multiple of 1/256 that is
    nearest to `rate`, and those kept are scaled to match: 0.2 becomes 51/256, which is 0.1992.
    Versions of Keras without `keras.ops.view`, which reads a word as bytes, sample floats.

    Parameters
    ----------
    rate : float
        Share of the values to drop in training, from 0 to 1.
    noise_shape, seed, **kwargs
        As for `keras.layers.Dropout`. With a `noise_shape`, floats are sampled as well.

    References
    ----------
    Srivastava et al., Dropout: a simple way to prevent neural networks from overfitting, JMLR 2014.
    """

    def call(self, inputs, training=False):
        level = round(256 * self.rate)  # bytes below it drop their value
        if not training or level == 0:
            return inputs
        if level == 256 or self.noise_shape is not None or not hasattr(ops, "view"):
            return super().call(inputs, training=training)
        *outer, channels = ops.shape(inputs)
        words = keras.random.randint(
            (*outer, -(-channels // 4)), -(2**31), 2**31 - 1, "int32", seed=self.seed_generator
        )
        # (…, words) of 32 bits -> (…, 4 * words) of 8 bits
        drawn = ops.view(words, "uint8")[..., :channels]
        return ops.where(drawn >= level, inputs * (256 / (256 - level)), 0.0)


def stochastic_depth(rate, dtype=None, axes=3) -> keras.layers.Dropout:
    """Drop a whole branch of the network for some images: dropout with one decision per image.

    Parameters
    ----------
    rate : float
        Share of the images that the branch is dropped for in training.
    dtype : keras.DTypePolicy, optional
    axes : int
        Number of axes of the branch's tensors: 3 for (batch, tokens, channels).

    References
    ----------
    Huang et al., Deep networks with stochastic depth, 2016. There a branch is dropped for a
    whole batch; one decision an image is the form of later code, such as timm's.
    """
    noise_shape = (None, *[1] * (axes - 1))
    return keras.layers.Dropout(rate, noise_shape, dtype=dtype, name="stochastic_depth")
