"""The project as a whole: what its Makefile sets and removes, and what its wheel holds."""

import os
import pathlib
import shutil
import subprocess
import sys
import types
import zipfile

import campaign
import pytest
import site_extension

ROOT = pathlib.Path(__file__).parents[1]


def make(*arguments, **environment):
    """What make prints, in an environment of its own."""
    if shutil.which("make") is None:
        pytest.skip("there is no make")
    variables = {"PATH": os.environ["PATH"], **environment}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=variables, check=True, capture_output=True, text=True
    ).stdout


@pytest.mark.parametrize(
    "exported, seen",
    [
        ({}, "tensorflow smoke"),
        ({"KERAS_BACKEND": "jax", "MIXLIB_PROFILE": "full"}, "jax smoke"),
    ],
)
def test_make_runs_the_smoke_profile_whatever_is_exported(tmp_path, exported, seen):
    (tmp_path / "show").write_text("show: ; @echo $$KERAS_BACKEND $$MIXLIB_PROFILE")
    assert make("-f", "Makefile", "-f", tmp_path / "show", "show", **exported).strip() == seen


def test_make_passes_patterns_and_folders_on_as_they_are():
    command = make("--dry-run", "full", "ONLY=* keras_*-seed0", "OUT=my runs")
    assert "--only '*' 'keras_*-seed0'" in command
    assert '--out "my runs"' in command


def test_a_page_that_left_the_book_leaves_the_site(tmp_path):
    pages = [tmp_path / f"{name}.html" for name in ("index", "notebooks/01_a", "notebooks/02_b")]
    (tmp_path / "notebooks").mkdir()
    for page in pages:
        page.touch()
    app = types.SimpleNamespace(outdir=tmp_path, env=types.SimpleNamespace())
    app.env.found_docs = {"book/intro", "notebooks/02_b"}
    site_extension.remove_other_pages(app, RuntimeError("the build failed"))
    assert all(page.exists() for page in pages)
    site_extension.remove_other_pages(app, None)
    assert [page.exists() for page in pages] == [True, False, True]


@pytest.mark.parametrize(
    "repository, shown_at",
    [
        ("https://github.com/owner/name", "https://owner.github.io/name/"),
        ("https://gitlab.com/owner/name", ""),
        ("", ""),
    ],
)
def test_the_address_of_the_site_is_that_of_github(repository, shown_at):
    assert site_extension.public_address(repository) == shown_at


def test_clean_leaves_trainings_alone():
    removed = [(ROOT / word).resolve() for word in make("--dry-run", "clean").split()]
    assert ROOT / "_build" in removed
    for folder in (campaign.OTHER_RUNS, campaign.BOOK_RUNS):
        for kept in (folder, campaign.unfinished(folder, "one")):
            assert not {kept, *kept.parents} & {*removed} - {ROOT, *ROOT.parents}


def test_the_wheel_holds_what_the_chapters_read(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "--target", "wheel", "-d", tmp_path]
    subprocess.run(build, cwd=ROOT, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    stored = "mixlib/stored_runs/"
    names = zipfile.ZipFile(wheel).namelist()
    assert "mixlib/cifar100_order.npz" in names
    packed = [name for name in names if name.startswith(stored)]
    files = {path.relative_to(campaign.BOOK_RUNS) for path in campaign.BOOK_RUNS.glob("*/*.*")}
    files = {path.as_posix() for path in files if path.name != "log.ipynb"}
    assert any(name.endswith("/metrics.json") for name in files)
    files |= {"published.toml", "cifar100.json"}
    assert sorted(packed) == sorted(stored + name for name in files)
