"""Checkpoints: a training that was killed ends as one that was not."""

import contextlib
import io
import json
import signal
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest

import mixlib
from mixlib import checkpoint, data

# Dropout, augmentation, a learning rate that falls, best weights that are older than the last.
TRAIN = """
import json, os, signal, sys
import keras, numpy as np
import mixlib
from mixlib import checkpoint, data

checkpoint.Checkpoint.share = float("inf")
killed, folder = int(sys.argv[1]), sys.argv[2]

class Kill(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        if batch == 1 and self.params["epochs"] - self.left == killed:
            os.kill(os.getpid(), signal.SIGKILL)
    def on_epoch_begin(self, epoch, logs=None):
        self.left = self.params["epochs"] - epoch

keras.utils.set_random_seed(0)
model = mixlib.build_classifier(
    [mixlib.GMLPBlock(32, dropout_rate=0.2)], patch_size=8, embedding_dim=16, dropout_rate=0.2,
    preprocessing=mixlib.augment.preprocessing(image_size=None), name="small",
)
recipe = mixlib.Recipe("restless", learning_rate=0.05, batch_size=64, reduce_patience=1)
experiment = mixlib.run_experiment(
    model, data.load("shapes", 300, 100), recipe, epochs=8, seed=3, verbose=0,
    callbacks=[Kill()], checkpoint=f"{folder}/checkpoint.npz",
)
mixlib.save_run(experiment, folder, weights=True)
np.savez(f"{folder}/logits.npz", model.predict(data.load("shapes", 300, 100).x_test, verbose=0))
"""


def train(killed, folder):
    return subprocess.run([sys.executable, "-c", TRAIN, str(killed), str(folder)]).returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    assert train(-1, folder) == 0
    return mixlib.load_run(folder)


def test_the_training_to_be_killed_is_not_an_easy_one(whole):
    history = whole.history
    assert min(history["learning_rate"]) < max(history["learning_rate"])
    assert whole.metrics["best_epoch"] < len(history["loss"]) == 8


def test_a_killed_training_ends_as_one_that_was_not(whole, tmp_path):
    folder = tmp_path / "run"
    for epoch in (0, 3, 7):
        assert train(epoch, folder) == -signal.SIGKILL
        assert checkpoint.epochs_done(folder / "checkpoint.npz") == epoch
        assert mixlib.list_runs(tmp_path) == []
    assert train(-1, folder) == 0
    run = mixlib.load_run(folder)
    times = {"seconds", "seconds_per_epoch", "date", "commit"}  # of the day and the hour
    run.metrics.pop("resumed", None)  # the same, where the day or the commit changed meanwhile
    for one, other in ((whole.history, run.history), (whole.metrics, run.metrics)):
        assert one.keys() == other.keys()
        for key in one.keys() - times:
            same = one[key] == other[key]
            if keras.backend.backend() != "tensorflow" and isinstance(one[key], (float, list)):
                same = np.allclose(one[key], other[key], rtol=1e-4)
            assert same, key
    logits = [np.load(path / "logits.npz")["arr_0"] for path in (whole.path, folder)]
    np.testing.assert_allclose(*logits, rtol=1e-4, atol=1e-5)


@pytest.fixture
def experiment(tmp_path, monkeypatch):
    """A function that trains a little, and leaves a checkpoint after all epochs but the last."""
    monkeypatch.setattr(checkpoint.Checkpoint, "share", float("inf"))
    dataset = data.load("shapes", 300, 100)

    def run(seed=0, epochs=3, dropout_rate=0.0, **options):
        keras.utils.set_random_seed(0)
        model = mixlib.build_classifier(
            [], embedding_dim=8, dropout_rate=dropout_rate, name="small"
        )
        path = tmp_path / "runs" / "checkpoint.npz"
        recipe = mixlib.Recipe("short", batch_size=128, **options)
        return mixlib.run_experiment(
            model, dataset, recipe, epochs=epochs, seed=seed, checkpoint=path, verbose=0
        )

    return run


def test_begins_again_from_the_first_weights(tmp_path):
    """A cell that was interrupted in its first epoch is run again, with a model that has moved."""

    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if batch == 1:
                raise KeyboardInterrupt

    def small():
        keras.utils.set_random_seed(0)
        return mixlib.build_classifier([], patch_size=8, embedding_dim=8, name="small")

    def run(model, path=None, **options):
        recipe = mixlib.Recipe("short", batch_size=32, augmentation={"shift": 0.1})
        images = data.load("shapes", 200, 50)
        options |= {"verbose": 0, "checkpoint": path}
        return mixlib.run_experiment(model, images, recipe, epochs=2, seed=1, **options)

    model, path = small(), tmp_path / "checkpoint.npz"
    with pytest.raises(KeyboardInterrupt):
        run(model, path, callbacks=[Interrupt()])
    assert checkpoint.epochs_done(path) == 0
    again, whole = run(model, path, callbacks=None), run(small())
    np.testing.assert_allclose(again.history["loss"], whole.history["loss"], rtol=1e-6)
    assert again.metrics["test_loss"] == pytest.approx(whole.metrics["test_loss"], rel=1e-6)


def test_the_last_epoch_is_not_stored(experiment, tmp_path):
    experiment()
    assert checkpoint.epochs_done(tmp_path / "runs" / "checkpoint.npz") == 2
    assert [path.name for path in (tmp_path / "runs").iterdir()] == ["checkpoint.npz"]
    assert checkpoint.epochs_done(tmp_path / "none.npz") == 0


def test_writing_takes_a_share_of_the_time(experiment, tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint.Checkpoint, "share", 1e-9)
    experiment(epochs=5)
    assert checkpoint.epochs_done(tmp_path / "runs" / "checkpoint.npz") == 1


@pytest.mark.parametrize(
    "change, said",
    [
        ({"seed": 1}, r"seed \(0 there, 1 here\)"),
        ({"learning_rate": 0.1}, "recipe"),
        ({"epochs": 4}, "recipe"),
        ({"dropout_rate": 0.1}, "model_sha256"),
    ],
)
def test_the_checkpoint_of_another_training_is_refused(experiment, tmp_path, change, said):
    experiment()
    path = tmp_path / "runs" / "checkpoint.npz"
    before = path.read_bytes()
    with pytest.raises(ValueError, match=f"of another training: it differs in {said}.*Remove it"):
        experiment(**change)
    assert path.read_bytes() == before


def test_the_checkpoint_of_other_code_is_refused(experiment, monkeypatch):
    experiment()
    monkeypatch.setattr(mixlib.runs, "source_checksum", lambda: "other")
    with pytest.raises(ValueError, match=r"differs in mixlib_sha256 \(.* there, 'other' here\)"):
        experiment()


def test_a_training_that_moves_names_all_its_devices(experiment, tmp_path, monkeypatch):
    first = experiment().circumstances
    assert experiment().circumstances == first  # resumed where it was
    monkeypatch.setattr(mixlib.runs, "circumstances", lambda: first | {"device": "another"})
    run = mixlib.save_run(experiment(), tmp_path / "moved")
    assert run.metrics.items() >= first.items()
    assert run.metrics["resumed"] == [{"epoch": 3, "device": "another"}]
    assert run.devices == [first["device"], "another"]
    assert mixlib.runs.tabulate([run])["device"].item() == f"{first['device']}, then another"


def stored_by_numpy(save, *values):
    file = io.BytesIO()
    save(file, *values)
    return file.getvalue()


@pytest.mark.parametrize(
    "damage",
    [
        b"",
        b"not a checkpoint",
        None,
        stored_by_numpy(np.save, np.zeros(3)),
        stored_by_numpy(lambda file: np.savez(file, note="{}")),
        stored_by_numpy(lambda file: np.savez(file, note="[1]")),
    ],
)
def test_a_damaged_checkpoint_says_what_to_do(experiment, tmp_path, damage):
    experiment()
    path = tmp_path / "runs" / "checkpoint.npz"
    path.write_bytes(path.read_bytes()[:1000] if damage is None else damage)
    with pytest.raises(ValueError, match="can't be read .*Remove it to train from the start"):
        experiment()


def test_a_damaged_part_changes_nothing(experiment, tmp_path):
    experiment()
    path = tmp_path / "runs" / "checkpoint.npz"
    with zipfile.ZipFile(path) as file:
        last = file.infolist()[-1]
    damaged = bytearray(path.read_bytes())
    damaged[last.header_offset + last.file_size] ^= 1  # one of its last bytes
    path.write_bytes(damaged)
    model = mixlib.build_classifier([], embedding_dim=8)
    model.compile("adam", "mse")
    before = model.get_weights()
    with pytest.raises(ValueError, match="can't be read .*Remove it to train from the start"):
        checkpoint.Checkpoint(path, {}, {}, {}).restore(model)
    for one, other in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_the_file_is_closed_and_what_was_read_is_let_go(unwritten, monkeypatch):
    unwritten.model.optimizer.build(unwritten.model.trainable_variables)
    unwritten.save(1)
    file = np.load(unwritten.path)
    monkeypatch.setattr(np, "load", lambda *args, **options: file)
    assert unwritten.restore(unwritten.model) == 1
    assert file.zip is None
    unwritten.on_train_begin()
    assert unwritten._counted is None


def test_what_is_noted_can_be_read_without_this_package(experiment, tmp_path):
    experiment()
    with np.load(tmp_path / "runs" / "checkpoint.npz") as file:
        note = json.loads(str(file["note"]))
    assert note["epochs"] == len(note["history"]["loss"]) == 2
    assert note["training"]["model"] == "small"


@pytest.fixture
def unwritten(tmp_path):
    """The checkpoint of a training of nine epochs that has just begun."""
    model = mixlib.build_classifier([], embedding_dim=4)
    model.compile("adam", "mse")
    made = checkpoint.Checkpoint(tmp_path / "checkpoint.npz", {}, {}, {})
    made.set_model(model)
    made.set_params({"epochs": 9})
    made.on_train_begin()
    return made


def test_every_move_is_listed_with_what_changed(unwritten):
    def move(**circumstances):
        """Resume in these circumstances, and store two more epochs."""
        unwritten.circumstances = circumstances
        epochs = unwritten.restore(unwritten.model)
        unwritten.save(epochs + 2)
        return unwritten.circumstances

    unwritten.model.optimizer.build(unwritten.model.trainable_variables)
    first = {"device": "GPU", "versions": {"keras": "3.15"}}
    unwritten.circumstances = dict(first)
    unwritten.save(2)
    assert move(**first) == first
    away = {"epoch": 5, "device": "CPU"}
    assert move(device="CPU", versions={"keras": "3.15"}) == first | {"resumed": [away]}
    assert move(device="CPU", versions={"keras": "3.15"}) == first | {"resumed": [away]}
    back = {"epoch": 9, "device": "GPU", "versions": {"keras": "3.16"}}
    now = {"device": "GPU", "versions": {"keras": "3.16"}}
    assert move(**now) == first | {"resumed": [away, back]}
    assert move(**now) == first | {"resumed": [away, back]}


def test_an_interrupted_write_leaves_the_old_checkpoint(unwritten, monkeypatch):
    def cut(file, **arrays):
        file.write(b"half")
        raise KeyboardInterrupt

    unwritten.save(1)
    monkeypatch.setattr(np, "savez", cut)
    with pytest.raises(KeyboardInterrupt):
        unwritten.save(2)
    assert checkpoint.epochs_done(unwritten.path) == 1


@pytest.mark.parametrize("process", [0, 1])
def test_of_several_processes_the_first_writes(experiment, tmp_path, monkeypatch, process):
    def scope(distribute):
        return contextlib.nullcontext(mixlib.distribution.Share(1, processes=2, process=process))

    monkeypatch.setattr(mixlib.distribution, "scope", scope)
    experiment()
    assert (tmp_path / "runs" / "checkpoint.npz").exists() == (process == 0)


def test_the_epoch_that_ends_a_training_early_is_not_stored(unwritten):
    unwritten.model.stop_training = True
    unwritten.on_epoch_end(3)
    assert checkpoint.epochs_done(unwritten.path) == 0


def test_bfloat16_can_be_taken_up_again(tmp_path):
    class Stop(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            if epoch == 1:
                raise InterruptedError

    path = tmp_path / "checkpoint.npz"

    def train(*callbacks):
        keras.utils.set_random_seed(0)
        block = mixlib.MixerBlock(4, 8)
        model = mixlib.build_classifier(block, patch_size=8, embedding_dim=8, name="small")
        return mixlib.run_experiment(
            model, dataset, epochs=2, verbose=0, callbacks=callbacks, checkpoint=path
        )

    dataset = data.load("shapes", 200, 20)
    keras.config.set_dtype_policy("bfloat16")
    try:
        with pytest.raises(InterruptedError):
            train(Stop())
        again = train()
        path.unlink()
        whole = train()
    finally:
        keras.config.set_dtype_policy("float32")
    assert again.history["loss"] == pytest.approx(whole.history["loss"], rel=1e-3)
