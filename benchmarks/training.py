"""Training steps of the published models: stock Keras layers beside mixlib, on one backend."""

import os
import time
import types

import keras
import numpy as np

import mixlib
from benchmarks import measure, stock
from mixlib import augment, blocks, training

BATCH = 128
MODELS = ("keras_mixer", "keras_fnet", "keras_gmlp")


class StepClock(keras.callbacks.Callback):
    """Seconds of a step, the first call of a `fit` left out, which prepares the data as well."""

    def on_train_begin(self, logs=None):
        self.ends = []

    def on_train_batch_end(self, batch, logs=None):
        float(logs["loss"])  # waits for a backend that computes in the background
        self.ends.append((batch, time.perf_counter()))

    def seconds(self):
        (first, start), *_, (last, end) = self.ends
        return (end - start) / (last - first)


def published(name):
    """The example's pipeline, compiled as Keras does unless told otherwise."""
    model = stock.classifier(name)
    training.compile_model(model)
    return compiled(model, jit_compile="auto")


def ours(name, **options):
    """The preset, compiled as `run_experiment` does."""
    model = mixlib.create(name, **options)
    training.compile_model(model)
    return model


def compiled(model, **options):
    """The same compiled model with other options of `compile`."""
    metrics = [
        keras.metrics.SparseCategoricalAccuracy(name="top_1"),
        keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5"),
    ]
    optimizer = keras.optimizers.AdamW.from_config(model.optimizer.get_config())
    options = {"jit_compile": model.jit_compile} | options
    model.compile(optimizer, model.loss, metrics=metrics, **options)
    return model


def in_bfloat16(name):
    """The preset that computes in bfloat16 and keeps its weights in float32."""
    policy = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        return ours(name)
    finally:
        keras.config.set_dtype_policy(policy)


def stock_augmentation(name):
    """The preset behind Keras' own resizing, flip and zoom."""
    size = stock.SIDE
    before = keras.Sequential(
        [
            augment.normalization(),
            keras.layers.Resizing(size, size),
            keras.layers.RandomFlip("horizontal"),
            keras.layers.RandomZoom(0.2, 0.2),
        ]
    )
    return ours(name, preprocessing=before)


def stock_dropout(name):
    """The preset with Keras' own dropout."""
    model = ours(name)
    for layer in model._flatten_layers():
        if isinstance(layer, blocks.ByteDropout):
            layer.call = types.MethodType(keras.layers.Dropout.call, layer)
    return model


def stock_norm_and_gelu(name):
    """The preset with Keras' own layer normalisation and GELU."""
    model = ours(name)
    norm = keras.layers.LayerNormalization.call
    for layer in model._flatten_layers():
        if isinstance(layer, blocks.LayerNorm):
            layer.call = lambda x, training=None, layer=layer: norm(layer, x)
        if isinstance(layer, blocks.GELU):
            layer.call = lambda x, training=None: keras.ops.gelu(x, approximate=False)
    return model


def variants(name):
    """What is measured of a preset: the yardstick, mixlib, and what was tried around it."""
    tried = {
        "the published pipeline": lambda: published(name),
        "mixlib": lambda: ours(name),
        "mixlib, stock augmentation": lambda: stock_augmentation(name),
        "mixlib, stock dropout": lambda: stock_dropout(name),
        "mixlib, stock norm and GELU": lambda: stock_norm_and_gelu(name),
        "mixlib, no dropout": lambda: ours(name, dropout_rate=0.0),
        "mixlib, bfloat16": lambda: in_bfloat16(name),
        "mixlib, three steps a call": lambda: compiled(ours(name), steps_per_execution=3),
    }
    if keras.backend.backend() == "tensorflow":
        tried["mixlib, compiled by XLA"] = lambda: compiled(ours(name), jit_compile=True)
    return tried


def steps(model, images, labels):
    """A function that trains on the images once, and returns the seconds of a step."""

    def run():
        clock = StepClock()
        model.fit(images, labels, BATCH, callbacks=[clock], verbose=0)
        return clock.seconds()

    return run


def main(arguments=None):
    """Measure every model, and write ``training-<backend>.json``."""
    parser = measure.arguments(__doc__, rounds=5)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--steps", type=int, default=6, help="counted a round, by threes")
    options = parser.parse_args(arguments)
    random = np.random.default_rng(0)
    # Three more: the first call of a variant that takes three steps a call.
    images = random.integers(0, 256, (BATCH * (options.steps + 3), 32, 32, 3), dtype="uint8")
    labels = random.integers(0, 100, len(images))
    rows = []
    for name in options.models:
        made = {variant: make() for variant, make in variants(name).items()}
        timers = {variant: steps(model, images, labels) for variant, model in made.items()}
        for variant, figures in measure.interleave(timers, options.rounds).items():
            row = {"model": name, "variant": variant}
            rows.append(row | figures | {"images_per_second": BATCH / figures["seconds"]})
        keras.backend.clear_session()
    path = options.out / f"training-{keras.backend.backend()}.json"
    batches = len(images) // BATCH
    measure.write(path, rows, batch=BATCH, batches=batches, rounds=options.rounds)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
