"""What an epoch takes on a GPU, and what its kernels do: the book's trainings, on made-up images.

On JAX. To compile several models at once, start a process for each of them with the same --out:
they measure in turns.
"""

import collections
import contextlib
import fcntl
import os
import pathlib
import statistics
import tempfile
from unittest import mock

import keras
import numpy as np

import mixlib
from benchmarks import measure

MODELS = {
    "keras_mixer": ("keras_example", "float32"),
    "keras_fnet": ("keras_example", "float32"),
    "keras_gmlp": ("keras_example", "float32"),
    "mixer": ("strong", "mixed_bfloat16"),
    "fnet": ("strong", "mixed_bfloat16"),
    "gmlp": ("strong", "mixed_bfloat16"),
}
STEPS_A_CALL = (1, 16)


class Turn(keras.callbacks.Callback):
    """Holds a lock from the second epoch on, so that one process trains while others compile.

    Takes a profile of some steps of one epoch more than are measured, which is the last.
    """

    def __init__(self, lock, measured, profile=None, steps=STEPS_A_CALL[-1]):
        super().__init__()
        self.lock, self.measured, self.profile, self.steps = lock, measured, profile, steps
        self.started = self.stopped = None

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            fcntl.flock(self.lock, fcntl.LOCK_EX)
        self.last = epoch == self.measured + 1

    def on_train_batch_begin(self, batch, logs=None):
        if self.profile and self.last and self.started is None and batch >= self.steps:
            import jax

            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = options.host_tracer_level = 0
            jax.profiler.start_trace(self.profile, profiler_options=options)
            self.started = batch

    def on_train_batch_end(self, batch, logs=None):
        if self.started is not None and self.stopped is None:
            float(logs["loss"])  # waits for the device
            if batch >= self.started + self.steps - 1:
                import jax

                jax.profiler.stop_trace()
                self.stopped = batch + 1

    def on_epoch_end(self, epoch, logs=None):
        if epoch >= self.measured + bool(self.profile):
            self.model.stop_training = True

    def on_train_end(self, logs=None):
        fcntl.flock(self.lock, fcntl.LOCK_UN)


def kernels(folder):
    """What ran on the devices while a profile was taken.

    Returns
    -------
    list of dict
        ``kernel``, its name; ``operation``, the layers and the operation that it comes from;
        ``calls`` and ``seconds``, of all together. The longest come first.
    """
    import jax

    calls, seconds = collections.Counter(), collections.Counter()
    for path in pathlib.Path(folder).glob("**/*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            if "GPU" not in plane.name:
                continue
            for line in plane.lines:
                if not line.name.startswith("Stream"):
                    continue
                for event in line.events:
                    about = dict(event.stats)
                    operation = about.get("tf_op") or about.get("name") or about.get("hlo_op", "")
                    calls[event.name, str(operation)] += 1
                    seconds[event.name, str(operation)] += event.duration_ns / 1e9
    return [
        {"kernel": kernel, "operation": operation, "calls": calls[kernel, operation]}
        | {"seconds": spent}
        for (kernel, operation), spent in seconds.most_common()
    ]


def made_up(images):
    """As many training images as that, of noise, and 500 test images."""
    random = np.random.default_rng(0)

    def part(size):
        return random.integers(0, 256, (size, 32, 32, 3), "uint8"), np.arange(size) % 100

    return mixlib.data.Dataset("noise", *part(images), *part(500), tuple(map(str, range(100))))


def train(name, images, epochs, steps_a_call, lock, profile=None):
    """A training of a model by its recipe, ended after its first epoch and `epochs` more."""
    recipe, precision = MODELS[name]
    keras.config.set_dtype_policy(precision)
    model = mixlib.create(name, num_classes=100, image_size=(32, 32))
    turn = Turn(lock, epochs, profile)
    with mock.patch("mixlib.training._steps_a_call", lambda: steps_a_call):
        done = mixlib.run_experiment(model, images, recipe, callbacks=[turn], verbose=2)
    return done, turn


def main(arguments=None):
    """Measure, and write ``gpu-<model>.json`` for every model."""
    parser = measure.arguments(__doc__, rounds=3)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--images", type=int, default=50_000, help="training images")
    options = parser.parse_args(arguments)
    if keras.backend.backend() != "jax":
        parser.error("Set KERAS_BACKEND=jax: the profile is one of JAX.")
    images = made_up(options.images)
    options.out.mkdir(parents=True, exist_ok=True)
    for name in options.models:
        rows = []
        with contextlib.ExitStack() as stack:
            lock = stack.enter_context(open(options.out / "gpu.lock", "w"))
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            for steps in STEPS_A_CALL:
                last = folder if steps == STEPS_A_CALL[-1] else None
                done, turn = train(name, images, options.rounds, steps, lock, last)
                metrics = done.metrics
                seconds = done.history["seconds"]
                low, median, high = statistics.quantiles(
                    seconds[1 : options.rounds + 1], n=4, method="inclusive"
                )
                rows.append(
                    {"model": name, "steps_a_call": steps, "seconds": median}
                    | {"seconds_low": low, "seconds_high": high, "first_epoch": seconds[0]}
                    | {"batch_size": metrics["recipe"]["batch_size"]}
                    | {key: metrics[key] for key in ("recipe", "precision", "flops", "parameters")}
                    | {"train_images": metrics["train_images"]}
                    | {"validation_images": metrics["validation_images"]}
                    | {"recipe": metrics["recipe"]["name"]}
                )
            profiled = {"steps": turn.stopped - turn.started, "kernels": kernels(folder)}
        measure.write(options.out / f"gpu-{name}.json", rows, profile=profiled)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
