"""Runs: written once and whole, read back, compared with care."""

import contextlib
import json
import os
import pathlib
import shutil
import subprocess
import types

import describe_cifar100
import halve_weights
import keras
import measure_stored_weights
import numpy as np
import pytest

import mixlib
from mixlib import data, runs


@pytest.fixture
def git(monkeypatch):
    """A function that runs git in a folder, without the settings of the user and the machine."""
    if shutil.which("git") is None:
        pytest.skip("there is no git")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_NOSYSTEM", "1")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-C"]
    return lambda folder, *command: subprocess.run([*git, folder, *command], check=True)


@pytest.fixture
def full_disk(monkeypatch):
    """Context in which a text that is written to a file ends after a few letters."""

    def write_text(path, text):
        path.write_bytes(text[:9].encode())
        raise OSError("disk full")

    @contextlib.contextmanager
    def full_disk():
        with monkeypatch.context() as patched, pytest.raises(OSError, match="disk full"):
            patched.setattr(pathlib.Path, "write_text", write_text)
            yield

    return full_disk


@pytest.fixture(scope="module")
def experiment():
    keras.utils.set_random_seed(0)
    model = mixlib.build_classifier([], patch_size=8, embedding_dim=8, name="bag")
    return mixlib.run_experiment(
        model, data.load("shapes", 200, 100), "baseline", epochs=2, verbose=0
    )


def test_reads_what_it_wrote(experiment, tmp_path):
    written = mixlib.save_run(experiment, tmp_path / "one")
    run = mixlib.load_run(tmp_path / "one")
    assert run == written and run.name == "one"
    assert run.metrics.items() >= experiment.metrics.items()
    assert run.history["epoch"] == [1, 2]
    for column, values in experiment.history.items():
        assert run.history[column] == pytest.approx(values, rel=1e-5)
    assert sorted(path.name for path in run.path.iterdir()) == ["history.csv", "metrics.json"]


def test_says_where_and_with_what_it_was_trained(experiment, tmp_path, monkeypatch):
    metrics = mixlib.save_run(experiment, tmp_path / "one").metrics
    assert metrics.items() >= experiment.circumstances.items()
    monkeypatch.setenv("MIXLIB_COMMIT", "abc123")
    assert runs.circumstances()["commit"] == "abc123"
    assert metrics["backend"] == keras.backend.backend()
    assert metrics["versions"]["keras"] == keras.__version__
    assert "cores" in metrics["device"] or "NVIDIA" in metrics["device"]
    assert len(metrics["mixlib_sha256"]) == 64
    assert str(tmp_path) not in json.dumps(metrics)


def test_weights_are_stored_when_asked_for(experiment, tmp_path):
    mixlib.save_run(experiment, tmp_path / "one", weights=True)
    again = mixlib.build_classifier([], patch_size=8, embedding_dim=8)
    again.load_weights(tmp_path / "one" / "model.weights.h5")
    for mine, theirs in zip(again.weights, experiment.model.weights, strict=True):
        np.testing.assert_array_equal(
            keras.ops.convert_to_numpy(mine), keras.ops.convert_to_numpy(theirs)
        )


def test_gives_back_the_model_with_its_weights_and_nothing_of_the_optimiser(tmp_path):
    model = mixlib.create("mixer_tiny", num_blocks=1)
    drawn = data.load("shapes", 200, 100)
    trained = mixlib.run_experiment(model, drawn, "baseline", epochs=1, verbose=0)
    # As train.ipynb does, where a size is given too, for presets that are made for another.
    trained.metrics["overrides"] = {"num_blocks": 1, "image_size": (32, 32)}
    run = mixlib.save_run(trained, tmp_path / "one", weights=True, dataset=drawn)
    assert run.has_weights
    logits = model.predict(drawn.x_test, verbose=0)
    np.testing.assert_array_equal(run.load_model().predict(drawn.x_test, verbose=0), logits)
    kept = sum(np.prod(weight.shape) for weight in model.weights) * 4
    assert (run.path / "model.weights.h5").stat().st_size < 1.5 * kept

    found = run.load_predictions()
    np.testing.assert_array_equal(found["labels"], drawn.y_test)
    assert found["classes"].shape == found["probabilities"].shape == (100, 5)
    np.testing.assert_array_equal(found["classes"][:, 0], logits.argmax(axis=1))
    right = np.mean(found["classes"][:, 0] == drawn.y_test)
    assert right == pytest.approx(run.metrics["test_top_1"])
    in_five = (found["classes"] == drawn.y_test[:, None]).any(axis=1)
    assert np.mean(in_five) == pytest.approx(run.metrics["test_top_5"])
    exact = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["probabilities"][:, 0], exact.max(axis=1), rtol=2e-3)


def test_older_runs_are_measured_on_their_training_images(tmp_path, full_disk):
    model = mixlib.create("mixer_tiny", num_blocks=0)
    drawn = data.load("shapes", 200, 100)
    trained = mixlib.run_experiment(model, drawn, "baseline", epochs=1, verbose=0)
    trained.metrics["overrides"] = {"num_blocks": 0}
    measured = {key: trained.metrics.pop(f"train_{key}") for key in ("loss", "top_1", "top_5")}
    run = mixlib.save_run(trained, tmp_path / "one", weights=True)
    path = run.path / "metrics.json"
    before = path.read_text()
    with full_disk():
        measure_stored_weights.main(tmp_path)
    assert path.read_text() == before
    measure_stored_weights.main(tmp_path)
    metrics = json.loads(path.read_text())
    assert measured == pytest.approx({key: metrics[f"train_{key}"] for key in measured}, rel=1e-5)
    for bits in ("8", "3"):  # each from the weights as they were stored
        rounded = run.load_model()
        measure_stored_weights.round_matrices(rounded, int(bits))
        found = mixlib.training.measure(rounded, drawn.x_test, drawn.y_test)
        assert metrics["rounded_weights"][bits] == pytest.approx(found, rel=1e-5)
    bias, of_rounded = (each.get_layer("head").bias for each in (model, rounded))
    assert np.array_equal(*map(keras.ops.convert_to_numpy, (bias, of_rounded)))

    path.write_text(json.dumps(trained.metrics | {"test_top_1": 0.9}))
    with pytest.raises(SystemExit, match=r"one: its weights give .* on the test images"):
        measure_stored_weights.main(tmp_path)
    path.write_text(json.dumps(trained.metrics | {"dataset_sha256": "another"}))
    with pytest.raises(SystemExit, match="one was trained on other data than this shapes"):
        measure_stored_weights.main(tmp_path)


def test_predictions_of_more_classes_than_a_byte_holds():
    model = mixlib.build_classifier([], num_classes=300, patch_size=8, embedding_dim=8)
    model.get_layer("head").bias.assign(np.arange(300))
    x, y = np.zeros((3, 32, 32, 3), "uint8"), np.array([0, 255, 299])
    found = runs.predict(model, data.Dataset("many", x, y, x, y, tuple(map(str, range(300)))))
    assert found["labels"].tolist() == [0, 255, 299]
    assert found["classes"].tolist() == [[299, 298, 297, 296, 295]] * 3


def test_a_run_without_weights_says_so(experiment, tmp_path):
    run = mixlib.save_run(experiment, tmp_path / "one")
    assert not run.has_weights
    with pytest.raises(FileNotFoundError, match="has no predictions.npz.*weights=True"):
        run.load_predictions()
    with pytest.raises(FileNotFoundError, match="has no model.weights.h5.*weights=True"):
        run.load_model()


def test_weights_of_a_model_that_no_preset_makes(experiment, tmp_path):
    run = mixlib.save_run(experiment, tmp_path / "one", weights=True)
    with pytest.raises(ValueError, match="Unknown preset 'bag'.*then load .*model.weights.h5"):
        run.load_model()


def test_the_commit_of_another_repository_is_not_ours(tmp_path, monkeypatch, git):
    """Installed in a virtual environment inside somebody's project."""
    git(tmp_path, "init", "--quiet")
    monkeypatch.delenv("MIXLIB_COMMIT", raising=False)
    package = tmp_path / ".venv" / "mixlib"
    package.mkdir(parents=True)
    monkeypatch.setattr(runs, "_PACKAGE", package)
    assert runs.circumstances()["commit"] == "unknown"


def test_a_run_knows_what_was_published_for_it():
    stated = {run.name: run.published for run in runs.list_runs(names="keras_*")}
    assert stated["keras_gmlp-50epochs-seed0"]["top_1"] == 0.5064  # though it stopped early
    assert stated["keras_mixer-1epoch-seed0"]["top_1"] == 0.0976
    assert mixlib.load_run("small-ladder-0-plain").published is None


def test_a_folder_that_is_given_wins(experiment, tmp_path, monkeypatch):
    mixlib.save_run(experiment, tmp_path / "here" / "one")
    mixlib.save_run(experiment, tmp_path / "there" / "one")
    monkeypatch.chdir(tmp_path / "here")
    assert mixlib.load_run("one").path.resolve() == tmp_path / "here" / "one"
    assert mixlib.load_run("one", tmp_path / "there").path == tmp_path / "there" / "one"


def test_stored_weights_are_few_and_belong_to_their_figures():
    """20 MB in all, and the predictions beside them give the accuracies of metrics.json."""
    stored = [run for run in mixlib.list_runs() if run.has_weights]
    sizes = [(run.path / "model.weights.h5").stat().st_size for run in stored]
    assert sum(sizes) < 20 * 2**20
    for run in stored:
        found = run.load_predictions()
        right = found["classes"] == found["labels"][:, None]
        top_1, top_5 = right[:, 0].mean(), right.any(axis=1).mean()
        if "NVIDIA" in run.metrics["device"]:  # see book/origins.md
            assert top_1 == pytest.approx(run.metrics["test_top_1"], abs=5e-4)
            assert 0 < top_5 - run.metrics["test_top_5"] < 3e-3
        else:
            assert top_1 == pytest.approx(run.metrics["test_top_1"])
            assert top_5 == pytest.approx(run.metrics["test_top_5"], abs=5e-4)


def test_halved_weights_are_read_as_before(untrained, tmp_path):
    model = mixlib.create("gmlp_tiny", num_blocks=1)
    metrics = {"model": "gmlp_tiny", "dataset": "cifar100", "overrides": {"num_blocks": 1}}
    run = mixlib.save_run(untrained(model, **metrics), tmp_path / "one", weights=True)
    before = (run.path / "model.weights.h5").stat().st_size
    halve_weights.halve(run.path / "model.weights.h5")
    assert (run.path / "model.weights.h5").stat().st_size < 0.6 * before
    assert [path.name for path in run.path.glob("*weights*")] == ["model.weights.h5"]
    for mine, theirs in zip(run.load_model().weights, model.weights, strict=True):
        assert mine.dtype == theirs.dtype
        mine, theirs = map(keras.ops.convert_to_numpy, (mine, theirs))
        halved = theirs.astype("float16").astype("float32") if theirs.ndim > 1 else theirs
        np.testing.assert_array_equal(mine, halved)


def test_a_run_is_never_written_over(experiment, tmp_path):
    mixlib.save_run(experiment, tmp_path / "one")
    with pytest.raises(FileExistsError, match="holds a run already"):
        mixlib.save_run(experiment, tmp_path / "one")


def test_half_a_run_is_no_run(experiment, tmp_path):
    mixlib.save_run(experiment, tmp_path / "one")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "history.csv").write_text("epoch,loss\n1,2.0\n")
    assert [run.name for run in mixlib.list_runs(tmp_path)] == ["one"]
    assert [run.name for run in mixlib.list_runs(tmp_path, names="o*")] == ["one"]
    assert mixlib.list_runs(tmp_path, names="two*") == []


def test_a_run_that_does_not_exist(experiment, tmp_path):
    mixlib.save_run(experiment, tmp_path / "one")
    with pytest.raises(FileNotFoundError, match="No run 'two' in .* Runs there: one"):
        mixlib.load_run("two", tmp_path)
    with pytest.raises(FileNotFoundError, match="Runs there: none"):
        mixlib.load_run("two", tmp_path / "one")


@pytest.mark.parametrize(
    "file, content",
    [
        ("metrics.json", "{"),
        ("metrics.json", "[]"),
        ("history.csv", ""),
        ("history.csv", "epoch,loss\n1,x\n"),
        ("history.csv", "\0" * 300_000),
    ],
)
def test_a_damaged_run(experiment, tmp_path, file, content):
    mixlib.save_run(experiment, tmp_path / "one")
    (tmp_path / "one" / file).write_text(content)
    with pytest.raises(ValueError, match="is damaged"):
        mixlib.load_run("one", tmp_path)


def test_damaged_weights_and_predictions(untrained, tmp_path):
    drawn = data.load("shapes", 200, 100)
    model = mixlib.create("mixer_tiny", num_blocks=0)
    told = {"model": "mixer_tiny", "dataset": "shapes", "overrides": {"num_blocks": 0}}
    run = mixlib.save_run(untrained(model, **told), tmp_path / "one", weights=True, dataset=drawn)
    run.load_model(), run.load_predictions()
    for name, read, said in (
        ("predictions.npz", run.load_predictions, "predictions.npz is damaged"),
        ("model.weights.h5", run.load_model, "The weights of the run one fit no model"),
    ):
        path = run.path / name
        whole = bytearray(path.read_bytes())
        path.write_bytes(whole[:-100])
        with pytest.raises(ValueError, match=said):
            read()
    path = run.path / "predictions.npz"
    np.savez_compressed(path, classes=np.arange(20_000))
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 0xFF
    path.write_bytes(whole)
    with pytest.raises(ValueError, match="predictions.npz is damaged"):
        run.load_predictions()


def test_runs_of_one_name_are_two_rows(experiment, tmp_path):
    two = [mixlib.save_run(experiment, tmp_path / place / "one") for place in "ab"]
    assert list(runs.tabulate(two).index) == ["one", "one"]


@pytest.mark.parametrize("name", ["mixer_tiny", "keras_gmlp"])
def test_a_model_is_the_same_in_every_precision(name):
    found = set()
    try:
        for policy in ("float32", "mixed_bfloat16", "mixed_float16", "bfloat16", "float64"):
            keras.config.set_dtype_policy(policy)
            found.add(runs.architecture_checksum(mixlib.create(name, num_blocks=1)))
    finally:
        keras.config.set_dtype_policy("float32")
    assert len(found) == 1
    assert runs.architecture_checksum(mixlib.create(name, num_blocks=2)) not in found
    seeds = ({"image_size": None, "seed": seed} for seed in (1, 2))
    one, other = (mixlib.create(name, num_blocks=1, preprocessing=each) for each in seeds)
    assert runs.architecture_checksum(one) == runs.architecture_checksum(other)


def test_table(experiment, tmp_path):
    mixlib.save_run(experiment, tmp_path / "one")
    table = runs.tabulate(mixlib.list_runs(tmp_path))
    assert table.loc["one", "top-1 (%)"] == 100 * experiment.metrics["test_top_1"]
    assert table.loc["one", "model"] == "bag"
    assert table.loc["one", "code"] == "this"


def test_runs_of_other_data_do_not_mix(experiment, tmp_path):
    mixlib.save_run(experiment, tmp_path / "one")
    path = mixlib.save_run(experiment, tmp_path / "two").path / "metrics.json"
    path.write_text(path.read_text().replace(experiment.metrics["dataset_sha256"], "0" * 64))
    with pytest.raises(ValueError, match="measured on different data"):
        runs.tabulate(mixlib.list_runs(tmp_path))


def test_runs_of_other_code_are_marked(experiment, tmp_path):
    path = mixlib.save_run(experiment, tmp_path / "one").path / "metrics.json"
    path.write_text(path.read_text().replace(runs.source_checksum(), "0" * 64))
    table = runs.tabulate(mixlib.list_runs(tmp_path))
    assert table.loc["one", "code"] == "earlier"


def test_stored_runs_are_found_from_any_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert runs._BOOK_RUNS.is_dir()
    assert runs.list_runs() == [mixlib.load_run(run.name) for run in runs.list_runs()]


def test_published_figures_are_of_the_same_models_and_have_a_source():
    figures = runs.published()["keras_example"]
    assert figures["source"] and figures["url"]
    for name in ("keras_mixer", "keras_fnet", "keras_gmlp"):
        assert mixlib.costs.count_parameters(mixlib.create(name)) == figures[name]["parameters"]
        assert figures[name]["epochs_50"]["top_5"] > figures[name]["epochs_50"]["top_1"] > 0.4
    gmlp = figures["keras_gmlp"]  # whose first epoch stands twice
    first = gmlp["history"]["val_top_1"][0]
    assert gmlp["epochs_50"]["validation_top_1_after_1"] == first


def test_published_figures_of_training_from_scratch_have_a_source():
    for row in runs.published()["from_scratch"]:
        assert 0.5 < row["top_1"] < 0.9 and row["model"] and row["source"]
        assert row["url"].startswith("https://")


@pytest.fixture(scope="module")
def statistics():
    return runs.cifar100_statistics()


def test_the_superclasses_hold_every_class_once(statistics):
    groups = statistics["superclasses"].values()
    assert len(groups) == 20 and all(len(group) == 5 for group in groups)
    assert sorted(name for group in groups for name in group) == data.CIFAR100_CLASSES


def test_the_class_averages_are_small_images(statistics):
    averages = statistics["class_averages"]
    assert list(averages["pixels"]) == data.CIFAR100_CLASSES
    for pixels in averages["pixels"].values():
        assert len(pixels) == 3 * averages["side"] ** 2
        assert all(isinstance(value, int) and 0 <= value <= 255 for value in pixels)


def test_the_mean_of_the_class_averages_is_that_of_the_normalization(statistics):
    pixels = np.array(list(statistics["class_averages"]["pixels"].values())).reshape(-1, 3)
    np.testing.assert_allclose(pixels.mean(axis=0), mixlib.augment.CIFAR100_MEAN, atol=0.1)


def test_the_statistics_are_of_the_data_that_the_runs_were_trained_on(statistics):
    of_runs = {
        run.metrics["dataset_sha256"]
        for run in runs.list_runs()
        if run.metrics["dataset"] == "cifar100"
        and run.metrics["train_images"] + run.metrics["validation_images"] == 50_000
    }
    assert of_runs == {statistics["sha256"]}


def test_the_counts_fit_together(statistics):
    for score in statistics["baselines"].values():
        right = score["right_of_each_class"]
        assert len(right) == 100 and max(right) <= 100
        assert sum(right) == score["right"] <= score["right_superclass"] <= 10_000
    copies = statistics["copies"]
    for within in (copies["within_train"], copies["within_test"]):
        assert within["groups_with_different_labels"] <= within["groups"] <= within["images"] / 2
    between = copies["test_images_in_train"]
    assert between["with_another_label"] <= between["images"]
    for found in copies["groups_by_labels"]:
        assert len(found["labels"]) == 2 and {*found["labels"]} < {*data.CIFAR100_CLASSES}

    near = statistics["near_duplicates"]
    indices = near["indices"]
    assert sorted(set(indices)) == indices and 0 <= indices[0] <= indices[-1] < 10_000
    assert len(indices) == near["test_images"] >= max(near["mirrored"], near["same_class"])
    assert near["test_images"] >= between["images"]
    first = round(near["threshold"] * near["histogram"]["bins"])
    for key, count in (("test", "test_images"), ("upside_down", "upside_down")):
        assert len(near["histogram"][key]) == near["histogram"]["bins"]
        assert sum(near["histogram"][key]) == 10_000
        assert sum(near["histogram"][key][first:]) == near[count]


@pytest.fixture(scope="module")
def planted():
    """Invented images of 4 classes, and test images 0 to 3 made from training images."""
    random = np.random.RandomState(0)

    def draw(count):
        """Smooth fields, as photographs are."""
        coarse = random.uniform(0, 255, (count, 8, 8, 3)).repeat(4, axis=1).repeat(4, axis=2)
        return (0.8 * coarse + 0.2 * random.uniform(0, 255, coarse.shape)).astype("uint8")

    x_train, x_test = draw(40), draw(20)
    y_train, y_test = np.arange(40) % 4, np.arange(20) % 4
    x_train[39] = x_train[0]  # of classes 3 and 0
    x_test[0] = x_train[8]  # both of class 0
    x_test[1] = x_train[6]  # of classes 1 and 2
    x_test[2] = x_train[10][:, ::-1]
    x_test[3] = 0.7 * x_train[7] + 40 + random.uniform(0, 8, (32, 32, 3))
    return x_train, y_train, x_test, y_test


def test_planted_copies_are_found(planted):
    assert describe_cifar100.copies(*planted, list("abcd")) == {
        "within_train": {"groups": 1, "images": 2, "groups_with_different_labels": 1},
        "within_test": {"groups": 0, "images": 0, "groups_with_different_labels": 0},
        "test_images_in_train": {"images": 2, "with_another_label": 1, "mirrored": 1},
        "groups_by_labels": [
            {"labels": ["a", "d"], "groups": 1},
            {"labels": ["b", "c"], "groups": 1},
        ],
    }


def test_planted_near_duplicates_are_found(planted):
    found = describe_cifar100.near_duplicates(*planted)
    assert found["indices"] == [0, 1, 2, 3]
    assert (found["test_images"], found["mirrored"], found["same_class"]) == (4, 1, 3)
    assert found["upside_down"] == 0


def test_similarity_is_at_most_one_and_does_not_mind_brightness_and_contrast(planted):
    vectors = describe_cifar100.features(planted[0])
    similarity = vectors @ vectors.T
    np.testing.assert_allclose(np.diag(similarity), 1, rtol=1e-5)
    assert similarity.max() < 1 + 1e-5
    softer = describe_cifar100.features(planted[0] // 2 + 60)
    assert np.sum(vectors * softer, axis=1).min() > 0.95


def test_a_description_is_written_readably_and_the_same_each_time(planted, tmp_path):
    coarse = np.array([0, 1, 0, 1])
    for name in ("one.json", "two.json"):
        found = describe_cifar100.describe(*planted, coarse, list("abcd"), ["even", "odd"])
        describe_cifar100.write(found, tmp_path / name)
    text = (tmp_path / "one.json").read_text()
    assert text == (tmp_path / "two.json").read_text()
    assert json.loads(text) == found
    assert max(map(len, text.splitlines())) < 1_000 and '"even": ["a", "c"]' in text
    assert found["superclasses"] == {"even": ["a", "c"], "odd": ["b", "d"]}
    nearest = found["baselines"]["nearest_neighbour"]
    assert nearest["right"] >= found["near_duplicates"]["nearest_neighbour_right"] >= 1
    x_train, y_train, x_test, y_test = planted
    colours = [x_train[y_train == label].mean(axis=(0, 1, 2)) for label in range(4)]
    away = np.linalg.norm(x_test.mean(axis=(1, 2))[:, None] - colours, axis=-1)
    assert found["baselines"]["mean_colour"]["right"] == np.sum(away.argmin(axis=1) == y_test)


def test_the_nearest_average_by_hand(planted):
    x_train, y_train, x_test, y_test = planted
    averages = describe_cifar100.class_averages(x_train, y_train, 4)
    distances = ((x_test[:, None] - averages[None]) ** 2).sum(axis=(2, 3, 4))
    found = describe_cifar100.nearest_pixels(x_test, averages)
    np.testing.assert_array_equal(found, distances.argmin(axis=1))
    right = [int(np.sum((found == y_test) & (y_test == label))) for label in range(4)]
    assert describe_cifar100._score(found, y_test, np.array([0, 1, 0, 1])) == {
        "right": sum(right),
        "right_superclass": int(np.sum(found % 2 == y_test % 2)),
        "right_of_each_class": right,
    }


def test_a_class_belongs_to_one_superclass():
    archive = {
        "y_train": np.array([[0], [1], [0]]),
        "y_train_coarse": np.array([1, 0, 1]),
        "coarse_names": np.array(["large_trees", "fish"]),
    }
    coarse_of, names = describe_cifar100.read_coarse(archive)
    assert coarse_of.tolist() == [1, 0] and names == ["large trees", "fish"]
    with pytest.raises(ValueError, match="of several superclasses"):
        describe_cifar100.read_coarse(archive | {"y_train_coarse": np.array([1, 0, 0])})


def test_the_checksum_is_of_the_code_and_not_of_its_text(tmp_path, monkeypatch):
    def checksum(source):
        (tmp_path / "module.py").write_text(source)
        return runs.source_checksum.__wrapped__()

    monkeypatch.setattr(runs, "_PACKAGE", tmp_path)
    before = checksum('def double(x):\n    """Twice."""\n    return 2 * x\n')
    assert (
        checksum("def double(x):  # fast\n    'Two times.'\n    return (2\n        * x)\n")
        == before
    )
    assert checksum('def double(x):\n    """Twice."""\n    return 3 * x\n') != before
    (tmp_path / ".ipynb_checkpoints").mkdir()  # what editors and a Mac leave behind
    (tmp_path / ".ipynb_checkpoints" / "module-checkpoint.py").write_text("x = 2\n")
    (tmp_path / ".#module.py").symlink_to("nowhere")
    (tmp_path / "._module.py").write_bytes(b"\xb0")
    assert checksum("def double(x):\n    return 2 * x\n") == before


@pytest.mark.parametrize(
    "device, listed, name",
    [
        ("/job:localhost/replica:0/task:0/device:GPU:0", "H100\nH100", "H100"),
        ("cuda:0", "A100\nT4\nA100", "A100, T4"),
        ("cuda:0", "", "CUDA"),
        ("TPU_0(process=0,(0,0,0,0))", "", "TPU"),
        ("rocm:0", "", "ROCM"),
        ("mps:0", "", "MPS"),
    ],
)
def test_an_accelerator_has_a_name_of_one_line(monkeypatch, device, listed, name):
    monkeypatch.setattr(keras.ops, "zeros", lambda shape: types.SimpleNamespace(device=device))
    monkeypatch.setattr(runs, "_output", lambda *command: listed)
    assert runs._device() == name


@pytest.mark.parametrize("device", ["/job:localhost/replica:0/task:0/device:CPU:0", "TFRT_CPU_0"])
def test_a_cpu_has_its_number_of_cores(monkeypatch, device):
    monkeypatch.setattr(keras.ops, "zeros", lambda shape: types.SimpleNamespace(device=device))
    assert runs._device().endswith(f", {os.cpu_count()} cores")


def test_every_column_of_a_table_is_its_own():
    metrics = {
        "model": "m", "recipe": {"name": "r"}, "seed": 0, "epochs": 1, "parameters": 2,
        "test_top_1": 0.1, "test_top_5": 0.2, "validation_top_1": 0.3, "seconds_per_epoch": 4.0,
        "device": "d", "date": "t", "dataset_sha256": "x",
    }  # fmt: skip
    row = runs.tabulate([runs.Run("one", None, metrics, {})]).loc["one"]
    assert row.to_dict() == {
        "model": "m", "recipe": "r", "seed": 0, "epochs": 1, "parameters": 2, "top-1 (%)": 10,
        "top-5 (%)": 20, "validation top-1 (%)": 30, "seconds/epoch": 4.0, "device": "d",
        "date": "t", "code": "earlier",
    }  # fmt: skip


def test_the_checksum_is_of_everything_that_trains(tmp_path, monkeypatch):
    for path in runs._PACKAGE.rglob("*.py"):
        target = tmp_path / path.relative_to(runs._PACKAGE)
        target.parent.mkdir(exist_ok=True)
        target.write_text(path.read_text())
    monkeypatch.setattr(runs, "_PACKAGE", tmp_path)
    checksum = runs.source_checksum.__wrapped__
    before, same = checksum(), set()
    for path in sorted(tmp_path.rglob("*.py")):
        text = path.read_text()
        path.write_text(text + "\nextra = 1\n")
        if checksum() == before:
            same.add(path.name)
        path.write_text(text)
    assert same == {
        "runs.py", "plots.py", "convert.py", "costs.py", "profiles.py", "browser.py",
    }  # fmt: skip


def test_the_checksum_is_computed_once(monkeypatch):
    before = runs.source_checksum()
    monkeypatch.setattr(runs, "_syntax", None)
    assert runs.source_checksum() == before


def test_changes_that_are_not_committed_show(tmp_path, monkeypatch, git):
    package = tmp_path / "mixlib"
    package.mkdir()
    (package / "a.py").write_text("1")
    for command in (["init", "--quiet"], ["add", "."], ["commit", "--quiet", "-m", "one"]):
        git(tmp_path, *command)
    monkeypatch.setattr(runs, "_PACKAGE", package)
    committed = runs._git_commit()
    (package / "a.py").write_text("2")
    assert len(committed) == 12
    assert runs._git_commit() == f"{committed}-dirty"


@pytest.fixture
def untrained():
    """A function that returns what a training of such a model might have left."""

    def make(trained, **metrics):
        return mixlib.training.Experiment(metrics, {"loss": [1.0]}, trained, {"date": "t"})

    return make


def test_a_run_that_could_not_be_written_is_no_run(untrained, tmp_path, monkeypatch, full_disk):
    def full(*arguments):
        raise OSError("disk full")

    monkeypatch.setattr(keras.Model, "save_weights", full)
    model = mixlib.build_classifier([], embedding_dim=4)
    with pytest.raises(OSError, match="disk full"):
        mixlib.save_run(untrained(model), tmp_path / "one", weights=True)
    assert mixlib.list_runs(tmp_path) == []
    monkeypatch.setattr(runs, "predict", full)
    images = data.load("shapes", 20, 10)
    with pytest.raises(OSError, match="disk full"):
        mixlib.save_run(untrained(model), tmp_path / "two", dataset=images)
    with full_disk():
        mixlib.save_run(untrained(model), tmp_path / "three")
    assert mixlib.list_runs(tmp_path) == []


def test_a_model_of_other_classes_comes_back(untrained, tmp_path):
    model = mixlib.create("mixer_tiny", num_classes=10, num_blocks=1)
    metrics = {"model": "mixer_tiny", "dataset": "cifar10", "overrides": {"num_blocks": 1}}
    run = mixlib.save_run(untrained(model, **metrics), tmp_path / "one", weights=True)
    assert run.load_model().output_shape == (None, 10)


def test_runs_are_in_the_order_of_their_names(untrained, tmp_path):
    model = mixlib.build_classifier([], embedding_dim=4)
    for name in ("b", "c", "a"):
        mixlib.save_run(untrained(model), tmp_path / name)
    assert [run.name for run in mixlib.list_runs(tmp_path)] == ["a", "b", "c"]


def test_a_model_with_options_that_nobody_noted_does_not_come_back(tmp_path):
    model = mixlib.create("fnet_tiny", num_blocks=1, fourier_norm="ortho")
    trained = mixlib.run_experiment(model, data.load("shapes", 200, 20), epochs=1, verbose=0)
    trained.metrics["overrides"] = {"num_blocks": 1}
    run = mixlib.save_run(trained, tmp_path / "one", weights=True)
    with pytest.raises(ValueError, match="it was another model of that name.*Make the model as"):
        run.load_model()
    run.metrics["overrides"]["fourier_norm"] = "ortho"
    assert run.load_model().built
    run.metrics["overrides"].pop("fourier_norm")
    run.metrics["versions"]["keras"] = "3.0"  # whose configurations may differ by themselves
    assert run.load_model().built
