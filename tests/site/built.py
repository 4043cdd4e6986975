"""Where the built site is, and which pages it has."""

import pathlib

import yaml

ROOT = pathlib.Path(__file__).parents[2]
SITE = ROOT / "_build" / "html"
TOC = yaml.safe_load((ROOT / "book" / "_toc.yml").read_text())
CHAPTERS = [chapter for part in TOC["parts"] for chapter in part["chapters"]]
GLOBS = [page["glob"] for chapter in CHAPTERS for page in chapter.get("sections", ())]
# What was written; the logs of trainings, shown as they are; and the page that Sphinx adds.
TEXTS = [TOC["root"], *(chapter["file"] for chapter in CHAPTERS)]
LOGS = sorted(
    path.relative_to(ROOT).with_suffix("").as_posix()
    for glob in GLOBS
    for path in ROOT.glob(f"{glob}.ipynb")
)
# The logs are of one template, so three of them stand for all.
SHOWN = [*TEXTS, "search", LOGS[0], LOGS[len(LOGS) // 2], LOGS[-1]]
PAGES = [*SHOWN, *(log for log in LOGS if log not in SHOWN)]


def source_of(page):
    """The file that a page is made from."""
    (path,) = (page + end for end in (".ipynb", ".md") if (ROOT / (page + end)).is_file())
    return path
