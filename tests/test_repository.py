"""The project's public address stands once: in `_config.yml`."""

import shutil

import nbformat
import pytest
import set_repository as script
import yaml

NOTEBOOKS = sorted((script.ROOT / "notebooks").glob("*.ipynb"))


def address(root=script.ROOT):
    return yaml.safe_load((root / "_config.yml").read_text())["repository"]["url"]


def first_cell(path):
    notebook = nbformat.read(path, as_version=4)
    return next(cell.source for cell in notebook.cells if cell.cell_type == "code")


@pytest.fixture
def copy(tmp_path):
    """A copy of what holds the address."""
    shutil.copy(script.ROOT / "_config.yml", tmp_path)
    (tmp_path / "notebooks").mkdir()
    for path in NOTEBOOKS:
        shutil.copy(path, tmp_path / "notebooks")
    return tmp_path


def test_one_command_sets_the_address_everywhere_and_unsets_it(copy):
    before = {path: path.read_text() for path in copy.rglob("*.*") if path.is_file()}
    script.set_repository("https://github.com/owner/name.git/", copy)
    assert address(copy) == "https://github.com/owner/name"
    config = yaml.safe_load((copy / "_config.yml").read_text())
    assert config["launch_buttons"]["colab_url"] and config["launch_buttons"]["binderhub_url"]
    buttons = ("repository", "issues", "edit_page")
    assert all(config["html"][f"use_{button}_button"] for button in buttons)
    for path in (copy / "notebooks").glob("*.ipynb"):
        assert '"git+https://github.com/owner/name"' in first_cell(path)
    script.set_repository("", copy)
    assert {path: path.read_text() for path in before} == before


@pytest.mark.parametrize("url", ["github.com/owner", "https://github.com/owner/name/tree/main"])
def test_a_wrong_address_is_refused(copy, url):
    with pytest.raises(ValueError, match="Expected an address such as"):
        script.set_repository(url, copy)
    assert address(copy) == address()
