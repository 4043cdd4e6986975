"""The published example's pipeline, from stock Keras layers alone: the yardstick of `training`."""

import keras
from keras import layers, ops

from mixlib import augment

SIDE, PATCH, WIDTH, BLOCKS, RATE, CLASSES = 64, 8, 256, 4, 0.2, 100
TOKENS = (SIDE // PATCH) ** 2


class ExtractPatches(layers.Layer):
    """Patches by `keras.ops.image.extract_patches`."""

    def call(self, images):
        patches = ops.image.extract_patches(images, PATCH)
        return ops.reshape(patches, (-1, TOKENS, PATCH * PATCH * images.shape[-1]))


class AddPositions(layers.Layer):
    """Add one learned vector per position."""

    def build(self, shape):
        self.embeddings = self.add_weight(
            shape=shape[1:], initializer="glorot_uniform", name="embeddings"
        )

    def call(self, tokens):
        return tokens + self.embeddings


def classifier(name):
    """The published classifier behind a preset's name, "keras_mixer", "keras_fnet", "keras_gmlp".

    The normalisation has CIFAR-100's statistics, as that of the preset.
    """
    images = keras.Input((32, 32, 3))
    x = layers.Normalization(mean=augment.CIFAR100_MEAN, variance=augment.CIFAR100_VARIANCE)(images)
    x = layers.Resizing(SIDE, SIDE)(x)
    x = layers.RandomFlip("horizontal")(x)
    x = layers.RandomZoom(0.2, 0.2)(x)
    x = layers.Dense(WIDTH)(ExtractPatches()(x))
    if name == "keras_fnet":
        x = AddPositions()(x)
    for _ in range(BLOCKS):
        x = _LAYERS[name](x)
    x = layers.Dropout(RATE)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(images, layers.Dense(CLASSES)(x), name=name)


def _norm():
    return layers.LayerNormalization(epsilon=1e-6)


def _mixer(tokens):
    norm, dropped, mixed = _norm(), layers.Dropout(RATE), layers.Dropout(RATE)
    x = layers.Permute((2, 1))(norm(tokens))
    x = layers.Dense(TOKENS)(layers.Dense(TOKENS, activation="gelu")(x))
    x = layers.Permute((2, 1))(dropped(x)) + tokens
    y = layers.Dense(WIDTH)(layers.Dense(TOKENS, activation="gelu")(norm(x)))
    return x + mixed(y)


def _fnet(tokens):
    mixed = ops.fft2((tokens, ops.zeros_like(tokens)))[0]
    x = _norm()(tokens + mixed)
    y = layers.Dropout(RATE)(layers.Dense(WIDTH, activation="gelu")(x))
    return _norm()(x + layers.Dense(WIDTH)(y))


def _gmlp(tokens):
    x = _norm()(tokens)
    y = layers.Dropout(RATE)(layers.Dense(2 * WIDTH, activation="gelu")(x))
    u, v = ops.split(y, 2, axis=-1)
    v = layers.Permute((2, 1))(_norm()(v))
    v = layers.Permute((2, 1))(layers.Dense(TOKENS, bias_initializer="ones")(v))
    return x + layers.Dense(WIDTH)(u * v)


_LAYERS = {"keras_mixer": _mixer, "keras_fnet": _fnet, "keras_gmlp": _gmlp}
