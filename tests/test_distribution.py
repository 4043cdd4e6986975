"""One training on many devices gives what it gives on one."""

import json
import os
import socket
import subprocess
import sys

import keras
import numpy as np
import pytest

import mixlib
from mixlib.distribution import Share, scope

on_jax = pytest.mark.skipif(keras.backend.backend() != "jax", reason="Keras distributes on JAX")

# Augmentation, mixing, dropout, stochastic depth, all that draws random numbers; and a teacher.
TRAIN = """
import json, os, sys
os.environ["KERAS_BACKEND"] = "jax"
os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={sys.argv[2]}"
import keras, mixlib
if len(sys.argv) > 3:
    keras.distribution.initialize(sys.argv[3], 2, int(sys.argv[4]))
keras.utils.set_random_seed(0)
model = mixlib.build_classifier(
    [mixlib.GMLPBlock(32, dropout_rate=0.2, stochastic_depth_rate=0.2)], patch_size=8,
    embedding_dim=16, preprocessing=mixlib.augment.preprocessing(image_size=None), name="small",
)
teacher = mixlib.build_classifier(mixlib.MixerBlock(8, 16), patch_size=8, embedding_dim=8)
recipe = mixlib.Recipe(
    "mixed", batch_size=64, schedule="cosine", learning_rate=0.01, ema=0.1, mixup=0.3, cutmix=0.3,
    distillation=0.5,
    augmentation={"shift": 0.125, "colour": 0.2}, validation_fraction=0.2,
)
experiment = mixlib.run_experiment(
    model, mixlib.data.load("shapes", 300, 100), recipe, epochs=2, verbose=0, teacher=teacher,
    distribute="data_parallel" if sys.argv[1] == "many" else None,
)
history = {key: value for key, value in experiment.history.items() if key != "seconds"}
print(json.dumps({"history": history, "metrics": experiment.metrics}))
"""


def start(*arguments):
    command = [sys.executable, "-c", TRAIN, *map(str, arguments)]
    environment = {key: value for key, value in os.environ.items() if key != "XLA_FLAGS"}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def result(process):
    output, _ = process.communicate(timeout=300)
    assert process.returncode == 0
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def alone():
    return result(start("one", 1))


def assert_same(one, other, devices):
    assert other["metrics"]["devices"] == devices
    for key, values in one["history"].items():
        np.testing.assert_allclose(values, other["history"][key], rtol=1e-4, atol=1e-5)
    for key in ("test_loss", "validation_loss", "test_top_1", "test_top_5"):
        np.testing.assert_allclose(one["metrics"][key], other["metrics"][key], rtol=1e-4)


@on_jax
def test_four_devices_train_as_one_does(alone):
    assert alone["metrics"]["devices"] == 1
    assert_same(alone, result(start("many", 4)), devices=4)


@on_jax
def test_two_processes_train_as_one_does(alone):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    processes = [start("many", 2, address, number) for number in range(2)]
    try:
        for process in processes:
            assert_same(alone, result(process), devices=4)
    finally:
        for process in processes:
            process.kill()


@on_jax
def test_the_model_itself_is_trained():
    """A copy is trained under the distribution; its weights come back, the statistics too."""
    keras.utils.set_random_seed(0)
    model = mixlib.create("mixer_tiny", num_blocks=1)
    dataset = mixlib.data.load("shapes", 100, 50)
    before = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    experiment = mixlib.run_experiment(
        model, dataset, "baseline", epochs=1, verbose=0, distribute="data_parallel"
    )
    assert experiment.model is model
    after = [keras.ops.convert_to_numpy(weight) for weight in model.trainable_weights]
    assert any((one != other).any() for one, other in zip(before, after, strict=True))
    logits = model.predict(dataset.x_test, verbose=0)
    assert experiment.metrics["test_top_1"] == np.mean(logits.argmax(1) == dataset.y_test)


def test_a_process_feeds_its_part_of_a_batch():
    rows = np.arange(12)
    parts = [Share(devices=4, processes=2, process=number).rows(rows) for number in range(2)]
    assert [list(part) for part in parts] == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert list(Share().rows(rows)) == list(rows)


def test_without_a_distribution_there_is_one_device():
    with scope(None) as share:
        assert share == Share(1, 1, 0)


def test_an_unknown_distribution():
    with pytest.raises(ValueError, match="None or \"data_parallel\"; got 'model'"), scope("model"):
        pass


@pytest.mark.skipif(keras.backend.backend() == "jax", reason="JAX can")
def test_a_backend_that_can_not():
    with pytest.raises(ValueError, match="KERAS_BACKEND=jax"), scope("data_parallel"):
        pass


def test_batches_that_can_not_be_shared():
    images, labels = np.zeros((50, 4, 4, 3)), np.zeros(50)
    with pytest.raises(ValueError, match="4 devices can't share batches of 10 images"):
        mixlib.training._Batches(images, labels, 10, Share(devices=4))
    with pytest.raises(ValueError, match="4 devices can't share 50 validation images"):
        mixlib.training._even_batch_size(50, 16, devices=4)
    batches = mixlib.training._Batches(images, labels, 16, Share(devices=4))
    assert [len(batches[index][1]) for index in range(len(batches))] == [16, 16, 16]
