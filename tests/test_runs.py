"""Runs: written once and whole, read back, compared with care."""

import json

import keras
import numpy as np
import pytest

import mixlib
from mixlib import data, runs


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
    monkeypatch.setenv("MIXLIB_COMMIT", "abc123")
    metrics = mixlib.save_run(experiment, tmp_path / "one").metrics
    assert metrics["commit"] == "abc123"
    assert metrics["backend"] == keras.backend.backend()
    assert metrics["versions"]["keras"] == keras.__version__
    assert "cores" in metrics["device"] or "GPU" in metrics["device"] or metrics["device"]
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
    trained.metrics["overrides"] = {"num_blocks": 1}
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


def test_a_run_without_weights_says_so(experiment, tmp_path):
    run = mixlib.save_run(experiment, tmp_path / "one")
    assert not run.has_weights
    for load, name in ((run.load_predictions, "predictions.npz"),):
        with pytest.raises(FileNotFoundError, match=f"has no {name}.*weights=True"):
            load()
    with pytest.raises(ValueError, match="Unknown preset 'bag'"):
        run.load_model()


def test_finds_the_longest_training_with_weights(experiment, tmp_path):
    for name, epochs, weights in (("short", 1, True), ("long", 2, True), ("longest", 3, False)):
        path = mixlib.save_run(experiment, tmp_path / name, weights=weights).path / "metrics.json"
        path.write_text(path.read_text().replace('"epochs": 2', f'"epochs": {epochs}'))
    assert runs.trained_run("bag", tmp_path).name == "long"
    with pytest.raises(FileNotFoundError, match="No stored training of 'mixer'.*have: bag"):
        runs.trained_run("mixer", tmp_path)


def test_stored_weights_are_few_and_belong_to_their_figures():
    """8 MB in all, and the predictions beside them give the accuracies of metrics.json."""
    stored = [run for run in mixlib.list_runs() if run.has_weights]
    sizes = [(run.path / "model.weights.h5").stat().st_size for run in stored]
    assert sum(sizes) < 9 * 2**20
    for run in stored:
        found = run.load_predictions()
        right = found["classes"] == found["labels"][:, None]
        assert right[:, 0].mean() == pytest.approx(run.metrics["test_top_1"])
        assert right.any(axis=1).mean() == pytest.approx(run.metrics["test_top_5"], abs=5e-4)


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
    [("metrics.json", "{"), ("history.csv", ""), ("history.csv", "epoch,loss\n1,x\n")],
)
def test_a_damaged_run(experiment, tmp_path, file, content):
    mixlib.save_run(experiment, tmp_path / "one")
    (tmp_path / "one" / file).write_text(content)
    with pytest.raises(ValueError, match="is damaged"):
        mixlib.load_run("one", tmp_path)


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
    assert runs.stored_runs_folder().is_dir()
    assert runs.list_runs() == [mixlib.load_run(run.name) for run in runs.list_runs()]


def test_published_figures_are_of_the_same_models_and_have_a_source():
    figures = runs.published()["keras_example"]
    assert figures["source"] and figures["url"]
    for name in ("keras_mixer", "keras_fnet", "keras_gmlp"):
        assert mixlib.costs.count_parameters(mixlib.create(name)) == figures[name]["parameters"]
        assert figures[name]["epochs_50"]["top_5"] > figures[name]["epochs_50"]["top_1"] > 0.4


def test_published_figures_of_training_from_scratch_have_a_source():
    for row in runs.published()["from_scratch"]:
        assert 0.5 < row["top_1"] < 0.8 and row["model"] and row["source"]
        assert row["url"].startswith("https://")


def test_the_checksum_is_of_the_code_and_not_of_its_text(tmp_path, monkeypatch):
    def checksum(source):
        (tmp_path / "module.py").write_text(source)
        return runs.source_checksum()

    monkeypatch.setattr(runs, "_PACKAGE", tmp_path)
    before = checksum('def double(x):\n    """Twice."""\n    return 2 * x\n')
    assert (
        checksum("def double(x):  # fast\n    'Two times.'\n    return (2\n        * x)\n")
        == before
    )
    assert checksum('def double(x):\n    """Twice."""\n    return 3 * x\n') != before
