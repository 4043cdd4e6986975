"""The three blocks, as their papers have them: MLP-Mixer, FNet and gMLP."""

from mixlib.blocks.dropout import ByteDropout
from mixlib.blocks.fnet import FNetBlock, FourierTransform
from mixlib.blocks.fused import GELU, LayerNorm
from mixlib.blocks.gmlp import GMLPBlock, SpatialGatingUnit
from mixlib.blocks.mixer import MixerBlock
from mixlib.blocks.mlp import MLP

__all__ = [
    "GELU",
    "MLP",
    "ByteDropout",
    "FNetBlock",
    "FourierTransform",
    "GMLPBlock",
    "LayerNorm",
    "MixerBlock",
    "SpatialGatingUnit",
]
