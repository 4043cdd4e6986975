"""What a full training leaves behind, and reading it back.

A run is a folder with ``metrics.json`` (what was trained, how, on which machine, with what result),
``history.csv`` (one row per epoch) and, when papermill ran it, ``log.ipynb``. Where a chapter looks
into the trained model there are ``model.weights.h5`` and ``predictions.npz``, too.
"""

import ast
import csv
import dataclasses
import datetime
import fnmatch
import functools
import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import re
import subprocess
import tomllib
import zipfile
import zlib

import keras
import numpy as np

from mixlib import data, presets

_PACKAGE = pathlib.Path(__file__).parent
# What the book quotes: a wheel has it in one folder, the repository its runs in one of their own.
_PACKAGED = _PACKAGE / "stored_runs"
_BOOK = _PACKAGED if _PACKAGED.is_dir() else _PACKAGE.parent / "book"
_BOOK_RUNS = _PACKAGED if _PACKAGED.is_dir() else _BOOK / "runs"
# These choose, count, read and draw; what a training computes does not depend on them.
_NOT_TRAINED_WITH = {"runs.py", "plots.py", "convert.py", "costs.py", "profiles.py", "browser.py"}


@dataclasses.dataclass(frozen=True)
class Run:
    """A stored training.

    Parameters
    ----------
    name : str
        The folder's name.
    path : pathlib.Path
    metrics : dict
        From ``metrics.json``; accuracies between 0 and 1.
    history : dict
        From ``history.csv``: one list of floats per column, one value per epoch.
    """

    name: str
    path: pathlib.Path
    metrics: dict
    history: dict = dataclasses.field(repr=False)

    @property
    def same_code(self):
        """Whether mixlib's training code is still the one that this run was trained with."""
        return self.metrics.get("mixlib_sha256") == source_checksum()

    @property
    def devices(self):
        """Names of the devices that trained it, in their order: more than one if it moved."""
        metrics = self.metrics
        later = [stretch["device"] for stretch in metrics.get("resumed", ()) if "device" in stretch]
        return list(dict.fromkeys([metrics["device"], *later]))

    @property
    def has_weights(self):
        """Whether the trained model is stored, too."""
        return (self.path / "model.weights.h5").is_file()

    @property
    def published(self):
        """What the published example states for the run's model and number of epochs.

        A dict with ``top_1`` and ``top_5``, shares of the test images, and, for 50 epochs,
        ``seconds_per_epoch`` and ``validation_top_1_after_1``; or None.
        """
        epochs = self.metrics["recipe"]["epochs"]  # as planned: early stopping may take fewer
        models = published()["keras_example"]
        return models.get(self.metrics["model"], {}).get(f"epochs_{epochs}")

    def load_model(self) -> keras.Model:
        """Create the run's model, with the weights that its figures were measured with.

        The book's own runs store matrices in half precision, so a few predictions differ.

        Raises
        ------
        FileNotFoundError
            When the run has no weights.
        ValueError
            When its model is not that of a preset with the overrides that the metrics name, on data
            of `mixlib.data.load`.
        """
        weights = self._stored("model.weights.h5")
        try:
            if self.metrics["dataset"] not in data.DATASETS:
                raise ValueError(f"there is no data set {self.metrics['dataset']!r} to load")
            _, class_names = data.DATASETS[self.metrics["dataset"]]
            overrides = self.metrics.get("overrides", {})
            model = presets.create(self.metrics["model"], num_classes=len(class_names), **overrides)
            # Configurations differ between versions of Keras.
            same_keras = self.metrics.get("versions", {}).get("keras") == keras.__version__
            stored = self.metrics.get("model_sha256")
            if stored and same_keras and stored != architecture_checksum(model):
                raise ValueError("it was another model of that name, or had overrides")
            model.load_weights(weights)
        except (KeyError, OSError, ValueError) as error:
            raise ValueError(
                f"The weights of the run {self.name} fit no model that can be made from its "
                f"metrics ({error}). Make the model as for the training, then load {weights}."
            ) from error
        return model

    def load_predictions(self):
        """Read the trained model's predictions on the test images.

        Returns
        -------
        dict of numpy.ndarray
            ``labels``, the true classes, shape (images,); ``classes``, the five that the model
            finds most probable, best first, and ``probabilities``, theirs, in float16, both
            (images, 5).

        Raises
        ------
        FileNotFoundError
            When the run has none.
        ValueError
            When the file is damaged.
        """
        try:
            with np.load(path := self._stored("predictions.npz")) as arrays:
                return dict(arrays)
        except (EOFError, ValueError, zipfile.BadZipFile, zlib.error) as error:
            raise ValueError(f"{path} is damaged ({error}). Train the run again.") from error

    def _stored(self, name):
        if not (self.path / name).is_file():
            raise FileNotFoundError(
                f"The run {self.name} has no {name}. Train it with weights=True in train.ipynb or "
                "runs.toml. Run.has_weights says which runs have weights."
            )
        return self.path / name


def save_run(experiment, folder, weights=False, dataset=None) -> Run:
    """Write an experiment to a folder.

    ``metrics.json`` is written last and atomically: a folder without it is no run.

    Parameters
    ----------
    experiment : mixlib.training.Experiment
    folder : str or pathlib.Path
        Created if missing.
    weights : bool
        Whether to store the weights, too, as ``model.weights.h5``. `Run.load_model` creates the
        model from its preset again: first put any further arguments of `create` into
        ``experiment.metrics["overrides"]``. For a model of your own images use ``model.save``.
    dataset : mixlib.data.Dataset, optional
        If given, the model's predictions on its test images are stored as ``predictions.npz``: see
        `Run.load_predictions`.

    Raises
    ------
    FileExistsError
        When the folder holds a run already.
    """
    folder = pathlib.Path(folder)
    target = folder / "metrics.json"
    if target.exists():
        raise FileExistsError(f"{folder} holds a run already. Choose another folder, or remove it.")
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "history.csv", "w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["epoch", *experiment.history])
        for epoch, values in enumerate(zip(*experiment.history.values(), strict=True), start=1):
            writer.writerow([epoch, *(f"{value:.6g}" for value in values)])
    if weights:
        model = keras.Model(experiment.model.inputs, experiment.model.outputs)  # no optimiser
        model.save_weights(folder / "model.weights.h5")
    if dataset is not None:
        np.savez_compressed(folder / "predictions.npz", **predict(experiment.model, dataset))
    metrics = {**experiment.metrics, **(experiment.circumstances or circumstances())}
    unfinished = folder / "metrics.json.unfinished"
    unfinished.write_text(json.dumps(metrics, indent=2) + "\n")
    unfinished.replace(target)
    return load_run(folder)


def predict(model, dataset):
    """Return the five classes that a model finds most probable for each test image.

    Parameters
    ----------
    model : keras.Model
        From images to logits.
    dataset : mixlib.data.Dataset

    Returns
    -------
    dict of numpy.ndarray
        As `Run.load_predictions` returns them.
    """
    logits = model.predict(dataset.x_test, batch_size=250, verbose=0)
    probabilities = keras.ops.convert_to_numpy(keras.ops.softmax(logits))
    classes = np.argsort(-probabilities, axis=1, kind="stable")[:, :5]
    smallest = np.min_scalar_type(logits.shape[1] - 1)
    return {
        "labels": dataset.y_test.astype(smallest),
        "classes": classes.astype(smallest),
        "probabilities": np.take_along_axis(probabilities, classes, axis=1).astype("float16"),
    }


def load_run(name, folder=None) -> Run:
    """Read a run.

    Parameters
    ----------
    name : str or pathlib.Path
        Name of a run in `folder`, or the path of its own folder.
    folder : str or pathlib.Path, optional
        Default: the runs that the book quotes.

    Raises
    ------
    FileNotFoundError
        When there is no such run; the message lists those that exist.
    ValueError
        When a file of the run is damaged.
    """
    path = pathlib.Path(name)
    if folder is not None or not (path / "metrics.json").is_file():
        folder = pathlib.Path(folder or _BOOK_RUNS)
        path = folder / name
        if not (path / "metrics.json").is_file():
            exist = ", ".join(_names(folder)) or "none"
            raise FileNotFoundError(f"No run {str(name)!r} in {folder}. Runs there: {exist}.")
    try:
        metrics = json.loads((path / "metrics.json").read_text())
        with open(path / "history.csv", newline="") as file:
            rows = list(csv.DictReader(file))
        history = {key: [float(row[key]) for row in rows] for key in rows[0]}
        if not isinstance(metrics, dict):
            raise ValueError("metrics.json holds no table")
    except (OSError, ValueError, TypeError, IndexError, csv.Error) as error:
        raise ValueError(f"The run in {path} is damaged ({error}). Train it again.") from error
    return Run(path.resolve().name, path, metrics, history)


def list_runs(folder=None, names="*"):
    """Read the runs of a folder, in the order of their names.

    Parameters
    ----------
    folder : str or pathlib.Path, optional
        Default: the runs that the book quotes.
    names : str
        Pattern of the names to read, such as ``"keras_*"``.

    Returns
    -------
    list of Run
        Empty where there are none.

    Raises
    ------
    ValueError
        When a file of a run is damaged.
    """
    folder = pathlib.Path(folder or _BOOK_RUNS)
    return [load_run(folder / name) for name in fnmatch.filter(_names(folder), names)]


def published():
    """Read the figures of others that the book compares its runs with, each with its source.

    Returns
    -------
    dict
        The parsed ``published.toml``.
    """
    return tomllib.loads((_BOOK / "published.toml").read_text(encoding="utf-8"))


def cifar100_statistics():
    """Read what the book says of CIFAR-100: ``cifar100.json``, made by ``describe_cifar100.py``.

    Returns
    -------
    dict
        ``superclasses``, from a name to the names of its five classes; ``class_averages``, small
        average images, 0 to 255; ``baselines``, how many test images rules without a model get
        right; ``copies``, how many images are identical; ``near_duplicates``, how similar test
        images are to training images, and the ``indices`` of those that are nearly equal to one.
        ``sha256`` is the `Dataset.checksum` of the data that this describes.
    """
    return json.loads((_BOOK / "cifar100.json").read_text(encoding="utf-8"))


def _names(folder):
    return sorted(path.parent.name for path in folder.glob("*/metrics.json"))


def tabulate(runs):
    """Tabulate runs side by side.

    Parameters
    ----------
    runs : sequence of Run

    Returns
    -------
    pandas.DataFrame
        One row per run; accuracies in percent. The column ``code`` says whether the run was trained
        with the training code as it is now.

    Raises
    ------
    ValueError
        When the runs were measured on different data: their figures can't be compared.
    """
    import pandas as pd  # here, since training needs no tables

    data = {run.metrics["dataset_sha256"]: run.name for run in runs}
    if len(data) > 1:
        raise ValueError(
            f"These runs were measured on different data ({', '.join(data.values())}, for example) "
            "and can't share one table. Tabulate the runs of each data set separately."
        )
    rows = [
        {
            "model": run.metrics["model"],
            "recipe": run.metrics["recipe"]["name"],
            "seed": run.metrics["seed"],
            "epochs": run.metrics["epochs"],
            "parameters": run.metrics["parameters"],
            "top-1 (%)": 100 * run.metrics["test_top_1"],
            "top-5 (%)": 100 * run.metrics["test_top_5"],
            "validation top-1 (%)": 100 * run.metrics["validation_top_1"],
            "seconds/epoch": run.metrics["seconds_per_epoch"],
            "device": ", then ".join(run.devices),
            "date": run.metrics["date"],
            "code": "this" if run.same_code else "earlier",
        }
        for run in runs
    ]
    return pd.DataFrame(rows, index=pd.Index([run.name for run in runs], name="run"))


def architecture_checksum(model):
    """SHA-256 of a model's configuration: the same when the same code makes it again.

    Precision, seeds and numbers at the end of names do not count: where Keras makes up a name, its
    number counts the layers made before.

    Parameters
    ----------
    model : keras.Model
    """
    config = json.loads(json.dumps(model.get_config(), default=str))
    for layer in config["layers"]:
        if "layers" in layer["config"]:  # in float32 alone, Keras notes that it got no mask
            for node in layer.get("inbound_nodes", ()):
                node["kwargs"].setdefault("mask", None)
    text = json.dumps(config, sort_keys=True)
    text = re.sub(r"(mixed_)?b?float(16|32|64)", "float", text)
    return hashlib.sha256(re.sub(r'_\d+"|"seed": \d+', '"', text).encode()).hexdigest()


def weights_checksum(model):
    """SHA-256 of a model's weights, in their order, in float32.

    Parameters
    ----------
    model : keras.Model
    """
    digest = hashlib.sha256()
    for weight in model.get_weights():
        digest.update(f"{weight.shape}".encode() + weight.astype("float32").tobytes())
    return digest.hexdigest()


@functools.cache
def source_checksum():
    """SHA-256 of the code that takes part in a training, to tell results of other code.

    Comments, docstrings and layout do not count.
    """
    digest = hashlib.sha256()
    for path in sorted(_PACKAGE.rglob("*.py"), key=lambda path: path.as_posix()):
        hidden = any(part[0] == "." for part in path.relative_to(_PACKAGE).parts)  # of an editor
        if path.name not in _NOT_TRAINED_WITH and not hidden:
            tree = _syntax(ast.parse(path.read_text(encoding="utf-8")))
            digest.update(f"{path.relative_to(_PACKAGE).as_posix()} {tree}\n".encode())
    return digest.hexdigest()


def _syntax(node):
    """Syntax tree as nested tuples, the same on every version of Python, without docstrings."""
    if isinstance(node, list):
        return tuple(_syntax(part) for part in node if not _is_docstring(part))
    if not isinstance(node, ast.AST):
        return repr(node)
    fields = ((name, value) for name, value in ast.iter_fields(node) if value not in (None, []))
    return type(node).__name__, *((name, _syntax(value)) for name, value in fields)


def _is_docstring(node):
    return isinstance(node, ast.Expr) and isinstance(getattr(node.value, "value", None), str)


def circumstances():
    """Return what a measurement depends on: backend, device, versions, commit, code and date.

    Returns
    -------
    dict
        Ready for JSON.
    """
    backend = keras.backend.backend()
    packages = ("mixlib", "keras", backend, "numpy")
    return {
        "backend": backend,
        "device": _device(),
        "versions": {"python": platform.python_version()}
        | {name: version for name in packages if (version := _version(name))},
        "commit": os.environ.get("MIXLIB_COMMIT") or _git_commit(),
        "mixlib_sha256": source_checksum(),
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }


def _version(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _git_commit():
    """Commit of mixlib's own repository, "-dirty" with uncommitted changes, or "unknown"."""
    if not (_PACKAGE.parent / ".git").exists():  # installed, perhaps inside of another repository
        return "unknown"
    commit = _output("git", "-C", str(_PACKAGE), "rev-parse", "--short=12", "HEAD")
    changes = _output("git", "-C", str(_PACKAGE), "status", "--porcelain", "--", str(_PACKAGE))
    return f"{commit}{'-dirty' if changes else ''}" if commit else "unknown"


def _device():
    """Name of the accelerator that the backend sees, else of the CPU with its number of cores."""
    device = str(keras.ops.zeros(1).device).lower()  # keras.distribution knows none on PyTorch
    if found := re.search("gpu|cuda|rocm|tpu|mps", device):
        names = _output("nvidia-smi", "--query-gpu=name", "--format=csv,noheader").splitlines()
        return ", ".join(dict.fromkeys(names)) or found[0].upper()
    names = []
    cpuinfo = pathlib.Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        lines = cpuinfo.read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    name = names[0] if names else platform.processor() or platform.machine()
    return f"{name}, {os.cpu_count()} cores"


def _output(*command):
    """What a command prints, or "" when it fails or does not exist."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
