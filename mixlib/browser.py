"""A trained model in the reader's browser: its steps and its weights in a piece of HTML."""

import base64
import dataclasses
import json
import pathlib

import keras
import numpy as np

from mixlib.blocks import FNetBlock, GMLPBlock, LayerNorm, MixerBlock
from mixlib.patches import Patches
from mixlib.positions import PositionEmbedding

_FOLDER = pathlib.Path(__file__).parent


@dataclasses.dataclass(frozen=True)
class Explorer:
    """A piece of HTML, which a notebook shows as what it is.

    Parameters
    ----------
    html : str
        Complete: style, code and weights. Written to a file, it is a page of its own.
    """

    html: str = dataclasses.field(repr=False)

    def _repr_html_(self):
        return self.html


def explore(model, pictures, class_names) -> Explorer:
    """Put a model into a page, where readers change a picture and see what that changes.

    The picture can be painted on, patches can be taken away, and a picture of one's own can take
    its place; the page shows the classes, before and after, and how far a change has come after
    every block. All is computed in the browser, nothing is fetched or sent. Matrices take one byte
    per weight, see `quantize`. This is for small models: those of ImageNet's size would take
    minutes to load, and seconds to answer.

    Parameters
    ----------
    model : keras.Model
        As for `program`.
    pictures : dict
        From a name to an image: uint8, of the size that the model takes.
    class_names : sequence of str
        One per class, in the order of the logits.

    Raises
    ------
    ValueError
        When `program` can't tell the model's steps, or a picture or the names don't fit it.
    """
    steps = program(model)
    shape, classes = tuple(model.input_shape[1:]), model.output_shape[-1]
    if len(class_names) != classes:
        raise ValueError(f"The model has {classes} classes, but {len(class_names)} names came.")
    for name, picture in pictures.items():
        if picture.shape != shape or picture.dtype != "uint8":
            raise ValueError(
                f"The model takes images of shape {shape}, in uint8; the picture {name!r} is "
                f"{picture.shape}, in {picture.dtype}. Resize and cast it."
            )
    if not pictures:
        raise ValueError("Give at least one picture to begin with: pictures={'name': image}.")
    integers, floats = bytearray(), bytearray()

    def place(values, blob):
        start = len(blob) // values.itemsize
        blob += np.ascontiguousarray(values).tobytes()
        return start

    def stored(value):
        if not isinstance(value, np.ndarray):
            return value
        if value.ndim == 1:
            return {"shape": value.shape, "at": place(value.astype("<f4"), floats)}
        rounded, scales = quantize(value)
        scales_at = place(scales.astype("<f4"), floats)
        return {"shape": value.shape, "at": place(rounded, integers), "scalesAt": scales_at}

    content = {
        "steps": [{key: stored(value) for key, value in step.items()} for step in steps],
        "classes": list(class_names),
        "shape": shape,
        "pictures": {name: _base64(picture.tobytes()) for name, picture in pictures.items()},
        "integers": _base64(integers),
        "floats": _base64(floats),
    }
    css, machine, page = (
        (_FOLDER / name).read_text(encoding="utf-8")
        for name in ("browser.css", "browser_steps.js", "browser.js")
    )
    safe = json.dumps(content).replace("<", "\\u003c")  # no name may end the script
    return Explorer(
        f'<div class="mixlib-explorer">\n<style>\n{css}</style>\n'
        f'<script type="application/json">{safe}</script>\n'
        "<noscript>What is here needs JavaScript.</noscript>\n"
        f"<script>\n(() => {{\n{machine}\n{page}}})()\n</script>\n</div>"
    )


def _base64(content):
    return base64.b64encode(content).decode("ascii")


def quantize(matrix, bits=8):
    """Round a matrix to integers of few bits, with a scale for each column.

    The largest magnitude of a column becomes the largest whole number, ``2 ** (bits - 1) - 1``.

    Parameters
    ----------
    matrix : numpy.ndarray
        Shape (rows, columns).
    bits : int
        2 to 8.

    Returns
    -------
    integers : numpy.ndarray
        int8, shape (rows, columns).
    scales : numpy.ndarray
        float32, shape (columns,): ``integers * scales`` is the matrix, rounded.

    Raises
    ------
    ValueError
        When `bits` is out of range.

    References
    ----------
    Krishnamoorthi, Quantizing deep convolutional networks for efficient inference, 2018, section
    2.2, "symmetric", and 3.1, "per-channel".
    """
    if bits not in range(2, 9):
        raise ValueError(f"bits must be a whole number from 2 to 8; got {bits!r}.")
    scales = np.abs(matrix).max(axis=0) / (2 ** (bits - 1) - 1)
    scales = np.where(scales > 0, scales, 1).astype("float32")
    return np.round(matrix / scales).astype("int8"), scales


def program(model):
    """List the steps by which a model gets from an image to its scores.

    A step takes a matrix and gives one, with one row per token. The kinds:

    - ``scale``: each colour times ``factors``, plus ``offsets``; of an image
    - ``patches``: cut the image into patches of ``size`` pixels a side, a row each
    - ``dense``: times ``kernel``, plus ``bias``
    - ``plus``: plus ``values``, the position embeddings
    - ``norm``: each row to mean 0 and variance 1 (with ``epsilon``), times ``gamma``, plus ``beta``
    - ``gelu``: in its ``form``, "exact" or "tanh"
    - ``transpose``: rows and columns change places
    - ``gate``: the left half of the columns times a mix of the rows of the right half, which is
      normalised (``gamma``, ``beta``, ``epsilon``), times ``kernel``, plus ``bias``
    - ``fourier``: real part of the two-dimensional transform, with ``norm`` as NumPy calls it
    - ``keep`` and ``add``: set a copy aside; add what was last set aside
    - ``show``: the tokens, as the blocks take and give them, under a ``name``
    - ``mean``: of all rows

    Parameters
    ----------
    model : keras.Model
        Made by `mixlib.build_classifier` or `mixlib.create` of the papers' blocks, with
        preprocessing that keeps the size of the images.

    Returns
    -------
    list of dict
        ``step``, the kind, and what it needs: NumPy arrays in float32, numbers and names.

    Raises
    ------
    ValueError
        When the model has layers of other kinds or with other options, or preprocessing that does
        more at inference than scale each colour.
    """
    layers = list(model.layers)
    cut = next((place for place, layer in enumerate(layers) if isinstance(layer, Patches)), None)
    if cut is None:
        raise ValueError("The model does not cut its images into patches: no layer is a Patches.")
    steps = [_scale(model, layers[cut].input)]
    steps.append({"step": "patches", "size": layers[cut].patch_size})
    blocks = 0
    for layer in layers[cut + 1 :]:
        if layer.name == "add_positions" or isinstance(layer, keras.layers.Dropout):
            continue
        if type(layer) in (MixerBlock, GMLPBlock, FNetBlock):
            if not blocks:
                steps.append({"step": "show", "name": "before"})
            blocks += 1
            steps += [*_STEPS[type(layer)](layer), {"step": "show", "name": f"block {blocks}"}]
        elif type(layer) in _STEPS:
            steps += _STEPS[type(layer)](layer)
        else:
            raise ValueError(
                f"The layer {layer.name!r} is a {type(layer).__name__}, which has no steps here. "
                "Give a model of MixerBlock, GMLPBlock or FNetBlock layers."
            )
    return steps


def _scale(model, preprocessed):
    """The step that stands for a model's preprocessing, found by trying it out."""
    height, width, channels = model.input_shape[1:]
    images = np.random.default_rng(0).uniform(0, 255, (3, height, width, channels))
    images[0], images[1] = 0, 255
    outputs = keras.Model(model.inputs[0], preprocessed)(images.astype("float32"), training=False)
    black, white, other = keras.ops.convert_to_numpy(outputs).astype("float64")
    if black.shape == images[0].shape:
        offsets, factors = black[0, 0], (white[0, 0] - black[0, 0]) / 255
        if np.allclose(images[2] * factors + offsets, other, atol=0.02):
            return {"step": "scale", "factors": _array(factors), "offsets": _array(offsets)}
    raise ValueError(
        "The model's preprocessing does more than scale each colour. Make the model in float32, "
        "with preprocessing={'image_size': None}, which keeps the size of the images."
    )


def _array(values):
    return np.asarray(keras.ops.convert_to_numpy(values), "float32")


def _norm(layer):
    if layer.gamma is None or layer.beta is None or layer.axis not in (-1, [-1], 2, [2]):
        raise ValueError(f"The norm {layer.name!r} must be of channels, with scale and centre.")
    arrays = {"gamma": _array(layer.gamma), "beta": _array(layer.beta)}
    return {"step": "norm", **arrays, "epsilon": layer.epsilon}


def _dense(layer):
    if layer.activation is not keras.activations.linear or layer.bias is None:
        raise ValueError(f"The layer {layer.name!r} must have a bias, and no activation.")
    if layer.quantization_mode:
        raise ValueError(
            f"The layer {layer.name!r} is quantized already ({layer.quantization_mode}). Give the "
            "model as it was before: the page rounds its weights by itself."
        )
    return {"step": "dense", "kernel": _array(layer.kernel), "bias": _array(layer.bias)}


def _perceptron(layer):
    gelu = {"step": "gelu", "form": layer.activation.form}
    return [_dense(layer.widen), gelu, _dense(layer.narrow)]


_KEEP, _ADD, _TRANSPOSE = {"step": "keep"}, {"step": "add"}, {"step": "transpose"}


def _mixer(block):
    tokens = [_TRANSPOSE, *_perceptron(block.token_mixing), _TRANSPOSE]
    channels = _perceptron(block.channel_mixing)
    return [
        *(_KEEP, _norm(block.token_norm), *tokens, _ADD),
        *(_KEEP, _norm(block.channel_norm), *channels, _ADD),
    ]


def _gmlp(block):
    gating = block.gating
    gate = {"kernel": _array(gating.kernel), "bias": _array(gating.bias)}
    widen, gelu, narrow = _perceptron(block)
    gate = _norm(gating.norm) | gate | {"step": "gate"}
    return [_KEEP, _norm(block.norm), widen, gelu, gate, narrow, _ADD]


def _fnet(block):
    fourier = {"step": "fourier", "norm": block.fourier_norm}
    return [
        *(_KEEP, fourier, _ADD, _norm(block.mixing_norm)),
        *(_KEEP, *_perceptron(block.feed_forward), _ADD, _norm(block.output_norm)),
    ]


_STEPS = {
    MixerBlock: _mixer,
    GMLPBlock: _gmlp,
    FNetBlock: _fnet,
    PositionEmbedding: lambda layer: [{"step": "plus", "values": _array(layer.embeddings)}],
    keras.layers.Dense: lambda layer: [_dense(layer)],
    keras.layers.LayerNormalization: lambda layer: [_norm(layer)],
    LayerNorm: lambda layer: [_norm(layer)],
    keras.layers.GlobalAveragePooling1D: lambda layer: [{"step": "mean"}],
}
