"""Measure the stored models of older runs on the images that they were trained on.

    MIXLIB_DATA_DIR=/folder/with/the/archive python book/measure_training_images.py

`mixlib.run_experiment` does so at the end of a training. Runs from before it did get the same keys
here, ``train_loss``, ``train_top_1`` and ``train_top_5``, where their weights are stored.
"""

import json
import sys

from tqdm import tqdm

import mixlib
from mixlib.training import measure, split


def main(folder=None):
    """Add what is missing to the runs of a folder; the default are those that the book quotes."""
    runs = [run for run in mixlib.list_runs(folder) if run.has_weights]
    for run in tqdm([run for run in runs if "train_top_1" not in run.metrics]):
        metrics = dict(run.metrics)
        size = metrics["train_images"] + metrics["validation_images"]
        dataset = mixlib.data.load(metrics["dataset"], size, metrics["test_images"])
        if dataset.checksum() != metrics["dataset_sha256"]:
            dataset = mixlib.data.load(metrics["dataset"])  # all of it, in its own order
        if dataset.checksum() != metrics["dataset_sha256"]:
            sys.exit(f"{run.name} was trained on other data than this {metrics['dataset']}.")
        train, _ = split(dataset, mixlib.Recipe(**metrics["recipe"]), metrics["seed"])
        model = run.load_model()
        # Kernels may be stored in half precision.
        tested = measure(model, dataset.x_test, dataset.y_test)
        if abs(tested["top_1"] - metrics["test_top_1"]) > 0.002:
            sys.exit(f"{run.name}: its weights give {tested['top_1']:.2%} on the test images.")
        metrics |= {f"train_{key}": value for key, value in measure(model, *train).items()}
        path = run.path / "metrics.json"
        unfinished = path.with_name("metrics.json.unfinished")
        unfinished.write_text(json.dumps(metrics, indent=2) + "\n")
        unfinished.replace(path)


if __name__ == "__main__":
    main()
