"""The experiment that follows a recipe: compile, fit, evaluate."""

import dataclasses
import math
import statistics
import time

import keras
import numpy as np
from keras import ops

from mixlib import augment, costs, data, distribution, runs
from mixlib.blocks import fused
from mixlib.checkpoint import Checkpoint
from mixlib.checks import check_labels, check_whole
from mixlib.recipes import get_recipe


@dataclasses.dataclass(frozen=True)
class Experiment:
    """The result of a training.

    Parameters
    ----------
    metrics : dict
        ``model``, its name, ``model_sha256``, a checksum of its configuration, ``parameters``,
        ``flops`` of an image, ``precision``; ``recipe``, a dict, ``seed``, ``learning_rate``; where
        there was one, ``teacher``, its name, and ``teacher_sha256``, a checksum of its weights;
        ``dataset``, ``dataset_sha256``, ``train_images``, ``validation_images``, ``test_images``;
        ``epochs`` that were trained, ``best_epoch`` (from 1), whose weights are measured;
        ``test_loss``, ``test_top_1``, ``test_top_5`` (0 to 1), the same of the validation images
        (``validation_loss``, …) and of the training images as they are stored (``train_loss``, …);
        ``seconds_per_epoch``, the median, ``devices``.
    history : dict
        One list per column, one value per epoch: ``loss``, ``top_1``, ``top_5``, averages over an
        epoch's steps, with dropout and all that the recipe does to images and targets; the same of
        the validation images after the epoch (``val_loss``, …), without these; ``learning_rate`` at
        the epoch's start; ``seconds`` that the epoch took, with its validation.
    model : keras.Model
        Trained, with the weights that the metrics were measured with.
    circumstances : dict
        Backend, device, versions, commit, code and date, as they were when the training began: see
        `mixlib.runs.circumstances`. Where it was resumed in others, ``resumed`` lists these: see
        `mixlib.checkpoint.Checkpoint`.
    """

    metrics: dict
    history: dict
    model: keras.Model = dataclasses.field(repr=False)
    circumstances: dict = dataclasses.field(repr=False, default_factory=dict)


def compile_model(model, recipe="keras_example", steps=None):
    """Compile a model as a recipe trains it: AdamW, cross-entropy of the logits, top-1 and top-5.

    Parameters
    ----------
    model : keras.Model
        From images to logits. Its name chooses the recipe's learning rate.
    recipe : str or Recipe
    steps : (int, int), optional
        Steps per epoch, and epochs: what a recipe with schedule="cosine" spreads its schedule over.

    Raises
    ------
    ValueError
        When the recipe needs `steps`, and there are none.
    """
    recipe = get_recipe(recipe)
    learning_rate = float(recipe.learning_rate_of(model.name))
    momentum = 0.0
    if recipe.schedule == "cosine":
        if steps is None:
            raise ValueError(
                f"The recipe {recipe.name!r} lowers the learning rate over the whole training. "
                "Give steps=(steps an epoch, epochs)."
            )
        learning_rate = _cosine(learning_rate, recipe, *steps)
        momentum = np.exp(-1 / (recipe.ema * math.prod(steps))) if recipe.ema else 0.0
    adamw = IndependentAdamW if recipe.independent_decay else keras.optimizers.AdamW
    optimizer = adamw(
        learning_rate,
        weight_decay=recipe.weight_decay,
        global_clipnorm=recipe.clip_norm,
        use_ema=recipe.ema > 0,
        ema_momentum=float(momentum),
    )
    if recipe.decayed == "kernels":
        optimizer.exclude_from_weight_decay(var_names=["bias", "gamma", "beta"])
    classifier, loss = model, keras.losses.SparseCategoricalCrossentropy
    if isinstance(model, AugmentedTraining):  # whose targets are no longer labels
        classifier, loss = model.classifier, keras.losses.CategoricalCrossentropy
    top = min(5, classifier.output_shape[-1])
    model.compile(
        optimizer=optimizer,
        loss=loss(from_logits=True),
        metrics=[
            keras.metrics.SparseCategoricalAccuracy(name="top_1"),
            keras.metrics.SparseTopKCategoricalAccuracy(top, name="top_5"),
        ],
        # As the published example ran. On two cores XLA gains nothing: see the book on speed.
        jit_compile=False if keras.backend.backend() == "tensorflow" else "auto",
    )


def _steps_a_call(devices):
    """How many steps `AugmentedTraining` makes as one program.

    Starting a program from Python, and reading the metrics after it, takes longer than a small
    model's step does on a GPU, which waits meanwhile.
    """
    return 8 if keras.backend.backend() == "jax" and devices == 1 and not fused.on_cpu() else 1


@keras.saving.register_keras_serializable("mixlib")
class IndependentAdamW(keras.optimizers.AdamW):
    """AdamW whose weight decay is independent of the learning rate.

    A step multiplies each weight by ``1 - weight_decay``, before Adam's own step. Keras' AdamW
    multiplies it by ``1 - learning_rate * weight_decay``.

    Parameters
    ----------
    learning_rate : float or keras.optimizers.schedules.LearningRateSchedule
    weight_decay : float
        Share of a weight that each step takes away.
    **kwargs
        As for `keras.optimizers.AdamW`.

    References
    ----------
    Loshchilov and Hutter, Decoupled weight decay regularization, 2017, algorithm 2, with a schedule
    multiplier of 1, as in the AdamW of TensorFlow Addons.
    """

    def __init__(self, learning_rate=1e-3, weight_decay=1e-4, **kwargs):
        super().__init__(learning_rate, weight_decay, **kwargs)

    def _apply_weight_decay(self, variables):
        for variable in variables:
            if self._use_weight_decay(variable):
                variable.assign(variable * (1 - self.weight_decay))


def _cosine(learning_rate, recipe, steps_per_epoch, epochs):
    """Schedule that rises through the warm-up, then falls along half a cosine to zero."""
    total = steps_per_epoch * epochs
    warmup = min(round(recipe.warmup_epochs * steps_per_epoch), total // 2)
    if not warmup:
        return keras.optimizers.schedules.CosineDecay(learning_rate, total)
    return keras.optimizers.schedules.CosineDecay(
        0.0, total - warmup, warmup_target=learning_rate, warmup_steps=warmup
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
    distribute=None,
    teacher=None,
) -> Experiment:
    """Train a model on a data set by a recipe, and measure it on the test images.

    Normalisation that is not frozen is fitted to the training images first. Then AdamW minimises
    the cross-entropy of the logits, as the recipe says. The metrics of training, validation and
    test images are measured after the training, on the images as they are stored, with the weights
    that it ends with: those of the best epoch, or the last ones, or their average.

    Parameters
    ----------
    model : keras.Model
        From images to logits. Its name chooses the recipe's learning rate.
    dataset : mixlib.data.Dataset
    recipe : str or Recipe
        Name of one of `mixlib.recipes.RECIPES`, or a recipe of your own.
    epochs : int, optional
        Default: the recipe's.
    seed : int
        Of the split, the order of the images, augmentation and dropout: the global seeds of Python,
        NumPy and the backend are set from it at every epoch. The model has its initial weights
        already: to seed these, call `keras.utils.set_random_seed` before creating it.
    callbacks : sequence of keras.callbacks.Callback
        Further ones. On JAX with one accelerator, batch hooks are called once every eight steps.
    verbose : {"auto", 0, 1, 2}
        As in `keras.Model.fit`: nothing, a progress bar, or a line an epoch.
    checkpoint : str or pathlib.Path, optional
        File, ending in ``.npz``, to store the training in after epochs. If it exists, the training
        resumes from it, and ends as one that was never interrupted; see `mixlib.checkpoint`. The
        state of `callbacks` is not stored. The file stays behind: remove it once the experiment is
        stored. Of several processes the first writes it, and all read it.
    distribute : {None, "data_parallel"}
        "data_parallel" trains on all devices at once, on the JAX backend: each holds all weights
        and takes its part of every batch. After `keras.distribution.initialize` these are the
        devices of all processes, each of which makes the same call.
    teacher : keras.Model, optional
        From images to logits, trained: what a recipe with `distillation` learns from. It is copied,
        and stays as it is.

    Raises
    ------
    ValueError
        When there is no epoch to train, the data set does not fit the model, the recipe or the
        teacher, the recipe needs a teacher and there is none, or the other way around, the recipe
        clips the gradients of weights that are not in float32, the checkpoint belongs to another
        training or is damaged, or batches can't be shared evenly by the devices.
    """
    recipe = get_recipe(recipe)
    epochs = check_whole("epochs", recipe.epochs if epochs is None else epochs)
    seed = check_whole("seed", seed, least=0)
    _check_fits(model, dataset, recipe)
    if (teacher is not None) != (recipe.distillation > 0):
        raise ValueError(
            f"The recipe {recipe.name!r} has distillation={recipe.distillation}, and there is "
            f"{'no' if teacher is None else 'a'} teacher. Give both, or neither."
        )
    # A model that was loaded under another policy has that one; its layers have their own.
    inner = model._flatten_layers(include_self=False)
    own = (layer for layer in inner if layer.weights and not isinstance(layer, keras.Model))
    model.dtype_policy = next(own, model).dtype_policy
    if recipe.clip_norm is not None and model.dtype_policy.variable_dtype != "float32":
        raise ValueError(
            f"The recipe {recipe.name!r} clips gradients, which Keras can't do for weights in "
            f"{model.dtype_policy.variable_dtype}, beside a last layer in float32. Make the model "
            'under the policy "float32" or "mixed_bfloat16", or give clip_norm=None.'
        )
    train, validation = split(dataset, recipe, seed)
    trained = {
        "model": model.name,
        "recipe": {**dataclasses.asdict(recipe), "epochs": epochs},
        "dataset": dataset.name,
        "dataset_sha256": dataset.checksum(),
        "seed": seed,
        "parameters": costs.count_parameters(model),
        "precision": model.dtype_policy.name,
        "flops": costs.count_flops(model),
        "model_sha256": runs.architecture_checksum(model),
    }
    if teacher is not None:
        _check_fits(teacher, dataset, recipe)
        trained |= {"teacher": teacher.name, "teacher_sha256": runs.weights_checksum(teacher)}
    history, circumstances = {}, runs.circumstances()
    keras.utils.set_random_seed(seed)
    with distribution.scope(distribute) as share:
        fitted = _copy(model) if distribute else model
        augment.adapt(fitted, dataset.x_train)
        steps_a_call = _steps_a_call(share.devices)
        wrapped = recipe.changes_images or steps_a_call > 1
        teacher = _copy(teacher) if teacher else None
        trainee = AugmentedTraining(fitted, recipe, steps_a_call, teacher) if wrapped else fitted
        most = recipe.batch_size * steps_a_call
        size = _even_batch_size(len(validation[1]), most, share.devices)
        validating = _Batches(*validation, size, share, labels_too=wrapped)
        batches = _Batches(
            *train,
            recipe.batch_size,
            share,
            drop_incomplete=recipe.drop_incomplete,
            labels_too=wrapped,
            steps_a_call=steps_a_call,
        )
        compile_model(trainee, recipe, (batches.steps, epochs))
        schedule = _plateau(recipe) if recipe.schedule == "plateau" else []
        used = [*schedule, *(callbacks or ()), _Epochs(batches, seed, history)]
        done = 0
        if checkpoint is not None:
            code = {key: circumstances[key] for key in ("backend", "mixlib_sha256")}
            first = share.process == 0
            stored = Checkpoint(
                checkpoint, trained | code, history, circumstances, schedule, writes=first
            )
            used.append(stored)
            done = stored.restore(trainee)
        trainee.fit(
            batches,
            epochs=epochs,
            initial_epoch=done,
            shuffle=False,  # the batches are
            validation_data=validating,
            callbacks=used,
            verbose=verbose,
        )
    if fitted is not model:
        model.set_weights(fitted.get_weights())
        augment.adapt(model, dataset.x_train)  # the layers keep what follows from these weights
    if trainee is not model:  # it comes back compiled in any case
        compile_model(model, recipe, (batches.steps, epochs))

    test = dataset.x_test, dataset.y_test
    measured = {
        f"{part}_{key}": value
        for part, images in {"test": test, "validation": validation, "train": train}.items()
        for key, value in measure(model, *images, recipe.batch_size).items()
    }
    restored = recipe.schedule == "plateau" and recipe.restore_best
    best = schedule[-1].best_epoch if restored else len(history["loss"]) - 1
    metrics = {
        **trained,
        "learning_rate": recipe.learning_rate_of(model.name),
        "train_images": len(train[0]),
        "validation_images": len(validation[0]),
        "test_images": len(dataset.x_test),
        "epochs": len(history["loss"]),
        "best_epoch": 1 + int(best),
        **measured,
        "seconds_per_epoch": statistics.median(history["seconds"]),
        "devices": share.devices,
    }
    return Experiment(metrics, history, model, circumstances)


class AugmentedTraining(keras.Model):
    """A classifier in training, whose images and targets a recipe changes inside the step.

    Takes ``{"images": …, "labels": …}``, gives ``{"logits": …, "targets": …}``: outside of training
    the classifier's logits and the labels as one-hot rows; in training the logits of images that
    are augmented and mixed with one another, and targets that are mixed accordingly, smoothed, and
    blended with a teacher's answers to those images. To callbacks it is the classifier: images
    alone give its logits, and saving saves it.

    Parameters
    ----------
    classifier : keras.Model
        From images of 0 to 255 to logits.
    recipe : Recipe
    steps_a_call : int
        More than 1, on JAX alone, run as one program: a batch of `fit` then holds the images of
        that many steps, each of the recipe's batch size, in order. The last may hold fewer.
    teacher : keras.Model, optional
        From images of 0 to 255 to logits. It is frozen.
    """

    def __init__(self, classifier, recipe, steps_a_call=1, teacher=None):
        super().__init__(name=classifier.name, dtype=classifier.dtype_policy)
        self.classifier = classifier
        self.batch_size, self.steps_a_call = recipe.batch_size, steps_a_call
        self.num_classes = classifier.output_shape[-1]
        self.mixup, self.cutmix = recipe.mixup, recipe.cutmix
        self.label_smoothing = recipe.label_smoothing
        self.distillation, self.hard = recipe.distillation, recipe.hard_distillation
        self.teacher = teacher
        if teacher is not None:
            teacher.trainable = False
        self.augmentation = keras.layers.Identity(dtype="float32")
        if recipe.augmentation:
            self.augmentation = augment.augmentation(**recipe.augmentation)
        if self.mixup or self.cutmix:
            self.mix_up = keras.layers.MixUp(0.8, dtype="float32")
            self.cut_mix = keras.layers.CutMix(
                (1.0, 1.0), data_format="channels_last", dtype="float32"
            )
            self.generator = keras.random.SeedGenerator()
        self.built = True  # as the classifier is; nothing else has weights

    def save(self, *arguments, **options):
        return self.classifier.save(*arguments, **options)

    def save_weights(self, *arguments, **options):
        return self.classifier.save_weights(*arguments, **options)

    def load_weights(self, *arguments, **options):
        return self.classifier.load_weights(*arguments, **options)

    def call(self, inputs, training=None):
        if not isinstance(inputs, dict):
            return self.classifier(inputs, training=training)
        images = inputs["images"]
        targets = ops.one_hot(inputs["labels"], self.num_classes, dtype="float32")
        if training:
            images = self.augmentation(images, training=True)
            if self.mixup or self.cutmix:
                images, targets = self._mix(images, targets)
            targets = (1 - self.label_smoothing) * targets + self.label_smoothing / self.num_classes
            if self.teacher is not None:
                answers = self._ask_teacher(images)
                targets = (1 - self.distillation) * targets + self.distillation * answers
        return {"logits": self.classifier(images, training=training), "targets": targets}

    def train_step(self, *arguments):
        if self.steps_a_call == 1:
            return super().train_step(*arguments)
        one_step = super().train_step
        state, data = arguments  # as Keras calls it on JAX
        whole, rest = divmod(ops.shape(data[1])[0], self.batch_size)
        end = whole * self.batch_size

        def step(state, batch):
            logs, state = one_step(state, batch)
            return state, logs

        def split(values):
            return ops.reshape(values[:end], (whole, self.batch_size, *values.shape[1:]))

        if whole:
            state, logs = ops.scan(step, state, keras.tree.map_structure(split, data))
            logs = {key: values[-1] for key, values in logs.items()}
        if rest:
            left = keras.tree.map_structure(lambda values: values[end:], data)
            logs, state = one_step(state, left)
        return logs, state

    def _mix(self, images, targets):
        """Blend some images with others, put boxes of others into some, leave the rest."""
        drawn = keras.random.uniform((ops.shape(images)[0], 1), seed=self.generator)
        low = 0.0
        plain = {"images": images, "labels": targets}
        for share, layer in ((self.mixup, self.mix_up), (self.cutmix, self.cut_mix)):
            if not share:
                continue
            mixed = layer(plain, training=True)
            chosen = ops.logical_and(drawn >= low, drawn < low + share)
            images = ops.where(chosen[:, :, None, None], mixed["images"], images)
            targets = ops.where(chosen, mixed["labels"], targets)
            low += share
        return images, targets

    def _ask_teacher(self, images):
        """What the teacher says of images: probabilities, (batch, classes)."""
        logits = ops.cast(self.teacher(images, training=False), "float32")
        if self.hard:
            return ops.one_hot(ops.argmax(logits, axis=-1), self.num_classes, dtype="float32")
        return ops.softmax(logits)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        return super().compute_loss(
            x, y_pred["targets"], y_pred["logits"], sample_weight, training=training
        )

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        return super().compute_metrics(x, y, y_pred["logits"], sample_weight)


def _copy(model):
    """A copy of a model, created in the distribution scope of the call."""
    copy = type(model).from_config(model.get_config())
    copy.set_weights(model.get_weights())
    for layer in copy._flatten_layers():
        if isinstance(layer, keras.layers.Normalization) and layer.built:
            layer.finalize_state()  # Keras' own caches what is in its weights
    return copy


def measure(model, images, labels, batch_size=250):
    """Measure a model on images as they are.

    Parameters
    ----------
    model : keras.Model
        From images to logits.
    images : numpy.ndarray
        Shape (n, height, width, channels), 0 to 255.
    labels : numpy.ndarray
        Class indices, shape (n,).
    batch_size : int
        Images per step, at most.

    Returns
    -------
    dict of float
        ``loss``, the mean cross-entropy, ``top_1`` and ``top_5``, the shares of the images whose
        class comes first, and among the first five.

    Raises
    ------
    ValueError
        When there are no images, or not one of the model's classes for each.
    """
    labels = check_labels(labels, images, model.output_shape[-1])
    if not len(labels):
        raise ValueError("There are no images to measure the model on.")
    size = _even_batch_size(len(labels), batch_size)
    return _scores(model.predict(images, size, verbose=0), labels)


def _scores(logits, labels):
    """Mean cross-entropy, and the shares whose class comes first and among the first five.

    From the answers themselves, in float64. Keras' metric compares scores that XLA may have
    computed twice, rounded differently: on a GPU its top-5 came out up to 0.3 points too low.
    """
    logits = logits.astype("float64")
    above = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(above).sum(axis=1)) - above[np.arange(len(labels)), labels]
    right = np.argsort(-logits, axis=1, kind="stable")[:, :5] == labels[:, None]
    right &= ~np.isnan(losses)[:, None]  # argsort of NaN ranks class 0 first
    found = {"loss": losses, "top_1": right[:, 0], "top_5": right.any(axis=1)}
    return {key: float(values.mean()) for key, values in found.items()}


def _plateau(recipe):
    return [
        keras.callbacks.ReduceLROnPlateau(
            "val_loss", factor=recipe.reduce_factor, patience=recipe.reduce_patience
        ),
        keras.callbacks.EarlyStopping(
            "val_loss", patience=recipe.stop_patience, restore_best_weights=recipe.restore_best
        ),
    ]


def split(dataset, recipe, seed):
    """Split a data set's training images as `run_experiment` does.

    Parameters
    ----------
    dataset : mixlib.data.Dataset
    recipe : Recipe
    seed : int

    Returns
    -------
    train, validation : tuple of numpy.ndarray
        Images, shape (n, height, width, channels), and labels, shape (n,), of either part.

    Raises
    ------
    ValueError
        When either part would be empty, or the last images have only classes that no other has.
    """
    images, labels = dataset.x_train, dataset.y_train
    # Called in any case: it refuses a fraction that leaves a part empty.
    train, validation = data.validation_split(labels, recipe.validation_fraction, seed)
    if recipe.validation == "last":
        start = len(train)
        train, validation = slice(0, start), slice(start, None)
        several = len(np.unique(labels[validation])) < len(labels[validation])  # of a class
        if several and not np.isin(labels[validation], labels[train]).any():
            raise ValueError(
                f"The recipe {recipe.name!r} validates with the last training images, and no other "
                f"image has one of their classes: those of {dataset.name} are sorted. Shuffle "
                'them, or change the recipe to validation="stratified".'
            )
    return (images[train], labels[train]), (images[validation], labels[validation])


def _check_fits(model, dataset, recipe):
    if not model.built or getattr(model, "input_shape", None) is None:
        raise ValueError(
            f"{model.name} has no known input. Give a functional model, such as one of "
            "mixlib.create, or a Sequential one that begins with keras.Input."
        )
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
    if not len(dataset.x_test):
        raise ValueError(f"{dataset.name} has no test images, which a training is measured on.")
    if recipe.augmentation.get("colour") and dataset.image_shape[-1] != 3:
        raise ValueError(
            f"The recipe {recipe.name!r} changes colours, and images of {dataset.name} have "
            f"{dataset.image_shape[-1]} channels, not 3. Take one without augmentation's colour."
        )


class _Batches(keras.utils.PyDataset):
    """Batches of the training images, in an order of their own for every epoch.

    An epoch is `steps` steps of `batch_size` images; a batch holds the images of `steps_a_call`.
    """

    def __init__(
        self,
        images,
        labels,
        batch_size,
        share,
        drop_incomplete=False,
        labels_too=False,
        steps_a_call=1,
    ):
        # With threads of its own, Keras leaves tf.data's autotuning off, which can stall the end of
        # an epoch for up to a minute (TensorFlow 2.21). On other backends these threads would fetch
        # batches before an epoch has its order (Keras 3.15).
        super().__init__(workers=2 if keras.backend.backend() == "tensorflow" else 1)
        self.images, self.labels, self.share = images, labels, share
        self.labels_too = labels_too
        self.batch_size = min(batch_size, len(labels))
        if self.batch_size % share.devices:
            raise ValueError(
                f"{share.devices} devices can't share batches of {self.batch_size} images evenly. "
                "Choose a batch_size that their number divides."
            )
        # An incomplete batch, too, must have the same number of images for every device.
        self.used = len(labels) - len(labels) % (
            self.batch_size if drop_incomplete else share.devices
        )
        self.steps = -(-self.used // self.batch_size)
        self.images_a_call = self.batch_size * steps_a_call
        self.order = np.arange(len(labels))

    def __len__(self):
        return -(-self.used // self.images_a_call)

    def __getitem__(self, index):
        end = min((index + 1) * self.images_a_call, self.used)
        rows = self.share.rows(self.order[index * self.images_a_call : end])
        images, labels = self.images[rows], self.labels[rows]
        return ({"images": images, "labels": labels} if self.labels_too else images), labels


def _even_batch_size(images, at_most, devices=1):
    """Batch size that makes all batches equal, so that a step is compiled for one shape only."""
    sizes = range(devices, min(images, at_most) + 1, devices)
    even = max((size for size in sizes if images % size == 0), default=0)
    if devices > 1 and not even:
        raise ValueError(
            f"{devices} devices can't share {images} validation images evenly. Choose a "
            "validation_fraction that makes their number a multiple."
        )
    return even if devices > 1 or 4 * even >= min(images, at_most) else at_most


class _Epochs(keras.callbacks.Callback):
    """Begins every epoch with random numbers of its own, and records its results.

    Order, augmentation and dropout follow from the seed and the number of the epoch, and not from
    the epochs before: so a resumed training continues as if it had not stopped.
    """

    def __init__(self, batches, seed, history):
        super().__init__()
        self.batches, self.seed, self.history = batches, seed, history

    def on_epoch_begin(self, epoch, logs=None):
        random = np.random.default_rng((self.seed, epoch))
        self.batches.order = random.permutation(len(self.batches.labels))
        keras.utils.set_random_seed(int(random.integers(2**31)))  # for PyTorch's dropout
        for variable in self.model.non_trainable_variables:
            if variable.name == "seed_generator_state":
                variable.assign([int(random.integers(2**31)), 0])
        self.learning_rate = float(keras.ops.convert_to_numpy(self.model.optimizer.learning_rate))
        self.start = time.perf_counter()

    def on_epoch_end(self, epoch, logs=None):
        found = {key: float(value) for key, value in logs.items()}
        found |= {"learning_rate": self.learning_rate, "seconds": time.perf_counter() - self.start}
        done = len(self.history.get("seconds", ()))
        for key in dict.fromkeys((*self.history, *found)):  # not all callbacks log at every epoch
            column = self.history.setdefault(key, [math.nan] * done)
            column.append(found.get(key, math.nan))
