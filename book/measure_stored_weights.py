"""Measure the stored models again: on the images they were trained on, and with rounded weights.

    MIXLIB_DATA_DIR=/folder/with/the/archive python book/measure_stored_weights.py

Adds to ``metrics.json`` of runs that have weights what is missing there:

- ``train_loss``, ``train_top_1``, ``train_top_5``: `mixlib.run_experiment` measures them at the end
  of a training, and did not in older runs;
- ``rounded_weights``: from a number of bits to ``loss``, ``top_1`` and ``top_5`` of the test images
  with all matrices rounded by `mixlib.browser.quantize`.
"""

import json
import sys

import keras
from tqdm import tqdm

import mixlib
from mixlib.browser import quantize
from mixlib.training import measure, split

BITS = range(8, 1, -1)


def main(folder=None):
    """Add what is missing to the runs of a folder; the default are those that the book quotes."""
    for run in tqdm([run for run in mixlib.list_runs(folder) if run.has_weights]):
        missing = {"train_top_1", "rounded_weights"} - set(run.metrics)
        if not missing:
            continue
        metrics = dict(run.metrics)
        dataset = dataset_of(run)
        model = run.load_model()
        # Kernels may be stored in half precision.
        tested = measure(model, dataset.x_test, dataset.y_test)
        if abs(tested["top_1"] - metrics["test_top_1"]) > 0.002:
            sys.exit(f"{run.name}: its weights give {tested['top_1']:.2%} on the test images.")
        if "train_top_1" in missing:
            train, _ = split(dataset, mixlib.Recipe(**metrics["recipe"]), metrics["seed"])
            metrics |= {f"train_{key}": value for key, value in measure(model, *train).items()}
        if "rounded_weights" in missing:
            metrics["rounded_weights"] = {str(bits): rounded(model, dataset, bits) for bits in BITS}
        path = run.path / "metrics.json"
        unfinished = path.with_name("metrics.json.unfinished")
        unfinished.write_text(json.dumps(metrics, indent=2) + "\n")
        unfinished.replace(path)


def dataset_of(run):
    """The data that a run was trained on."""
    name, metrics = run.metrics["dataset"], run.metrics
    train_size = metrics["train_images"] + metrics["validation_images"]
    # Asking for a size reorders the images; without one they keep their own order.
    for sizes in ((train_size, metrics["test_images"]), (train_size,), ()):
        dataset = mixlib.data.load(name, *sizes)
        if dataset.checksum() == metrics["dataset_sha256"]:
            return dataset
    sys.exit(f"{run.name} was trained on other data than this {name}.")


def rounded(model, dataset, bits):
    """What a model measures on the test images with its matrices rounded."""
    weights = model.get_weights()
    round_matrices(model, bits)
    measured = measure(model, dataset.x_test, dataset.y_test)
    model.set_weights(weights)
    return measured


def round_matrices(model, bits=8):
    """Round all matrices of a model in place."""
    for weight in model.trainable_weights:
        if len(weight.shape) > 1:
            integers, scales = quantize(keras.ops.convert_to_numpy(weight), bits)
            weight.assign(integers * scales)


if __name__ == "__main__":
    main()
