"""Image preprocessing and augmentation, as layers that live inside the model."""

import math

import keras
import numpy as np
from keras import ops

from mixlib.checks import check_images, check_whole
from mixlib.layers import Layer

# Channel statistics of the 50,000 CIFAR-100 training images, in pixel values from 0 to 255.
CIFAR100_MEAN = (129.3042, 124.0700, 112.4341)
CIFAR100_VARIANCE = (4647.182, 4276.089, 4958.747)


@keras.saving.register_keras_serializable("mixlib")
class ResizeFlipZoom(Layer):
    """Resize images; in training also mirror and zoom each at random, all in one pass.

    ``(batch, height, width, channels) -> (batch, image_size, image_size, channels)``. The numbers
    are those of Keras' `Resizing`, `RandomFlip` and `RandomZoom` in a row: bilinear, with reflected
    edges. All three are linear and separable. So each image takes two small matrix products, one
    over its rows and one over its columns, instead of three passes.

    Parameters
    ----------
    image_size : int or None
        Height and width to resize to, in pixels. None keeps the images' size.
    horizontal_flip : bool
        Whether to mirror images left to right, with probability one half.
    zoom : float
        At least 0 and below 1. The visible height and width are scaled, each by its own random
        factor in 1 ± `zoom`: above 1 zooms out.
    seed : int, optional
        Of flip and zoom. Default: a random one, which `keras.utils.set_random_seed` determines.

    Raises
    ------
    ValueError
        When `image_size` is not positive, `zoom` out of range, or the input not a batch of images
        of known size.
    """

    def __init__(self, image_size=None, horizontal_flip=True, zoom=0.2, seed=None, **kwargs):
        super().__init__(**kwargs)
        if not 0 <= zoom < 1:
            raise ValueError(f"zoom must be from 0 to below 1; got {zoom!r}.")
        self.image_size = None if image_size is None else check_whole("image_size", image_size)
        self.horizontal_flip = horizontal_flip
        self.zoom = zoom
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, images, training=None):
        # Only training=True augments, so that model(images) always gives the same logits.
        images = ops.cast(images, self.compute_dtype)
        new_height, new_width = self.compute_output_shape(images.shape)[1:3]
        _, height, width, channels = images.shape
        rows, columns = _resizing(height, new_height), _resizing(width, new_width)
        if training:
            flip, zoom_height, zoom_width = self.draw(ops.shape(images)[0])
            # (batch, new, new) @ (new, old) -> (batch, new, old)
            rows = ops.matmul(_zooming(new_height, zoom_height), rows)
            columns = ops.matmul(_zooming(new_width, zoom_width, flip), columns)
        rows, columns = ops.cast(rows, images.dtype), ops.cast(columns, images.dtype)
        x = ops.matmul(rows, ops.reshape(images, (-1, height, width * channels)))
        # (batch, new_height, width * channels) -> (batch, width, new_height * channels)
        x = ops.transpose(ops.reshape(x, (-1, new_height, width, channels)), (0, 2, 1, 3))
        x = ops.matmul(columns, ops.reshape(x, (-1, width, new_height * channels)))
        # (batch, new_width, new_height * channels) -> (batch, new_height, new_width, channels)
        return ops.transpose(ops.reshape(x, (-1, new_width, new_height, channels)), (0, 2, 1, 3))

    def draw(self, batch):
        """Sample what is mirrored (bool), and factors for height and width; each (batch, 1)."""
        flip = keras.random.uniform((batch, 1), seed=self.generator) < 0.5 * self.horizontal_flip
        factors = (
            keras.random.uniform((batch, 1), 1 - self.zoom, 1 + self.zoom, seed=self.generator)
            for _ in range(2)
        )
        return flip, *factors

    def compute_output_shape(self, input_shape):
        check_images(self, input_shape)
        batch, height, width, channels = input_shape
        return batch, self.image_size or height, self.image_size or width, channels


def _resizing(old, new):
    """Matrix (new, old) that resizes an axis."""
    places = (np.arange(new) + 0.5) * (old / new) - 0.5
    places = np.clip(places, 0, old - 1).astype("float32")
    return np.maximum(0, 1 - np.abs(places[:, None] - np.arange(old, dtype="float32")))


def _zooming(size, factor, flip=False):
    """Matrices (batch, size, size) that scale an axis about its middle, mirrored first or not."""
    pixels = ops.arange(size, dtype="float32")
    middle = (size - 1) / 2
    places = middle + factor * (pixels - middle)  # (batch, size)
    places = ops.where(places < 0, -1 - places, places)  # the edge pixel comes twice
    places = ops.where(places > size - 1, 2 * size - 1 - places, places)
    places = ops.clip(places, 0, size - 1)
    places = ops.where(flip, size - 1 - places, places)
    # Linear interpolation: a pixel's weight falls to 0 at a distance of 1.
    return ops.relu(1 - ops.abs(ops.expand_dims(places, -1) - pixels))


@keras.saving.register_keras_serializable("mixlib")
class RandomAffine(Layer):
    """In training, mirror, shift, rotate, shear and scale each image at random, all in one warp.

    ``(batch, height, width, channels)``, in and out. Keras has a layer for each of these, and each
    interpolates anew: four in a row blur an image of 32x32 pixels, and cost four times as much.
    Edges are reflected.

    Parameters
    ----------
    horizontal_flip : bool
        Whether to mirror images left to right, with probability one half.
    shift : float
        Largest shift each way, as a share of height and width. Whole pixels; on 32 pixels 0.125
        gives about the usual random crop with four pixels of padding.
    rotation : float
        Largest angle either way, in degrees.
    shear : float
        Largest horizontal shear either way: columns moved per row.
    scale : float
        The visible height and width are scaled, each by its own random factor in 1 ± `scale`: above
        1 zooms out.
    seed : int, optional
        Default: a random one, which `keras.utils.set_random_seed` determines.

    Raises
    ------
    ValueError
        When `shift` or `scale` is not from 0 to below 1, or the input to train with is not a batch
        of images of known size.
    """

    def __init__(
        self,
        horizontal_flip=False,
        shift=0.0,
        rotation=0.0,
        shear=0.0,
        scale=0.0,
        seed=None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        for name, value in (("shift", shift), ("scale", scale)):
            if not 0 <= value < 1:
                raise ValueError(f"{name} must be from 0 to below 1; got {value!r}.")
        self.horizontal_flip = horizontal_flip
        self.shift = shift
        self.rotation = rotation
        self.shear = shear
        self.scale = scale
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)
        self.supports_jit = keras.backend.backend() != "tensorflow"  # whose XLA knows no warp

    def call(self, images, training=None):
        images = ops.cast(images, self.compute_dtype)
        if not training:
            return images
        check_images(self, images.shape)
        matrices = self.draw(ops.shape(images)[0], *images.shape[1:3])
        return ops.image.affine_transform(
            images, matrices, "bilinear", fill_mode="reflect", data_format="channels_last"
        )

    def draw(self, batch, height, width):
        """Sample, for each image, the map from new pixels to the places that they come from.

        Returns
        -------
        tensor
            Shape (batch, 8), as `keras.ops.image.affine_transform` takes it:
            ``x = m0 x' + m1 y' + m2``, ``y = m3 x' + m4 y' + m5`` in pixels, and two zeros.
        """

        def uniform(low, high):
            return keras.random.uniform((batch,), low, high, seed=self.generator)

        angle = uniform(-self.rotation, self.rotation) * (np.pi / 180)
        shear = uniform(-self.shear, self.shear)
        across, down = (uniform(1 - self.scale, 1 + self.scale) for _ in range(2))
        mirrored = uniform(0.0, 1.0) < 0.5 * self.horizontal_flip
        sign = ops.where(mirrored, -1.0, 1.0)
        cosine, sine = ops.cos(angle), ops.sin(angle)
        # Rotation times shear times scale; mirroring comes last, so it turns the sign of x.
        m0, m1 = sign * cosine * across, sign * (cosine * shear - sine) * down
        m3, m4 = sine * across, (sine * shear + cosine) * down
        # The middle of the image stays where it is, but for the shift.
        middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
        shift_x = ops.round(uniform(-self.shift * width, self.shift * width))
        shift_y = ops.round(uniform(-self.shift * height, self.shift * height))
        m2 = middle_x + shift_x - m0 * middle_x - m1 * middle_y
        m5 = middle_y + shift_y - m3 * middle_x - m4 * middle_y
        zero = ops.zeros_like(m0)
        return ops.stack([m0, m1, m2, m3, m4, m5, zero, zero], axis=1)


def augmentation(colour=0.0, erasing=0.0, seed=None, **affine):
    """Augmentation of raw images, for training: one warp, a change of colours, an erased box.

    Parameters
    ----------
    colour : float
        From 0 to 1. Brightness changes by up to `colour` / 2 of the whole range, contrast by a
        factor in 1 ± `colour`, saturation by one from (1 - `colour`) / (1 + `colour`) to its
        inverse.
    erasing : float
        Share of the images in which a random box of up to a third of the area becomes grey.
    seed : int, optional
        Of the warp; colours and erasing take the next two. Default: random ones, which
        `keras.utils.set_random_seed` determines.
    **affine
        Arguments of `RandomAffine`.

    Returns
    -------
    keras.Sequential
        Takes images of 0 to 255, shape (batch, height, width, 3), and gives such images. Computes
        in float32 under every precision policy. Does nothing outside of training: in ``tf.data``,
        map it over batches, with ``training=True``.

    References
    ----------
    Zhong et al., Random erasing data augmentation, 2017.
    """
    # Layers of one seed would sample alike: an image turned far would be bright, too.
    seeds = [None if seed is None else seed + index for index in range(3)]
    layers = [RandomAffine(**affine, seed=seeds[0], dtype="float32", name="affine")]
    if colour:
        jitter = keras.layers.RandomColorJitter(
            value_range=(0, 1),  # with 0 to 255, Keras 3.15 saturates colours beyond the range
            brightness_factor=colour / 2,  # of the whole range, not of the image's own
            contrast_factor=colour,
            saturation_factor=(0.5 - colour / 2, 0.5 + colour / 2),  # one half changes nothing
            seed=seeds[1],
            dtype="float32",
            name="colour",
        )
        for part in (jitter.random_contrast, jitter.random_saturation):
            part.data_format = "channels_last"  # they take Keras' setting, and have no argument
        into, back = (keras.layers.Rescaling(by, dtype="float32") for by in (1 / 255, 255.0))
        layers += [into, jitter, back]
    if erasing:
        area = {"scale": (0.02, 0.33), "fill_value": 128, "data_format": "channels_last"}
        options = {"seed": seeds[2], "dtype": "float32", "name": "erasing"}
        layers.append(keras.layers.RandomErasing((erasing, erasing), **area, **options))
    model = _InTrainingOnly(layers, name="augmentation")
    model.dtype_policy = "float32"
    return model


@keras.saving.register_keras_serializable("mixlib")
class _InTrainingOnly(keras.Sequential):
    """Layers that act with training=True only. Keras' own augment by default, too."""

    def call(self, inputs, training=False, **kwargs):
        return super().call(inputs, training=training, **kwargs)


@keras.saving.register_keras_serializable("mixlib")
class Normalization(keras.layers.Normalization):
    """`keras.layers.Normalization` that reads mean and variance from its weights at every call.

    Keras' own keeps a copy of them, which `set_weights` does not update: a clone with all weights
    of another model would give other outputs.

    Parameters
    ----------
    **kwargs
        As for `keras.layers.Normalization`, with the default ``axis``, and without ``mean``,
        ``variance`` and ``invert``.

    Raises
    ------
    ValueError
        When one of these is given, or an input has another number of channels than the layer was
        built for.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        if self.axis != (-1,) or self.invert or self.input_mean is not None:
            raise ValueError(
                f"{type(self).__name__} normalises each channel by what it was adapted to; axis, "
                "mean, variance and invert can't be set. keras.layers.Normalization has them."
            )

    def call(self, inputs):
        self.compute_output_shape(inputs.shape)
        x = ops.cast(inputs, self.compute_dtype)
        mean = ops.cast(self.adapt_mean, self.compute_dtype)
        variance = ops.cast(self.adapt_variance, self.compute_dtype)
        return (x - mean) / ops.maximum(ops.sqrt(variance), keras.config.epsilon())

    def compute_output_shape(self, input_shape):
        channels = self.adapt_mean.shape[-1] if self.built else input_shape[-1]
        if input_shape[-1] != channels:
            raise ValueError(
                f"{self.name} has statistics of {channels} channels, but images of "
                f"{input_shape[-1]} came. Make it with a mean and a variance for each of theirs."
            )
        return input_shape


def normalization(mean=CIFAR100_MEAN, variance=CIFAR100_VARIANCE):
    """Normalise every channel to mean 0 and variance 1.

    Unlike a `keras.layers.Normalization` made with ``mean=…``, this one can still be adapted to
    other images.

    Parameters
    ----------
    mean, variance : sequence of float
        One per channel, of pixel values from 0 to 255. Default: CIFAR-100's training images.

    Returns
    -------
    Normalization
        Built, with `mean` and `variance` in its weights.
    """
    layer = Normalization(name="normalization")
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
    image_size, horizontal_flip, zoom, seed
        As for `ResizeFlipZoom`.
    mean, variance
        As for `normalization`.

    Returns
    -------
    keras.Sequential
        From images of 0 to 255, shape (batch, height, width, channels), to normalised ones of the
        new size.

    References
    ----------
    Salama, Image classification with modern MLP models, keras.io, 2021.
    """
    layers = [normalization(mean, variance)]
    if image_size is not None or horizontal_flip or zoom:
        name = "resize_flip_zoom"
        layers.append(ResizeFlipZoom(image_size, horizontal_flip, zoom, seed, name=name))
    return keras.Sequential(layers, name="preprocessing")


def adapt(model, images):
    """Fit the normalisation layer that a model begins with to images.

    A `keras.layers.Normalization` made with ``mean=…`` stays as it is, and so does a frozen layer.
    Where the layer is Keras' and not our `Normalization`, compile the model after this: a compiled
    step keeps the old statistics.

    Parameters
    ----------
    model : keras.Model or keras.layers.Layer
    images : numpy.ndarray
        Training images, shape (n, height, width, channels).

    Returns
    -------
    int
        How many layers were fitted: 1, or 0.

    Raises
    ------
    ValueError
        When a normalisation layer without statistics comes after another layer, whose output these
        images are not.
    """
    first = model
    while isinstance(first, keras.Model):
        layers = [layer for layer in first.layers if not isinstance(layer, keras.layers.InputLayer)]
        first = layers[0] if layers else None
    found = [
        layer
        for layer in model._flatten_layers()
        if isinstance(layer, keras.layers.Normalization)
        and layer.input_mean is None
        and layer.trainable
    ]
    for layer in found:
        if layer is not first:
            raise ValueError(
                f"The normalisation {layer.name!r} comes after another layer, so it can't be "
                "fitted to the images. Put it first, or make it with the statistics of what it "
                "receives: keras.layers.Normalization(mean=…, variance=…)."
            )
        if not layer.built:
            layer.build(images.shape)
        mean, variance = _statistics(images, layer._reduce_axis)
        layer.adapt_mean.assign(mean)
        layer.adapt_variance.assign(variance)
        layer.finalize_state()
    return len(found)


def _statistics(images, axes):
    """Mean and variance over axes, the first among them; in parts, to bound the memory."""
    parts = [images[start : start + 100] for start in range(0, len(images), 100)]
    count = math.prod(images.shape[axis] for axis in axes)
    mean = sum(part.sum(axes, "float64", keepdims=True) for part in parts) / count
    squares = (((part - mean) ** 2).sum(axes) for part in parts)
    return mean.squeeze(axes), sum(squares) / count
