"""The campaign: what is missing is trained, whole or not at all, and nothing else is touched."""

import asyncio
import collections
import dataclasses
import fcntl
import importlib.util
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import textwrap
import time

import campaign
import keras
import nbformat
import numpy as np
import papermill
import psutil
import pytest

import mixlib
from benchmarks import yardsticks

POPEN = subprocess.Popen
METRICS = {
    "test_top_1": 0.2, "test_top_5": 0.5, "epochs": 1, "seconds_per_epoch": 1.0,
    "device": "abacus", "date": "today",
}  # fmt: skip
TOML = """
[[run]]
name = "first"
model = "keras_mixer"
recipe = "keras_example"
dataset = "cifar100"
epochs = 1
profile = "full"
[[run]]
name = "second"
model = "keras_mixer"
recipe = "keras_example"
dataset = "cifar100"
epochs = 50
profile = "full"
"""
# Of a checkpoint.
NOTE = {"epochs": 17, "training": {}, "history": {}, "circumstances": {}, "callbacks": []}
TAUGHT = 'changes = {{distillation = 0.5}}\nteacher = "{}"'


def store(folder):
    (folder / "metrics.json").write_text(json.dumps(METRICS))
    (folder / "history.csv").write_text("epoch,loss\n1,2.0\n")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A campaign of two runs, with folders of its own."""
    monkeypatch.setattr(campaign, "CAMPAIGN", tmp_path / "runs.toml")
    monkeypatch.setattr(campaign, "BOOK_RUNS", tmp_path / "runs")
    monkeypatch.setattr(campaign, "OTHER_RUNS", tmp_path / "others")
    # The campaign changes this one; set here, it is restored after the test.
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    (tmp_path / "runs.toml").write_text(TOML)
    return tmp_path


@pytest.fixture
def calls(place, monkeypatch):
    """Papermill without a kernel: parameters of each call; `calls.stop` ends a run half-way."""

    class Calls(list):
        stop = {}

    calls = Calls()

    def execute_notebook(notebook, log, parameters, cwd, **options):
        kept = {"checkpoint.npz", "parameters.json"}
        assert {path.name for path in cwd.iterdir()} <= kept, "nothing else is left"
        calls.append(parameters)
        executed = nbformat.v4.new_notebook(metadata={"papermill": {"parameters": parameters}})
        nbformat.write(executed, log)
        if parameters["epochs"] in calls.stop:
            (cwd / "history.csv").write_text("epoch")
            raise calls.stop[parameters["epochs"]]
        store(cwd)

    monkeypatch.setattr(papermill, "execute_notebook", execute_notebook)
    return calls


def files(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*"))


def test_trains_what_is_missing_and_skips_what_is_done(place, calls, capsys):
    (place / "runs" / "first").mkdir(parents=True)
    store(place / "runs" / "first")
    assert campaign.main([]) == 0
    assert [call["epochs"] for call in calls] == [50]
    whole = ["history.csv", "log.ipynb", "metrics.json"]
    assert sorted(path.name for path in (place / "runs" / "second").iterdir()) == whole
    assert not (place / "runs.unfinished").exists()
    assert re.search(r"second +done.* 20\.00 +50\.00 +1 +1\.0 +abacus", capsys.readouterr().out)
    assert campaign.main([]) == 0
    assert len(calls) == 1


def test_an_interrupted_run_is_trained_again(place, calls, capsys):
    calls.stop = {50: KeyboardInterrupt()}
    assert campaign.main([]) == 130
    assert [run.name for run in mixlib.list_runs(place / "runs")] == ["first"]
    assert not (place / "runs" / "second").exists()
    assert "the same command goes on" in capsys.readouterr().err
    calls.stop = {}
    assert campaign.main([]) == 0
    assert [call["epochs"] for call in calls] == [1, 50, 50]
    assert (place / "runs" / "second" / "metrics.json").is_file()


def test_one_run_fails_and_the_next_goes_on(place, calls, capsys):
    calls.stop = {1: MemoryError("out of memory")}
    assert campaign.main([]) == 1
    assert [run.name for run in mixlib.list_runs(place / "runs")] == ["second"]
    printed = capsys.readouterr().out
    log = place / "runs.unfinished" / "first" / "log.ipynb"
    assert "first failed: out of memory" in printed and str(log) in printed and log.is_file()
    assert re.search(r"first +failed", printed)


def test_a_stopped_run_keeps_its_checkpoint_and_says_how_far_it_is(place, calls, capsys):
    folder = place / "runs.unfinished" / "second"
    folder.mkdir(parents=True)
    np.savez(folder / "checkpoint.npz", note=json.dumps(NOTE))
    assert campaign.main(["--list"]) == 0
    assert re.search(r"first +missing\nsecond +begun, 17 epochs stored\n", capsys.readouterr().out)
    calls.stop = {50: RuntimeError("the data are gone")}
    assert campaign.main([]) == 1
    assert campaign.main(["--list"]) == 0
    assert re.search(r"second +failed, 17 epochs stored\n", capsys.readouterr().out)
    assert (folder / "failed.txt").read_text() == "the data are gone\n"
    calls.stop = {}
    assert campaign.main([]) == 0
    assert not (place / "runs.unfinished").exists()


def test_a_damaged_checkpoint_is_a_state(place, capsys):
    checkpoint = place / "runs.unfinished" / "second" / "checkpoint.npz"
    checkpoint.parent.mkdir(parents=True)
    checkpoint.write_bytes(b"half a file")
    assert campaign.main(["--list"]) == 0
    assert re.search(r"second +begun, checkpoint damaged\n", capsys.readouterr().out)


def test_a_checkpoint_of_other_parameters_is_refused(place, calls, capsys):
    folder = place / "runs.unfinished" / "second"
    calls.stop = {50: RuntimeError("the power is gone")}
    assert campaign.main([]) == 1
    np.savez(folder / "checkpoint.npz", note=json.dumps(NOTE))
    changed = TOML.replace("epochs = 50", "epochs = 60\noverrides = {dropout_rate = 0.1}")
    (place / "runs.toml").write_text(changed)
    assert campaign.main([]) == 1
    printed = capsys.readouterr().out
    differs = "epochs (50 there, 60 here), overrides (None there, {'dropout_rate': 0.1} here)"
    assert f"it differs in {differs}. Remove that folder" in printed and str(folder) in printed
    assert re.search(r"second +failed, 17 epochs stored\n", printed)
    assert [call["epochs"] for call in calls] == [1, 50]
    (place / "runs.toml").write_text(TOML)  # as it was: the training goes on
    calls.stop = {}
    assert campaign.main([]) == 0
    assert [call["epochs"] for call in calls] == [1, 50, 50]


def test_parameters_of_a_training_without_a_checkpoint_may_change(place, calls):
    calls.stop = {50: RuntimeError("the power is gone")}
    assert campaign.main([]) == 1
    (place / "runs.toml").write_text(TOML.replace("epochs = 50", "epochs = 60"))
    assert campaign.main([]) == 0
    assert [call["epochs"] for call in calls] == [1, 50, 60]


def test_a_run_that_lacks_only_its_place_is_not_trained_again(place, calls):
    folder = place / "runs.unfinished" / "first"
    folder.mkdir(parents=True)
    store(folder)
    log = nbformat.v4.new_notebook(metadata={"papermill": {"parameters": {}, "status": "running"}})
    nbformat.write(log, folder / "log.ipynb")
    for name in ("checkpoint.npz", "failed.txt"):
        (folder / name).write_text("left over")
    assert campaign.main([]) == 0
    assert [call["epochs"] for call in calls] == [50]
    whole = ["history.csv", "log.ipynb", "metrics.json"]
    assert sorted(path.name for path in (place / "runs" / "first").iterdir()) == whole
    assert "running" not in (place / "runs" / "first" / "log.ipynb").read_text()


def test_a_run_whose_log_was_cut_off_is_trained_again(place, calls):
    folder = place / "runs.unfinished" / "first"
    folder.mkdir(parents=True)
    store(folder)
    (folder / "log.ipynb").write_text('{"cells": [')
    assert campaign.main([]) == 0
    assert [call["epochs"] for call in calls] == [1, 50]
    nbformat.read(place / "runs" / "first" / "log.ipynb", as_version=4)


def test_folders_in_an_unfinished_one_are_removed(place, calls):
    inside = place / "runs.unfinished" / "first" / ".ipynb_checkpoints"
    inside.mkdir(parents=True)
    (inside / "log-checkpoint.ipynb").write_text("{}")
    assert campaign.main([]) == 0
    assert [call["epochs"] for call in calls] == [1, 50]


def test_a_run_that_cannot_be_claimed_does_not_stop_the_others(place, calls, capsys):
    (place / "runs.unfinished").mkdir()
    (place / "runs.unfinished" / "first").write_text("a file, where a folder belongs")
    assert campaign.main([]) == 1
    assert [call["epochs"] for call in calls] == [50]
    assert re.search("first failed: .*Not a directory", capsys.readouterr().out)


def test_a_claimed_folder_survives_another_claimer(tmp_path):
    folder = tmp_path / "runs.unfinished" / "first"
    with campaign.claim(folder) as ours:
        with campaign.claim(folder) as theirs:
            assert ours and not theirs
        assert folder.is_dir()
    assert not folder.parent.exists()


def test_a_folder_is_not_free_before_its_kernel_has_ended(tmp_path):
    folder = tmp_path / "runs.unfinished" / "first"
    kernel = campaign.ThisPython(kernel_name="python3")
    with campaign.claim(folder):
        asyncio.run(kernel.start_kernel())
        (folder / "checkpoint.npz").touch()
    try:
        with campaign.claim(folder) as theirs:
            assert not theirs
    finally:
        asyncio.run(kernel.shutdown_kernel(now=True))
    with campaign.claim(folder) as theirs:
        assert theirs


@pytest.mark.parametrize("replaced", [False, True])
@pytest.mark.parametrize("module, moment", [(os, "open"), (fcntl, "flock")])
def test_a_folder_that_is_removed_before_it_is_locked(
    tmp_path, monkeypatch, module, moment, replaced
):
    folder = tmp_path / "runs.unfinished" / "first"
    late = getattr(module, moment)

    def removed_before(*arguments):
        monkeypatch.undo()  # the first time only
        folder.rmdir()
        if replaced:
            folder.mkdir()
        else:
            folder.parent.rmdir()
        return late(*arguments)

    monkeypatch.setattr(module, moment, removed_before)
    with campaign.claim(folder) as ours:
        assert ours
        with campaign.claim(folder) as theirs:
            assert not theirs


def test_two_campaigns_share_the_runs(place, calls):
    folder = campaign.unfinished(place / "runs", "first")
    with campaign.claim(folder) as ours:
        assert ours
        assert campaign.main([]) == 0
        assert [call["epochs"] for call in calls] == [50]
        assert folder.is_dir()
    assert campaign.main([]) == 0
    assert [call["epochs"] for call in calls] == [50, 1]


def test_jobs_are_processes_with_the_same_arguments(place, calls, monkeypatch):
    for name in ("XLA_PYTHON_CLIENT_PREALLOCATE", "TF_FORCE_GPU_ALLOW_GROWTH"):
        monkeypatch.setenv(name, "")  # restored after the test
        monkeypatch.delenv(name)
    started = []
    helper = "import sys; print(sys.argv)"
    monkeypatch.setattr(
        campaign.subprocess,
        "Popen",
        lambda command: started.append(command) or POPEN([sys.executable, "-c", helper]),
    )
    assert campaign.main(["--only", "first", "--jobs", "3"]) == 0
    assert [command[2:] for command in started] == 2 * [
        ["--only", "first", "--jobs", "3", "--jobs", "1"]
    ]
    assert len(calls) == 1
    assert os.environ["XLA_PYTHON_CLIENT_PREALLOCATE"] == "false"  # they share a GPU's memory
    assert os.environ["TF_FORCE_GPU_ALLOW_GROWTH"] == "true"


def test_only_several_trainings_share_a_gpu_and_only_if_nobody_said_how(place, monkeypatch):
    names = "XLA_PYTHON_CLIENT_PREALLOCATE", "TF_FORCE_GPU_ALLOW_GROWTH"
    for name in names:
        monkeypatch.setenv(name, "")  # restored after the test
        monkeypatch.delenv(name)
    campaign.prepare_environment(jobs=1)
    assert not os.environ.keys() & set(names)
    for name in names:
        monkeypatch.setenv(name, "mine")
    campaign.prepare_environment(jobs=2)
    assert [os.environ[name] for name in names] == ["mine", "mine"]


def test_the_exit_status_tells_of_runs_that_are_missing(place, calls, monkeypatch):
    monkeypatch.setattr(campaign, "train", lambda name, parameters, out: None)  # as if killed
    assert campaign.main([]) == 1


@pytest.mark.parametrize("text", ["", '{"test_top_1": 0.2'])
def test_a_damaged_run_is_told_and_left_alone(place, calls, capsys, text):
    assert campaign.main([]) == 0
    damaged = place / "runs" / "first" / "metrics.json"
    damaged.write_text(text)
    assert campaign.main([]) == 1
    assert len(calls) == 2 and damaged.read_text() == text
    printed = capsys.readouterr().out
    assert re.search(r"first +damaged: remove it", printed) and re.search(r"second +done", printed)


def test_the_exit_status_tells_of_helpers_that_failed(place, calls, monkeypatch):
    helper = [sys.executable, "-c", "raise SystemExit(3)"]
    monkeypatch.setattr(campaign.subprocess, "Popen", lambda command: POPEN(helper))
    assert campaign.main(["--jobs", "2"]) == 1
    assert len(calls) == 2  # nothing is missing


def test_a_run_without_figures_has_failed(place, calls, monkeypatch, capsys):
    monkeypatch.setattr(sys.modules[__name__], "store", lambda folder: None)
    assert campaign.main(["--only", "first"]) == 1
    assert "stored no metrics.json" in capsys.readouterr().out
    assert mixlib.list_runs(place / "runs") == []


@pytest.mark.parametrize(
    "old, new, message",
    [
        ("epochs = 50", "epoch = 50", "'second': train.ipynb has no parameter epoch"),
        ("epochs = 50", 'out = "x"', "'second': train.ipynb has no parameter out"),
        ("epochs = 50", 'epochs = "50"', "epochs must be a whole number from 1 up; got '50'"),
        ("epochs = 50", "epochs = 0", "epochs must be a whole number from 1 up; got 0"),
        ('"second"', '"first"', "two runs are called 'first'"),
        ('"second"', '"../second"', "a name of letters"),
        ('"second"', '"second/x"', "a name of letters"),
        ('name = "second"', "", "needs a model, and a name"),
        ('"keras_mixer"', '"perceiver"', "unknown model 'perceiver'. Expected one of: keras_mix"),
        ('"keras_example"', '"secret"', "unknown recipe 'secret'. Expected one of: keras_example"),
        ('"cifar100"', '"mnist"', "unknown dataset 'mnist'. Expected one of: cifar100"),
        ('"full"', '"huge"', "unknown profile 'huge'. Expected one of: smoke"),
        (
            "epochs = 50",
            "changes = {mixup = 2.0}",
            "'second': mixup must be a number from 0 to 1; got 2.0",
        ),
        ("epochs = 50", "changes = {mixing = 1}", "'second': .*unexpected keyword.*'mixing'"),
        ("epochs = 50", "overrides = {depth = 1}", "'second': keras_mixer has no depth"),
        ("epochs = 50", 'precision = "int8"', "unknown precision 'int8'. Expected one of: float32"),
        ("epochs = 50", "each = {seed = [1, 2]}", "two runs are called 'second'"),
        ("epochs = 50", 'weights = "no"', "'second': weights must be true or false; got 'no'"),
        ('"keras_example"', '["secret"]', r"unknown recipe \['secret'\]. Expected one of: keras_e"),
        ("epochs = 50", "predictions = 1", "'second': predictions must be true or false; got 1"),
        ("epochs = 50", "train_start = -1", "train_start must be a whole number from 0 up; got -1"),
        ("epochs = 50", 'teacher = "gmlp-strong-seed0"', "teacher and changes.distillation go tog"),
        ("epochs = 50", "changes = {distillation = 0.5}", "teacher and changes.distillation go to"),
        ("epochs = 50", TAUGHT.format("nobody"), "'second': No run 'nobody'"),
        ("epochs = 50", TAUGHT.format("first"), "'second': No run 'first'"),  # without weights
        ("epochs = 50", TAUGHT.format("mixer-strong-seed0"), "'mixer-strong-seed0' has no weights"),
        ("epochs = 50", TAUGHT.format("second") + "\nweights = true", "'second': No run 'second'"),
        ('name = "second"', 'name = "{size}"', "braces hold last words of the keys.*size"),
        ('name = "second"', "name = 2", "a text whose braces"),
        ("epochs = 50", "each = {seed = 3}", "`each` is a table of lists"),
        ("epochs = 50", "each = [1, 2]", "`each` is a table of lists"),
        ("[[run]]", "[[runs]]", r"holds \[\[run\]\] tables alone; got runs"),
        ("[[run]]", "[[run", "Expected"),
    ],
)
def test_a_wrong_campaign_is_an_error_before_anything_runs(place, calls, capsys, old, new, message):
    (place / "runs.toml").write_text(TOML.replace(old, new))
    with pytest.raises(SystemExit) as stopped:
        campaign.main([])
    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)
    assert calls == []


def test_a_row_for_every_combination():
    row = {
        "name": "{model}-rate{learning_rate}-{weights}",
        "each": {"model": ["a", "b"], "changes.learning_rate": [0, 1], "weights": [True]},
        "changes": {"mixup": 0.5},
    }
    runs = {run["name"]: run for run in campaign.expand(row)}
    assert list(runs) == ["a-rate0-yes", "a-rate1-yes", "b-rate0-yes", "b-rate1-yes"]
    assert runs["b-rate0-yes"]["model"] == "b" and runs["b-rate0-yes"]["weights"] is True
    assert runs["b-rate0-yes"]["changes"] == {"mixup": 0.5, "learning_rate": 0}


def test_a_row_for_every_table_of_parameters():
    row = {
        "name": "{size}{model}-{rung}",
        "each": {
            "size": [{"name": ""}, {"name": "small-", "epochs": 2, "changes": {"mixup": 0.1}}],
            "model": ["a"],
            "rung": [{"name": "plain", "changes": {"ema": 0.0}}, {"name": "all"}],
        },
        "epochs": 9,
        "changes": {"mixup": 0.5},
    }
    assert list(campaign.expand(row)) == [
        {"name": "a-plain", "model": "a", "epochs": 9, "changes": {"mixup": 0.5, "ema": 0.0}},
        {"name": "a-all", "model": "a", "epochs": 9, "changes": {"mixup": 0.5}},
        {"name": "small-a-plain", "model": "a", "epochs": 2, "changes": {"mixup": 0.1, "ema": 0.0}},
        {"name": "small-a-all", "model": "a", "epochs": 2, "changes": {"mixup": 0.1}},
    ]


def test_names_of_changed_runs_say_what_was_changed():
    parameters = {
        "model": "mixer", "overrides": {"num_blocks": 2}, "recipe": "strong",
        "changes": {"mixup": 0.5, "augmentation": {"shift": 0.1}}, "seed": 1, "profile": "smoke",
    }  # fmt: skip
    name = "mixer-num_blocks2-strong-augmentationshift0.1-mixup0.5-seed1-smoke"
    assert campaign.describe(parameters) == name


def test_long_names_are_cut_and_stay_different():
    parameters = {"model": "mixer", "changes": dict.fromkeys("abcdefghijklm", 0.123456)}
    runs = [parameters | more for more in ({}, {"seed": 0}, {"seed": 1})]
    names = [campaign.describe(run) for run in runs]
    assert len(set(names)) == 3 and len({name[:111] for name in names}) == 1
    assert all(re.fullmatch(r"mixer-a0\.123456-b.{94}-[0-9a-f]{8}", name) for name in names)
    assert campaign.describe(dict(reversed(runs[1].items()))) == names[1]


@pytest.mark.parametrize("changes", [{"profile": "smoke"}, {"epochs": 2}, {"seeds": [1]}])
def test_the_whole_campaign_can_be_changed(changes):
    runs = campaign.override(campaign.read_campaign(), **changes)
    assert max(map(len, runs)) <= 120
    if "profile" in changes:  # which has its own data
        assert not {"dataset", "train_size", "train_start", "epochs"} & set().union(*runs.values())


@pytest.mark.parametrize(
    "arguments, message",
    [
        (["--only", "third"], "No run 'third'. Expected one of: first, second"),
        (["--models", "perceiver"], "unknown model 'perceiver'"),
        (["--only", "first", "--models", "gmlp_tiny"], "--only chose runs of keras_mixer; got"),
        (["--only", "first", "--models", "keras_mixer", "gmlp_tiny"], "--only chose runs of"),
        (["--epochs", "0"], "epochs must be a whole number from 1 up; got 0"),
        (["--jobs", "0"], "--jobs must be 1 or more; got 0"),
        (["--seeds", "-1"], "seed must be a whole number from 0 up; got -1"),
    ],
)
def test_a_wrong_command_is_an_error_before_anything_runs(place, calls, capsys, arguments, message):
    with pytest.raises(SystemExit):
        campaign.main(arguments)
    assert message in capsys.readouterr().err
    assert calls == []


def test_a_folder_in_the_way_is_left_alone(place, calls, capsys):
    (place / "runs" / "second").mkdir(parents=True)
    (place / "runs" / "second" / "notes.txt").write_text("mine")
    with pytest.raises(SystemExit):
        campaign.main([])
    assert "is there but holds no run" in capsys.readouterr().err
    assert calls == [] and files(place / "runs") == ["second/notes.txt"]


def test_runs_are_chosen_by_name_or_pattern(place, calls):
    assert campaign.main(["--only", "sec*"]) == 0
    assert [call["epochs"] for call in calls] == [50]


def test_list_trains_nothing(place, calls, capsys):
    assert campaign.main(["--list"]) == 0
    assert re.search(r"first +missing\nsecond +missing\n", capsys.readouterr().out)
    assert calls == [] and not (place / "runs").exists()


@pytest.mark.parametrize(
    "arguments, names",
    [
        (["--profile", "smoke"], ["keras_mixer-keras_example-seed0-smoke"]),
        (["--epochs", "1"], ["keras_mixer-keras_example-cifar100-1epoch-seed0-full"]),
        (
            ["--profile", "smoke", "--epochs", "2", "--seeds", "0", "1"],
            [f"keras_mixer-keras_example-2epochs-seed{seed}-smoke" for seed in (0, 1)],
        ),
        (
            ["--models", "gmlp_tiny", "keras_mixer"],
            [
                "gmlp_tiny-baseline-seed0-full",
                "keras_mixer-keras_example-cifar100-1epoch-seed0-full",
                "keras_mixer-keras_example-cifar100-50epochs-seed0-full",
            ],
        ),
    ],
)
def test_other_runs_than_the_books_go_elsewhere(place, calls, monkeypatch, arguments, names):
    def train(name, parameters, out):
        calls.append((name, out))
        (out / name).mkdir(parents=True)
        store(out / name)

    monkeypatch.setattr(campaign, "train", train)
    assert campaign.main(arguments) == 0
    assert calls == [(name, place / "others") for name in names]


def test_other_runs_never_go_to_the_books(place, calls, capsys):
    with pytest.raises(SystemExit):
        campaign.main(["--profile", "smoke", "--out", str(place / "x" / ".." / "runs")])
    assert "Leave out --out" in capsys.readouterr().err
    assert calls == []


def test_kernels_find_what_the_campaign_found(place, calls, monkeypatch):
    monkeypatch.chdir(place)
    monkeypatch.setenv("PYTHONPATH", "sources")
    monkeypatch.setenv("MIXLIB_DATA_DIR", "data")
    assert campaign.main([]) == 0
    assert os.environ["MIXLIB_DATA_DIR"] == str(place / "data")
    mixlib_folder, rest = os.environ["PYTHONPATH"].split(os.pathsep)
    assert os.path.samefile(mixlib_folder, campaign.ROOT) and rest == str(place / "sources")
    monkeypatch.setenv("HOME", str(place))
    monkeypatch.setenv("MIXLIB_DATA_DIR", "~/data")  # as mixlib.data takes it
    assert campaign.main([]) == 0
    assert os.environ["MIXLIB_DATA_DIR"] == str(place / "data")


def test_a_campaign_runs_the_code_of_its_own_checkout(tmp_path):
    """And not that which the environment was made for."""
    for folder in ("notebooks", "mixlib", "benchmarks"):
        (tmp_path / folder).symlink_to(campaign.ROOT / folder)
    (tmp_path / "own").mkdir()
    shutil.copy(campaign.__file__, tmp_path / "own")
    code = "import campaign; print(campaign.mixlib.__file__, campaign.yardsticks.__file__)"
    variables = {**os.environ, "PYTHONPATH": ""}
    command = [sys.executable, "-c", code]
    found = subprocess.run(
        command, cwd=tmp_path / "own", env=variables, check=True, capture_output=True, text=True
    )
    assert all(path.startswith(str(tmp_path)) for path in found.stdout.split())


@pytest.mark.parametrize("host", ["gpu-7", ""])
def test_a_clean_log_names_no_folder_and_no_host(monkeypatch, host):
    monkeypatch.setattr(campaign.platform, "node", lambda: host)
    monkeypatch.setattr(campaign.pathlib.Path, "home", lambda: pathlib.Path("/home/Ann Lee"))
    text = f"Epoch 1 on {host}: /home/Ann Lee/env/x.py, {campaign.ROOT}/mixlib/data.py, /srv/y.py"
    output = nbformat.v4.new_output("stream", text=text)
    cell = nbformat.v4.new_code_cell("train()", outputs=[output])
    log = nbformat.v4.new_notebook(cells=[cell], metadata={"papermill": {"parameters": {}}})
    (cell,) = campaign.clean(log, "run").cells
    seen = f"Epoch 1 on {host and 'host'}: env/x.py, mixlib/data.py, y.py"
    assert cell.outputs[0].text == seen


def test_papermill_runs_this_python_and_leaves_a_clean_log(place, monkeypatch, capsys):
    """Real papermill on a small notebook: the first run fails, the second leaves a log."""
    # An installed kernel called python3 that can't start: it must not be used.
    kernel = place / "jupyter" / "kernels" / "python3"
    kernel.mkdir(parents=True)
    spec = {"argv": ["false"], "display_name": "Python 3", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec))
    monkeypatch.setenv("JUPYTER_PATH", str(place / "jupyter"))
    monkeypatch.setenv("THIS", sys.executable)

    new = nbformat.v4.new_code_cell
    code = f"""
        import json, os, pathlib, platform, sys
        print(os.getcwd() + "/data.npz", sys.executable == os.environ["THIS"], 3/4, "a/b")
        print("https://keras.io/api/layers on", platform.node())
        print("noise", file=sys.stderr)
        assert epochs != 1, "one is too few"
        pathlib.Path(out, "metrics.json").write_text(json.dumps({METRICS}))
        pathlib.Path(out, "history.csv").write_text("epoch,loss\\n1,2.0\\n");
    """.replace("\n        ", "\n")
    parameters = "\n".join(
        f"{name} = None" for name in ("model", "recipe", "dataset", "epochs", "profile", "out")
    )
    cells = [new(parameters, metadata={"tags": ["parameters"]}), new(code)]
    kernelspec = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernelspec})
    nbformat.write(notebook, place / "train.ipynb")
    monkeypatch.setattr(campaign, "NOTEBOOK", place / "train.ipynb")

    assert campaign.main([]) == 1
    printed = capsys.readouterr().out
    assert "first failed: AssertionError: one is too few" in printed
    assert "one is too few" in (place / "runs.unfinished/first/log.ipynb").read_text()

    log = nbformat.read(place / "runs" / "second" / "log.ipynb", as_version=4)
    printed = "".join(output.text for output in log.cells[-1].outputs)
    assert printed == "data.npz True 0.75 a/b\nhttps://keras.io/api/layers on host\n"
    (injected,) = (cell for cell in log.cells if "injected-parameters" in cell.metadata["tags"])
    assert 'model = "keras_mixer"' in injected.source and "epochs = 50" in injected.source
    assert_clean(log, str(place))


def assert_clean(log, *private):
    """Nothing in a log tells the machine, the folder or the hour."""
    for cell in log.cells:
        assert cell.metadata.keys() <= {"tags", "mystnb"}
    text = nbformat.writes(log)
    text = re.sub(r'"image/png": ".*?"', "", text)
    assert not re.search(r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d", text), "a time"
    assert not re.search(r"(?<![\w./])/(?:work|home|root|tmp|usr|Users|content)/", text), "a path"
    for path in (str(campaign.ROOT), *private):
        assert path not in text
    assert log.metadata["papermill"].keys() == {"parameters"}


def until_training(monkeypatch, **parameters):
    """Run train.ipynb up to its training: what `run_experiment` is given, its options last."""
    given = []

    class Reached(Exception):
        pass

    def run_experiment(*arguments, **options):
        given.extend([*arguments, options])
        raise Reached

    monkeypatch.setattr(mixlib, "run_experiment", run_experiment)
    variables = {"importlib": importlib}
    _, *cells = [
        cell for cell in nbformat.read(campaign.NOTEBOOK, 4).cells if cell.cell_type == "code"
    ]
    with pytest.raises(Reached):
        for cell in cells:
            exec(cell.source, variables)
            if "parameters" in cell.metadata.get("tags", ()):
                variables |= {"profile": "smoke"} | parameters
    return given


@pytest.mark.parametrize(
    "changes, rate",
    [
        ({}, 5e-3),
        ({"learning_rate": 0.01}, 0.01),
        ({"learning_rate": 0.01, "learning_rates": {"keras_mixer": 0.02}}, 0.02),
    ],
)
def test_train_ipynb_changes_the_learning_rate(monkeypatch, changes, rate):
    _, _, recipe, _ = until_training(monkeypatch, model="keras_mixer", changes=changes)
    assert recipe.learning_rate_of("keras_mixer") == rate


@pytest.mark.parametrize(
    "preprocessing, zoom", [(None, 0.2), ({"image_size": 48, "zoom": 0.1}, 0.1)]
)
def test_train_ipynb_preprocesses_as_it_is_told(monkeypatch, preprocessing, zoom):
    overrides = {"num_blocks": 1} | ({"preprocessing": preprocessing} if preprocessing else {})
    model, *_ = until_training(monkeypatch, model="gmlp_ti16", overrides=overrides)
    layer = model.get_layer("preprocessing").get_layer("resize_flip_zoom")
    assert layer.zoom == zoom
    assert model.get_layer("patches").input.shape[1] == (48 if preprocessing else 32)


def test_train_ipynb_passes_over_the_first_images(monkeypatch):
    _, every, *_ = until_training(monkeypatch)
    _, images, *_ = until_training(monkeypatch, train_start=100)
    np.testing.assert_array_equal(images.x_train, every.x_train[100:])
    np.testing.assert_array_equal(images.y_train, every.y_train[100:])
    np.testing.assert_array_equal(images.x_test, every.x_test)


def test_train_ipynb_takes_its_seed_and_precision(monkeypatch):
    kernels = []
    for seed in (0, 1):
        options = {"model": "mixer_tiny", "overrides": {"num_blocks": 0}, "seed": seed}
        try:
            model, *_, given = until_training(monkeypatch, precision="mixed_bfloat16", **options)
        finally:
            keras.config.set_dtype_policy("float32")
        assert given["seed"] == seed and model.get_layer("stem").compute_dtype == "bfloat16"
        kernels.append(keras.ops.convert_to_numpy(model.get_layer("stem").kernel))
    assert not np.array_equal(*kernels)


def test_train_ipynb_finds_a_stored_run_before_it_trains(monkeypatch, tmp_path):
    store(tmp_path)
    with pytest.raises(FileExistsError, match="holds a run already"):
        until_training(monkeypatch, out=str(tmp_path))


@pytest.mark.parametrize("model", yardsticks.MODELS)
def test_train_ipynb_knows_the_yardsticks(monkeypatch, model):
    assert until_training(monkeypatch, model=model)[0].name == model


def test_train_ipynb_names_the_models_to_one_who_mistypes(monkeypatch):
    monkeypatch.setitem(sys.modules, "benchmarks", None)  # only the wheel is installed
    with pytest.raises(ValueError, match="Unknown preset 'keras_mixr'. Expected one of: keras_"):
        until_training(monkeypatch, model="keras_mixr")


def test_train_ipynb_end_to_end(place):
    assert campaign.main(["--models", "keras_mixer", "--profile", "smoke"]) == 0
    (run,) = mixlib.list_runs(place / "others")
    assert run.name == "keras_mixer-keras_example-seed0-smoke"
    log = nbformat.read(run.path / "log.ipynb", as_version=4)
    assert log.cells[0].source.startswith(f"# {run.name}\n")
    assert run.same_code and run.history["epoch"] == [1]
    expected = {"model": "keras_mixer", "dataset": "shapes", "seed": 0, "parameters": 242_788}
    assert run.metrics.items() >= expected.items()
    assert run.metrics["recipe"]["name"] == "keras_example"
    assert_clean(log, str(place))
    outputs = [output for cell in log.cells for output in cell.get("outputs", [])]
    printed = "".join(output.get("text", "") for output in outputs)
    assert "Profile smoke" in printed and f"{run.metrics['test_top_1']:.2%}" in printed
    assert sum("image/png" in output.get("data", {}) for output in outputs) == 1


def test_a_run_teaches_another(place, calls):
    """The first has no weights yet, but will: both rows are fine, and trained in this order."""
    rows = TOML.replace("epochs = 1\n", "epochs = 1\nweights = true\n")
    (place / "runs.toml").write_text(
        rows.replace("epochs = 50", "epochs = 50\n" + TAUGHT.format("first"))
    )
    assert campaign.main([]) == 0
    assert [parameters.get("teacher") for parameters in calls] == [None, "first"]


def test_a_student_waits_while_another_process_trains_its_teacher(place, calls, monkeypatch):
    rows = TOML.replace("epochs = 1\n", "epochs = 1\nweights = true\n")
    (place / "runs.toml").write_text(
        rows.replace("epochs = 50", "epochs = 50\n" + TAUGHT.format("first"))
    )
    waits = []

    def sleep(seconds):
        assert calls == []
        waits.append(seconds)
        if len(waits) == 3:
            (place / "runs" / "first").mkdir(parents=True)
            store(place / "runs" / "first")

    monkeypatch.setattr(campaign.time, "sleep", sleep)
    with campaign.claim(campaign.unfinished(place / "runs", "first")):
        assert campaign.main([]) == 0
    assert [parameters.get("teacher") for parameters in calls] == ["first"]
    assert len(waits) == 3


def test_no_student_waits_for_a_teacher_that_no_process_trains(place, monkeypatch):
    monkeypatch.setattr(campaign.time, "sleep", lambda seconds: pytest.fail("waits for nobody"))
    campaign.wait_for("first")
    campaign.wait_for(None)
    assert not campaign.unfinished(place / "runs", "first").exists()


def test_train_ipynb_learns_from_a_stored_run(place):
    small = "overrides = {num_blocks = 1, hidden_dim = 8}\n"
    rows = TOML.replace("epochs = 1\n", f"epochs = 1\nweights = true\n{small}")
    teacher = place / "runs" / "first"
    rows = rows.replace("epochs = 50", f"epochs = 1\n{small}{TAUGHT.format(teacher)}")
    rows = rows.replace('"cifar100"', '"shapes"').replace('"full"', '"smoke"')
    (place / "runs.toml").write_text(rows)
    assert campaign.main(["--only", "first"]) == campaign.main([]) == 0
    metrics = mixlib.load_run(place / "runs" / "second").metrics
    taught = mixlib.runs.weights_checksum(mixlib.load_run(teacher).load_model())
    assert (metrics["teacher"], metrics["teacher_sha256"]) == ("first", taught)


def test_a_killed_campaign_goes_on_in_the_middle_of_a_training(place):
    """Papermill, kernel and all: killed while a checkpoint is there, then run to the end."""
    # It is killed long before its last epoch, and they are short.
    small = "overrides = {num_blocks = 1, hidden_dim = 8}\nchanges = {stop_patience = 99}\n"
    (place / "runs.toml").write_text(TOML.split('[[run]]\nname = "second"')[0] + small)
    campaign_of = (
        "import pathlib, sys, campaign; campaign.CAMPAIGN = pathlib.Path(sys.argv[1]);"
        "sys.exit(campaign.main(sys.argv[2:]))"
    )
    out = place / "runs"
    arguments = ["--profile", "smoke", "--epochs", "12", "--out", str(out)]
    command = [sys.executable, "-c", campaign_of, str(place / "runs.toml"), *arguments]
    found = os.pathsep.join([str(campaign.NOTEBOOK.parent), os.environ["PYTHONPATH"]])
    environment = os.environ | {"PYTHONPATH": found}
    (name,) = campaign.override(campaign.read_campaign(), None, 12, "smoke", None)
    checkpoint = campaign.unfinished(out, name) / "checkpoint.npz"
    process = POPEN(command, env=environment)
    while process.poll() is None and not mixlib.checkpoint.epochs_done(checkpoint):
        time.sleep(0.01)
    assert process.poll() is None, "the campaign ended without a checkpoint"
    for killed in [process, *psutil.Process(process.pid).children(recursive=True)]:
        killed.kill()
    process.wait()
    assert not campaign.is_done(checkpoint.parent)
    assert POPEN(command, env=environment).wait() == 0
    run = mixlib.load_run(out / name)
    assert run.metrics["epochs"] == len(run.history["loss"]) == 12
    assert sorted(os.listdir(out)) == [name]
    log = nbformat.read(run.path / "log.ipynb", as_version=4)
    printed = "".join(o.get("text", "") for cell in log.cells for o in cell.get("outputs", []))
    assert "Epoch 1/12" not in printed and "Epoch 12/12" in printed


def test_the_books_campaign_can_run(tmp_path):
    runs = campaign.read_campaign()
    campaign.check(runs, tmp_path)
    models = ("keras_mixer", "keras_fnet", "keras_gmlp")
    published = [f"{model}-{epochs}-seed0" for epochs in ("1epoch", "50epochs") for model in models]
    assert [name for name in runs if name in published] == published
    assert list(runs)[:3] == published[:3]
    for name, row in runs.items():
        assert row["profile"] == "full"
        if name in published:
            epochs = "1epoch" if row["epochs"] == 1 else f"{row['epochs']}epochs"
            assert epochs in name and row["model"] in name and f"seed{row['seed']}" in name


@pytest.mark.parametrize("size", ["", "small-"])
def test_each_rung_of_the_ladder_adds_to_the_one_before(size):
    runs = campaign.read_campaign()
    rungs = [row for name, row in runs.items() if name.startswith(f"{size}ladder-")]
    parts = "overrides", "changes"
    last = [rungs[-1].get(part, {}) for part in parts]  # what the size changes
    ingredients = ("augmentation", "mixup", "cutmix", "label_smoothing", "ema")
    off = {"stochastic_depth_rate": 0.0, "augmentation": {}} | dict.fromkeys(ingredients[1:], 0.0)
    missing = []
    for row in rungs:
        assert all(row.get(part, {}).items() >= of_size.items()
                   for part, of_size in zip(parts, last, strict=True))  # fmt: skip
        given = row.get("overrides", {}) | row.get("changes", {})
        missing.append({key: given[key] for key in given if key not in last[0] | last[1]})
    assert missing[0] == off and missing[-1] == {}
    shared = [{key: row[key] for key in row.keys() - set(parts)} for row in rungs]
    assert all(row == shared[0] for row in shared)
    for fewer, more in zip(missing[1:], missing[:-1], strict=True):
        assert fewer.keys() <= more.keys() and fewer != more


FAIR = ("mixer_tiny", "fnet_tiny", "fnet_tiny_lecun", "gmlp_tiny", "vit_tiny", "cnn_tiny")


def test_what_is_taught_differs_in_nothing_but_the_target():
    kinds = {}
    for name, row in campaign.read_campaign().items():
        if found := re.match(r"small-(taught-.+|teacher|smoothed[\d.]+)-seed(\d)", name):
            assert row.pop("seed") == int(found[2])
            changes = row.pop("changes")
            ways = ("distillation", "hard_distillation", "label_smoothing")
            learns = {key: changes.pop(key, 0) for key in ways}
            learns["teacher"] = row.pop("teacher", None)
            kept = {key: row.pop(key, None) for key in ("predictions", "weights")}
            assert kept["weights" if found[1] == "teacher" else "predictions"]
            kinds.setdefault(found[1], []).append((learns, row | {"changes": changes}))
    assert [len(rows) for rows in kinds.values()] == [1, 3, 3, 3, 3, 3, 3, 3, 3]
    (teacher,), labels, *taught, half, tenth = kinds.values()
    assert all(row == teacher[1] for rows in kinds.values() for _, row in rows)
    assert all(learns == teacher[0] for learns, _ in labels)
    assert all(learns["teacher"] for rows in taught for learns, _ in rows)
    assert [rows[0][0]["distillation"] for rows in taught] == [1, 1, 1, 1, 0.5]
    assert all(learns["label_smoothing"] == 0 for rows in taught for learns, _ in rows)
    for share, rows in ((0.5, half), (0.1, tenth)):
        assert all(learns == teacher[0] | {"label_smoothing": share} for learns, _ in rows)


def test_half_of_the_images_is_new_to_the_teacher():
    runs = campaign.read_campaign()
    seen = collections.defaultdict(set)
    for name, row in runs.items():
        if found := re.fullmatch(r"half-(new|known)-(by-labels|softly)-seed(\d)", name):
            first = row.pop("train_start", 0)
            seen[found[1]].add(range(first, row.pop("train_size")))
            assert row.pop("seed") == int(found[3])
            assert row.pop("predictions")
            taught = {"teacher": row.pop("teacher", None)}
            taught["share"] = row["changes"].pop("distillation", 0)
            labels = {"teacher": None, "share": 0}
            teacher = {"teacher": "hour-gmlp_tiny-seed0", "share": 1.0}
            assert taught == (labels if found[2] == "by-labels" else teacher)
            seen["row"].add(json.dumps(row))
            seen["name"].add(name)
    without = mixlib.load_run("hour-gmlp_tiny-seed0").metrics["validation_images"]
    assert seen["new"] == {range(0, without)} and seen["known"] == {range(without, 2 * without)}
    assert len(seen["row"]) == 1 and len(seen["name"]) == 12


def created(row):
    arguments = {"num_classes": 100, "image_size": 32} | row.get("overrides", {})
    with keras.StatelessScope(initialize_variables=False):  # shapes, no values
        create = mixlib.create if row["model"] in mixlib.presets.PRESETS else yardsticks.create
        return create(row["model"], **arguments)


@pytest.mark.parametrize("size", ["", "small-"])
def test_compared_models_differ_in_nothing_but_the_model(size):
    runs = campaign.read_campaign()
    kinds, sizes = {}, []
    for name, row in runs.items():
        if found := re.match(rf"{size}(\w+)-fair-.*-seed0", name):
            kind = {key: row[key] for key in row.keys() - {"model", "overrides"}}
            kinds.setdefault(found[1], []).append(kind)
            sizes.append(mixlib.costs.count_parameters(created(row)))
    assert tuple(kinds) == FAIR
    assert all(kind == kinds["mixer_tiny"] for kind in kinds.values())
    assert max(sizes) < 1.05 * min(sizes)


@pytest.mark.parametrize("size", ["", "small-"])
def test_more_seeds_at_the_rate_that_validation_chose(size):
    runs = campaign.read_campaign()
    for model in FAIR:
        stored = [run for run in mixlib.list_runs(names=f"{size}{model}-fair-rate*-seed0")]
        more = [runs[name] for name in runs if name.startswith(f"{size}{model}-fair-")]
        more = [row for row in more if row["seed"] > 0]
        if not stored:
            assert not more
            continue
        best = max(stored, key=lambda run: run.metrics["validation_top_1"])
        assert len(more) == 2 and len({row["seed"] for row in more}) == 2
        for row in more:
            assert row["changes"]["learning_rate"] == best.metrics["learning_rate"]
            assert {**row, "seed": 0} == runs[best.name]


@pytest.mark.parametrize("run", mixlib.list_runs(), ids=lambda run: run.name)
def test_a_stored_run_is_what_the_campaign_says(run):
    row = campaign.read_campaign()[run.name]
    trained = run.metrics | {
        "recipe": run.metrics["recipe"]["name"],
        "epochs": run.metrics["recipe"]["epochs"],
    }
    trained["train_size"] = sum(
        run.metrics.get(part, 0) for part in ("train_images", "validation_images", "train_start")
    )
    changes = row.pop("changes", {})
    assert {key: run.metrics["recipe"][key] for key in changes} == changes
    if row.pop("predictions", False):
        assert len(run.load_predictions()["labels"]) == run.metrics["test_images"]
    for key in ("profile", "weights"):
        row.pop(key, None)
    overrides, stored = row.pop("overrides", {}), run.metrics.get("overrides", {})
    assert stored in (overrides, {"image_size": [32, 32]} | overrides)  # an earlier one without
    assert {key: trained[key] for key in row} == row
    assert_clean(nbformat.read(run.path / "log.ipynb", as_version=4))


@pytest.mark.parametrize("run", mixlib.list_runs(), ids=lambda run: run.name)
def test_a_stored_run_was_trained_by_the_recipe_as_it_is(run):
    row = campaign.read_campaign()[run.name]
    changes = dict(row.get("changes", {}))
    if "learning_rate" in changes:  # as train.ipynb does
        changes = {"learning_rates": {}} | changes
    recipe = dataclasses.replace(mixlib.recipes.get_recipe(row["recipe"]), **changes)
    expected = dataclasses.asdict(recipe)
    stored = run.metrics["recipe"] | {"epochs": recipe.epochs}
    assert stored == {key: expected[key] for key in stored}  # an earlier recipe has fewer fields


def test_several_patterns_choose_what_any_of_them_names():
    runs = {"first": 1, "second": 2, "third": 3}
    assert list(campaign.select(runs, ["th*", "first"])) == ["first", "third"]


def test_a_run_that_another_campaign_finished_meanwhile_is_not_trained(place, calls):
    (place / "runs" / "first").mkdir(parents=True)
    store(place / "runs" / "first")
    campaign.train_unless_taken("first", {"epochs": 1}, place / "runs")
    assert calls == []


def test_helpers_end_with_the_campaign(place, monkeypatch):
    def interrupted(runs, out):
        raise KeyboardInterrupt

    helper = POPEN([sys.executable, "-c", "import time; time.sleep(60)"])
    monkeypatch.setattr(campaign, "start_helper", lambda arguments: helper)
    monkeypatch.setattr(campaign, "train_missing", interrupted)
    try:
        assert campaign.main(["--jobs", "2"]) == 130
        assert helper.wait(timeout=10) != 0
    finally:
        helper.kill()


def test_a_terminated_campaign_ends_its_helpers(place):
    code = """
        import runpy, subprocess, sys, time
        started = subprocess.Popen
        def sleeper(command, **options):
            if "--jobs" not in command:
                return started(command, **options)
            helper = started([sys.executable, "-c", "import time; time.sleep(60)"])
            print(helper.pid, flush=True)
            return helper
        subprocess.Popen = sleeper
        import papermill
        papermill.execute_notebook = lambda *arguments, **options: time.sleep(60)
        sys.argv = sys.argv[1:]
        runpy.run_path(sys.argv[0], run_name="__main__")
    """
    arguments = [campaign.__file__, "--profile", "smoke", "--jobs", "2", "--out", str(place / "o")]
    command = [sys.executable, "-c", textwrap.dedent(code), *arguments]
    process = POPEN(command, stdout=subprocess.PIPE, text=True, env=dict(os.environ))
    helper = psutil.Process(int(process.stdout.readline()))
    while not (place / "o.unfinished").is_dir():
        time.sleep(0.01)
    process.terminate()
    assert process.wait(timeout=30) == 143
    assert not helper.is_running() or helper.status() == psutil.STATUS_ZOMBIE


def test_the_table_tells_runs_of_earlier_code(tmp_path):
    for name, code in (("old", "0" * 64), ("new", mixlib.runs.source_checksum())):
        (tmp_path / name).mkdir()
        store(tmp_path / name)
        metrics = json.dumps(METRICS | {"mixlib_sha256": code})
        (tmp_path / name / "metrics.json").write_text(metrics)
    _, old, new, where = campaign.table(["old", "new"], tmp_path).splitlines()
    assert where == f"in {os.path.relpath(tmp_path)}"
    assert "done, by earlier code" in old
    assert "done" in new and "earlier" not in new


def test_a_changed_row_keeps_its_own_seed():
    row = {"model": "mixer", "recipe": "fair", "seed": 3}
    (changed,) = campaign.override({"a": row}, epochs=2).values()
    assert changed["seed"] == 3
    several = campaign.override({"a": row}, seeds=[0, 1]).values()
    assert [each["seed"] for each in several] == [0, 1] and row["seed"] == 3


def test_a_train_size_of_no_images(tmp_path):
    with pytest.raises(ValueError, match="train_size must be a whole number from 1 up; got 0"):
        campaign.check({"a": {"model": "keras_mixer", "train_size": 0}}, tmp_path)


def test_reasons_have_no_colours():
    error = ValueError("\x1b[31mTraceback\x1b[0m\n\x1b[0;31mValueError\x1b[0m: too small\n")
    assert campaign.reason(error) == "ValueError: too small"
    assert campaign.reason(MemoryError()) == "MemoryError()"  # and never empty


def test_a_teacher_that_will_be_stored_elsewhere_is_none(tmp_path):
    student = {"teacher": "first", "changes": {"distillation": 0.5}}
    rows = {
        "first": {"model": "keras_mixer", "weights": True},
        "second": {"model": "keras_mixer"} | student,
    }
    with pytest.raises(ValueError, match="No run 'first'"):
        campaign.check(rows, tmp_path)


def test_an_augmentation_that_its_layers_refuse(tmp_path):
    changes = {"augmentation": {"shift": 4}}
    with pytest.raises(ValueError, match="Run 'a': shift must be from 0 to below 1; got 4"):
        campaign.check({"a": {"model": "keras_mixer", "changes": changes}}, tmp_path)
