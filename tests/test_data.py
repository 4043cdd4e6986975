"""Data sets: reading, choosing parts, drawing, and what is refused."""

import dataclasses
import functools
import hashlib
import pathlib
import shutil
import unicodedata

import keras
import numpy as np
import pytest
from PIL import Image

import mixlib
from mixlib import data


@pytest.fixture
def archive(tmp_path, monkeypatch):
    """A small cifar100.npz in $MIXLIB_DATA_DIR: 3 images a class to train with, 1 to test."""
    random = np.random.default_rng(0)
    arrays = {
        "x_train": random.integers(0, 256, (300, 32, 32, 3)).astype("uint8"),
        "y_train": np.repeat(np.arange(100), 3)[:, None],
        "x_test": random.integers(0, 256, (100, 32, 32, 3)).astype("uint8"),
        "y_test": np.arange(100)[:, None],
    }
    monkeypatch.setenv("MIXLIB_DATA_DIR", str(tmp_path))

    def write(**changes):
        kept = {key: value for key, value in (arrays | changes).items() if value is not None}
        np.savez(tmp_path / "cifar100.npz", **kept)
        return arrays | changes

    write.path = tmp_path / "cifar100.npz"
    write()
    return write


def test_reads_the_archive(archive):
    arrays = archive()
    dataset = data.load("cifar100")
    np.testing.assert_array_equal(dataset.x_train, arrays["x_train"])
    np.testing.assert_array_equal(dataset.y_test, np.arange(100))
    assert dataset.y_train.shape == (300,)
    assert dataset.image_shape == (32, 32, 3)
    assert dataset.class_names[0] == "apple" and dataset.class_names[99] == "worm"


def test_class_names_of_the_archive_win(archive):
    archive(fine_names=np.array([f"class {index}" for index in range(100)]))
    assert data.load("cifar100").class_names[7] == "class 7"
    archive(fine_names=np.array([f"class {index}".encode() for index in range(100)]))
    assert data.load("cifar100").class_names[7] == "class 7"


def test_there_are_as_many_names_as_classes():
    assert len(set(data.CIFAR100_CLASSES)) == len(set(data.SHAPE_CLASSES)) == 100
    assert len(set(data.CIFAR10_CLASSES)) == 10
    assert sorted(data.CIFAR100_CLASSES) == data.CIFAR100_CLASSES


def test_a_part_is_balanced_and_within_a_larger_one(archive):
    small, large = data.load("cifar100", train_size=100), data.load("cifar100", train_size=200)
    assert np.bincount(small.y_train).tolist() == [1] * 100
    assert np.bincount(large.y_train).tolist() == [2] * 100
    inside = {image.tobytes() for image in large.x_train}
    assert all(image.tobytes() in inside for image in small.x_train)


def test_a_part_follows_the_seed(archive):
    first, same = data.load("cifar100", 150, 50, seed=1), data.load("cifar100", 150, 50, seed=1)
    other = data.load("cifar100", 150, 50, seed=2)
    assert first.checksum() == same.checksum() != other.checksum()
    assert not np.array_equal(first.x_test, other.x_test)


def test_labels_stay_with_their_images(archive):
    arrays = archive()
    label_of = dict(zip(map(bytes, arrays["x_train"]), arrays["y_train"].ravel(), strict=True))
    part = data.load("cifar100", train_size=120)
    assert [label_of[bytes(image)] for image in part.x_train] == part.y_train.tolist()


def test_a_part_begins_with_what_a_split_of_that_seed_sets_aside(archive):
    """So the validation images of a training on all images are in every larger part of its seed."""
    archive()
    whole = data.load("cifar100")
    _, validation = data.validation_split(whole.y_train, 0.1, seed=3)
    part = data.load("cifar100", train_size=len(validation), seed=3)
    aside = whole.x_train[validation]
    assert sorted(map(bytes, part.x_train)) == sorted(map(bytes, aside))


@pytest.mark.parametrize("shape", [(10, 32, 32, 3), (10, 3, 32, 32)])
def test_without_an_archive_keras_is_asked(monkeypatch, tmp_path, shape):
    monkeypatch.setenv("MIXLIB_DATA_DIR", str(tmp_path))  # which is empty
    if shape[1] == 3:  # Keras gives images as its setting says
        monkeypatch.setattr(keras.config, "image_data_format", lambda: "channels_first")
    images = np.zeros(shape, "uint8")
    labels = np.arange(10)[:, None]
    parts = (images, labels), (images, labels)
    monkeypatch.setattr(keras.datasets.cifar10, "load_data", lambda: parts)
    dataset = data.load("cifar10")
    assert dataset.image_shape == (32, 32, 3)
    assert dataset.y_train.tolist() == list(range(10))
    assert dataset.class_names[3] == "cat"


class TestOrder:
    """CIFAR-100 is the same data set, in the same order, however its archive is sorted."""

    def test_of_any_archive_is_that_of_the_books_runs(self, archive, monkeypatch, tmp_path):
        arrays = archive()
        arrays["x_test"][7] = arrays["x_test"][3]  # one picture under two labels
        numbers = {}
        for part in ("train", "test"):
            keys = [image.tobytes() for image in arrays[f"x_{part}"]]
            numbers[part] = np.argsort(np.argsort(keys, kind="stable")).astype("uint16")
        np.savez(tmp_path / "order.npz", **numbers)
        monkeypatch.setattr(data, "CIFAR100_ORDER", tmp_path / "order.npz")
        archive(**arrays)
        dataset = data.load("cifar100")
        np.testing.assert_array_equal(dataset.x_train, arrays["x_train"])
        np.testing.assert_array_equal(dataset.y_test, np.arange(100))

        random = np.random.default_rng(1)
        for part, size in (("train", 300), ("test", 100)):
            order = random.permutation(size)
            for key in (f"x_{part}", f"y_{part}"):
                arrays[key] = arrays[key][order]
        archive(**arrays)
        assert data.load("cifar100").checksum() == dataset.checksum()
        monkeypatch.delenv("MIXLIB_DATA_DIR")
        parts = [(arrays[f"x_{part}"], arrays[f"y_{part}"]) for part in ("train", "test")]
        monkeypatch.setattr(keras.datasets.cifar100, "load_data", lambda: parts)
        assert data.load("cifar100").checksum() == dataset.checksum()
        assert data.load("cifar100", 200).checksum() != dataset.checksum()

    def test_is_stored_for_all_images(self):
        with np.load(data.CIFAR100_ORDER) as orders:
            orders = dict(orders)
        assert {part: len(order) for part, order in orders.items()} == {
            "train": 50000,
            "test": 10000,
        }
        for order in orders.values():
            assert (np.sort(order) == np.arange(len(order))).all()


@pytest.mark.parametrize(
    "folder, looked",
    [("", "MIXLIB_DATA_DIR is not set"), ("nowhere", r"nowhere.cifar100\.npz does not exist")],
)
def test_neither_archive_nor_network(monkeypatch, folder, looked):
    def fail():
        raise Exception("URL fetch failure")

    monkeypatch.setenv("MIXLIB_DATA_DIR", folder)
    monkeypatch.setattr(keras.datasets.cifar100, "load_data", fail)
    ways_out = r"set MIXLIB_DATA_DIR .* connect to the network"
    with pytest.raises(FileNotFoundError, match=f"{looked}, and .*{ways_out}"):
        data.load("cifar100")


def test_a_damaged_archive(archive):
    archive.path.write_bytes(archive.path.read_bytes()[:1000])
    with pytest.raises(ValueError, match=r"cifar100\.npz is damaged"):
        data.load("cifar100")
    archive.path.write_bytes(b"not an archive")
    with pytest.raises(ValueError, match="damaged"):
        data.load("cifar100")


def test_an_archive_with_a_damaged_array(archive):
    content = bytearray(archive.path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    archive.path.write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        data.load("cifar100")


def test_an_incomplete_archive(archive):
    archive(y_test=None)
    with pytest.raises(ValueError, match=r"incomplete: it lacks y_test"):
        data.load("cifar100")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"y_train": np.full((300, 1), 100)}, "cifar100: y_train must be .* from 0 to 99"),
        ({"y_test": np.full((100, 1), -1)}, "cifar100: y_test must be .* from 0 to 99"),
        ({"y_test": np.zeros((99, 1), int)}, "y_test must be a whole number for each of 100"),
        ({"y_test": np.zeros((100, 1))}, "y_test must be a whole number for each of 100"),
        ({"x_train": np.zeros((300, 32, 32, 3))}, "x_train must be uint8 images"),
        ({"x_train": np.zeros((300, 32, 32), "uint8")}, "x_train must be uint8 images"),
        ({"x_test": np.zeros((100, 28, 28, 3), "uint8")}, "they must agree"),
    ],
)
def test_arrays_that_do_not_fit(archive, changes, message):
    archive(**changes)
    with pytest.raises(ValueError, match=message):
        data.load("cifar100")


def test_a_dataset_is_of_arrays():
    x, y = np.zeros((4, 8, 8, 3), "uint8"), np.array([0, 1, 0, 1])
    with pytest.raises(ValueError, match="few: y_train must be a NumPy array; got list"):
        data.Dataset("few", x, [0, 1, 0, 1], x, y, ("a", "b"))


def test_a_dataset_equals_itself_only():
    one, other = (data.load("shapes", 20, 10) for _ in range(2))
    assert one == one and one != other and len({one, other}) == 2


def test_unknown_name():
    with pytest.raises(ValueError, match="'mnist'. Expected one of: cifar100, cifar10, shapes"):
        data.load("mnist")


@pytest.mark.parametrize("size", [0, -1, 1.5, "10"])
def test_impossible_size(size):
    with pytest.raises(ValueError, match="train_size must be a whole number, 1 or more"):
        data.load("shapes", train_size=size)


def test_more_than_there_is(archive):
    with pytest.raises(ValueError, match="train_size is 301, but cifar100 has 300"):
        data.load("cifar100", train_size=301)


def test_a_dataset_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.load("shapes", 10, 10).name = "other"


def test_checksum_sees_every_part():
    dataset = data.load("shapes", 20, 20)
    seen = {dataset.checksum()}
    for part in ("x_train", "y_train", "x_test", "y_test"):
        changed = getattr(dataset, part).copy()
        changed.flat[0] = (changed.flat[0] + 1) % 100
        seen.add(dataclasses.replace(dataset, **{part: changed}).checksum())
    assert len(seen) == 5


SHAPES_SHA256 = "ee0b51dfb17827f49ed587eea10b9146cea1d05493805306b7226483cfdc5bc4"


class TestValidationSplit:
    labels = np.repeat(np.arange(10), 50)

    def test_every_image_once(self):
        train, validation = data.validation_split(self.labels, 0.1)
        assert sorted([*train, *validation]) == list(range(500))

    def test_same_share_of_every_class(self):
        _, validation = data.validation_split(self.labels, 0.1)
        assert np.bincount(self.labels[validation]).tolist() == [5] * 10

    def test_same_share_where_classes_differ_in_size(self):
        labels = np.repeat([0, 1, 2], [400, 80, 20])
        _, validation = data.validation_split(labels, 0.2)
        assert np.bincount(labels[validation]).tolist() == [80, 16, 4]

    def test_follows_the_seed(self):
        first, same, other = (data.validation_split(self.labels, 0.1, s)[1] for s in (1, 1, 2))
        assert first.tolist() == same.tolist() != other.tolist()

    def test_no_class_comes_first_at_every_seed(self):
        found = [self.labels[data.validation_split(self.labels, 0.01, s)[1]] for s in range(10)]
        assert set(np.concatenate(found)) == set(range(10))

    def test_a_share_is_rounded(self):
        assert len(data.validation_split(self.labels[:100], 0.29)[1]) == 29

    @pytest.mark.parametrize("fraction", [0, 1, -0.1, 1.5, 0.0001])
    def test_empty_part(self, fraction):
        with pytest.raises(ValueError, match="leaves a part empty"):
            data.validation_split(self.labels, fraction)


@pytest.fixture
def folder(tmp_path):
    """A folder of three classes with 20, 20 and 10 images of 12 x 10 pixels, each one colour."""
    place = tmp_path / "fruit"
    for name, colour, count in (("apple", 200, 20), ("banana", 120, 20), ("cherry", 40, 10)):
        (place / name).mkdir(parents=True)
        for index in range(count):
            picture = np.full((10, 12, 3), (colour, index, 0), np.uint8)
            Image.fromarray(picture).save(place / name / f"{index:02}.png")
    return place


class TestFromFolder:
    def test_the_order_is_that_of_the_names_on_every_system(self, tmp_path, monkeypatch):
        """Windows compares paths without case; names from a Mac may have their accents apart."""
        names = ("Zebra", "ape", "\u00e9lan", "yak")
        read = []
        for form in ("NFC", "NFD"):
            for name in names:
                place = tmp_path / form / "zoo" / unicodedata.normalize(form, name)
                place.mkdir(parents=True)
                for index in range(5):
                    picture = np.full((8, 8, 3), (len(name), index, ord(name[0])), np.uint8)
                    Image.fromarray(picture).save(place / f"{'aB'[index % 2]}{index}.png")
            read.append(data.from_folder(tmp_path / form / "zoo", 8))
        monkeypatch.setattr(
            pathlib.PurePath, "__lt__", lambda one, other: str(one).lower() < str(other).lower()
        )
        read.append(data.from_folder(tmp_path / "NFC" / "zoo", 8))
        assert read[0].class_names == ("Zebra", "ape", "yak", "\u00e9lan")
        assert len({dataset.checksum() for dataset in read}) == 1

    def test_classes_are_the_subfolders(self, folder):
        dataset = data.from_folder(folder, image_size=8)
        assert dataset.name == "fruit"
        assert dataset.class_names == ("apple", "banana", "cherry")
        assert dataset.image_shape == (8, 8, 3)
        reds = np.array([200, 120, 40])
        assert (dataset.x_train[:, 4, 4, 0] == reds[dataset.y_train]).all()
        assert (dataset.x_test[:, 4, 4, 0] == reds[dataset.y_test]).all()

    def test_the_name_of_the_folder_one_is_in(self, folder, monkeypatch):
        monkeypatch.chdir(folder)
        assert data.from_folder(".", 8).name == "fruit"

    def test_same_share_of_every_class_is_set_aside(self, folder):
        dataset = data.from_folder(folder, 8, test_fraction=0.2)
        assert np.bincount(dataset.y_test).tolist() == [4, 4, 2]
        assert np.bincount(dataset.y_train).tolist() == [16, 16, 8]

    def test_files_stay_with_their_images(self, folder):
        dataset = data.from_folder(folder, 8)
        both = (*dataset.files_train, *dataset.files_test)
        assert sorted(both) == sorted(folder.glob("*/*.png"))
        for path, image in zip(dataset.files_test, dataset.x_test, strict=True):
            np.testing.assert_array_equal(data.read_image(path, 8), image)

    def test_images_come_in_random_order(self, folder):
        """Else a recipe that validates on the last images would validate on the last class."""
        dataset = data.from_folder(folder, 8)
        labels = dataset.y_train
        assert len(set(labels[:10])) > 1 and len(set(labels[-10:])) > 1
        assert (np.diff(dataset.y_test) < 0).any()

    def test_follows_the_seed(self, folder):
        first, same, other = (data.from_folder(folder, 8, seed=seed) for seed in (1, 1, 2))
        assert first.checksum() == same.checksum() != other.checksum()
        assert set(first.files_test) != set(other.files_test)
        assert first.y_train.tolist() != other.y_train.tolist()

    def test_the_order_is_not_the_file_systems(self, folder, monkeypatch):
        listed, checksums = pathlib.Path.iterdir, set()
        for backwards in (False, True):
            order = functools.partial(sorted, reverse=backwards)
            monkeypatch.setattr(
                pathlib.Path, "iterdir", lambda self, by=order: iter(by(listed(self)))
            )
            checksums.add(data.from_folder(folder, 8).checksum())
        assert len(checksums) == 1

    def test_other_files_are_passed_over(self, folder):
        (folder / "notes.txt").write_text("mine")
        (folder / "apple" / "Thumbs.db").write_bytes(b"")
        (folder / "apple" / ".hidden.png").write_bytes(b"")
        (folder / "apple" / "album.png").mkdir()
        (folder / ".ipynb_checkpoints").mkdir()
        assert len(data.from_folder(folder, 8).class_names) == 3

    def test_endings_in_capitals_and_other_formats(self, folder):
        Image.new("L", (9, 9)).save(folder / "apple" / "grey.JPG", "JPEG")
        Image.new("P", (9, 9)).save(folder / "apple" / "palette.gif")
        dataset = data.from_folder(folder, 8)
        assert len(dataset.files_train) + len(dataset.files_test) == 52

    def test_a_model_learns_from_it(self, folder):
        dataset = data.from_folder(folder, 8)
        model = mixlib.create("mixer_tiny", dataset.num_classes, 8, num_blocks=1)
        experiment = mixlib.run_experiment(model, dataset, "baseline", epochs=1, verbose=0)
        assert experiment.metrics["test_images"] == 10
        assert np.isfinite(experiment.metrics["test_loss"])  # blue is 0 everywhere

    def test_no_such_folder(self, tmp_path):
        with pytest.raises(NotADirectoryError, match="There is no folder .*missing"):
            data.from_folder(tmp_path / "missing")

    def test_no_images(self, tmp_path):
        with pytest.raises(ValueError, match=r"two or more, but it has 0 \(none\)"):
            data.from_folder(tmp_path)

    def test_images_outside_of_subfolders(self, folder):
        with pytest.raises(ValueError, match="has 0 .none. and 20 images beside them. Move each"):
            data.from_folder(folder / "apple")

    def test_one_class_only(self, folder):
        (folder / "apple").rename(folder.parent / "apple")
        (folder / "cherry").rename(folder.parent / "cherry")
        with pytest.raises(ValueError, match=r"two or more, but it has 1 \(banana\)"):
            data.from_folder(folder)

    def test_a_class_without_images(self, folder):
        (folder / "date").mkdir()
        with pytest.raises(ValueError, match="of class 'date', but has none .* remove the sub"):
            data.from_folder(folder)

    def test_images_in_a_folder_of_a_class(self, folder):
        inner = folder / "cherry" / "more"
        inner.mkdir()
        (inner / "notes.txt").touch()
        data.from_folder(folder)
        shutil.copy(next((folder / "cherry").glob("*.png")), inner)
        with pytest.raises(ValueError, match=r"cherry holds images.*in it \(more\).*Move these"):
            data.from_folder(folder)
        inner.rename(inner.with_name(".more"))
        data.from_folder(folder)

    def test_a_folder_of_folders(self, folder):
        (folder.parent / "val").mkdir()
        folder.rename(folder.parent / "train")
        with pytest.raises(ValueError, match="has subfolders: are those the classes"):
            data.from_folder(folder.parent)

    def test_damaged_files_are_all_named(self, folder):
        whole = (folder / "apple" / "03.png").read_bytes()
        (folder / "apple" / "03.png").write_bytes(whole[: len(whole) // 2])
        (folder / "banana" / "07.png").write_bytes(b"no image")
        with pytest.raises(ValueError, match=r"2 of the 50 .* apple.03\.png, banana.07\.png\."):
            data.from_folder(folder)

    def test_of_many_damaged_files_five_are_named(self, folder):
        for index in range(7):
            (folder / "apple" / f"{index:02}.png").write_bytes(b"no image")
        with pytest.raises(ValueError, match=r"7 of the 50 .* apple.04\.png and 2 more\. Replace"):
            data.from_folder(folder)

    def test_a_class_too_small_for_both_parts(self, folder):
        for path in list((folder / "cherry").iterdir())[1:]:
            path.unlink()
        with pytest.raises(ValueError, match="'cherry' in .* has 1 images.*the test part gets"):
            data.from_folder(folder, 8, test_fraction=0.1)

    @pytest.mark.parametrize("image_size", [0, -1, 8.0, "8", (8, 8, 3), (8, 0)])
    def test_impossible_image_size(self, folder, image_size):
        with pytest.raises(ValueError, match="image_size must be"):
            data.from_folder(folder, image_size)


class TestReadImage:
    def test_the_middle_is_kept_and_the_proportions_too(self, tmp_path):
        picture = np.zeros((20, 60, 3), np.uint8)
        picture[:, 20:40] = (10, 200, 30)  # the middle third, a square
        Image.fromarray(picture).save(tmp_path / "wide.png")
        image = data.read_image(tmp_path / "wide.png", 10)
        assert image.shape == (10, 10, 3) and image.dtype == np.uint8
        np.testing.assert_allclose(image[2:8, 2:8], np.full((6, 6, 3), (10, 200, 30)), atol=1)

    def test_height_comes_before_width(self, folder):
        assert data.read_image(folder / "apple" / "00.png", (5, 7)).shape == (5, 7, 3)

    def test_an_image_of_that_size_is_kept_to_the_bit(self, tmp_path):
        (image,), _ = data.draw_shapes(1)
        Image.fromarray(image).save(tmp_path / "shape.png")
        np.testing.assert_array_equal(data.read_image(tmp_path / "shape.png", 32), image)

    def test_shrinking_averages(self, tmp_path):
        board = np.indices((64, 64)).sum(0) % 2 * 255
        Image.fromarray(board.astype("uint8")).save(tmp_path / "board.png")
        image = data.read_image(tmp_path / "board.png", 8)
        assert np.abs(image.astype(int) - 127).max() < 8  # grey, and no stripes

    def test_turned_as_the_camera_noted(self, tmp_path):
        picture = np.zeros((10, 10, 3), np.uint8)
        picture[:5] = 255
        exif = Image.Exif()
        exif[0x0112] = 3  # orientation: upside down
        Image.fromarray(picture).save(tmp_path / "turned.png", exif=exif)
        image = data.read_image(tmp_path / "turned.png", 10)
        assert image[0].max() == 0 and image[-1].min() == 255

    @pytest.mark.parametrize("name, dtype", [("deep.png", np.uint16), ("deep.tif", np.float32)])
    def test_more_than_8_bits_a_channel(self, tmp_path, name, dtype):
        Image.fromarray(np.full((9, 9), 40_000, dtype)).save(tmp_path / name)
        with pytest.raises(ValueError, match=f"{name} cannot be read .* not of 8 bits"):
            data.read_image(tmp_path / name, 9)

    def test_so_many_pixels_that_pillow_refuses(self, folder, monkeypatch):
        monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 9)
        with pytest.raises(ValueError, match=r"00\.png cannot be read as an image"):
            data.read_image(folder / "apple" / "00.png", 8)

    def test_no_such_file(self, tmp_path):
        with pytest.raises(FileNotFoundError):
            data.read_image(tmp_path / "missing.png", 9)


def test_files_that_do_not_fit(folder):
    dataset = data.from_folder(folder, 8)
    with pytest.raises(ValueError, match="files_test must name a file for each of the 10 images"):
        dataclasses.replace(dataset, files_test=dataset.files_test[1:])


class TestShapes:
    def test_same_pixels_on_every_platform(self):
        images, labels = data.draw_shapes(200, seed=0)
        digest = hashlib.sha256(images.tobytes() + labels.astype("<i8").tobytes())
        assert digest.hexdigest() == SHAPES_SHA256

    def test_sizes_types_and_balance(self):
        dataset = data.load("shapes", train_size=1_300, test_size=200)
        assert dataset.x_train.shape == (1_300, 32, 32, 3) and dataset.x_train.dtype == np.uint8
        assert np.bincount(dataset.y_train).tolist() == [13] * 100
        assert np.bincount(dataset.y_test).tolist() == [2] * 100

    def test_default_sizes(self):
        dataset = data.load("shapes")
        assert len(dataset.x_train) == 10_000 and len(dataset.x_test) == 2_000
        # The stored runs on shapes were trained on these images, and name them by this checksum.
        of_a_run = mixlib.load_run("positions-no-mixer_tiny-seed0").metrics["dataset_sha256"]
        assert dataset.checksum() == of_a_run

    def test_parts_and_seeds_differ(self):
        first, same, other = (data.load("shapes", 50, 50, seed=seed) for seed in (0, 0, 1))
        assert first.checksum() == same.checksum() != other.checksum()
        assert not {image.tobytes() for image in first.x_train} & {
            image.tobytes() for image in first.x_test
        }

    def test_the_object_lies_in_the_named_quarter(self):
        images, labels = data.draw_shapes(400)
        spread = images.astype(int) - np.median(images, axis=(1, 2), keepdims=True)
        strength = (np.abs(spread).sum(-1) > 100).reshape(400, 2, 16, 2, 16).sum(axis=(2, 4))
        assert (strength.reshape(400, 4).argmax(1) == labels % 4).mean() > 0.99

    def test_colour_is_told_by_colour_alone(self):
        images, labels = data.draw_shapes(400)
        palette = np.array(list(data.SHAPE_COLOURS.values()))
        flat = images.reshape(400, -1, 3).astype(int)
        background = np.median(flat, axis=1, keepdims=True)
        far = np.abs(flat - background).sum(-1).argmax(1)
        strongest = flat[np.arange(400), far]
        nearest = np.abs(strongest[:, None] - palette).sum(-1).argmin(1)
        assert (nearest == labels // 20).mean() > 0.9

    def test_blind_to_place_is_wrong_three_times_in_four(self):
        """Moved by half its width an image has the same patches, but belongs to another class."""
        images, labels = data.draw_shapes(300)
        cut = mixlib.Patches(4, dtype="uint8")
        bag = np.sort(np.asarray(keras.ops.convert_to_numpy(cut(images))), axis=1)
        moved = np.roll(images, (16, 16), axis=(1, 2))
        same_bag = np.sort(np.asarray(keras.ops.convert_to_numpy(cut(moved))), axis=1)
        np.testing.assert_array_equal(bag, same_bag)
        opposite = labels // 4 * 4 + 3 - labels % 4
        names = np.array(data.SHAPE_CLASSES)
        assert (opposite != labels).all()
        assert names[labels[0]].split(",")[0] == names[opposite[0]].split(",")[0]


def test_a_small_mixer_learns_shapes_and_a_bag_of_patches_does_not():
    """What position information buys, in seconds: the two share their size, data and steps."""
    keras.utils.set_random_seed(0)
    dataset = data.load("shapes", 4_000, 1_000)
    accuracy = {}
    for name, block in {
        "mixer": mixlib.MixerBlock(64, 128),
        "bag": keras.Sequential([keras.layers.LayerNormalization(), mixlib.blocks.MLP(256)]),
    }.items():
        model = mixlib.build_classifier(
            [block], embedding_dim=64, preprocessing=mixlib.augment.normalization()
        )
        model.compile(
            keras.optimizers.Adam(4e-3),
            keras.losses.SparseCategoricalCrossentropy(from_logits=True),
            metrics=["accuracy"],
        )
        model.fit(dataset.x_train, dataset.y_train, batch_size=64, epochs=6, verbose=0)
        accuracy[name] = model.evaluate(dataset.x_test, dataset.y_test, verbose=0)[1]
    assert accuracy["bag"] < 0.3  # at most a quarter, and chance
    assert accuracy["mixer"] > 0.4


def test_the_middle_of_a_tall_photo_is_kept(tmp_path):
    picture = np.zeros((60, 20, 3), np.uint8)
    picture[20:40] = 200
    Image.fromarray(picture).save(tmp_path / "tall.png")
    np.testing.assert_allclose(data.read_image(tmp_path / "tall.png", 10)[2:8], 200, atol=1)


def test_both_parts_of_a_split_are_in_ascending_order():
    for part in data.validation_split(np.arange(100) % 10, 0.2):
        assert (np.diff(part) > 0).all()


def test_the_checksum_does_not_depend_on_the_type_of_the_labels():
    dataset = data.load("shapes", 20, 20)
    labels = dataset.y_train.astype("uint8"), dataset.y_test.astype("int32")
    other = dataclasses.replace(dataset, y_train=labels[0], y_test=labels[1])
    assert other.checksum() == dataset.checksum()


def test_an_exif_tag_of_a_wrong_type_is_told_with_its_file(tmp_path):
    path = tmp_path / "phone.jpg"
    Image.new("RGB", (30, 20)).save(path)
    content = path.read_bytes()
    # A width that is a text; and turned, so that Pillow writes the tags anew.
    tags = b"Exif\0\0II*\0\x08\0\0\0\2\0" + b"\0\1\2\0\3\0\0\0" + b"30\0\0"
    tags += b"\x12\1\3\0\1\0\0\0\6\0\0\0" + bytes(4)
    segment = b"\xff\xe1" + (len(tags) + 2).to_bytes(2, "big") + tags
    path.write_bytes(content[:2] + segment + content[2:])
    assert Image.open(path).getexif()[0x0112] == 6
    with pytest.raises(ValueError, match="phone.jpg cannot be read as an image"):
        data.read_image(path, 8)
