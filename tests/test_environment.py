"""One set of packages: pyproject.toml, the constraints files and environment.yml agree."""

import contextlib
import importlib.metadata
import pathlib
import re
import tomllib

import yaml
from packaging.specifiers import SpecifierSet

ROOT = pathlib.Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]


def pinned(name):
    """Versions that a constraints file pins, by package name as the index compares names."""
    lines = (ROOT / name).read_text().splitlines()
    pairs = [line.split("==") for line in lines if not line.startswith("#")]
    return {canonical(package): version for package, version in pairs}


def canonical(requirement):
    return re.sub(r"[-_.]+", "-", re.split(r"[<>=,\[ ]", requirement)[0]).lower()


def test_conda_installs_the_packages_of_the_project():
    (pip,) = (entry["pip"] for entry in CONDA if isinstance(entry, dict))
    packages = [line for line in pip if not line.startswith("--")]
    wanted = [*PROJECT["dependencies"], *EXTRAS["test"], *EXTRAS["lint"], *EXTRAS["book"]]
    assert sorted(packages) == sorted(wanted)
    assert "--editable ." in pip
    for file in ("constraints.txt", "constraints-book.txt"):
        assert f"--constraint {file}" in pip


def test_conda_takes_a_python_that_the_project_supports():
    (python,) = (entry for entry in CONDA if str(entry).startswith("python="))
    minor = int(python.removeprefix("python=3."))
    lowest, highest = map(int, re.findall(r"3\.(\d+)", PROJECT["requires-python"]))
    assert lowest <= minor < highest


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] in PROJECT["license"].split(" AND ")


def test_the_pins_are_for_every_python_that_the_project_names():
    """Debian 12 has 3.11.2; its pip refuses what needs a later one."""
    lowest = PROJECT["requires-python"].removeprefix(">=").split(",")[0]
    for name in pinned("constraints.txt") | pinned("constraints-book.txt"):
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            needs = importlib.metadata.metadata(name)["Requires-Python"] or ""
            assert SpecifierSet(needs).contains(f"{lowest}.0"), (name, needs)


def test_every_dependency_is_pinned_once_and_the_books_tools_apart():
    runtime, book = pinned("constraints.txt"), pinned("constraints-book.txt")
    assert not runtime.keys() & book.keys()
    for extra, requirements in {"": PROJECT["dependencies"], **EXTRAS}.items():
        for requirement in requirements:
            assert canonical(requirement) in (
                book | runtime if extra in ("book", "site") else runtime
            )


def test_the_oldest_versions_are_those_that_the_project_says_it_supports():
    oldest = pinned("constraints-oldest.txt")
    bounds = dict(line.split(">=") for line in PROJECT["dependencies"] if ">=" in line)
    assert oldest.keys() == bounds.keys()
    for name, version in bounds.items():
        assert f"{oldest[name]}.".startswith(f"{version}."), name


def test_the_pinned_versions_are_those_the_book_builds_with():
    book = pinned("constraints-book.txt")
    assert book["jupyter-book"].startswith("1.")
    assert book["sphinx-book-theme"] == "1.1.4"  # later ones give every page an empty header
    assert book["pydata-sphinx-theme"] == "0.15.4"
