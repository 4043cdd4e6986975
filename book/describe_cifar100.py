"""Measures what chapter 1 says about CIFAR-100, and writes it to ``book/cifar100.json``.

    MIXLIB_DATA_DIR=/folder/with/the/archive python book/describe_cifar100.py

It reads ``cifar100.npz`` (its format: `mixlib.data`; the labels of the superclasses must be in it)
and needs four gigabytes of memory and some minutes. CIFAR's images may not be printed; what is
written are counts, and averages of 500 images.
"""

import collections
import json
import os
import pathlib
import re

import numpy as np

from mixlib import data

TARGET = pathlib.Path(__file__).with_name("cifar100.json")
AVERAGE_SIDE = 8  # pixels of a stored class average, a side
SIDE = 16  # pixels at which near duplicates are looked for, a side
# Looked at one by one, 43 of 48 pairs drawn at random between 0.8 and 0.9 were one photograph, or
# two that take a second glance to tell apart; between 0.75 and 0.8 it was about every other pair.
THRESHOLD = 0.8
BINS = 50  # of the histogram of similarities, from 0 to 1


def describe(x_train, y_train, x_test, y_test, coarse_of, names, coarse_names):
    """All statistics of a data set.

    Parameters
    ----------
    x_train, x_test : numpy.ndarray
        uint8 images, shape (n, height, width, 3).
    y_train, y_test : numpy.ndarray
        Labels, shape (n,), indices into `names`.
    coarse_of : numpy.ndarray
        The superclass of each class, an index into `coarse_names`.
    names, coarse_names : sequence of str

    Returns
    -------
    dict
        Ready for JSON.
    """
    groups = {
        coarse: [names[label] for label in np.flatnonzero(coarse_of == index)]
        for index, coarse in enumerate(coarse_names)
    }
    averages = class_averages(x_train, y_train, len(names))
    small = np.rint(_reduce(averages, AVERAGE_SIDE)).astype(int)
    neighbour = y_train[nearest_pixels(x_test, x_train)]
    by_average, by_colour = (
        nearest_pixels(reduce(x_test), reduce(averages))
        for reduce in (lambda x: x, lambda x: x.mean(axis=(1, 2), keepdims=True))
    )
    near = near_duplicates(x_train, y_train, x_test, y_test)
    near["nearest_neighbour_right"] = int(np.sum((neighbour == y_test)[near["indices"]]))
    return {
        "train_images": len(x_train),
        "test_images": len(x_test),
        "superclasses": groups,
        "class_averages": {
            "side": AVERAGE_SIDE,
            "pixels": {name: small[label].ravel().tolist() for label, name in enumerate(names)},
        },
        "baselines": {
            "mean_colour": _score(by_colour, y_test, coarse_of),
            "class_average": _score(by_average, y_test, coarse_of),
            "nearest_neighbour": _score(neighbour, y_test, coarse_of),
        },
        "copies": copies(x_train, y_train, x_test, y_test, names),
        "near_duplicates": near,
    }


def class_averages(images, labels, num_classes):
    """Average image of each class, shape (classes, height, width, channels)."""
    return np.stack([images[labels == label].mean(axis=0) for label in range(num_classes)])


def copies(x_train, y_train, x_test, y_test, names):
    """Count images that are equal to the last byte, and those of them with different labels."""
    places = collections.defaultdict(lambda: ([], []))
    for part, (images, labels) in enumerate([(x_train, y_train), (x_test, y_test)]):
        for image, label in zip(images, labels, strict=True):
            places[image.tobytes()][part].append(int(label))

    def within(part):
        groups = [found[part] for found in places.values() if len(found[part]) > 1]
        return {
            "groups": len(groups),
            "images": sum(len(group) for group in groups),
            "groups_with_different_labels": sum(len(set(group)) > 1 for group in groups),
        }

    both = [(train, test) for train, test in places.values() if train and test]
    mirrored = [image[:, ::-1].tobytes() for image in x_test]
    all_labels = [tuple(sorted({*train, *test})) for train, test in places.values()]
    different = collections.Counter(labels for labels in all_labels if len(labels) > 1)
    return {
        "within_train": within(0),
        "within_test": within(1),
        "test_images_in_train": {
            "images": sum(len(test) for _, test in both),
            "with_another_label": sum(label not in train for train, test in both for label in test),
            "mirrored": sum(bool(places[pixels][0]) for pixels in mirrored if pixels in places),
        },
        "groups_by_labels": [
            {"labels": [names[label] for label in labels], "groups": count}
            for labels, count in sorted(different.items(), key=lambda item: (-item[1], item[0]))
        ],
    }


def near_duplicates(x_train, y_train, x_test, y_test):
    """Find test images with a training image so similar that it may be the same photograph.

    Each test image is compared with all training images, as it is and mirrored: see `features`.
    What is similar by chance shows in a control: the test images upside down.
    """
    train = features(x_train)
    upright = _most_similar([x_test, x_test[:, :, ::-1]], train, x_train)
    control, _, _ = _most_similar([x_test[:, ::-1], x_test[:, ::-1, ::-1]], train, x_train)
    similarity, index, was_mirrored = upright
    near = similarity >= THRESHOLD
    edges = np.arange(BINS + 1) / BINS
    return {
        "side": SIDE,
        "threshold": THRESHOLD,
        "test_images": int(near.sum()),
        "mirrored": int(was_mirrored[near].sum()),
        "same_class": int((y_train[index] == y_test)[near].sum()),
        "upside_down": int((control >= THRESHOLD).sum()),
        "histogram": {
            "bins": BINS,
            "test": np.histogram(similarity, edges)[0].tolist(),
            "upside_down": np.histogram(control, edges)[0].tolist(),
        },
        "indices": np.flatnonzero(near).tolist(),
    }


def features(images):
    """Vectors of length 1 whose inner product says how similar two images are, 1 at most.

    It is the mean of two correlations, both at 16 x 16 pixels: that of the images, which sees large
    areas, and that of their details. A detail is a pixel's difference from the mean around it, in
    units of how much the pixels around it differ: a faint texture counts like a strong edge.
    """
    return np.concatenate([_features(images[i : i + 1000]) for i in range(0, len(images), 1000)])


def _features(images):
    whole = _reduce(images, SIDE).astype("float32")
    details = whole - _around(whole)
    details /= np.sqrt(_around(np.mean(details**2, axis=-1, keepdims=True))) + 5  # grey levels
    parts = []
    for part in (whole, details):
        vectors = part.reshape(len(images), -1)
        vectors = vectors - vectors.mean(axis=1, keepdims=True)
        parts.append(vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-6))
    return np.concatenate(parts, axis=1) / np.float32(np.sqrt(2))


def _around(images):
    """Mean of the 3 x 3 pixels around each, mirrored at the margins."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
    height, width = images.shape[1:3]
    parts = [padded[:, y : y + height, x : x + width] for y in range(3) for x in range(3)]
    return sum(parts) / np.float32(9)


def _reduce(images, side):
    """Images of side x side pixels, by averages of blocks."""
    n, height, width, channels = images.shape
    blocks = images.reshape(n, side, height // side, side, width // side, channels)
    return blocks.mean(axis=(2, 4))


def _most_similar(versions, train, x_train):
    """Similarity and index of the most similar training image, over versions of the same images."""
    found = []
    for images in versions:
        vectors = features(images)
        index = np.concatenate(
            [(vectors[i : i + 500] @ train.T).argmax(axis=1) for i in range(0, len(images), 500)]
        )
        # Once more in double precision, so that no count depends on a library's rounding.
        pairs = zip(np.array_split(vectors, 20), np.array_split(index, 20), strict=True)
        similarity = [
            np.sum(part.astype("float64") * train[chosen], axis=1) for part, chosen in pairs
        ]
        found.append((np.concatenate(similarity).clip(0, 1).round(6), index))
    (similarity, index), (mirrored, mirrored_index) = found
    better = mirrored > similarity
    return (
        np.where(better, mirrored, similarity),
        np.where(better, mirrored_index, index),
        better,
    )


def nearest_pixels(images, references):
    """Index of the reference with the least squared distance, in all pixels; the first of equals.

    Sums of squares of bytes are whole numbers, which float64 adds without rounding.
    """
    references = references.reshape(len(references), -1).astype("float64")
    squares = np.sum(references**2, axis=1) / 2
    nearest = []
    for i in range(0, len(images), 500):
        part = images[i : i + 500]
        part = part.reshape(len(part), -1).astype("float64")
        nearest.append((squares - part @ references.T).argmin(axis=1))
    return np.concatenate(nearest)


def _score(predicted, labels, coarse_of):
    """How many test images of each class are right, and of how many the superclass is right."""
    right = np.bincount(labels[predicted == labels], minlength=len(coarse_of))
    return {
        "right": int(right.sum()),
        "right_superclass": int(np.sum(coarse_of[predicted] == coarse_of[labels])),
        "right_of_each_class": right.tolist(),
    }


def read_coarse(archive):
    """Read the superclass of each class, and the superclasses' names, from an open archive."""
    fine, coarse = archive["y_train"].ravel(), archive["y_train_coarse"].ravel()
    pairs = np.unique(np.stack([fine, coarse], axis=1), axis=0)
    if len(pairs) != len(np.unique(fine)):
        raise ValueError("A class has images of several superclasses. The archive is damaged.")
    names = [str(name).replace("_", " ") for name in archive["coarse_names"]]
    return pairs[:, 1].astype(int), names


def write(statistics, path):
    """Write JSON with a line for each list of plain values."""
    text = json.dumps(statistics, indent=1)
    plain = re.compile(r"\[[^\[\]{}]*\]")
    path.write_text(plain.sub(lambda found: json.dumps(json.loads(found[0])), text) + "\n")


def main():
    folder = os.environ.get("MIXLIB_DATA_DIR")
    if not folder:
        raise SystemExit("MIXLIB_DATA_DIR is not set. Set it to the folder of cifar100.npz.")
    dataset = data.load("cifar100")
    with np.load(pathlib.Path(folder) / "cifar100.npz") as archive:
        coarse_of, coarse_names = read_coarse(archive)
    arrays = dataset.x_train, dataset.y_train, dataset.x_test, dataset.y_test
    found = describe(*arrays, coarse_of, dataset.class_names, coarse_names)
    write({"dataset": dataset.name, "sha256": dataset.checksum()} | found, TARGET)
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
