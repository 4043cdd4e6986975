"""What an epoch takes on a GPU, and what its kernels do. The images are synthetic."""

import collections
import os
import pathlib
import re
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
STEPS_A_CALL = (1, 8)
PROFILED = 16  # steps

# What XLA calls its kernels. The first that fits counts; the rest works value by value.
KINDS = {
    "matrix products": r"gemm|nvjet|cutlass|cublas",
    "Fourier transforms": r"fft",
    "copies": r"(?i)memcpy|memset",
    "transposes": r"transpose",
    "sums": r"reduce",
}


class Profile(keras.callbacks.Callback):
    """Lets the first epoch and `epochs` more pass, profiles another, and ends the training."""

    def __init__(self, epochs, steps_a_call, folder):
        super().__init__()
        self.epochs, self.folder = epochs, folder
        self.calls = PROFILED // steps_a_call

    def on_epoch_begin(self, epoch, logs=None):
        self.last = epoch == self.epochs + 1

    def on_train_batch_begin(self, batch, logs=None):
        if self.last and batch == self.calls:  # the first calls fill the queue
            import jax

            options = jax.profiler.ProfileOptions()
            options.python_tracer_level = options.host_tracer_level = 0
            jax.profiler.start_trace(self.folder, profiler_options=options)

    def on_train_batch_end(self, batch, logs=None):
        if self.last and batch == 2 * self.calls - 1:
            import jax

            float(logs["loss"])  # waits for the device
            jax.profiler.stop_trace()

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = self.last


def kind(kernel):
    """What a kernel mostly does, by its name."""
    return next((kind for kind, names in KINDS.items() if re.search(names, kernel)), "the rest")


def kernel_seconds(folder):
    """Seconds that kernels of each kind ran while a profile was taken, the longest first."""
    import jax

    seconds = collections.Counter()
    for path in pathlib.Path(folder).glob("**/*.xplane.pb"):
        for plane in jax.profiler.ProfileData.from_file(str(path)).planes:
            if "GPU" not in plane.name:
                continue
            for line in plane.lines:
                if line.name.startswith("Stream"):
                    for event in line.events:
                        seconds[kind(event.name)] += event.duration_ns / 1e9
    return dict(seconds.most_common())


def made_up(images):
    """As many training images as that, of noise, and 500 test images."""
    random = np.random.default_rng(0)

    def part(size):
        return random.integers(0, 256, (size, 32, 32, 3), "uint8"), np.arange(size) % 100

    return mixlib.data.Dataset("noise", *part(images), *part(500), tuple(map(str, range(100))))


def train(name, images, epochs, steps_a_call):
    """A row of figures of a training that measures `epochs` epochs, and kernel seconds per step."""
    recipe, precision = MODELS[name]
    keras.config.set_dtype_policy(precision)
    model = mixlib.create(name, num_classes=100, image_size=(32, 32))
    with (
        tempfile.TemporaryDirectory() as folder,
        mock.patch("mixlib.training._steps_a_call", lambda devices: steps_a_call),
    ):
        callbacks = [Profile(epochs, steps_a_call, folder)]
        done = mixlib.run_experiment(model, images, recipe, callbacks=callbacks, verbose=2)
        kernels = kernel_seconds(folder)
    first, *seconds = done.history["seconds"][: epochs + 1]
    kept = ("precision", "flops", "parameters", "train_images", "validation_images")
    row = {
        "model": name,
        "recipe": done.metrics["recipe"]["name"],
        "batch_size": done.metrics["recipe"]["batch_size"],
        "way": "Keras" if steps_a_call == 1 else "mixlib",
        "steps_a_call": steps_a_call,
        "first_epoch": first,
        **measure.quartiles("seconds", seconds),
        **{key: done.metrics[key] for key in kept},
    }
    return row, {kind: spent / PROFILED for kind, spent in kernels.items()}


def main(arguments=None):
    """Measure, and write ``gpu.json``."""
    parser = measure.arguments(__doc__, rounds=5)
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--images", type=int, default=50_000, help="for training")
    options = parser.parse_args(arguments)
    if keras.backend.backend() != "jax":
        parser.error("The profile is one of JAX: set KERAS_BACKEND=jax.")
    images = made_up(options.images)
    rows, kernels = [], {}
    for name in options.models:
        for steps in STEPS_A_CALL:
            row, kernels[name] = train(name, images, options.rounds, steps)
            rows.append(row)
    measure.write(options.out / "gpu.json", rows, kernels=kernels)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    main()
