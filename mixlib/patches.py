"""Images to sequences of patches, and back."""

import keras
from keras import ops

from mixlib.checks import check_images, check_whole, height_and_width
from mixlib.layers import Layer


@keras.saving.register_keras_serializable("mixlib")
class Patches(Layer):
    """Cut images into square patches, each flattened to a vector.

    A reshape and a transpose, without weights. Patches run row by row from the top left; within a
    patch the order is row, column, channel, as in `keras.ops.image.extract_patches`.

    Input shape ``(batch, height, width, channels)``, output shape
    ``(batch, height // patch_size * width // patch_size, patch_size * patch_size * channels)``.

    Parameters
    ----------
    patch_size : int
        Height and width of a patch, in pixels.

    Raises
    ------
    ValueError
        When `patch_size` is not positive or does not divide the images, or the input is not a batch
        of images of known size.

    References
    ----------
    Dosovitskiy et al., An Image is Worth 16x16 Words, 2021, section 3.1.
    """

    def __init__(self, patch_size, **kwargs):
        super().__init__(**kwargs)
        self.patch_size = check_whole("patch_size", patch_size)

    def call(self, images):
        self.compute_output_shape(images.shape)  # says what does not fit
        size = self.patch_size
        _, height, width, channels = images.shape
        rows, columns = height // size, width // size
        # (batch, height, width, channels) -> (batch, rows, columns, size, size, channels)
        x = ops.reshape(images, (-1, rows, size, columns, size, channels))
        x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
        # -> (batch, tokens, values of a patch)
        return ops.reshape(x, (-1, rows * columns, size * size * channels))

    def compute_output_shape(self, input_shape):
        check_images(self, input_shape)
        tokens = num_patches(input_shape[1:3], self.patch_size)
        return input_shape[0], tokens, self.patch_size**2 * input_shape[-1]


def num_patches(image_size, patch_size) -> int:
    """Count the patches of an image.

    Parameters
    ----------
    image_size : int or tuple of int
        Height and width, in pixels; one number for square images.
    patch_size : int
        Height and width of a patch, in pixels.

    Raises
    ------
    ValueError
        When a size is not positive, or the patch size does not divide height and width.
    """
    height, width = height_and_width(image_size)
    check_whole("patch_size", patch_size)
    if height % patch_size or width % patch_size:
        raise ValueError(
            f"A patch size of {patch_size} does not divide an image of {height}x{width} pixels "
            "(height x width). Choose a divisor of both, or resize the images."
        )
    return (height // patch_size) * (width // patch_size)


def unpatchify(patches, patch_size, image_size):
    """Assemble images from flattened patches: the inverse of `Patches`.

    Parameters
    ----------
    patches : array or tensor
        Shape (batch, tokens, patch_size * patch_size * channels).
    patch_size : int
        Height and width of a patch, in pixels.
    image_size : int or tuple of int
        Height and width of the images, in pixels; one number for square images.

    Returns
    -------
    tensor
        Images of shape (batch, height, width, channels).

    Raises
    ------
    ValueError
        When the sizes do not fit together.
    """
    tokens, size = num_patches(image_size, patch_size), int(patch_size)
    height, width = height_and_width(image_size)
    rows, columns = height // size, width // size
    patches = ops.convert_to_tensor(patches)
    shape = tuple(patches.shape)
    if len(shape) != 3 or shape[1] != tokens or shape[2] % (size * size):
        raise ValueError(
            f"Images of {height}x{width} pixels in patches of {size}x{size} need patches of shape "
            f"(batch, {tokens}, {size * size} x channels), but got shape {shape}."
        )
    channels = shape[2] // (size * size)
    # (batch, tokens, values) -> (batch, rows, columns, size, size, channels)
    x = ops.reshape(patches, (-1, rows, columns, size, size, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, height, width, channels))
