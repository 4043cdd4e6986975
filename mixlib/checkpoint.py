"""Resuming a training: all that its next epoch depends on, in one file."""

import collections
import json
import pathlib
import time
import zipfile

import keras
import numpy as np


class Checkpoint(keras.callbacks.Callback):
    """Stores a training while it runs, and resumes it from what was stored.

    The file holds the model's weights, the optimiser's variables, the history, and what the other
    callbacks have counted. No random state is in it: an epoch's random numbers follow from the seed
    and the number of the epoch. A new file is written beside the old one and then replaces it, so
    an interruption at any moment leaves a whole one. Writing takes no more than a twentieth of the
    time: where epochs are shorter than that allows, some are not stored. The last one never is; its
    result is the caller's to keep.

    Parameters
    ----------
    path : str or pathlib.Path
        The file, ending in ``.npz``. Its folder is made where it is missing.
    training : dict
        What is trained, on what, how: ready for JSON. The file of another training is refused.
    history : dict
        Lists that the training fills, one value per epoch. `restore` fills them from the file.
    circumstances : dict
        Where it is trained, and with what: ready for JSON. `restore` puts in their place those of
        the start. Where others have come since, ``resumed`` lists them: one dict for each time,
        with ``epoch``, the first one trained so, and all that was not as before.
    callbacks : sequence of keras.callbacks.Callback
        Stateful ones, such as early stopping, to store too. They come before this one in `fit`.
    writes : bool
        False only reads: of the processes that share a training, one writes what all resume from.

    Raises
    ------
    ValueError
        When `path` does not end in ``.npz``.
    """

    share = 0.05  # of the time that may go into writing

    def __init__(self, path, training, history, circumstances, callbacks=(), writes=True):
        super().__init__()
        self.path = pathlib.Path(path)
        if self.path.suffix != ".npz":
            raise ValueError(f"A checkpoint is a file that ends in .npz; got {path}.")
        self.training = training
        self.history = history
        self.circumstances = circumstances
        self.callbacks = callbacks
        self.writes = writes
        self._counted = None

    def restore(self, model):
        """Bring a compiled model to where the file is, if there is one.

        Returns
        -------
        int
            How many epochs are done: 0 without a file.

        Raises
        ------
        ValueError
            When the file belongs to another training, or can't be read.
        """
        model.optimizer.build(model.trainable_variables)  # what is stored and read includes it
        if not self.path.exists():
            return 0
        note, arrays = _read(self.path)
        differ = [
            f"{key} ({note['training'].get(key)!r} there, {value!r} here)"
            for key, value in json.loads(json.dumps(self.training)).items()
            if note["training"].get(key) != value
        ]
        if differ:
            raise ValueError(
                f"The checkpoint {self.path} is of another training: it differs in "
                f"{', '.join(differ)}. Remove it to train from the start."
            )
        for name, variables in _variables(model).items():
            for index, variable in enumerate(variables):
                variable.assign(arrays[f"{name}/{index}"])
        self.history.update(note["history"])
        self._take_up(note["circumstances"], note["epochs"] + 1)
        self._counted = note["callbacks"], arrays
        return note["epochs"]

    def _take_up(self, stored, epoch):
        """Put the stored circumstances first, and list those of now if they are others."""
        resumed = stored.pop("resumed", [])
        last = collections.ChainMap(*reversed(resumed), stored)
        now = {key: value for key, value in self.circumstances.items() if last.get(key) != value}
        if now:
            resumed.append({"epoch": epoch} | now)
        self.circumstances.update(stored | ({"resumed": resumed} if resumed else {}))

    def on_train_begin(self, logs=None):
        self._next = 0.0
        if self._counted is None:
            if self.writes:  # the initial weights, in case it stops before an epoch is stored
                self.save(0)
            return
        (counted, arrays), self._counted = self._counted, None
        for index, (callback, numbers) in enumerate(zip(self.callbacks, counted, strict=True)):
            vars(callback).update(numbers)
            best = [name for name in arrays if name.startswith(f"callback/{index}/")]
            if best:
                callback.best_weights = [arrays[f"callback/{index}/{i}"] for i in range(len(best))]

    def on_epoch_end(self, epoch, logs=None):
        ends = self.model.stop_training or epoch + 1 == self.params["epochs"]
        start = time.monotonic()
        if self.writes and not ends and start >= self._next:
            self.save(epoch + 1)
            end = time.monotonic()
            self._next = end + (end - start) / self.share

    def save(self, epochs):
        """Write the file after that many epochs."""
        arrays = {
            f"{name}/{index}": _storable(variable)
            for name, variables in _variables(self.model).items()
            for index, variable in enumerate(variables)
        }
        for index, callback in enumerate(self.callbacks):
            for i, weights in enumerate(getattr(callback, "best_weights", None) or ()):
                arrays[f"callback/{index}/{i}"] = _storable(weights)
        note = {
            "epochs": epochs,
            "training": self.training,
            "history": self.history,
            "circumstances": self.circumstances,
            "callbacks": [_numbers(callback) for callback in self.callbacks],
        }
        self.path.parent.mkdir(parents=True, exist_ok=True)
        unfinished = self.path.with_name(f"{self.path.name}.unfinished")
        with open(unfinished, "wb") as file:
            np.savez(file, note=json.dumps(note), **arrays)
        unfinished.replace(self.path)


def epochs_done(path):
    """Number of epochs that a checkpoint has behind it: 0 where there is none.

    Parameters
    ----------
    path : str or pathlib.Path

    Raises
    ------
    ValueError
        When the file can't be read.
    """
    path = pathlib.Path(path)
    return _read(path)[0]["epochs"] if path.exists() else 0


def _read(path):
    """What a checkpoint notes, and its arrays."""
    try:
        with np.load(path, allow_pickle=False) as file:  # Windows replaces no open file
            arrays = dict(file)
        note = json.loads(str(arrays.pop("note")))
        keys = ("epochs", "training", "history", "circumstances", "callbacks")
        return {key: note[key] for key in keys}, arrays
    except (OSError, EOFError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
        raise ValueError(
            f"The checkpoint {path} can't be read ({error}). Remove it to train from the start."
        ) from error


def _storable(values):
    """Values as an array that NumPy can read back: bfloat16, which it can't, as float32."""
    array = keras.ops.convert_to_numpy(values)
    return array.astype("float32") if array.dtype.name == "bfloat16" else array


def _variables(model):
    return {"weights": model.weights, "optimizer": model.optimizer.variables}


def _numbers(callback):
    """The attributes of a callback that are numbers, or None."""
    found = {}
    for name, value in vars(callback).items():
        value = value.item() if isinstance(value, np.generic) else value
        if value is None or isinstance(value, (int, float)):
            found[name] = value
    return found
