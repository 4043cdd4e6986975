"""How far a training step is from what the machine could do, and where its time goes.

Needs the TensorFlow backend, whose profiler names the operations.
"""

import collections
import os
import pathlib
import tempfile
import time

import keras
import numpy as np
import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

from benchmarks import measure
from benchmarks.training import BATCH, MODELS, ours, steps
from mixlib import costs


def matrix_rate(rounds, size=2048):
    """Floating-point operations a second of a matrix product in float32."""
    a = keras.random.normal((size, size))
    seconds = _fastest(lambda: keras.ops.convert_to_numpy(keras.ops.matmul(a, a)[0, 0]), rounds)
    return 2 * size**3 / seconds


def copy_rate(rounds, megabytes=256):
    """Bytes read and written a second by a copy in memory that exists already."""
    source = np.ones(megabytes << 18, "float32")
    target = np.empty_like(source)
    return 2 * source.nbytes / _fastest(lambda: np.copyto(target, source), rounds)


def _fastest(run, rounds):
    run()
    return min(measure.timed(run)() for _ in range(rounds))


def activation_bytes(model, images):
    """Least traffic of a step: every layer's output is written and read, forwards and backwards.

    Counted on the layers that compute, at 4 bytes a number; weights are left out, since a batch
    reuses them.
    """
    sizes = []

    def record(layer, call):
        def recorded(*args, **kwargs):
            outputs = call(*args, **kwargs)
            if not list(layer._flatten_layers(include_self=False)):
                sizes.append(sum(int(np.prod(o.shape)) for o in keras.tree.flatten(outputs)))
            return outputs

        return recorded

    layers = [layer for layer in model._flatten_layers() if layer is not model]
    calls = [layer.call for layer in layers]
    for layer, call in zip(layers, calls, strict=True):
        layer.call = record(layer, call)
    try:
        model(images, training=True)
    finally:
        for layer, call in zip(layers, calls, strict=True):
            layer.call = call
    return 4 * 4 * sum(sizes)


def profile(run, *args):
    """Seconds of every kind of operation during a call, largest first, by TensorFlow's profiler."""
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            run(*args)
        space = xplane_pb2.XSpace()
        space.ParseFromString(next(pathlib.Path(folder).rglob("*.xplane.pb")).read_bytes())
    seconds = collections.Counter()
    for plane in space.planes:
        names = {key: value.name for key, value in plane.event_metadata.items()}
        for line in plane.lines:
            for event in line.events:
                # The executor's events are named "<node>:<operation>".
                node, _, operation = names[event.metadata_id].rpartition(":")
                if node and operation.isidentifier():
                    seconds[operation] += event.duration_ps * 1e-12
    return seconds.most_common()


def main(arguments=None):
    """Measure the machine and every model on it, and write ``limits.json``."""
    parser = measure.arguments(__doc__, rounds=5)
    options = parser.parse_args(arguments)
    limits = {
        "matrix_flops_per_second": matrix_rate(options.rounds),
        "copy_bytes_per_second": copy_rate(options.rounds),
    }
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH * 7, 32, 32, 3), dtype="uint8")
    labels = random.integers(0, 100, len(images))
    rows = []
    for name in MODELS:
        model = ours(name)
        run = steps(model, images, labels)
        run()
        seconds = float(np.median([run() for _ in range(options.rounds)]))
        flops = 3 * BATCH * costs.count_flops(model)  # backwards costs twice as much as forwards
        moved = activation_bytes(model, images[:BATCH])
        model.train_on_batch(images[:BATCH], labels[:BATCH])  # its first call compiles
        start = time.perf_counter()
        spent = profile(model.train_on_batch, images[:BATCH], labels[:BATCH])
        rows.append(
            {
                "model": name,
                "seconds": seconds,
                "flops": flops,
                "bytes": moved,
                "profiled_seconds": time.perf_counter() - start,
                "profile": spent[:10],
            }
        )
    measure.write(options.out / "limits.json", rows, batch=BATCH, **limits)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
