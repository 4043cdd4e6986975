"""A model in a page computes what Keras does, and follows what a reader does to its picture."""

import numpy as np
import pytest
from measure_stored_weights import round_matrices
from PIL import Image
from test_browser import MODELS, NAMES, make, picture_for

import mixlib
from mixlib import browser as in_browser

PAGE = "notebooks/16_into_the_browser.html"
EXPLORER = ".mixlib-explorer"
SCORES = f"image => Array.from(document.querySelector('{EXPLORER}').classify(image).scores)"
SHOWN = f"""() => {{
    const explorer = document.querySelector('{EXPLORER}')
    return Array.from(explorer.querySelectorAll('tbody tr, .reach'), part => part.innerText)
}}"""


@pytest.mark.parametrize("name, options", MODELS)
def test_gives_the_scores_of_keras(name, options, browser, tmp_path):
    model = make(name, options)
    picture = picture_for(model)
    path = tmp_path / "page.html"
    path.write_text(in_browser.explore(model, {"noise": picture}, NAMES).html)
    page = browser.new_page()
    errors = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(path.as_uri())  # a file, without a server
    found = page.evaluate(SCORES, picture.ravel().tolist())
    page.close()
    round_matrices(model)
    expected = model.predict(picture[None].astype("float32"), verbose=0)[0]
    assert not errors
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4 * expected.std())


@pytest.fixture
def page(open_page):
    page = open_page(PAGE)
    page.wait_for_selector(f"{EXPLORER} tbody tr")
    page.click(f"{EXPLORER} button")  # undo what the page begins with
    page.wait_for_selector(f"{EXPLORER} div.reach:has-text('no change')")
    yield page
    assert page.trouble == []


def changed(page, before):
    page.wait_for_function(f"before => JSON.stringify(({SHOWN})()) !== before", arg=before)
    return page.evaluate(SHOWN)


def shown(page):
    return page.evaluate(f"() => JSON.stringify(({SHOWN})())")


def test_begins_with_the_models_answer(page):
    model = mixlib.load_run("hour-gmlp_tiny-seed0").load_model()
    before = shown(page)
    page.select_option(f"{EXPLORER} select", "a portrait")
    changed(page, before)
    portrait = mixlib.plots.portrait(32)
    logits = model.predict(portrait[None].astype("float32"), verbose=0)[0]
    best = mixlib.data.CIFAR100_CLASSES[logits.argmax()]
    assert page.evaluate(SHOWN)[0].startswith(best)


def test_keys_take_a_patch_away_and_bring_it_back(page):
    before = shown(page)
    page.focus(f"{EXPLORER} canvas")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    after = changed(page, before)
    assert "before: 100" in " ".join(after)  # what is changed is all in this patch
    grey = mixlib.augment.CIFAR100_MEAN  # which the model sees as zero
    np.testing.assert_allclose(colours(page, (13, 13)), [grey], atol=2)
    now = shown(page)
    page.keyboard.press("Space")
    changed(page, now)
    assert shown(page) == before
    assert page.evaluate("document.activeElement.tagName") == "CANVAS"


def colours(page, *pixels):
    """The colours of pixels (row, column) of the picture, which is shown eight times as large.

    Once a page: Chromium warns of a canvas that is read again and again.
    """
    read = f"""pixels => {{
        const {{ width, height }} = document.querySelector('{EXPLORER} canvas')
        const context = document.querySelector('{EXPLORER} canvas').getContext('2d')
        const {{ data }} = context.getImageData(0, 0, width, height)
        const starts = pixels.map(([row, column]) => 4 * ((8 * row + 4) * width + 8 * column + 4))
        return starts.map(start => Array.from(data.slice(start, start + 3)))
    }}"""
    return page.evaluate(read, pixels)


def test_keys_paint_a_patch(page):
    page.check(f"{EXPLORER} input[value=paint]")
    page.fill(f"{EXPLORER} input[type=color]", "#0000ff")
    before = shown(page)
    page.focus(f"{EXPLORER} canvas")
    height = page.evaluate("scrollY")
    page.keyboard.press("Space")
    changed(page, before)
    assert page.evaluate("scrollY") == height
    now = shown(page)
    for key in ("ArrowDown", "ArrowRight", "ArrowRight", "ArrowLeft", "Space"):
        page.keyboard.press(key)
    changed(page, now)
    assert colours(page, (17, 13), (21, 17)) == [[0, 0, 255]] * 2


def test_a_quick_pointer_paints_a_whole_line(page):
    page.check(f"{EXPLORER} input[value=paint]")
    page.fill(f"{EXPLORER} input[type=color]", "#0000ff")
    before = shown(page)
    box = page.locator(f"{EXPLORER} canvas").bounding_box()
    step = box["width"] / 32
    page.mouse.move(box["x"] + 2.5 * step, box["y"] + 5.5 * step)
    page.mouse.down()
    page.mouse.move(box["x"] + 29.5 * step, box["y"] + 14.5 * step)
    page.mouse.up()
    changed(page, before)
    now = shown(page)
    page.click(f"{EXPLORER} canvas", position={"x": 31.5 * step, "y": 20.5 * step})
    changed(page, now)
    line = [(5 + column // 3, 2 + column) for column in range(28)]
    *painted, left_of_next_row = colours(page, *line, (20, 31), (21, 0))
    assert painted == [[0, 0, 255]] * 29
    assert left_of_next_row != [0, 0, 255]


def test_a_stroke_that_begins_outside_paints_nothing(page):
    page.check(f"{EXPLORER} input[value=paint]")
    box = page.locator(f"{EXPLORER} canvas").bounding_box()
    before = shown(page)
    page.mouse.move(box["x"] - 20, box["y"] + 100)
    page.mouse.down()
    page.mouse.move(box["x"] + 100, box["y"] + 100, steps=5)
    page.mouse.up()
    assert shown(page) == before


def test_a_finger_scrolls_the_page_unless_it_paints(page):
    moves = f"() => getComputedStyle(document.querySelector('{EXPLORER} canvas')).touchAction"
    assert page.evaluate(moves) == "auto"
    page.check(f"{EXPLORER} input[value=paint]")
    assert page.evaluate(moves) == "none"


def test_a_click_takes_a_patch_away_and_a_line_is_painted(page):
    before = shown(page)
    page.click(f"{EXPLORER} canvas", position={"x": 40, "y": 40})
    changed(page, before)
    now = shown(page)
    page.check(f"{EXPLORER} input[value=paint]")
    page.fill(f"{EXPLORER} input[type=color]", "#0000ff")
    box = page.locator(f"{EXPLORER} canvas").bounding_box()
    page.mouse.move(box["x"] + 80, box["y"] + 160)
    page.mouse.down()
    page.mouse.move(box["x"] + 180, box["y"] + 160, steps=5)
    page.mouse.up()
    changed(page, now)
    page.click(f"{EXPLORER} button")
    page.wait_for_selector(f"{EXPLORER} div.reach:has-text('no change')")
    assert shown(page) == before


def test_a_picture_of_ones_own(page, tmp_path):
    before = shown(page)
    wrong = tmp_path / "own.txt"
    wrong.write_text("no picture")
    page.set_input_files(f"{EXPLORER} input[type=file]", wrong)
    page.wait_for_selector("text=This file can't be read as a picture")
    assert shown(page) == before
    path = tmp_path / "own.png"
    picture = np.full((90, 60, 3), (30, 60, 200), "uint8")
    picture[:15] = picture[-15:] = 0  # what is beside the middle is cut off
    Image.fromarray(picture).save(path)
    page.set_input_files(f"{EXPLORER} input[type=file]", path)
    changed(page, before)
    assert colours(page, (2, 2), (29, 29)) == [[30, 60, 200]] * 2
    names = f"{EXPLORER} select"
    assert page.locator(names).input_value() == ""  # none of the page's own
    now = shown(page)
    page.select_option(names, index=0)
    changed(page, now)
    assert shown(page) == before
    assert page.evaluate(f"document.querySelector('{EXPLORER} input[type=file]').files.length") == 0
