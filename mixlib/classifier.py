"""One classifier for all: patches, blocks, mean over the tokens, class scores."""

import keras

from mixlib.checks import check_whole, height_and_width
from mixlib.patches import Patches
from mixlib.positions import PositionEmbedding


@keras.saving.register_keras_serializable("mixlib")
class Classifier(keras.Model):
    """A functional model for images of one size, which refuses others with a clear error."""

    def __call__(self, images, *args, **kwargs):
        self._check_size(images)
        return super().__call__(images, *args, **kwargs)

    def call(self, images, training=None, mask=None):  # where JAX's fit and predict come in
        self._check_size(images)
        # Passed to every layer: some of Keras' own preprocessing layers default to training.
        return super().call(images, training=bool(training), mask=mask)

    def _check_size(self, images):
        images = keras.tree.flatten(images)[0]  # Keras takes {"images": images} and [images], too
        expected, came = tuple(self.input_shape[1:]), tuple(images.shape[1:])
        if came != expected:
            raise ValueError(
                f"{self.name} takes images of shape (batch, {', '.join(map(str, expected))}), but "
                f"got {tuple(images.shape)}. Resize the images, or make a model for their size: "
                "mixlib.convert.resize_tokens(model, image_size) keeps what this one has learned."
            )


def build_classifier(
    blocks,
    image_size=32,
    num_classes=100,
    patch_size=4,
    embedding_dim=128,
    positional_encoding=False,
    preprocessing=None,
    dropout_rate=0.0,
    stem_initializer="lecun_normal",
    head_initializer="zeros",
    channels=3,
    name="classifier",
):
    """Build an image classifier around a stack of blocks.

    Images are preprocessed, cut into patches, and every patch is projected to a token (``stem``).
    The blocks transform the tokens; their mean (``pool``) goes through dropout to the ``head``.

    Parameters
    ----------
    blocks : keras.layers.Layer or sequence of keras.layers.Layer
        Layers that keep ``(batch, tokens, embedding_dim)``. A norm before the pooling, where a
        paper has one, is the last of them.
    image_size : int or tuple of int
        Height and width of the input images, in pixels; one number for square images.
    num_classes : int
    patch_size : int
        Height and width of a patch, in pixels, after preprocessing.
    embedding_dim : int
        Number of channels of a token.
    positional_encoding : bool
        Whether to add learned position embeddings to the tokens.
    preprocessing : keras.layers.Layer, optional
        Applied to the images first, such as `mixlib.augment.preprocessing()`.
    dropout_rate : float
        Share of the pooled features that is dropped in training.
    stem_initializer, head_initializer : str or keras.initializers.Initializer
        Initialisers of the kernels of stem and head.
    channels : int
        Number of colour channels of the images.
    name : str

    Returns
    -------
    keras.Model
        From images ``(batch, height, width, channels)`` to logits ``(batch, num_classes)``, in
        float32 under every precision policy.

    Raises
    ------
    ValueError
        When a size is not positive, the patch size does not divide the (preprocessed) image, or a
        block changes the shape of the tokens.
    """
    num_classes = check_whole("num_classes", num_classes)
    embedding_dim = check_whole("embedding_dim", embedding_dim)
    channels = check_whole("channels", channels)
    inputs = keras.Input((*height_and_width(image_size), channels), name="images")
    x = inputs if preprocessing is None else preprocessing(inputs)
    x = Patches(patch_size, name="patches")(x)
    x = keras.layers.Dense(embedding_dim, kernel_initializer=stem_initializer, name="stem")(x)
    if positional_encoding:
        positions = PositionEmbedding(sequence_length=x.shape[1], name="positions")(x)
        x = keras.layers.Add(name="add_positions")([x, positions])
    tokens_shape = x.shape
    for block in [blocks] if isinstance(blocks, keras.layers.Layer) else blocks:
        x = block(x)
        if x.shape != tokens_shape:
            raise ValueError(
                f"A block must keep the shape of the tokens, {tokens_shape}, but "
                f"{type(block).__name__} {block.name!r} returns {x.shape}."
            )
    x = keras.layers.GlobalAveragePooling1D("channels_last", name="pool")(x)
    x = keras.layers.Dropout(dropout_rate, name="dropout")(x)
    logits = keras.layers.Dense(
        num_classes, kernel_initializer=head_initializer, dtype="float32", name="head"
    )(x)
    return Classifier(inputs, logits, name=name)
