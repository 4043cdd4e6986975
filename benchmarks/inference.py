"""Answers of trained models: latency of one image, throughput of a batch, eager and compiled."""

import os

import keras
import numpy as np

import mixlib
from benchmarks import measure
from benchmarks.training import MODELS

BATCHES = (1, 256)


def variants(name):
    """Ways from images to logits, each a function of the images."""
    model, jitted = mixlib.create(name), mixlib.create(name)
    jitted.compile(jit_compile=True)
    return {
        "model(images)": lambda images: keras.ops.convert_to_numpy(model(images)),
        "predict_on_batch": model.predict_on_batch,
        "predict_on_batch, XLA": jitted.predict_on_batch,
    }


def main(arguments=None):
    """Measure every model, and write ``inference.json``."""
    options = measure.arguments(__doc__, rounds=15).parse_args(arguments)
    random = np.random.default_rng(0)
    rows = []
    for name in MODELS:
        calls = variants(name)
        for batch in BATCHES:
            images = random.integers(0, 256, (batch, 32, 32, 3)).astype("float32")
            runs = {
                variant: measure.timed(lambda call=call, images=images: call(images))
                for variant, call in calls.items()
            }
            for variant, figures in measure.interleave(runs, options.rounds).items():
                row = {"model": name, "batch": batch, "variant": variant}
                rows.append(row | figures | {"images_per_second": batch / figures["seconds"]})
    measure.write(options.out / "inference.json", rows, rounds=options.rounds)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
