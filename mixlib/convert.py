"""Weights from elsewhere: of timm, of Google, of transformers, and of another image size.

Each ``from_…`` takes a model of `mixlib.create` and a mapping from the source's names to arrays,
and assigns all of the weights or, with an error that lists every name that does not fit, none.
"""

import dataclasses
import os
from collections.abc import Callable

import keras
import numpy as np

from mixlib.blocks import FNetBlock, GMLPBlock, MixerBlock
from mixlib.checks import height_and_width
from mixlib.keras_example import MLPMixerLayer, gMLPLayer
from mixlib.positions import PositionEmbedding


def from_timm(model, weights, head="load") -> keras.Model:
    """Load a timm checkpoint of MLP-Mixer or gMLP into a model, and return the model.

    timm uses the exact GELU, as the gMLP presets do. For timm's numbers, create a Mixer with it,
    too: ``mixlib.create("mixer_b16", gelu="exact")``. Images have to be normalised as the
    checkpoint's ``pretrained_cfg`` in timm says.

    Parameters
    ----------
    model : keras.Model
        A ``mixer_*`` or ``gmlp_*`` model.
    weights : Mapping
        State dictionary: names such as ``"blocks.0.mlp_tokens.fc1.weight"`` to arrays.
    head : {"load", "skip"}
        ``"skip"`` leaves the model's head as it is: for a model with other classes than the
        checkpoint's.

    Raises
    ------
    ValueError
        For another kind of model, or when names are missing, unexpected or of another shape. The
        model is then left as it was.

    Examples
    --------
    >>> state = {name: value.float().numpy() for name, value in timm_model.state_dict().items()}
    >>> model = mixlib.convert.from_timm(mixlib.create("gmlp_s16"), state)
    """
    targets = {}
    for index, block in enumerate(_blocks(model, MixerBlock, GMLPBlock)):
        if isinstance(block, MixerBlock):
            layers = {
                "norm1": block.token_norm,
                "mlp_tokens.fc1": block.token_mixing.widen,
                "mlp_tokens.fc2": block.token_mixing.narrow,
                "norm2": block.channel_norm,
                "mlp_channels.fc1": block.channel_mixing.widen,
                "mlp_channels.fc2": block.channel_mixing.narrow,
            }
        else:
            layers = {
                "norm": block.norm,
                "mlp_channels.fc1": block.widen,
                "mlp_channels.gate.norm": block.gating.norm,
                "mlp_channels.gate.proj": block.gating,
                "mlp_channels.fc2": block.narrow,
            }
        targets |= _TORCH.targets(layers, f"blocks.{index}.")
    targets |= _TORCH.targets({"stem.proj": model.get_layer("stem")})
    targets["stem.proj.weight"] = _stem_kernel(model, axes=(2, 3, 1, 0))
    targets |= _TORCH.targets({"norm": model.get_layer("head_norm")})
    return _assign(model, *_with_head(model, weights, targets, _TORCH, head))


def from_google(model, path_or_mapping, head="load") -> keras.Model:
    """Load an official checkpoint of MLP-Mixer into a model, and return the model.

    Parameters
    ----------
    model : keras.Model
        A ``mixer_*`` model. Its images have to be scaled to -1..1.
    path_or_mapping : str, os.PathLike or Mapping
        An ``.npz`` file as released with the paper, or what it holds: names such as
        ``"MixerBlock_0/token_mixing/Dense_0/kernel"`` to arrays.
    head : {"load", "skip"}
        As for `from_timm`.

    Raises
    ------
    ValueError
        For another kind of model, or when names are missing, unexpected or of another shape. The
        model is then left as it was.
    """
    weights = path_or_mapping
    if isinstance(weights, (str, os.PathLike)):
        with np.load(weights, allow_pickle=False) as archive:
            weights = dict(archive)
    targets = {}
    for index, block in enumerate(_blocks(model, MixerBlock)):
        layers = {
            "LayerNorm_0": block.token_norm,
            "token_mixing/Dense_0": block.token_mixing.widen,
            "token_mixing/Dense_1": block.token_mixing.narrow,
            "LayerNorm_1": block.channel_norm,
            "channel_mixing/Dense_0": block.channel_mixing.widen,
            "channel_mixing/Dense_1": block.channel_mixing.narrow,
        }
        targets |= _FLAX.targets(layers, f"MixerBlock_{index}/")
    targets |= _FLAX.targets({"stem": model.get_layer("stem")})
    targets["stem/kernel"] = _stem_kernel(model, axes=(0, 1, 2, 3))
    targets |= _FLAX.targets({"pre_head_layer_norm": model.get_layer("head_norm")})
    return _assign(model, *_with_head(model, weights, targets, _FLAX, head))


def from_transformers(model, weights) -> keras.Model:
    """Load the encoder blocks of a transformers FNet into a model, and return the model.

    What a text model has besides them (word, position and token-type embeddings with their norm and
    projection, pooler, language heads) is left out: the image model keeps its own stem, positions,
    embedding norm and projection, and head.

    Parameters
    ----------
    model : keras.Model
        An ``fnet_*`` model, or another with `mixlib.FNetBlock` layers.
    weights : Mapping
        State dictionary of an ``FNetEncoder``, names such as ``"layer.0.output.dense.weight"`` to
        arrays; or of a whole model, where ``"encoder."`` or ``"fnet.encoder."`` precedes them.

    Raises
    ------
    ValueError
        For another kind of model, or when names of the encoder are missing, unexpected or of
        another shape. The model is then left as it was.
    """
    targets = {}
    for index, block in enumerate(_blocks(model, FNetBlock)):
        layers = {
            "fourier.output.LayerNorm": block.mixing_norm,
            "intermediate.dense": block.feed_forward.widen,
            "output.dense": block.feed_forward.narrow,
            "output.LayerNorm": block.output_norm,
        }
        targets |= _TORCH.targets(layers, f"layer.{index}.")
    for prefix in ("fnet.encoder.", "encoder."):
        inside = [name for name in weights if name.startswith(prefix)]
        if inside:
            weights = {name.removeprefix(prefix): weights[name] for name in inside}
            break
    return _assign(model, weights, targets)


def resize_tokens(model, image_size) -> keras.Model:
    """Return a copy of a model for images of another size, with what it has learned.

    The number of tokens changes with the image; the patch size does not. Position embeddings are
    resampled from the old grid of patches to the new one. Weights that mix tokens are changed so
    that the mixing resamples the tokens to the old grid, mixes as before, and resamples to the new
    grid. A grid grows by bilinear interpolation, and shrinks by its pseudo-inverse, to the grid
    that would grow to the nearest result. All other weights are copied.

    Exact: for the same size; from a size to a larger one and back; for tokens that are all alike,
    where weights mix them. Lost: detail finer than the smaller grid, in the mixing; the patches
    show other details than those the stem has learned; and FNet has no weights to resample: its
    waves span the new grid and, with ``fourier_norm="backward"``, its outputs grow with it.
    Fine-tune at the new size.

    Parameters
    ----------
    model : keras.Model
        Of `mixlib.create` or `mixlib.build_classifier`.
    image_size : int or tuple of int
        Height and width of the new images, in pixels; one number for square images.

    Raises
    ------
    ValueError
        When the patch size does not divide the new size; or for the published example's Mixer
        layers, whose widths are the number of tokens.

    References
    ----------
    Beyer et al., FlexiViT: One Model for All Patch Sizes, 2023, for the pseudo-inverse.
    """
    size = height_and_width(image_size)
    patches = model.get_layer("patches")

    def renew(layer, tokens=None):
        if isinstance(layer, keras.Sequential):  # its own configuration holds the old size
            return type(layer)([renew(part) for part in layer.layers], name=layer.name)
        config = layer.get_config()
        if isinstance(layer, PositionEmbedding):
            config["sequence_length"] = tokens
        elif isinstance(layer, gMLPLayer):
            config["num_patches"] = tokens
        return type(layer).from_config(config)

    def grid(shape):
        """Rows and columns of patches, from the shape of the images that are cut."""
        columns = shape[2] // patches.patch_size
        return patches.compute_output_shape(shape)[1] // columns, columns

    shape = (None, *size, model.input_shape[-1])
    for layer in model.layers[1 : model.layers.index(patches)]:  # the first is the input
        shape = renew(layer).compute_output_shape(shape)
    old, new = grid(patches.input.shape), grid(shape)
    mixers = [layer.name for layer in model.layers if isinstance(layer, MLPMixerLayer)]
    if mixers and old != new:
        raise ValueError(
            f"{model.name} cannot be resized: in {', '.join(mixers)} the widths of the perceptrons "
            "are the number of tokens. Create the model for the new size and train it."
        )
    images = keras.Input((*size, model.input_shape[-1]), name="images")
    resized = keras.models.clone_model(model, images, lambda layer: renew(layer, new[0] * new[1]))
    to_old, to_new = _resampling(new, old), _resampling(old, new)
    changes = dict(_over_tokens(model))
    for variable, target in zip(model.variables, resized.variables, strict=True):
        array = keras.ops.convert_to_numpy(variable)
        if old != new:
            for axis in changes.get(variable.path, ()):
                # Tokens come in along the first axis of a kernel, and go out along the second.
                array = to_old.T @ array if axis == "in" else array
                array = array @ to_new.T if axis == "out" else array
                array = to_new @ array if axis == "rows" else array
        target.assign(array)
    for layer in resized._flatten_layers():
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()  # takes what was assigned as its mean and variance
    return resized


def _over_tokens(model):
    """Paths of the variables with an axis of tokens, each with what these axes are."""
    for layer in model.layers:
        if isinstance(layer, PositionEmbedding):
            yield layer.embeddings.path, ("rows",)
        elif isinstance(layer, MixerBlock):
            mixing = layer.token_mixing
            yield mixing.widen.kernel.path, ("in",)
            yield mixing.narrow.kernel.path, ("out",)
            yield mixing.narrow.bias.path, ("out",)
        elif isinstance(layer, (GMLPBlock, gMLPLayer)):
            mixing = layer.gating if isinstance(layer, GMLPBlock) else layer.spatial_projection
            yield mixing.kernel.path, ("in", "out")
            yield mixing.bias.path, ("out",)


def _resampling(old, new):
    """Matrix (new tokens, old tokens) that resamples a grid of (rows, columns) to another."""

    def along(old, new):
        if new < old:
            return np.linalg.pinv(along(new, old))  # so that growing and shrinking back is exact
        centres = (np.arange(new) + 0.5) * old / new - 0.5
        weights = np.maximum(0, 1 - np.abs(centres[:, None] - np.arange(old)))
        return weights / weights.sum(axis=1, keepdims=True)

    return np.kron(along(old[0], new[0]), along(old[1], new[1]))


@dataclasses.dataclass(frozen=True)
class _Target:
    """Where an array goes, the shape it has at its source, and how it is turned."""

    variable: keras.Variable
    shape: tuple
    turn: Callable = np.asarray


@dataclasses.dataclass(frozen=True)
class _Framework:
    """How a framework names and lays out the weights of norms and linear layers."""

    separator: str
    gain: str
    kernel: str
    transposed: bool  # kernels are (outputs, inputs)

    def targets(self, layers, prefix=""):
        """Names at the source to targets, for a mapping of such names to Keras layers."""
        targets = {}
        for name, layer in layers.items():
            name = f"{prefix}{name}{self.separator}"
            if isinstance(layer, keras.layers.LayerNormalization):
                targets[name + self.gain] = _Target(layer.gamma, layer.gamma.shape)
                targets[name + "bias"] = _Target(layer.beta, layer.beta.shape)
                continue
            shape, turn = layer.kernel.shape, np.asarray
            if self.transposed:
                shape, turn = shape[::-1], np.transpose
            targets[name + self.kernel] = _Target(layer.kernel, shape, turn)
            targets[name + "bias"] = _Target(layer.bias, layer.bias.shape)
        return targets


_TORCH = _Framework(separator=".", gain="weight", kernel="weight", transposed=True)
_FLAX = _Framework(separator="/", gain="scale", kernel="kernel", transposed=False)


def _blocks(model, *kinds):
    blocks = [layer for layer in model.layers if isinstance(layer, kinds)]
    if not blocks:
        names = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(
            f"These weights are for a model with {names} layers, but {model.name!r} has none. "
            "Create one by its name; mixlib.list_presets() has the names."
        )
    return blocks


def _stem_kernel(model, axes):
    """Target of a convolution's kernel; `axes` are its (row, column, colour, channel)."""
    kernel = model.get_layer("stem").kernel  # (rows * columns * colours, channels)
    size = model.get_layer("patches").patch_size
    lengths = size, size, kernel.shape[0] // size**2, kernel.shape[1]
    shape = tuple(lengths[axes.index(axis)] for axis in range(4))
    return _Target(kernel, shape, lambda array: array.transpose(axes).reshape(kernel.shape))


def _with_head(model, weights, targets, framework, head):
    """Add the head to the targets, or take it out of the weights."""
    if head == "load":
        return weights, targets | framework.targets({"head": model.get_layer("head")})
    if head == "skip":
        start = "head" + framework.separator
        return {name: weights[name] for name in weights if not name.startswith(start)}, targets
    raise ValueError(f'head must be "load" or "skip"; got {head!r}.')


def _assign(model, weights, targets):
    """Assign every weight to its target, or raise ValueError and assign none."""
    arrays = {name: np.asarray(weights[name]) for name in weights}
    misshapen = [
        name for name in targets if name in arrays and arrays[name].shape != targets[name].shape
    ]
    problems = {
        "Missing": [name for name in targets if name not in arrays],
        "Unexpected": [name for name in arrays if name not in targets],
        "Of another shape": [
            f"{name} (expected {targets[name].shape}, got {arrays[name].shape})"
            for name in misshapen
        ],
    }
    if any(problems.values()):
        lines = [f"The weights do not fit {model.name!r}, which is left as it was."]
        lines += [f"{kind}: {', '.join(names)}." for kind, names in problems.items() if names]
        for bias in {"head.bias", "head/bias"}.intersection(misshapen):
            lines.append(
                f"The checkpoint's head has {arrays[bias].size} classes, the model's "
                f'{targets[bias].shape[0]}: head="skip" leaves the model\'s head as it is.'
            )
        raise ValueError("\n".join(lines))
    # All are converted before the first is assigned, so that a failure changes nothing.
    turned = {name: targets[name].turn(np.asarray(arrays[name], "float32")) for name in targets}
    for name, array in turned.items():
        targets[name].variable.assign(array)
    return model
