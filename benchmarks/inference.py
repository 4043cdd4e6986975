"""Inference: latency of one image, throughput of a batch; Keras and ONNX Runtime.

Keras exports these models to ONNX from the PyTorch backend, for a fixed number of images. So
another process, with that backend, loads the weights and exports:
``python -m benchmarks.inference --export …``.
"""

import importlib.util
import os
import pathlib
import subprocess
import sys
import tempfile

import keras
import numpy as np

import mixlib
from benchmarks import measure
from benchmarks.training import MODELS

BATCHES = (1, 256)
FOR_ONNX = ("torch", "onnxscript", "onnxruntime")


def variants(name, batch, folder):
    """Ways from images to logits, each a function of the images, with the same weights."""
    model, jitted = mixlib.create(name), mixlib.create(name)
    jitted.set_weights(model.get_weights())
    jitted.compile(jit_compile=True)
    ways = {
        "model(images)": lambda images: keras.ops.convert_to_numpy(model(images)),
        "predict_on_batch": model.predict_on_batch,
        "predict_on_batch, XLA": jitted.predict_on_batch,
    }
    if all(map(importlib.util.find_spec, FOR_ONNX)):
        ways["ONNX Runtime"] = exported(model, batch, pathlib.Path(folder))
    else:
        print("No row for ONNX Runtime: it needs", ", ".join(FOR_ONNX))
    return ways


def exported(model, batch, folder):
    """The model in ONNX Runtime, a function of `batch` images."""
    import onnxruntime

    weights, path = folder / f"{model.name}.weights.h5", folder / f"{model.name}-{batch}.onnx"
    model.save_weights(weights)
    subprocess.run(
        [sys.executable, "-m", "benchmarks.inference", "--export"]
        + [model.name, str(weights), str(batch), str(path)],
        env={**os.environ, "KERAS_BACKEND": "torch"},
        check=True,
        capture_output=True,
    )
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {session.get_inputs()[0].name: images})[0]


def export(name, weights, batch, path):
    """Write a preset with these weights to an ONNX file."""
    model = mixlib.create(name)
    model.load_weights(weights)
    signature = [keras.InputSpec(shape=(int(batch), 32, 32, 3), dtype="float32")]
    model.export(path, format="onnx", input_signature=signature, verbose=False)


def main(arguments=None):
    """Measure every model, and write ``inference.json``."""
    parser = measure.arguments(__doc__, rounds=15)
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--export", nargs=4, metavar=("MODEL", "WEIGHTS", "BATCH", "FILE"))
    options = parser.parse_args(arguments)
    if options.export:
        return export(*options.export)
    random = np.random.default_rng(0)
    rows = []
    for name in options.models:
        for batch in BATCHES:
            images = random.integers(0, 256, (batch, 32, 32, 3)).astype("float32")
            with tempfile.TemporaryDirectory() as folder:
                calls = variants(name, batch, folder)
            answers = {variant: call(images) for variant, call in calls.items()}
            expected = answers["model(images)"]
            runs = {
                variant: measure.timed(lambda call=call, images=images: call(images))
                for variant, call in calls.items()
            }
            for variant, figures in measure.interleave(runs, options.rounds).items():
                apart = np.abs(answers[variant] - expected).max() / np.abs(expected).max()
                row = {
                    "model": name,
                    "batch": batch,
                    "variant": variant,
                    "difference": float(apart),
                }
                rows.append(row | figures | {"images_per_second": batch / figures["seconds"]})
    measure.write(options.out / "inference.json", rows, rounds=options.rounds)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
