"""What Keras' loop takes around a step: a model that computes next to nothing, on one backend."""

import os

import keras
import numpy as np

import mixlib
from benchmarks import measure, training

STEPS_A_CALL = (1, 4, 16, 64)
BATCH = 2


def small(name, **options):
    """The preset with all of its weights, few values in each, and two patches a side."""
    sizes = {"image_size": 8, "patch_size": 4, "hidden_dim": 8}
    model = training.ours(name, preprocessing={"image_size": None}, **sizes)
    return training.compiled(model, **options)


def epoch(model, batches):
    """A function that trains for an epoch and returns the seconds of a step."""
    timer = measure.timed(lambda: model.fit(batches, shuffle=False, verbose=2))
    return lambda: timer() / len(batches)


def main(arguments=None):
    """Measure, and write ``loop-<backend>.json``."""
    parser = measure.arguments(__doc__, rounds=7)
    parser.add_argument("--models", nargs="+", default=training.MODELS)
    parser.add_argument("--steps", type=int, default=512, help="of an epoch")
    options = parser.parse_args(arguments)
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (BATCH * options.steps, 8, 8, 3), dtype="uint8")
    labels = random.integers(0, 100, len(images))
    batches = mixlib.training._Batches(images, labels, BATCH, mixlib.distribution.Share())
    rows = []
    for name in options.models:
        timers = {
            count: epoch(small(name, steps_per_execution=count), batches) for count in STEPS_A_CALL
        }
        for count, figures in measure.interleave(timers, options.rounds).items():
            rows.append({"model": name, "steps_a_call": count} | figures)
        keras.backend.clear_session()
    path = options.out / f"loop-{keras.backend.backend()}.json"
    measure.write(path, rows, steps=options.steps, rounds=options.rounds)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
