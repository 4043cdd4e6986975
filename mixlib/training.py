"""Recipes as data, and the experiment that follows one: compile, fit, evaluate."""

import dataclasses
import statistics
import time
from collections.abc import Mapping

import keras
import numpy as np

from mixlib import augment, costs, data, runs
from mixlib.checkpoint import Checkpoint


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How a model is trained.

    Parameters
    ----------
    name : str
    epochs : int
        At most; early stopping may end a training sooner.
    batch_size : int
        Images a step.
    learning_rate : float
        At the start.
    learning_rates : Mapping
        Learning rates of single models, by model name, where they differ from `learning_rate`.
    weight_decay : float
        Of AdamW: each step shrinks the weights by this share of the learning rate.
    validation : {"stratified", "last"}
        Which training images validate: the same share of every class, drawn at random from the
        seed, or the last ones.
    validation_fraction : float
        Share of the training images that validate.
    reduce_factor, reduce_patience : float, int
        The learning rate is multiplied by the factor after that many epochs without a lower
        validation loss.
    stop_patience : int
        Training stops after that many epochs without a lower validation loss. The weights of the
        best epoch are restored in any case.
    """

    name: str
    epochs: int = 50
    batch_size: int = 128
    learning_rate: float = 1e-3
    learning_rates: Mapping[str, float] = dataclasses.field(default_factory=dict)
    weight_decay: float = 1e-4
    validation: str = "stratified"
    validation_fraction: float = 0.1
    reduce_factor: float = 0.5
    reduce_patience: int = 5
    stop_patience: int = 10

    def __post_init__(self):
        if self.validation not in ("stratified", "last"):
            raise ValueError(f'validation must be "stratified" or "last"; got {self.validation!r}.')
        for field in ("epochs", "batch_size"):
            if getattr(self, field) < 1:
                raise ValueError(f"{field} must be 1 or more; got {getattr(self, field)}.")

    def learning_rate_of(self, model_name):
        """Learning rate for the model of that name."""
        return self.learning_rates.get(model_name, self.learning_rate)


RECIPES = {
    # The published Keras example, CIFAR-100, 50 epochs, 8 to 9 s an epoch on a V100 (2021), top-1 /
    # top-5 in %: keras_mixer 47.58 / 77.18, keras_fnet 46.63 / 76.47, keras_gmlp 50.64 / 78.28.
    "keras_example": Recipe(
        "keras_example",
        learning_rates={"keras_mixer": 5e-3, "keras_fnet": 1e-3, "keras_gmlp": 3e-3},
        validation="last",
    ),
    # The same optimiser and schedule for any model, validated on a stratified split.
    "baseline": Recipe("baseline"),
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a training gave.

    Parameters
    ----------
    metrics : dict
        Model, recipe, data, sizes, accuracies (0 to 1) and times.
    history : dict
        One list a column, one value an epoch: ``loss``, ``top_1``, ``top_5``, the same of the
        validation images (``val_loss``, …), ``learning_rate``, ``seconds``.
    model : keras.Model
        Trained, with the weights that the metrics were measured with.
    """

    metrics: dict
    history: dict
    model: keras.Model = dataclasses.field(repr=False)


def get_recipe(recipe):
    """Return a recipe by name, or the recipe itself.

    Parameters
    ----------
    recipe : str or Recipe

    Returns
    -------
    Recipe

    Raises
    ------
    ValueError
        For an unknown name; the message lists those that exist.
    """
    if isinstance(recipe, Recipe):
        return recipe
    if recipe not in RECIPES:
        raise ValueError(f"Unknown recipe {recipe!r}. Expected one of: {', '.join(RECIPES)}.")
    return RECIPES[recipe]


def compile_model(model, recipe="keras_example"):
    """Compile a model as a recipe trains it: AdamW, cross-entropy of the logits, top-1 and top-5.

    Parameters
    ----------
    model : keras.Model
        From images to logits. Its name chooses the recipe's learning rate.
    recipe : str or Recipe
    """
    recipe = get_recipe(recipe)
    model.compile(
        optimizer=keras.optimizers.AdamW(
            learning_rate=recipe.learning_rate_of(model.name), weight_decay=recipe.weight_decay
        ),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="top_1"),
            keras.metrics.SparseTopKCategoricalAccuracy(5, name="top_5"),
        ],
        # As the published example ran. On two cores XLA gains nothing: see the book on speed.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )


def run_experiment(
    model,
    dataset,
    recipe="keras_example",
    epochs=None,
    seed=0,
    callbacks=(),
    verbose="auto",
    checkpoint=None,
):
    """Train a model on a data set after a recipe, and measure it on the test images.

    The model's normalisation layers are fitted to the training images first. AdamW minimises the
    cross-entropy of the logits; the learning rate falls and training stops when the validation loss
    stalls, and the weights of the best epoch are restored. Validation and test figures are measured
    with these weights, after the training.

    Parameters
    ----------
    model : keras.Model
        From images to logits. Its name chooses the recipe's learning rate.
    dataset : mixlib.data.Dataset
    recipe : str or Recipe
        Name of one of `RECIPES`, or a recipe of your own.
    epochs : int, optional
        Default: the recipe's.
    seed : int
        Of the split, the order of the images, augmentation and dropout. The model's first weights
        are older than this call: seed them with `keras.utils.set_random_seed` before making it.
    callbacks : sequence of keras.callbacks.Callback
        More callbacks.
    verbose : {"auto", 0, 1, 2}
        As in `keras.Model.fit`: nothing, a progress bar, or a line an epoch.
    checkpoint : str or pathlib.Path, optional
        File, ending in ``.npz``, to store the training in after an epoch. Where it exists, the
        training goes on from there, and ends as one that was never interrupted; see
        `mixlib.checkpoint`. `callbacks` take no part in this. The file stays behind: remove it once
        the experiment is stored.

    Returns
    -------
    Experiment

    Raises
    ------
    ValueError
        When there is no epoch to train, the data set does not fit the model, or the checkpoint
        belongs to another training.
    """
    recipe = get_recipe(recipe)
    epochs = recipe.epochs if epochs is None else epochs
    if not isinstance(epochs, int) or epochs < 1:
        raise ValueError(f"epochs must be a whole number, 1 or more; got {epochs!r}.")
    _check_fits(model, dataset)
    keras.utils.set_random_seed(seed)
    augment.adapt(model, dataset.x_train)
    train, validation = _split(dataset, recipe, seed)

    compile_model(model, recipe)
    batches = _Batches(*train, recipe.batch_size)
    history = {}
    schedule = [
        keras.callbacks.ReduceLROnPlateau(
            "val_loss", factor=recipe.reduce_factor, patience=recipe.reduce_patience
        ),
        keras.callbacks.EarlyStopping(
            "val_loss", patience=recipe.stop_patience, restore_best_weights=True
        ),
    ]
    used = [*schedule, *callbacks, _Epochs(batches, seed, history)]
    trained = {
        "model": model.name,
        "recipe": {**dataclasses.asdict(recipe), "epochs": epochs},
        "dataset": dataset.name,
        "dataset_sha256": dataset.checksum(),
        "seed": seed,
        "parameters": costs.count_parameters(model),
        "precision": keras.config.dtype_policy().name,
    }
    done = 0
    if checkpoint is not None:
        code = {"backend": keras.backend.backend(), "mixlib_sha256": runs.source_checksum()}
        used.append(Checkpoint(checkpoint, trained | code, history, schedule))
        done = used[-1].restore(model)
    model.fit(
        batches,
        epochs=epochs,
        initial_epoch=done,
        shuffle=False,  # the batches are
        validation_data=validation,
        validation_batch_size=recipe.batch_size,
        callbacks=used,
        verbose=verbose,
    )

    def measure(images, labels):
        return model.evaluate(images, labels, recipe.batch_size, verbose=0, return_dict=True)

    validated, tested = measure(*validation), measure(dataset.x_test, dataset.y_test)
    metrics = {
        **trained,
        "learning_rate": recipe.learning_rate_of(model.name),
        "train_images": len(train[0]),
        "validation_images": len(validation[0]),
        "test_images": len(dataset.x_test),
        "epochs": len(history["loss"]),
        "best_epoch": 1 + int(np.argmin(history["val_loss"])),
        **{f"test_{key}": float(value) for key, value in tested.items()},
        **{f"validation_{key}": float(value) for key, value in validated.items()},
        "flops": costs.count_flops(model),
        "seconds_per_epoch": statistics.median(history["seconds"]),
    }
    return Experiment(metrics, history, model)


def _split(dataset, recipe, seed):
    """The training and the validation part of the training images, each (images, labels)."""
    images, labels = dataset.x_train, dataset.y_train
    if recipe.validation == "last":
        start = len(labels) - round(recipe.validation_fraction * len(labels))
        train, validation = slice(0, start), slice(start, None)
    else:
        train, validation = data.validation_split(labels, recipe.validation_fraction, seed)
    return (images[train], labels[train]), (images[validation], labels[validation])


def _check_fits(model, dataset):
    if tuple(model.input_shape[1:]) != dataset.image_shape:
        raise ValueError(
            f"{model.name} takes images of shape {tuple(model.input_shape[1:])}, but those of "
            f"{dataset.name} have shape {dataset.image_shape}. Create the model with the image "
            "size of the data, or resize the images."
        )
    if model.output_shape[-1] != dataset.num_classes:
        raise ValueError(
            f"{model.name} scores {model.output_shape[-1]} classes, but {dataset.name} has "
            f"{dataset.num_classes}. Create the model with num_classes={dataset.num_classes}."
        )


class _Batches(keras.utils.PyDataset):
    """Batches of the training images, in an order of their own for every epoch."""

    def __init__(self, images, labels, batch_size):
        super().__init__()
        self.images, self.labels, self.batch_size = images, labels, batch_size
        self.order = np.arange(len(labels))

    def __len__(self):
        return -(-len(self.labels) // self.batch_size)

    def __getitem__(self, index):
        rows = self.order[index * self.batch_size : (index + 1) * self.batch_size]
        return self.images[rows], self.labels[rows]


class _Epochs(keras.callbacks.Callback):
    """Begins every epoch with random numbers of its own, and writes down what came of it.

    Order, augmentation and dropout follow from the seed and the number of the epoch, and not from
    the epochs before: so a training that is taken up again goes on as if it had not stopped.
    """

    def __init__(self, batches, seed, history):
        super().__init__()
        self.batches, self.seed, self.history = batches, seed, history

    def on_epoch_begin(self, epoch, logs=None):
        random = np.random.default_rng((self.seed, epoch))
        self.batches.order = random.permutation(len(self.batches.labels))
        keras.utils.set_random_seed(int(random.integers(2**31)))  # PyTorch's dropout has no other
        for variable in self.model.non_trainable_variables:
            if variable.name == "seed_generator_state":
                variable.assign([int(random.integers(2**31)), 0])
        self.learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        found = {key: float(value) for key, value in logs.items()}
        found |= {"learning_rate": self.learning_rate, "seconds": time.perf_counter() - self.start}
        for key, value in found.items():
            self.history.setdefault(key, []).append(value)
