"""Notebooks: clean, alike where they must be, and readable by those who can't see the figures."""

import ast
import inspect
import pathlib
import re

import nbformat
import papermill
import pytest
import set_repository
import yaml
from matplotlib.figure import Figure

import mixlib

ROOT = pathlib.Path(__file__).parents[1]
PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHAPTERS = [path for path in PATHS if re.match(r"\d\d_", path.name)]
INSTALL = """\
# Install mixlib where it is missing, as in Colab. Nothing else is changed.
import importlib.util
import os

if getattr(importlib.util.find_spec("mixlib"), "origin", None) is None:
    source = os.environ.get("MIXLIB_INSTALL", "{source}")
    %pip install --quiet {{source}}"""
PERCENTAGE = re.compile(r"\d+[.,]\d+(\s|\\,)?\\?%|\d{2}(\s|\\,)?\\?%")
ABSOLUTE_PATH = re.compile(r"(?<![\w./])/(work|home|root|tmp|usr|opt|Users|content)/|\b[A-Z]:\\\w")
MATPLOTLIB_FIGURES = {
    "bar", "figure", "hist", "imshow", "matshow", "plot", "scatter", "subplot_mosaic", "subplots",
}  # fmt: skip

each_notebook = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
each_chapter = pytest.mark.parametrize("path", CHAPTERS, ids=lambda path: path.stem)


def cells_of(path, kind=None):
    cells = nbformat.read(path, as_version=4).cells
    return [cell for cell in cells if kind in (None, cell.cell_type)]


def tags_of(cell):
    return cell.metadata.get("tags", [])


def headings_of(path):
    """Level and text of every heading, code in fences left out."""
    text = "\n".join(cell.source for cell in cells_of(path, "markdown"))
    text = re.sub(r"(?ms)^(`{3,}|~{3,}).*?^\1", "", text)
    return [(len(marks), title) for marks, title in re.findall(r"(?m)^(#{1,6})\s+(.+)$", text)]


def makes_figure(call, own=()):
    """Whether a call makes a figure: one of mixlib's, of Matplotlib's, or of the notebook's own."""
    *owner, name = ast.unparse(call.func).split(".")
    if not owner:
        return name in own
    if owner[-1] == "plots":
        return inspect.signature(getattr(mixlib.plots, name)).return_annotation is Figure
    return owner == ["plt"] and name in MATPLOTLIB_FIGURES


def drawing_cells(cells):
    """Code cells that draw. A function that draws counts where it is called."""
    own = set()
    for cell in cells:
        # Magics are no Python.
        body = ast.parse(re.sub(r"(?m)^(\s*)[%!].*$", r"\1pass", cell.source)).body
        functions = [node for node in body if isinstance(node, ast.FunctionDef)]
        own |= {function.name for function in functions if draws([function], own)}
        if draws([node for node in body if node not in functions], own):
            yield cell


def draws(nodes, own):
    calls = (call for node in nodes for call in ast.walk(node) if isinstance(call, ast.Call))
    return any(makes_figure(call, own) for call in calls)


def alt_text_of(cell):
    shown = cell.metadata.get("mystnb", {})
    return any(shown.get(key, {}).get("alt", "").strip() for key in ("image", "figure"))


def test_there_are_notebooks():
    assert ROOT / "notebooks" / "train.ipynb" in PATHS and CHAPTERS


@each_notebook
def test_is_valid_and_every_cell_has_an_id_of_its_own(path):
    notebook = nbformat.read(path, as_version=4)
    nbformat.validate(notebook)
    assert (notebook.nbformat, notebook.nbformat_minor) >= (4, 5)
    ids = [cell["id"] for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


@each_notebook
def test_runs_on_the_plain_python_kernel(path):
    assert nbformat.read(path, as_version=4).metadata["kernelspec"]["name"] == "python3"


@each_notebook
def test_no_outputs_are_committed(path):
    for cell in cells_of(path, "code"):
        assert cell.outputs == [] and cell.execution_count is None, cell["id"]


@each_notebook
def test_the_first_cell_installs_and_no_other_does(path):
    first, *others = cells_of(path, "code")
    url = yaml.safe_load((ROOT / "_config.yml").read_text())["repository"]["url"]
    assert first.source == INSTALL.format(source=set_repository.install_source(url))
    assert tags_of(first) == ["hide-input"]
    for cell in others:
        assert not re.search(r"\b(pip|conda|install)\b", cell.source), cell["id"]


@each_notebook
def test_papermill_finds_the_profile(path):
    tagged = [cell for cell in cells_of(path) if "parameters" in tags_of(cell)]
    assert len(tagged) == 1 and tagged[0].cell_type == "code"
    assert papermill.inspect_notebook(path)["profile"]["default"] == "None"


@each_notebook
def test_headings_go_down_one_level_at_a_time(path):
    levels = [level for level, _ in headings_of(path)]
    assert levels[0] == 1 and levels.count(1) == 1
    for (_, title), above, level in zip(headings_of(path)[1:], levels, levels[1:], strict=False):
        assert level <= above + 1, title


@each_notebook
def test_every_figure_has_an_alt_text(path):
    for cell in drawing_cells(cells_of(path, "code")):
        assert alt_text_of(cell), f"{cell['id']} draws, and has no alt text:\n{cell.source}"


@each_notebook
def test_no_result_is_typed_by_hand(path):
    for cell in cells_of(path, "markdown"):
        found = PERCENTAGE.search(cell.source)
        assert not found, f"{cell['id']}: {found}. Results come from stored runs."


@each_notebook
def test_no_absolute_paths(path):
    for cell in cells_of(path):
        assert not ABSOLUTE_PATH.search(cell.source), cell["id"]


@each_chapter
def test_goes_the_way_of_a_chapter(path):
    texts = [cell.source for cell in cells_of(path, "markdown")]
    goals = texts[0].split("After this chapter you will be able to")[1]
    assert len(re.findall(r"(?m)^- ", goals)) == 3
    assert [title for _, title in headings_of(path)][-2:] == ["Exercises", "What to remember"]
    whole = "\n".join(texts)
    assert re.findall(r"(?m)^\*\*(\d)\.\*\*", whole) == ["1", "2", "3"]
    assert "**Further reading.**" in texts[-1]
    assert len(re.findall(r"[A-Za-z][\w'’-]*", whole)) < 2_800  # twelve minutes


@each_chapter
def test_exercises_have_folded_solutions(path):
    solutions = [cell for cell in cells_of(path) if "solution" in tags_of(cell)]
    assert solutions
    for cell in solutions:
        assert cell.cell_type == "code" and "hide-input" in tags_of(cell), cell["id"]


@pytest.mark.parametrize(
    "source, drawing",
    [
        ("plots.images(pictures);", True),
        ("if x:\n    mixlib.plots.heat_map(matrix)", True),
        ("with plots.style():\n    figure, axes = plt.subplots()", True),
        ("def show(x):\n    plt.plot(x)\n\n\nshow(1)", True),
        ("def show(x):\n    plt.plot(x)", False),
        ("%matplotlib inline\nphoto = plots.portrait(64)", False),
        ("photo = plt.imread(file)", False),
        ("plots.run_table(table)", False),
        ("axes.plot(x)", False),
    ],
)
def test_the_search_for_figures(source, drawing):
    cells = [nbformat.v4.new_code_cell(source)]
    assert list(drawing_cells(cells)) == (cells if drawing else [])


@pytest.mark.parametrize(
    "text, found",
    [
        ("47.58 %", True),
        ("46,6%", True),
        ("about 20 % better", True),
        (r"$20\,\%$", True),
        ("20\u00a0%", True),
        ("{eval}`top_1` %", False),
        ("0.2, 20 epochs", False),
    ],
)
def test_the_search_for_percentages(text, found):
    assert bool(PERCENTAGE.search(text)) == found
