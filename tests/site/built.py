"""Where the built site is, and which pages it has."""

import pathlib

import yaml

ROOT = pathlib.Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
# The pages that are ours, and the one that Sphinx adds.
TEXTS = [TOC["root"], *(page["file"] for part in TOC["parts"] for page in part["chapters"])]
PAGES = [*TEXTS, "search"]


def source_of(page):
    """The file that a page is made from."""
    (path,) = (page + end for end in (".ipynb", ".md") if (ROOT / (page + end)).is_file())
    return path
