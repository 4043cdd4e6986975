"""Yardsticks of the size of the `*_tiny` models: a transformer, a convolutional network, and a bag
of patches, whose blocks mix no tokens at all.

Built of Keras' layers. Stem, positions, perceptrons and head of the transformer and of the bag are
mixlib's, so that these two differ from the models without attention in their blocks alone.
"""

import keras

import mixlib

MODELS = ("vit_tiny", "cnn_tiny", "bag_tiny")


def create(name, num_classes=100, image_size=32, preprocessing=None, **overrides):
    """Create a yardstick with fresh weights.

    Parameters
    ----------
    name : {"vit_tiny", "cnn_tiny", "bag_tiny"}
    num_classes : int
    image_size : int or tuple of int
        Height and width of the images, in pixels.
    preprocessing : Mapping, optional
        Arguments of `mixlib.augment.preprocessing`. Default: what the `*_tiny` have.
    **overrides
        Of the bag: ``num_blocks`` (default 8), ``positional_encoding`` (default False). Of the
        transformer: ``num_blocks`` (5), ``hidden_dim`` (128), ``mlp_dim`` (576). Of the
        convolutional network: ``width`` (40), the channels of its first stage.

    Returns
    -------
    keras.Model
        From images (batch, height, width, 3) of 0 to 255 to logits (batch, num_classes).

    Raises
    ------
    ValueError
        For an unknown name.
    """
    if name not in MODELS:
        raise ValueError(f"Unknown yardstick {name!r}. Expected one of: {', '.join(MODELS)}.")
    preprocessing = mixlib.augment.preprocessing(**(preprocessing or {"image_size": None}))
    if name == "cnn_tiny":
        return _residual_network(image_size, num_classes, preprocessing, name, **overrides)
    blocks, embedding = _STACKS[name](**overrides)
    return mixlib.build_classifier(
        [*blocks, keras.layers.LayerNormalization(epsilon=1e-6, name="head_norm")],
        image_size,
        num_classes,
        **embedding,
        preprocessing=preprocessing,
        name=name,
    )


class PerceptronBlock(keras.layers.Layer):
    """A perceptron on each token by itself, with a norm before and a residual around it."""

    def __init__(self, mlp_dim, gelu="tanh", **kwargs):
        super().__init__(**kwargs)
        self.mlp_dim, self.gelu = mlp_dim, gelu

    def build(self, input_shape):
        self.norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.mlp = mixlib.blocks.MLP(self.mlp_dim, gelu=self.gelu)
        for layer in (self.norm, self.mlp):
            layer.build(input_shape)

    def call(self, x, training=None):
        return x + self.mlp(self.norm(x), training=training)

    def get_config(self):
        return {**super().get_config(), "mlp_dim": self.mlp_dim, "gelu": self.gelu}


class TransformerBlock(keras.layers.Layer):
    """Attention, then a perceptron, each with a norm before and a residual around it.

    Dosovitskiy et al., An Image is Worth 16x16 Words, 2021, equations 2 and 3.
    """

    def __init__(self, num_heads, mlp_dim, **kwargs):
        super().__init__(**kwargs)
        self.num_heads, self.mlp_dim = num_heads, mlp_dim

    def build(self, input_shape):
        channels = input_shape[-1]
        self.attention_norm = keras.layers.LayerNormalization(epsilon=1e-6)
        self.attention = keras.layers.MultiHeadAttention(self.num_heads, channels // self.num_heads)
        self.perceptron = PerceptronBlock(self.mlp_dim, gelu="exact")
        for layer in (self.attention_norm, self.perceptron):
            layer.build(input_shape)
        self.attention.build(input_shape, input_shape)

    def call(self, x, training=None):
        y = self.attention_norm(x)
        return self.perceptron(x + self.attention(y, y), training=training)

    def get_config(self):
        return {**super().get_config(), "num_heads": self.num_heads, "mlp_dim": self.mlp_dim}


def _transformer(num_blocks=5, hidden_dim=128, mlp_dim=576):
    blocks = [TransformerBlock(4, mlp_dim, name=f"block_{index}") for index in range(num_blocks)]
    return blocks, {"positional_encoding": True, "embedding_dim": hidden_dim}


def _bag(num_blocks=8, positional_encoding=False):
    blocks = [PerceptronBlock(512, name=f"block_{index}") for index in range(num_blocks)]
    return blocks, {"positional_encoding": positional_encoding}


_STACKS = {"vit_tiny": _transformer, "bag_tiny": _bag}


def _residual_network(image_size, num_classes, preprocessing, name, width=40):
    """Three stages of two residual blocks each (He et al., Identity mappings, 2016)."""
    size = (image_size, image_size) if isinstance(image_size, int) else image_size
    images = keras.Input((*size, 3), name="images")
    x = _convolution(width)(preprocessing(images))
    for factor, stride in ((1, 1), (1, 1), (2, 2), (2, 1), (4, 2), (4, 1)):
        channels = factor * width
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
        if stride > 1:
            x = keras.layers.Conv2D(channels, 1, stride, use_bias=False)(y)
        y = _convolution(channels, stride)(y)
        y = keras.layers.ReLU()(keras.layers.BatchNormalization()(y))
        x = keras.layers.Add()([x, _convolution(channels)(y)])
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    x = keras.layers.GlobalAveragePooling2D()(x)
    logits = keras.layers.Dense(num_classes, dtype="float32", name="head")(x)
    return keras.Model(images, logits, name=name)


def _convolution(width, stride=1):
    return keras.layers.Conv2D(
        width, 3, stride, padding="same", use_bias=False, kernel_initializer="he_normal"
    )
