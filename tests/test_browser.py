"""The steps of a model, their rounding, and the piece of HTML that holds them.

That the HTML computes what Keras does is tested in a browser: tests/site/test_explorer.py.
"""

import base64
import json
import pathlib
import re

import keras
import nbformat
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mixlib
from mixlib import browser

CHAPTER = pathlib.Path(__file__).parents[1] / "notebooks" / "16_into_the_browser.ipynb"
NAMES = [f"class {index}" for index in range(100)]
# Presets, with options that change what their steps do.
MODELS = [
    ("mixer_tiny", {}),
    ("mixer_tiny", {"gelu": "exact", "positional_encoding": True, "image_size": (16, 32)}),
    ("gmlp_tiny", {}),
    ("gmlp_tiny", {"gelu": "tanh", "patch_size": 8}),
    ("fnet_tiny", {}),
    ("fnet_tiny", {"fourier_norm": "ortho", "implementation": "dft"}),
]


def make(name, options, blocks=2):
    """A preset whose weights are all drawn at random, heads, gates and biases too."""
    keras.utils.set_random_seed(0)
    model = mixlib.create(name, num_blocks=blocks, **options)
    for weight in model.trainable_weights:
        weight.assign(weight + keras.random.normal(weight.shape, stddev=0.1))
    return model


def picture_for(model):
    return np.random.default_rng(0).integers(0, 256, model.input_shape[1:], dtype="uint8")


@pytest.fixture(scope="module")
def scores():
    """The machine that the chapter builds by hand, in NumPy."""
    cells = [cell.source for cell in nbformat.read(CHAPTER, as_version=4).cells]
    names = {"np": np, "math": __import__("math")}
    for part in ("kinds = {", "def scores("):
        (cell,) = (cell for cell in cells if re.search(f"(?m)^{re.escape(part)}", cell))
        exec(cell, names)
    return names["scores"]


@pytest.mark.parametrize("name, options", MODELS)
def test_the_steps_give_the_models_scores(name, options, scores):
    model = make(name, options)
    picture = picture_for(model)
    expected = model.predict(picture[None].astype("float32"), verbose=0)[0]
    found = scores(browser.program(model), picture)
    assert expected.std() > 0.1
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-3 * expected.std())


def test_tokens_are_shown_before_and_after_every_block():
    steps = browser.program(make("fnet_tiny", {}, blocks=3))
    shown = [step["name"] for step in steps if step["step"] == "show"]
    assert shown == ["before", "block 1", "block 2", "block 3"]


def test_preprocessing_is_a_scale_for_each_colour():
    model = mixlib.create("mixer_tiny")
    scale = browser.program(model)[0]
    deviation = np.sqrt(mixlib.augment.CIFAR100_VARIANCE)
    np.testing.assert_allclose(scale["factors"], 1 / deviation, rtol=1e-4)
    np.testing.assert_allclose(
        scale["offsets"], -np.array(mixlib.augment.CIFAR100_MEAN) / deviation, rtol=1e-4
    )


def test_steps_have_the_numbers_of_their_layers():
    """Wrong ones hardly show in the scores, where the two GELUs differ by a thousandth."""
    for form in ("exact", "tanh"):
        steps = browser.program(make("mixer_tiny", {"gelu": form}, blocks=1))
        assert {step["form"] for step in steps if step["step"] == "gelu"} == {form}
    norm = keras.layers.LayerNormalization(epsilon=0.25)
    steps = browser.program(mixlib.build_classifier(norm))
    assert [step["epsilon"] for step in steps if step["step"] == "norm"] == [0.25]


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_models_that_have_no_steps():
    with pytest.raises(ValueError, match="does more than scale each colour.*preprocessing="):
        browser.program(mixlib.create("keras_mixer"))
    resizing = keras.layers.Resizing(16, 16)
    with pytest.raises(ValueError, match="does more than scale each colour"):
        browser.program(mixlib.build_classifier([], preprocessing=resizing))

    class Bend(keras.layers.Layer):
        def call(self, x):
            return x / 64 + 0.2 * keras.ops.sin(x)

    with pytest.raises(ValueError, match="does more than scale each colour"):
        browser.program(mixlib.build_classifier([], preprocessing=Bend()))
    with pytest.raises(ValueError, match="'bend' is a Activation"):
        bend = keras.layers.Activation("relu", name="bend")
        browser.program(mixlib.build_classifier(bend))
    for layer, said in (
        (keras.layers.Dense(128, activation="relu"), "must have a bias, and no activation"),
        (keras.layers.Dense(128, use_bias=False), "must have a bias, and no activation"),
        (keras.layers.LayerNormalization(axis=1), "must be of channels, with scale and centre"),
        (keras.layers.LayerNormalization(scale=False), "must be of channels, with scale and"),
        (type("Mine", (mixlib.MixerBlock,), {})(4, 4, name="mine"), "'mine' is a Mine"),
    ):
        with pytest.raises(ValueError, match=said):
            browser.program(mixlib.build_classifier(layer))
    rounded = make("mixer_tiny", {})
    rounded.quantize("int8")
    with pytest.raises(ValueError, match=r"is quantized already \(int8\).*as it was before"):
        browser.program(rounded)
    with pytest.raises(ValueError, match="no layer is a Patches"):
        browser.program(keras.Sequential([keras.Input((4,)), keras.layers.Dense(2)]))


@given(st.integers(2, 8), st.integers(0, 2**32 - 1))
def test_a_rounded_weight_is_off_by_half_a_step_at_most(bits, seed):
    random = np.random.default_rng(seed)
    matrix = random.normal(size=(7, 5)) * 10.0 ** random.integers(-6, 3, 5)
    matrix[:, 0] = 0
    integers, scales = browser.quantize(matrix.astype("float32"), bits)
    assert integers.dtype == np.int8 and scales.dtype == np.float32
    np.testing.assert_array_equal(abs(integers).max(axis=0)[1:], 2 ** (bits - 1) - 1)
    assert not integers[:, 0].any()
    assert (abs(integers * scales - matrix) <= 0.5001 * scales).all()


@pytest.mark.parametrize("bits", [1, 9, 4.5, "8"])
def test_bits_that_there_are_not(bits):
    with pytest.raises(ValueError, match="whole number from 2 to 8; got"):
        browser.quantize(np.ones((2, 2)), bits)


def test_what_the_page_holds():
    model = make("gmlp_tiny", {})
    picture = picture_for(model)
    html = browser.explore(model, {"noise": picture}, NAMES)._repr_html_()
    (found,) = re.findall(r'<script type="application/json">(.*?)</script>', html, re.DOTALL)
    content = json.loads(found)
    assert content["classes"] == NAMES and content["shape"] == [32, 32, 3]
    assert base64.b64decode(content["pictures"]["noise"]) == picture.tobytes()
    integers = np.frombuffer(base64.b64decode(content["integers"]), "int8")
    floats = np.frombuffer(base64.b64decode(content["floats"]), "<f4")
    for step, stored in zip(browser.program(model), content["steps"], strict=True):
        for key, value in step.items():
            if not isinstance(value, np.ndarray):
                assert stored[key] == value
            elif value.ndim == 1:
                start = stored[key]["at"]
                np.testing.assert_array_equal(floats[start : start + value.size], value)
            else:
                rounded, scales = browser.quantize(value)
                at, scales_at = stored[key]["at"], stored[key]["scalesAt"]
                sent = integers[at : at + value.size].reshape(stored[key]["shape"])
                np.testing.assert_array_equal(sent, rounded)
                np.testing.assert_array_equal(floats[scales_at : scales_at + len(scales)], scales)


def test_a_name_can_not_end_the_script():
    model = make("mixer_tiny", {"num_classes": 1})
    html = browser.explore(model, {"noise": picture_for(model)}, ["</script><b>"]).html
    assert "</script><b>" not in html and "\\u003c/script>\\u003cb>" in html


def test_what_does_not_fit_the_model():
    model = make("mixer_tiny", {})
    picture = picture_for(model)
    with pytest.raises(ValueError, match="100 classes, but 3 names came"):
        browser.explore(model, {"noise": picture}, NAMES[:3])
    with pytest.raises(ValueError, match=r"'half' is \(16, 32, 3\), in uint8. Resize"):
        browser.explore(model, {"half": picture[:16]}, NAMES)
    with pytest.raises(ValueError, match="in float64. Resize and cast"):
        browser.explore(model, {"noise": picture / 255}, NAMES)
    with pytest.raises(ValueError, match="at least one picture"):
        browser.explore(model, {}, NAMES)


def test_a_weight_is_a_byte_unless_it_is_said_otherwise():
    assert browser.quantize(np.eye(3))[0].max() == 127
