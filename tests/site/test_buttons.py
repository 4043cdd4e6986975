"""With an address, every page links to its own file: in Colab, Binder, GitHub and to download."""

import pathlib
import re
import shutil
import subprocess
import sys

import pytest
import set_repository
from built import ROOT, SITE, TEXTS, source_of
from PIL import Image

ADDRESS = "https://github.com/owner/name"
PUBLIC = "https://owner.github.io/name/"

each_text = pytest.mark.parametrize("page", TEXTS)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site built with an example address, from a copy, without running anything."""
    copy = tmp_path_factory.mktemp("copy")
    shutil.copy(ROOT / "_config.yml", copy)
    for folder in ("book", "notebooks"):
        shutil.copytree(ROOT / folder, copy / folder)
    set_repository.set_repository(ADDRESS, copy)
    config = copy / "_config.yml"
    text = config.read_text()
    assert "execute_notebooks: force" in text
    config.write_text(text.replace("execute_notebooks: force", "execute_notebooks: 'off'"))
    jupyter_book = pathlib.Path(sys.executable).with_name("jupyter-book")
    build = [jupyter_book, "build", ".", "--config", config, "--toc", "book/_toc.yml", "--quiet"]
    done = subprocess.run(build, capture_output=True, text=True, cwd=copy)
    assert done.returncode == 0, done.stdout + done.stderr
    return copy / "_build" / "html"


def buttons(site, page):
    """Where the buttons of a page lead, by what is written on them."""
    text = (site / f"{page}.html").read_text()
    links = re.findall(r'<a href="([^"]+)" target="_blank"(.*?)</a>', text, re.DOTALL)
    label = re.compile(r'btn__text-container">(.*?)</span>')
    return {label.search(rest)[1]: link for link, rest in links if label.search(rest)}


@each_text
def test_buttons_lead_to_the_file_of_the_page(site, page):
    source = source_of(page)
    found = buttons(site, page)
    assert found.pop("Repository") == ADDRESS
    assert found.pop("Suggest edit") == f"{ADDRESS}/edit/main/{source}"
    assert found.pop("Open issue").startswith(f"{ADDRESS}/issues/new?title=")
    download = found.pop(pathlib.Path(source).suffix)
    copied = (site / page).parent / download
    assert copied.read_text() == (site.parents[1] / source).read_text()
    if source.endswith(".ipynb"):
        colab = "https://colab.research.google.com/github/owner/name/blob/main"
        assert found.pop("Colab") == f"{colab}/{source}"
        binder = "https://mybinder.org/v2/gh/owner/name/main"
        assert found.pop("Binder") == f"{binder}?urlpath=tree/{source}"
    found.pop(".ipynb", None)  # of a page written as text: the notebook made from it
    assert not found


@each_text
def test_previews_and_search_engines_learn_the_address(site, page):
    text = (site / f"{page}.html").read_text()
    assert f'<link rel="canonical" href="{PUBLIC}{page}.html"' in text
    assert f'<meta property="og:url" content="{PUBLIC}{page}.html"' in text
    (preview,) = re.findall(r'<meta property="og:image" content="(.*?)"', text)
    with Image.open(site / preview.removeprefix(PUBLIC)) as picture:
        assert picture.size == (1200, 630)


@each_text
def test_without_an_address_no_button_asks_for_one(page):
    if 'url: ""' not in (ROOT / "_config.yml").read_text():
        pytest.skip("the address is set")
    assert not [link for link in buttons(SITE, page).values() if ":" in link]
    text = (SITE / f"{page}.html").read_text()
    assert "og:url" not in text and "og:image" not in text and "canonical" not in text
