"""mixlib: image classifiers without attention, as Keras layers and models."""

import importlib

from mixlib import (
    augment,
    blocks,
    browser,
    checkpoint,
    convert,
    costs,
    data,
    distribution,
    keras_example,
    profiles,
    recipes,
    runs,
    training,
)
from mixlib.blocks import (
    FNetBlock,
    FourierTransform,
    GMLPBlock,
    MixerBlock,
    SpatialGatingUnit,
)
from mixlib.classifier import build_classifier
from mixlib.patches import Patches, unpatchify
from mixlib.positions import PositionEmbedding
from mixlib.presets import create, list_presets
from mixlib.recipes import Recipe
from mixlib.runs import list_runs, load_run, save_run
from mixlib.training import run_experiment

__all__ = [
    "FNetBlock",
    "FourierTransform",
    "GMLPBlock",
    "MixerBlock",
    "Patches",
    "PositionEmbedding",
    "Recipe",
    "SpatialGatingUnit",
    "augment",
    "blocks",
    "browser",
    "build_classifier",
    "checkpoint",
    "convert",
    "costs",
    "create",
    "data",
    "distribution",
    "keras_example",
    "list_presets",
    "list_runs",
    "load_run",
    "plots",
    "profiles",
    "recipes",
    "run_experiment",
    "runs",
    "save_run",
    "training",
    "unpatchify",
]


def __dir__():
    return __all__


def __getattr__(name):
    """Import `plots` when it is first used: training needs no Matplotlib."""
    if name == "plots":
        return importlib.import_module("mixlib.plots")
    raise AttributeError(f"module 'mixlib' has no attribute {name!r}")
