"""Set the project's public address: in `_config.yml`, where it stands, and in every notebook.

Colab knows nothing but the notebook, so each notebook's first cell says where mixlib is installed
from; `tests/test_repository.py` holds them to `_config.yml`. An empty address unsets it.
"""

import argparse
import pathlib
import re

import nbformat

ROOT = pathlib.Path(__file__).parents[1]
ADDRESS = re.compile(r"https://[\w.-]+/[\w.-]+/[\w.-]+")
SOURCE = re.compile(r'(os\.environ\.get\("MIXLIB_INSTALL", )"[^"]*"')


def install_source(url):
    """What a notebook's first cell installs, where MIXLIB_INSTALL does not say otherwise."""
    return f"git+{url}" if url else ".."


def set_repository(url, root=ROOT):
    """Write the address into the configuration and the notebooks under a folder."""
    url = url.rstrip("/").removesuffix(".git")
    if url and not ADDRESS.fullmatch(url):
        raise ValueError(f"Expected an address such as https://github.com/owner/name; got {url!r}.")
    shown = "true" if url else "false"
    values = {
        "url": f'"{url}"',
        "use_repository_button": shown,
        "use_issues_button": shown,
        "use_edit_page_button": shown,
        "colab_url": '"https://colab.research.google.com"' if url else '""',
        "binderhub_url": '"https://mybinder.org"' if url else '""',
    }
    config = root / "_config.yml"
    text = config.read_text()
    for key, value in values.items():
        text, count = re.subn(rf"(?m)^(  {key}:) .*$", rf"\1 {value}", text)
        assert count == 1, f"{config} must have one line {key!r}; it has {count}."
    config.write_text(text)
    for path in sorted((root / "notebooks").glob("*.ipynb")):
        notebook = nbformat.read(path, as_version=4)
        first = next(cell for cell in notebook.cells if cell.cell_type == "code")
        first.source = SOURCE.sub(rf'\1"{install_source(url)}"', first.source)
        nbformat.write(notebook, path)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url", help="such as https://github.com/owner/name")
    set_repository(parser.parse_args().url)
