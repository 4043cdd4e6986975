"""Logits of the small models with weights that anyone can draw again, on one backend.

`python tests/oracles/make_logits.py` writes golden/logits.npz; tests/test_backends.py asks every
backend for the same numbers. The committed file was made with TensorFlow on a CPU.
"""

import pathlib

import keras
import numpy as np

import mixlib

FILE = pathlib.Path(__file__).parent / "golden" / "logits.npz"
MODELS = ("keras_mixer", "keras_fnet", "keras_gmlp", "mixer_tiny", "fnet_tiny", "gmlp_tiny")


def logits(name):
    """Logits of two drawn images, float32 of shape (2, 100)."""
    model = mixlib.create(name)
    random = np.random.RandomState(0)
    for weight in model.trainable_weights:
        values = random.standard_normal(weight.shape)
        if weight.path.endswith("kernel"):
            values /= np.sqrt(np.prod(weight.shape[:-1]))
        elif weight.path.endswith("gamma"):
            values = 1 + 0.1 * values
        else:
            values *= 0.1
        weight.assign(values.astype("float32"))
    images, _ = mixlib.data.draw_shapes(2)
    return keras.ops.convert_to_numpy(model(images.astype("float32")))


if __name__ == "__main__":
    np.savez_compressed(FILE, **{name: logits(name) for name in MODELS})
