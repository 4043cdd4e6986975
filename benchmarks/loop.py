"""What Keras' loop takes around a step: a model that computes next to nothing, on JAX."""

import os

import keras
import numpy as np

import mixlib
from benchmarks import measure, training

# Several steps a call are a loop of Keras' around programs, or one program of ours.
WAYS = (("Keras", 1), ("Keras", 8), ("mixlib", 4), ("mixlib", 8), ("mixlib", 32))
RECIPE = mixlib.Recipe("small", batch_size=2)


def small(name, way, steps_a_call):
    """The preset with all of its weights, few values in each, and two patches a side."""
    sizes = {"image_size": 8, "patch_size": 4, "hidden_dim": 8}
    model = training.ours(name, preprocessing={"image_size": None}, **sizes)
    if way == "Keras":
        return training.compiled(model, steps_per_execution=steps_a_call)
    trainee = mixlib.training.AugmentedTraining(model, RECIPE, steps_a_call)
    mixlib.training.compile_model(trainee, RECIPE)
    return trainee


def epoch(name, way, steps_a_call, images, labels):
    """A function that trains for an epoch and returns the seconds of a step."""
    options = {"labels_too": True, "steps_a_call": steps_a_call} if way == "mixlib" else {}
    share = mixlib.distribution.Share()
    batches = mixlib.training._Batches(images, labels, RECIPE.batch_size, share, **options)
    model = small(name, way, steps_a_call)
    timer = measure.timed(lambda: model.fit(batches, shuffle=False, verbose=2))
    return lambda: timer() / batches.steps


def main(arguments=None):
    """Measure, and write ``loop-jax.json``."""
    parser = measure.arguments(__doc__, rounds=7)
    parser.add_argument("--models", nargs="+", default=training.MODELS)
    parser.add_argument("--steps", type=int, default=512, help="of an epoch")
    options = parser.parse_args(arguments)
    if keras.backend.backend() != "jax":
        parser.error("Several steps are one program on JAX only: set KERAS_BACKEND=jax.")
    random = np.random.default_rng(0)
    images = random.integers(0, 256, (RECIPE.batch_size * options.steps, 8, 8, 3), dtype="uint8")
    labels = random.integers(0, 100, len(images))
    rows = []
    for name in options.models:
        timers = {way: epoch(name, *way, images, labels) for way in WAYS}
        for (way, steps), figures in measure.interleave(timers, options.rounds).items():
            rows.append({"model": name, "way": way, "steps_a_call": steps} | figures)
        keras.backend.clear_session()
    measure.write(options.out / "loop-jax.json", rows, steps=options.steps, rounds=options.rounds)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
