"""Every named model, as data: a row says what it is, a family says how rows become models."""

import dataclasses
import types
from collections.abc import Mapping

import keras
import numpy as np

from mixlib import augment, blocks, costs, keras_example
from mixlib.checks import check_whole, height_and_width
from mixlib.classifier import build_classifier
from mixlib.patches import num_patches

MIXER_PAPER = "Tolstikhin et al. 2021, table 1; official code for GELU (tanh) and initialisers"
GMLP_PAPER = "Liu et al. 2021, table 1; timm for GELU (exact) and epsilons"
FNET_PAPER = "Lee-Thorp et al. 2021, section 4, as an image classifier; official GELU (tanh)"
KERAS_EXAMPLE = "Salama, Image classification with modern MLP models, keras.io 2021"


@dataclasses.dataclass(frozen=True)
class Preset:
    """One named model.

    Parameters
    ----------
    family : str
        Key of `FAMILIES`: which blocks it is made of.
    image_size, patch_size : int
        In pixels.
    hidden_dim : int
        Number of channels of a token.
    num_blocks : int
    block : Mapping
        Arguments of each block.
    source : str
        Where the numbers come from.
    num_classes : int
    positional_encoding : bool
        Whether position embeddings are added to the tokens.
    dropout_rate : float
        Before the head.
    stochastic_depth_rate : float
        Of the last block; the rate rises linearly from 0 at the first, so a single block has 0
        (papers' models only).
    preprocessing : Mapping or None
        Arguments of `mixlib.augment.preprocessing` for the model that takes raw images of 0 to 255;
        None for one that takes images which the caller has normalised.
    """

    family: str
    image_size: int
    patch_size: int
    hidden_dim: int
    num_blocks: int
    block: Mapping
    source: str
    num_classes: int = 1000
    positional_encoding: bool = False
    dropout_rate: float = 0.0
    stochastic_depth_rate: float = 0.0
    preprocessing: Mapping | None = None


# The block that a family is made of.
FAMILIES = {
    "mixer": blocks.MixerBlock,
    "fnet": blocks.FNetBlock,
    "gmlp": blocks.GMLPBlock,
    "keras_mixer": keras_example.MLPMixerLayer,
    "keras_fnet": keras_example.FNetLayer,
    "keras_gmlp": keras_example.gMLPLayer,
}


def _layers(preset, tokens):
    """The layers that a row stands for, between the stem and the pooling."""
    family, width = preset.family, preset.hidden_dim
    sizes = {  # the example's layers are told them; the papers' blocks see them in their input
        "keras_mixer": {"num_patches": tokens, "hidden_units": width},
        "keras_fnet": {"embedding_dim": width},
        "keras_gmlp": {"num_patches": tokens, "embedding_dim": width},
    }.get(family, {})
    stack = []
    # Early blocks are needed most: the rate rises from 0 along the stack.
    for index, rate in enumerate(np.linspace(0, preset.stochastic_depth_rate, preset.num_blocks)):
        depth = {"stochastic_depth_rate": float(rate)} if preset.stochastic_depth_rate else {}
        options = {**preset.block, **sizes, **depth}
        stack.append(FAMILIES[family](**options, name=f"block_{index}"))
    if family in ("mixer", "gmlp"):
        return [*stack, blocks.LayerNorm(epsilon=1e-6, name="head_norm")]
    if family != "fnet":
        return stack
    # FNet normalises and projects its embeddings before the first block. Its code initialises the
    # projection LeCun-normal; here it is as the blocks are. Their first norm evens that out.
    initializer = blocks.fnet.fnet_initializer(preset.block["kernel_initializer"])
    projection = {"kernel_initializer": initializer, "name": "embedding_projection"}
    norm = blocks.LayerNorm(epsilon=1e-12, name="embedding_norm")
    return [norm, keras.layers.Dense(check_whole("hidden_dim", width), **projection), *stack]


def _row_of_mixer(patch_size, hidden_dim, num_blocks, tokens_mlp_dim, channels_mlp_dim):
    widths = {"tokens_mlp_dim": tokens_mlp_dim, "channels_mlp_dim": channels_mlp_dim}
    block = {**widths, "dropout_rate": 0.0, "gelu": "tanh"}
    return Preset("mixer", 224, patch_size, hidden_dim, num_blocks, block, MIXER_PAPER)


def _row_of_gmlp(hidden_dim, num_blocks=30):
    block = {"mlp_dim": 6 * hidden_dim, "dropout_rate": 0.0, "gelu": "exact"}
    return Preset("gmlp", 224, 16, hidden_dim, num_blocks, block, GMLP_PAPER)


def _row_of_fnet(hidden_dim, num_blocks, mlp_dim):
    block = {
        "mlp_dim": mlp_dim, "dropout_rate": 0.0, "gelu": "tanh", "implementation": "fft",
        "fourier_norm": "backward", "kernel_initializer": None,
    }  # fmt: skip
    return Preset(
        "fnet", 224, 16, hidden_dim, num_blocks, block, FNET_PAPER, positional_encoding=True
    )


def _tiny(row):
    """The row of a paper's model, cut down to 32x32 images in 64 patches."""
    return dataclasses.replace(
        row,
        image_size=32,
        patch_size=4,
        num_classes=100,
        preprocessing={"image_size": None},
        source=f"widths in the proportions of {row.source}",
    )


def _strong(row, stochastic_depth_rate, **block):
    """The row of a paper's model, cut down for 32x32 images, to be trained by the strong recipe."""
    return dataclasses.replace(
        _tiny(row),
        block=row.block | block,
        stochastic_depth_rate=stochastic_depth_rate,
        # Only normalised: whatever else happens to images in training, the recipe does.
        preprocessing={"image_size": None, "horizontal_flip": False, "zoom": 0.0},
    )


def _published(family, positional_encoding=False, dropout_rate=0.2):
    return Preset(
        family,
        image_size=32,
        patch_size=8,
        hidden_dim=256,
        num_blocks=4,
        block={"dropout_rate": dropout_rate},
        source=KERAS_EXAMPLE,
        num_classes=100,
        positional_encoding=positional_encoding,
        dropout_rate=dropout_rate,
        preprocessing={},
    )


PRESETS = types.MappingProxyType(
    {
        "keras_mixer": _published("keras_mixer"),
        "keras_fnet": _published("keras_fnet", positional_encoding=True),
        "keras_gmlp": _published("keras_gmlp"),
        "mixer_tiny": _tiny(_row_of_mixer(4, 128, 8, 64, 512)),
        "fnet_tiny": _tiny(_row_of_fnet(128, 8, 512)),
        "gmlp_tiny": _tiny(_row_of_gmlp(128, 7)),
        "mixer": _strong(_row_of_mixer(4, 256, 12, 128, 1024), 0.1),
        "fnet": _strong(
            _row_of_fnet(256, 12, 1024),
            0.05,
            implementation="dft",
            fourier_norm="ortho",
            kernel_initializer="lecun_normal",
        ),
        "gmlp": _strong(_row_of_gmlp(192, 16), 0.1),
        "mixer_s32": _row_of_mixer(32, 512, 8, 256, 2048),
        "mixer_s16": _row_of_mixer(16, 512, 8, 256, 2048),
        "mixer_b32": _row_of_mixer(32, 768, 12, 384, 3072),
        "mixer_b16": _row_of_mixer(16, 768, 12, 384, 3072),
        "mixer_l32": _row_of_mixer(32, 1024, 24, 512, 4096),
        "mixer_l16": _row_of_mixer(16, 1024, 24, 512, 4096),
        "mixer_h14": _row_of_mixer(14, 1280, 32, 640, 5120),
        "gmlp_ti16": _row_of_gmlp(128),
        "gmlp_s16": _row_of_gmlp(256),
        "gmlp_b16": _row_of_gmlp(512),
        "fnet_base16": _row_of_fnet(768, 12, 3072),
        "fnet_large16": _row_of_fnet(1024, 24, 4096),
    }
)


def create(name, num_classes=None, image_size=None, preprocessing=None, **overrides):
    """Create a named model with fresh weights.

    Parameters
    ----------
    name : str
        One of `list_presets()`.
    num_classes : int, optional
        Default: the preset's (100 for the small ones, 1000 for the others).
    image_size : int or tuple of int, optional
        Height and width of the input images, in pixels. Default: the preset's.
    preprocessing : keras.layers.Layer, Mapping, False, optional
        What images go through first: a layer, or arguments of `mixlib.augment.preprocessing`.
        Default: the preset's (the published preprocessing for ``keras_*``, normalisation, flip and
        zoom for ``*_tiny``, normalisation for ``mixer``, ``fnet`` and ``gmlp``, nothing for the
        others, whose images the caller has normalised). False for nothing.
    **overrides
        Other fields of the preset to change (``num_blocks``, ``hidden_dim``, ``patch_size``,
        ``positional_encoding``, ``dropout_rate`` and, but for ``keras_*``,
        ``stochastic_depth_rate``), or arguments of its blocks (``gelu``, ``mlp_dim``, …).
        ``dropout_rate`` sets the rate in the blocks and before the head.

    Returns
    -------
    keras.Model
        From images (batch, height, width, 3) to logits (batch, num_classes).

    Raises
    ------
    ValueError
        For an unknown name or override, where the message lists those that exist, and for a value
        that can't be used.

    Examples
    --------
    >>> model = mixlib.create("mixer_tiny", num_classes=10)
    """
    if name not in PRESETS:
        raise ValueError(f"Unknown preset {name!r}. Expected one of: {', '.join(PRESETS)}.")
    preset = PRESETS[name]
    fields = {
        "num_blocks", "hidden_dim", "patch_size", "positional_encoding", "dropout_rate",
        "stochastic_depth_rate",
    }  # fmt: skip
    if preset.family.startswith("keras_"):
        fields.remove("stochastic_depth_rate")
    unknown = set(overrides) - fields - set(preset.block)
    if unknown:
        raise ValueError(
            f"{name} has no {', '.join(sorted(unknown))}. What can be overridden: "
            f"{', '.join(sorted(fields | set(preset.block)))}."
        )
    preset = dataclasses.replace(
        preset,
        num_classes=preset.num_classes if num_classes is None else num_classes,
        image_size=preset.image_size if image_size is None else image_size,
        block=preset.block | {key: overrides[key] for key in overrides if key in preset.block},
        **{key: value for key, value in overrides.items() if key in fields},
    )
    check_whole("num_blocks", preset.num_blocks, least=0)
    if preprocessing is None:
        preprocessing = preset.preprocessing
    if isinstance(preprocessing, Mapping):
        preprocessing = augment.preprocessing(**preprocessing)
    elif preprocessing and not isinstance(preprocessing, keras.layers.Layer):
        raise ValueError(
            "preprocessing must be a layer, a mapping with arguments of "
            f"mixlib.augment.preprocessing, or False for nothing; got {preprocessing!r}."
        )
    return _build(name, preset, preprocessing or None)


def _build(name, preset, preprocessing):
    shape = (None, *height_and_width(preset.image_size), 3)
    if preprocessing is not None:
        shape = preprocessing.compute_output_shape(shape)
    tokens = num_patches(shape[1:3], preset.patch_size)
    initializers = {}
    if preset.family.startswith("keras_"):
        initializers = {"stem_initializer": "glorot_uniform", "head_initializer": "glorot_uniform"}
    return build_classifier(
        _layers(preset, tokens),
        image_size=preset.image_size,
        num_classes=preset.num_classes,
        patch_size=preset.patch_size,
        embedding_dim=preset.hidden_dim,
        positional_encoding=preset.positional_encoding,
        preprocessing=preprocessing,
        dropout_rate=preset.dropout_rate,
        name=name,
        **initializers,
    )


def list_presets():
    """Tabulate the named models.

    Returns
    -------
    pandas.DataFrame
        One row per preset: family, sizes, trainable parameters, GFLOPs (1e9 operations of one
        forward pass, see `mixlib.costs.count_flops`), and source.
    """
    import pandas as pd  # here, since training needs no tables

    columns = ("family", "image_size", "patch_size", "hidden_dim", "num_blocks")
    rows = {}
    for name, preset in PRESETS.items():
        # In this scope weights have shapes but no values, so that large models cost no memory.
        with keras.StatelessScope(initialize_variables=False):
            model = create(name)
            rows[name] = {
                **{column: getattr(preset, column) for column in columns},
                "parameters": costs.count_parameters(model),
                "GFLOPs": costs.count_flops(model) / 1e9,
                "source": preset.source,
            }
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("preset")
