"""Image preprocessing and augmentation, as layers that live inside the model."""

import keras
import numpy as np

# Channel statistics of the 50,000 CIFAR-100 training images, in pixel values from 0 to 255.
CIFAR100_MEAN = (129.3042, 124.0700, 112.4341)
CIFAR100_VARIANCE = (4647.182, 4276.089, 4958.747)


@keras.saving.register_keras_serializable("mixlib")
class Preprocessing(keras.Sequential):
    """Layers in a row, whose random ones act only where ``training=True`` is said.

    Keras' own augmentation layers act by default: in a plain `keras.Sequential`, ``model(images)``
    would give other logits at every call.
    """

    def call(self, inputs, training=None, mask=None):
        return super().call(inputs, training=bool(training), mask=mask)


def normalization(mean=CIFAR100_MEAN, variance=CIFAR100_VARIANCE):
    """Normalise every channel to mean 0 and variance 1.

    Unlike a `keras.layers.Normalization` made with ``mean=…``, this one can still be adapted to
    other images.

    Parameters
    ----------
    mean, variance : sequence of float
        One value a channel. Default: CIFAR-100's training images.

    Returns
    -------
    keras.layers.Normalization
        Built, with `mean` and `variance` in its weights.
    """
    layer = keras.layers.Normalization(name="normalization")
    layer.build((None, None, None, len(mean)))
    layer.adapt_mean.assign(np.asarray(mean, "float32"))
    layer.adapt_variance.assign(np.asarray(variance, "float32"))
    layer.finalize_state()
    return layer


def preprocessing(
    image_size=64,
    horizontal_flip=True,
    zoom=0.2,
    mean=CIFAR100_MEAN,
    variance=CIFAR100_VARIANCE,
    seed=None,
):
    """Preprocessing of the published Keras example: normalise, resize, flip at random, zoom.

    Flip and zoom act in training only.

    Parameters
    ----------
    image_size : int or None
        Height and width to resize to, in pixels. None keeps the images' size.
    horizontal_flip : bool
        Whether to mirror images left to right, with probability one half.
    zoom : float
        Height and width are scaled, each by its own random factor in 1 ± `zoom`. 0 for none.
    mean, variance : sequence of float
        Statistics to normalise with, one value a channel.
    seed : int, optional
        Seed of flip and zoom. Default: drawn from Keras' global seed.

    Returns
    -------
    Preprocessing
        Takes images of 0 to 255, shape (batch, height, width, channels).

    References
    ----------
    Salama, Image classification with modern MLP models, keras.io, 2021.
    """
    layers = [normalization(mean, variance)]
    if image_size is not None:
        layers.append(keras.layers.Resizing(image_size, image_size, name="resize"))
    if horizontal_flip:
        layers.append(keras.layers.RandomFlip("horizontal", seed=seed, name="flip"))
    if zoom:
        layers.append(
            keras.layers.RandomZoom(height_factor=zoom, width_factor=zoom, seed=seed, name="zoom")
        )
    return Preprocessing(layers, name="preprocessing")


def adapt(model, images):
    """Fit every normalisation layer inside a model to images.

    Compile the model after this, not before: a compiled step keeps the old statistics.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
    images : numpy.ndarray
        Training images, shape (n, height, width, channels).

    Returns
    -------
    int
        How many layers were fitted.
    """
    found = [
        layer for layer in model._flatten_layers() if isinstance(layer, keras.layers.Normalization)
    ]
    for layer in found:
        layer.adapt(images)
    return len(found)
