"""Learned position embeddings: one vector for every place in the sequence."""

import keras
from keras import ops

from mixlib.checks import check_tokens, check_whole
from mixlib.layers import Layer


@keras.saving.register_keras_serializable("mixlib")
class PositionEmbedding(Layer):
    """Return the learned embedding of every position, to be added to the tokens.

    The output has the shape of the input, ``(batch, tokens, channels)``, and does not depend on the
    input's values: ``x = x + PositionEmbedding(sequence_length)(x)``.

    Parameters
    ----------
    sequence_length : int
        Number of positions that have an embedding.
    initializer : str or keras.initializers.Initializer
        Initialiser of the table of shape (sequence_length, channels).

    Raises
    ------
    ValueError
        When `sequence_length` is not positive, or the input is not (batch, tokens, channels), is
        longer than `sequence_length`, or has another number of channels than the layer was built
        for.

    References
    ----------
    Devlin et al., BERT, 2019, section 3; used by FNet for its inputs.
    """

    def __init__(self, sequence_length, initializer="glorot_uniform", **kwargs):
        super().__init__(**kwargs)
        self.sequence_length = check_whole("sequence_length", sequence_length)
        self.initializer = keras.initializers.get(initializer)

    def build(self, input_shape):
        check_tokens(self, input_shape)
        self.num_channels = input_shape[-1]
        self.embeddings = self.add_weight(
            name="embeddings",
            shape=(self.sequence_length, self.num_channels),
            initializer=self.initializer.clone(),
        )

    def call(self, inputs):
        check_tokens(self, inputs.shape)
        length = inputs.shape[1]
        if length > self.sequence_length:
            raise ValueError(
                f"{length} tokens came, but there are embeddings for {self.sequence_length}. "
                "Shorten the sequence, or make the layer with a larger sequence_length."
            )
        # (sequence_length, channels) -> (tokens, channels) -> (batch, tokens, channels)
        return ops.broadcast_to(self.embeddings[:length], ops.shape(inputs))
