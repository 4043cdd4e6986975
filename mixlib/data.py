"""Data sets: small colour images as uint8 arrays, with integer labels and class names.

``cifar100`` and ``cifar10`` are read from ``$MIXLIB_DATA_DIR/<name>.npz`` where that file exists,
else through ``keras.datasets``, which downloads them once. ``cifar100`` comes in one order, that of
the runs that the book quotes, however it was stored. ``shapes`` is generated on the spot and needs
no network. `from_folder` reads images of your own.
"""

import dataclasses
import hashlib
import os
import pathlib
import struct
import unicodedata
import zipfile
import zlib

import keras
import numpy as np

from mixlib.checks import check_labels, check_whole, height_and_width

CIFAR10_CLASSES = "airplane automobile bird cat deer dog frog horse ship truck".split()

CIFAR100_CLASSES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly
camel can castle caterpillar cattle chair chimpanzee clock cloud cockroach couch crab crocodile cup
dinosaur dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard lamp lawn_mower
leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray
road rocket rose sea seal shark shrew skunk skyscraper snail snake spider squirrel streetcar
sunflower sweet_pepper table tank telephone television tiger tractor train trout tulip turtle
wardrobe whale willow_tree wolf woman worm
""".split()

SHAPE_COLOURS = {
    "red": (214, 58, 48),
    "yellow": (230, 194, 34),
    "green": (46, 158, 84),
    "blue": (42, 104, 206),
    "violet": (152, 70, 190),
}
SHAPE_FORMS = ("disc", "square", "triangle", "ring", "cross")
SHAPE_PLACES = ("top left", "top right", "bottom left", "bottom right")
SHAPE_CLASSES = [
    f"{colour} {form}, {place}"
    for colour in SHAPE_COLOURS
    for form in SHAPE_FORMS
    for place in SHAPE_PLACES
]

# From a part of CIFAR-100 to the places of its images, in the order of the book's runs, among all
# of that part as they come when sorted by their bytes.
CIFAR100_ORDER = pathlib.Path(__file__).with_name("cifar100_order.npz")

IMAGE_ENDINGS = {".bmp", ".gif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp"}


@dataclasses.dataclass(frozen=True, eq=False)
class Dataset:
    """Images with labels, in a training and a test part.

    Parameters
    ----------
    name : str
        What the data set is called.
    x_train, x_test : numpy.ndarray
        uint8 images of shape (n, height, width, channels), 0 to 255.
    y_train, y_test : numpy.ndarray
        Integer labels of shape (n,), each an index into `class_names`.
    class_names : tuple of str
    files_train, files_test : tuple of pathlib.Path
        Where each image was read from; empty where it was not a file of its own.

    Raises
    ------
    ValueError
        When an array has another type or shape, a label is out of range, or the files are not one
        per image.
    """

    name: str
    x_train: np.ndarray
    y_train: np.ndarray
    x_test: np.ndarray
    y_test: np.ndarray
    class_names: tuple[str, ...]
    files_train: tuple[pathlib.Path, ...] = dataclasses.field(default=(), repr=False)
    files_test: tuple[pathlib.Path, ...] = dataclasses.field(default=(), repr=False)

    def __post_init__(self):
        for part in ("train", "test"):
            images, labels = getattr(self, f"x_{part}"), getattr(self, f"y_{part}")
            for name, array in ((f"x_{part}", images), (f"y_{part}", labels)):
                if not isinstance(array, np.ndarray):
                    raise ValueError(
                        f"{self.name}: {name} must be a NumPy array; got {type(array).__name__}."
                    )
            if images.dtype != np.uint8 or images.ndim != 4:
                raise ValueError(
                    f"{self.name}: x_{part} must be uint8 images of shape (n, height, width, "
                    f"channels), but it is {images.dtype} of shape {images.shape}."
                )
            check_labels(labels, images, self.num_classes, f"{self.name}: y_{part}")
            files = getattr(self, f"files_{part}")
            if files and len(files) != len(images):
                raise ValueError(
                    f"{self.name}: files_{part} must name a file for each of the {len(images)} "
                    f"images of x_{part}, or none; it names {len(files)}."
                )
        if self.x_train.shape[1:] != self.x_test.shape[1:]:
            raise ValueError(
                f"{self.name}: training images have shape {self.x_train.shape[1:]}, test images "
                f"{self.x_test.shape[1:]}; they must agree."
            )

    @property
    def num_classes(self):
        """Number of classes."""
        return len(self.class_names)

    @property
    def image_shape(self):
        """Shape of one image, (height, width, channels)."""
        return self.x_train.shape[1:]

    def checksum(self):
        """SHA-256 of all images and labels, in their order."""
        digest = hashlib.sha256()
        for array in (self.x_train, self.y_train, self.x_test, self.y_test):
            kind = np.uint8 if array.dtype == np.uint8 and array.ndim == 4 else "<i8"
            digest.update(str(array.shape).encode())
            digest.update(np.ascontiguousarray(array, dtype=kind).tobytes())
        return digest.hexdigest()


def load(name, train_size=None, test_size=None, seed=0) -> Dataset:
    """Load a data set, or a class-balanced part of it.

    Parameters
    ----------
    name : {"cifar100", "cifar10", "shapes"}
    train_size, test_size : int, optional
        How many images to take, sampled evenly from the classes. A smaller part is contained in a
        larger one of the same seed, and the training part begins with the images that
        `validation_split` with that seed would hold out from all. Default: all; for ``shapes``
        10,000 and 2,000. Of these any number can be generated, and each number gives other images.
    seed : int
        Chooses the part; for ``shapes``, the images.

    Raises
    ------
    ValueError
        For an unknown name, an impossible size, or an archive that is damaged or incomplete.
    FileNotFoundError
        When there is neither an archive nor a network; the message names both ways out.
    """
    if name not in DATASETS:
        raise ValueError(f"Unknown data set {name!r}. Expected one of: {', '.join(DATASETS)}.")
    for label, size in (("train_size", train_size), ("test_size", test_size)):
        if size is not None:
            check_whole(label, size)
    if name == "shapes":
        x_train, y_train = draw_shapes(train_size or 10_000, seed=(seed, 0))
        x_test, y_test = draw_shapes(test_size or 2_000, seed=(seed, 1))
        return Dataset(name, x_train, y_train, x_test, y_test, tuple(SHAPE_CLASSES))
    arrays, class_names = _read(name)
    if name == "cifar100":
        arrays |= _in_order(arrays)
    parts = {}
    for part, size in (("train", train_size), ("test", test_size)):
        images, labels = arrays[f"x_{part}"], np.asarray(arrays[f"y_{part}"]).reshape(-1)
        if size is not None and size > len(labels):
            raise ValueError(
                f"{part}_size is {size}, but {name} has {len(labels)} {part} images. Ask for fewer."
            )
        if size is not None:
            chosen = _stratified_order(labels, seed)[:size]
            images, labels = images[chosen], labels[chosen]
        parts |= {f"x_{part}": images, f"y_{part}": labels}
    return Dataset(name=name, class_names=tuple(class_names), **parts)


def from_folder(folder, image_size=32, test_fraction=0.2, seed=0):
    """Read a folder of images, one subfolder per class, and hold out a test part.

    Subfolders and files whose name begins with a dot are skipped, and so are files without one of
    the extensions in `IMAGE_ENDINGS`. All images are held in memory, in one size: see `read_image`.

    Parameters
    ----------
    folder : str or pathlib.Path
        Each of its subfolders holds the images of one class and is named after it.
    image_size : int or tuple of int
        Height and width that the images are resized to, in pixels.
    test_fraction : float
        Share of the images of every class that is held out for the test, between 0 and 1.
    seed : int
        Chooses the test images, and the order of all.

    Returns
    -------
    Dataset
        Named after the folder; the classes in alphabetical order, the images in random order.

    Raises
    ------
    NotADirectoryError
        When there is no such folder.
    ValueError
        When there are fewer than two classes, a class has no images or too few for both parts, or
        has images both directly and in subfolders, or files are damaged; the message names them.
    """
    folder = pathlib.Path(folder).expanduser()
    if not folder.is_dir():
        raise NotADirectoryError(f"There is no folder {folder}. Expected one subfolder a class.")
    image_size = height_and_width(image_size)
    files = _files_by_class(folder)
    labels = np.repeat(np.arange(len(files)), [len(paths) for paths in files.values()])
    paths = [path for paths in files.values() for path in paths]
    images, damaged = [], {}
    for path in paths:
        try:
            images.append(read_image(path, image_size))
        except ValueError as error:
            damaged[str(path.relative_to(folder))] = error
    if damaged:
        more = f" and {len(damaged) - 5} more" if len(damaged) > 5 else ""
        raise ValueError(
            f"{len(damaged)} of the {len(paths)} images in {folder} cannot be read: "
            f"{', '.join(list(damaged)[:5])}{more}. Replace or remove them. About the first: "
            f"{next(iter(damaged.values()))}"
        )
    random = np.random.RandomState(seed)
    parts = [random.permutation(part) for part in validation_split(labels, test_fraction, seed)]
    for name, part in zip(("training", "test"), parts, strict=True):
        counts = np.bincount(labels[part], minlength=len(files))
        if not counts.all():
            few = list(files)[int(counts.argmin())]
            raise ValueError(
                f"Class {few!r} in {folder} has {len(files[few])} images. With test_fraction="
                f"{test_fraction} the {name} part gets none of them. Add images, or change the "
                "fraction."
            )
    images = np.stack(images)
    (x_train, x_test), (y_train, y_test) = ([a[part] for part in parts] for a in (images, labels))
    files_train, files_test = (tuple(paths[index] for index in part) for part in parts)
    name = folder.resolve().name
    return Dataset(name, x_train, y_train, x_test, y_test, tuple(files), files_train, files_test)


# What Pillow raises for damaged files; the last two for Exif tags of wrong types.
_DAMAGE = OSError, SyntaxError, ValueError, TypeError, struct.error


def read_image(path, image_size):
    """Read an image file as a model is to see it: upright, centre-cropped, resized, in RGB.

    The picture is rotated as its Exif orientation says, centre-cropped to the aspect ratio of
    `image_size`, and resized with an antialiasing filter (Lanczos). Transparency is dropped.

    Parameters
    ----------
    path : str or pathlib.Path
        A file in a format that Pillow reads.
    image_size : int or tuple of int
        Height and width to resize it to, in pixels.

    Returns
    -------
    numpy.ndarray
        uint8, shape (height, width, 3), red, green and blue from 0 to 255.

    Raises
    ------
    FileNotFoundError
        When there is no such file.
    ValueError
        When the file is damaged, is no image, or is grey with more than 8 bits per pixel.
    """
    from PIL import Image, ImageOps  # here, since training needs no image files

    height, width = height_and_width(image_size)
    try:
        with Image.open(path) as picture:
            if picture.mode[0] in "IF":  # Pillow would cut these off at 255
                raise ValueError(f"its pixels are of type {picture.mode}, not of 8 bits a channel")
            picture = ImageOps.exif_transpose(picture).convert("RGB")
    except FileNotFoundError:
        raise
    except (*_DAMAGE, Image.DecompressionBombError) as error:
        raise ValueError(f"{path} cannot be read as an image ({error}).") from error
    return np.asarray(ImageOps.fit(picture, (width, height), Image.Resampling.LANCZOS))


def _files_by_class(folder):
    """From the name of each class, in alphabetical order, to its image files."""

    def by_name(path):  # in one order: Windows sorts paths by other rules, and a Mac splits accents
        return unicodedata.normalize("NFC", path.name)

    def images_in(place):
        found = (path for path in place.iterdir() if path.suffix.lower() in IMAGE_ENDINGS)
        found = (path for path in found if path.is_file() and path.name[0] != ".")
        return sorted(found, key=by_name)

    places = (path for path in folder.iterdir() if path.is_dir() and path.name[0] != ".")
    files = {place.name: images_in(place) for place in sorted(places, key=by_name)}
    if len(files) < 2:
        loose = len(images_in(folder))
        raise ValueError(
            f"{folder} must have a subfolder for each class, two or more, but it has "
            f"{len(files)} ({', '.join(files) or 'none'})"
            + (f" and {loose} images beside them. Move each" if loose else ". Put each image")
            + " into the subfolder of its class."
        )
    for name, paths in files.items():
        inner = sorted(path for path in (folder / name).iterdir() if path.is_dir())
        lost = [path.name for path in inner if path.name[0] != "." and images_in(path)]
        if paths and lost:
            raise ValueError(
                f"{folder / name} holds images, and so do folders in it ({', '.join(lost)}), which "
                "are not read. Move these images up, or begin the folder's name with a dot."
            )
        if not paths:
            raise ValueError(
                f"{folder / name} should hold the images of class {name!r}, but has none "
                f"(looked for {', '.join(sorted(IMAGE_ENDINGS))}). "
                + (
                    "It has subfolders: are those the classes? Then give this folder instead."
                    if inner
                    else "Add images, or remove the subfolder."
                )
            )
    return files


def validation_split(labels, fraction=0.1, seed=0):
    """Choose a stratified validation part: every class gives the same share of its images.

    Parameters
    ----------
    labels : numpy.ndarray
        Integer labels, shape (n,).
    fraction : float
        Share of the images that go to validation, between 0 and 1.
    seed : int

    Returns
    -------
    train_indices, validation_indices : numpy.ndarray
        Together every index once, each in ascending order.

    Raises
    ------
    ValueError
        When either part would be empty, or the labels are not whole numbers, one an image.
    """
    labels = check_labels(labels)
    size = round(fraction * len(labels)) if 0 < fraction < 1 else 0
    if not 0 < size < len(labels):
        raise ValueError(
            f"A fraction of {fraction} of {len(labels)} images leaves a part empty. "
            "Choose a fraction between 0 and 1, or more images."
        )
    order = _stratified_order(labels, seed)
    return np.sort(order[size:]), np.sort(order[:size])


def _stratified_order(labels, seed):
    """Order the indices at random, but so that every prefix holds the classes in proportion."""
    random = np.random.RandomState(seed)
    shuffled = random.permutation(len(labels))
    grouped = shuffled[np.argsort(labels[shuffled], kind="stable")]  # class by class
    counts = np.bincount(labels)
    starts = np.cumsum(counts) - counts
    rank = np.empty(len(labels), int)  # each image's place among those of its class
    rank[grouped] = np.arange(len(labels)) - np.repeat(starts, counts)
    share = (rank + 0.5) / counts[labels]
    return np.lexsort((random.permutation(len(labels)), share))


def _read(name):
    """Return the four arrays of a CIFAR data set and its class names."""
    keras_dataset, class_names = DATASETS[name]
    folder = os.environ.get("MIXLIB_DATA_DIR")
    path = pathlib.Path(folder or ".").expanduser() / f"{name}.npz"
    if folder and path.exists():
        return _read_archive(path, class_names)
    try:
        (x_train, y_train), (x_test, y_test) = keras_dataset.load_data()
    except Exception as error:  # Keras raises a bare Exception when a download fails.
        looked = f"{path} does not exist" if folder else "MIXLIB_DATA_DIR is not set"
        raise FileNotFoundError(
            f"{name} could not be loaded: {looked}, and the download through keras.datasets failed "
            f"({error}). Either put {name}.npz in a folder and set MIXLIB_DATA_DIR to that folder, "
            'or connect to the network. The data set "shapes" needs neither.'
        ) from error
    if keras.config.image_data_format() == "channels_first":  # then Keras gives them so
        x_train, x_test = (np.moveaxis(images, 1, -1) for images in (x_train, x_test))
    arrays = {"x_train": x_train, "y_train": y_train, "x_test": x_test, "y_test": y_test}
    return arrays, class_names


def _read_archive(path, class_names):
    try:
        with np.load(path, allow_pickle=False) as archive:
            arrays = dict(archive)
    except (OSError, ValueError, TypeError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise ValueError(
            f"{path} is damaged and cannot be read ({error}). Replace it with a complete archive."
        ) from error
    required = ("x_train", "y_train", "x_test", "y_test")
    missing = [key for key in required if key not in arrays]
    if missing:
        raise ValueError(
            f"{path} is incomplete: it lacks {', '.join(missing)}. Expected {', '.join(required)}."
        )
    return arrays, np.asarray(arrays.get("fine_names", class_names), str).tolist()


def _in_order(arrays):
    """The parts that are whole, in the order of the book's runs, on which splits and parts depend.

    Keras' archive has another one.
    """
    ordered = {}
    with np.load(CIFAR100_ORDER) as orders:
        for part, order in orders.items():
            images, labels = arrays[f"x_{part}"], np.ravel(arrays[f"y_{part}"])
            if len(images) == len(labels) == len(order):
                pairs = zip(images, labels, strict=True)
                keys = [(image.tobytes(), label) for image, label in pairs]
                places = np.array(sorted(range(len(keys)), key=keys.__getitem__))[order]
                ordered |= {f"x_{part}": images[places], f"y_{part}": labels[places]}
    return ordered


def draw_shapes(size, seed=0):
    """Draw images of one coloured shape in one quarter of the picture.

    The 100 classes are 5 colours x 5 forms x 4 places. Position and size within the quarter, the
    tint, the background and the noise vary. Shifting an image by half its side, across or down
    (with wrap-around), gives an equally likely image of another class, so a model that cannot tell
    places apart is right at most one time in four.

    Parameters
    ----------
    size : int
        Number of images; the classes are as even as this number allows.
    seed : int or sequence of int

    Returns
    -------
    images : numpy.ndarray
        uint8, shape (size, 32, 32, 3).
    labels : numpy.ndarray
        int64, shape (size,), indices into `SHAPE_CLASSES`.
    """
    # RandomState's streams are frozen (NEP 19) and all arithmetic is on integers, so that the same
    # seed draws the same pixels on every platform and with every version of NumPy.
    random = np.random.RandomState(seed)
    labels = random.permutation(size).astype(np.int64) % len(SHAPE_CLASSES)
    colour, form, place = labels // 20, labels // 4 % 5, labels % 4

    def draw(low, high, *shape):
        return random.randint(low, high, (size, *shape), dtype=np.int32)

    # A quarter is 16 pixels wide. In quarters of a pixel, the centres of its 2x2-supersampled
    # points lie at 1, 3, ..., 63.
    radius = draw(20, 29)
    centre_y, centre_x = (radius + draw(0, 2**16) % (65 - 2 * radius) for _ in range(2))
    points = np.arange(1, 64, 2, dtype=np.int32)
    foreground = np.array(list(SHAPE_COLOURS.values()), np.int32)[colour] + draw(-22, 23, 3)
    background = draw(70, 186, 1) + draw(-16, 17, 3)
    noise = draw(-14, 15, 32, 32, 3)

    images = np.empty((size, 32, 32, 3), np.uint8)
    for start in range(0, size, 1000):  # in parts, to bound the memory
        part = slice(start, start + 1000)
        dy = (points - centre_y[part, None])[:, :, None]
        dx = (points - centre_x[part, None])[:, None, :]
        inside = _inside(form[part, None, None], dy, dx, radius[part, None, None])
        # (part, 32, 32) points -> (part, 16, 16) pixels, each covered by 0 to 4 points
        coverage = inside.reshape(-1, 16, 2, 16, 2).sum(axis=(2, 4), dtype=np.int32)
        quarters = np.zeros((len(coverage), 2, 16, 2, 16), np.int32)
        index = np.arange(len(coverage))
        quarters[index, place[part] // 2, :, place[part] % 2] = coverage
        coverage = quarters.reshape(-1, 32, 32, 1)
        drawn = foreground[part, None, None] * coverage
        drawn += background[part, None, None] * (4 - coverage)
        images[part] = np.clip(drawn // 4 + noise[part], 0, 255)
    return images, labels


def _inside(form, dy, dx, radius):
    """Whether points at (dy, dx) from the centre lie inside the form of that index."""
    across, along = np.abs(dx), np.abs(dy)
    squared = dx * dx + dy * dy
    nearer, farther = np.minimum(across, along), np.maximum(across, along)
    return np.choose(
        form,
        [
            squared <= radius**2,  # disc
            20 * farther <= 17 * radius,  # square
            (7 * across <= 4 * (dy + radius)) & (4 * dy <= 3 * radius),  # triangle
            (squared <= radius**2) & (25 * squared >= 9 * radius**2),  # ring
            (farther <= radius) & (3 * nearer <= radius),  # cross
        ],
    )


DATASETS = {
    "cifar100": (keras.datasets.cifar100, CIFAR100_CLASSES),
    "cifar10": (keras.datasets.cifar10, CIFAR10_CLASSES),
    "shapes": (None, SHAPE_CLASSES),
}
