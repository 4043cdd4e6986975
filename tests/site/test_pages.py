"""Every page of the built site in a real browser, as a reader without a network meets it.

`make test-site` runs this; a plain pytest leaves it out.
"""

import functools
import html.parser
import json
import re
import urllib.parse

import numpy as np
import pytest
from axe_playwright_python.sync_playwright import Axe
from built import LOGS, PAGES, SHOWN, SITE, TEXTS
from PIL import Image

each_page = pytest.mark.parametrize("page", PAGES, indirect=True, scope="module")
each_shown = pytest.mark.parametrize("page", SHOWN, indirect=True, scope="module")
each_text = pytest.mark.parametrize("page", TEXTS, indirect=True, scope="module")

# What a narrow window cuts off: wider than the window, and in no box that scrolls by itself.
CUT_OFF = """() => [...document.querySelectorAll('.bd-article *')].filter(element => {
    const box = element.getBoundingClientRect()
    if (!box.width || !box.height || box.right <= innerWidth + 1) return false
    for (let parent = element; parent; parent = parent.parentElement) {
        const style = getComputedStyle(parent)
        if (['auto', 'scroll'].includes(style.overflowX) || style.clip !== 'auto') return false
    }
    return true
}).map(element => element.outerHTML.slice(0, 200))"""
FIGURES = """() => [...document.querySelectorAll('.bd-article img:not(.dark-light)')].filter(
    image => image.getClientRects().length
).map(image => ['only-light', 'only-dark'].find(name => image.classList.contains(name)))"""
FADING = """() => [
    ...document.querySelectorAll('.bd-article details, .bd-article details *')
].map(element => getComputedStyle(element).animationName).filter(name => name !== 'none')"""


class Anchors(html.parser.HTMLParser):
    """The ids of a page, which links may point at."""

    def __init__(self, path):
        super().__init__()
        self.ids = set()
        self.feed((SITE / path).read_text())

    def handle_starttag(self, tag, attributes):
        self.ids |= {value for name, value in attributes if name == "id"}


@functools.cache
def anchors(path):
    return Anchors(path).ids


@pytest.fixture(scope="module")
def page(request, open_page):
    """A page, loaded once for all its tests."""
    page = open_page(f"{request.param}.html")
    yield page
    page.context.close()


def set_theme(page, theme):
    page.evaluate("theme => (document.documentElement.dataset.theme = theme)", theme)


def test_there_are_no_other_pages():
    built = {path.relative_to(SITE).with_suffix("").as_posix() for path in SITE.rglob("*.html")}
    built = {path for path in built if not path.startswith("_static/")}
    assert built == {*PAGES, "index"}  # which leads on to the first page


@each_page
def test_loads_by_itself(page):
    assert page.trouble == []


@each_page
def test_links_lead_somewhere(page):
    for link in page.eval_on_selector_all("a[href]", "links => links.map(link => link.href)"):
        url = urllib.parse.urlsplit(link)
        if url.hostname != "127.0.0.1":
            assert url.scheme == "https", link
            continue
        path = url.path.removeprefix("/")
        assert (SITE / path).is_file(), link
        if url.fragment and path.endswith(".html"):
            assert urllib.parse.unquote(url.fragment) in anchors(path), link


@each_shown
def test_every_image_says_what_is_to_be_seen(page):
    images = "all => all.map(image => [image.alt, image.src])"
    for alt, source in page.eval_on_selector_all(".bd-article img", images):
        assert len(alt.split()) >= 5, f"{source}: {alt!r}"


@each_shown
def test_figures_hold_their_room_and_come_when_they_are_near(page):
    for figure in page.locator(".bd-article img[src$='.png']").all():
        with Image.open(SITE / figure.get_attribute("src").replace("../", "")) as png:
            said = [int(figure.get_attribute(side)) for side in ("width", "height")]
            assert said == list(png.size)
        assert figure.get_attribute("loading") == "lazy"


def test_the_front_door_says_where_it_leads():
    door, first = ((SITE / f"{name}.html").read_text() for name in ("index", TEXTS[0]))
    (title,) = re.findall("<title>.*?</title>", first)
    (description,) = re.findall('<meta name="description".*?/>', first)
    assert title in door and description in door
    assert f'url={TEXTS[0]}.html"' in door


def test_logs_are_not_searched():
    text = (SITE / "searchindex.js").read_text()
    index = json.loads(text.removeprefix("Search.setIndex(").rstrip(")"))
    pages = np.hstack([*index["terms"].values(), *index["titleterms"].values()])
    found = {index["docnames"][int(page)] for page in pages}
    assert "notebooks/06_mlp_mixer" in found and not found & set(LOGS)


@each_shown
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_shuts_no_reader_out(page, theme):
    set_theme(page, theme)
    rules = {"label-content-name-mismatch": {"enabled": True}}  # not among axe's defaults
    options = {"resultTypes": ["violations"], "rules": rules}
    barriers = [
        f"{violation['id']}: {node['html'][:200]}\n{node['failureSummary']}"
        for violation in Axe().run(page, options=options).response["violations"]
        if violation["impact"] in ("serious", "critical")
        for node in violation["nodes"]
    ]
    assert not barriers, "\n\n".join(barriers)


@each_text
def test_figures_change_with_the_theme(page):
    shown = {}
    for theme in ("light", "dark"):
        set_theme(page, theme)
        shown[theme] = page.evaluate(FIGURES)
        assert set(shown[theme]) <= {f"only-{theme}"}
    assert len(shown["light"]) == len(shown["dark"])


@each_text
def test_on_paper_it_is_light_and_all_there(page):
    set_theme(page, "dark")
    folded = page.locator("details:not([open])").count()
    page.emulate_media(media="print")
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "light"
    assert set(page.evaluate(FIGURES)) <= {"only-light"}
    assert page.locator(".bd-article details:not([open])").count() == 0
    assert not page.locator(".bd-sidebar-primary").is_visible()
    assert page.evaluate(FADING) == []
    page.emulate_media(media="screen")
    page.evaluate("dispatchEvent(new Event('afterprint'))")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.locator("details:not([open])").count() == folded


@each_shown
def test_fits_a_phone(page):
    page.set_viewport_size({"width": 360, "height": 740})
    width = page.evaluate("document.documentElement.scrollWidth")
    cut_off = page.evaluate(CUT_OFF)
    page.set_viewport_size({"width": 1280, "height": 800})
    assert width <= 360 and not cut_off, "\n".join(cut_off)


@each_text
def test_mathematics_is_rendered(page):
    formulas = page.locator(".bd-article .math:not(.math *)").count()
    assert page.locator(".bd-article .math mjx-container").count() >= formulas
    assert page.locator("mjx-merror").count() == 0


@each_text
def test_says_what_it_is(page):
    assert page.title().endswith("Images without attention")
    assert page.locator(".bd-article h1").count() == 1
    assert page.locator("link[rel=icon]").count() == 1
    description = page.get_attribute("meta[name=description]", "content")
    assert 40 <= len(description) <= 200
    preview = {
        key: page.get_attribute(f"meta[property='og:{key}']", "content")
        for key in ("title", "site_name", "type", "description")
    }
    assert page.title().startswith(preview["title"]) and preview["description"] == description


def test_no_two_pages_are_announced_alike():
    for tag in ("<title>", '<meta name="description"'):
        lines = [
            line
            for path in TEXTS
            for line in (SITE / f"{path}.html").read_text().splitlines()
            if line.strip().startswith(tag)
        ]
        assert len(set(lines)) == len(lines) == len(TEXTS)


def test_the_front_door_leads_to_the_landing_page(open_page):
    page = open_page("")
    page.wait_for_url("**/book/intro.html")
    assert page.trouble == []


def test_search_finds_without_a_network(open_page):
    page = open_page("notebooks/01_data.html")
    page.keyboard.press("Control+k")
    page.keyboard.type("fourier")
    page.keyboard.press("Enter")
    page.wait_for_selector("#search-results li a")
    assert "FNet" in page.locator("#search-results li a").all_inner_texts()
    assert page.trouble == []


def test_the_readers_choice_of_a_theme_is_kept(open_page):
    page = open_page("book/intro.html")
    page.click(".theme-switch-button")
    chosen = page.evaluate("document.documentElement.dataset.mode")
    page.goto(page.url.replace("intro", "training"))
    assert chosen in ("light", "dark")
    assert page.evaluate("document.documentElement.dataset.theme") == chosen
