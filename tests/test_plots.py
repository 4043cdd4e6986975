"""Figures: what is drawn is what was given."""

import re

import keras
import matplotlib
import nbclient
import nbformat
import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

import mixlib
from mixlib import data, plots

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


@pytest.fixture
def image():
    return data.draw_shapes(1)[0][0]


def drawn(figure):
    """Images of a figure, in the order of their axes."""
    return [axes.images[0].get_array() for axes in figure.axes if axes.images]


def test_the_portrait_is_a_photo_of_the_size_asked_for():
    photo = plots.portrait(96)
    assert photo.shape == (96, 96, 3) and photo.dtype == np.uint8 and photo.std() > 30


def test_images(image):
    figure = plots.images(np.stack([image] * 5), titles=list("abcde"), columns=3)
    assert [np.array_equal(picture, image) for picture in drawn(figure)] == [True] * 5
    assert [axes.get_title() for axes in figure.axes if axes.images] == list("abcde")
    assert figure.axes[0].get_gridspec().get_geometry() == (2, 3)


def test_floats_are_scaled_together():
    pictures = np.stack([np.full((4, 4, 3), value) for value in (-1.0, 0.0, 1.0)])
    assert [picture[0, 0, 0] for picture in drawn(plots.images(pictures))] == [0.0, 0.5, 1.0]


def test_class_examples_have_a_row_a_class():
    pictures, labels = np.zeros((12, 4, 4, 3), np.uint8), np.array([0, 1] + [0] * 9 + [1])
    pictures[:, 0, 0, 0] = range(12)
    figure = plots.class_examples(pictures, labels, ["a", "b"])
    assert [picture[0, 0, 0] for picture in drawn(figure)] == [0, *range(2, 9), 1, 11]
    assert [axes.get_ylabel() for axes in figure.axes] == ["a", *[""] * 7, "b", *[""] * 7]
    figure = plots.class_examples(pictures / 11, 0 * labels, ["a", "none"])  # on one scale
    assert [picture[0, 0, 0] for picture in drawn(figure)] == pytest.approx(np.arange(8) / 11)


def test_patches_are_shown_in_order(image):
    whole, *parts = drawn(plots.patches(image, 8))
    np.testing.assert_array_equal(whole, image)
    assert len(parts) == 16
    np.testing.assert_array_equal(parts[1], image[:8, 8:16])
    np.testing.assert_array_equal(parts[4], image[8:16, :8])


def test_augmentations_begin_with_the_original(image):
    layer = mixlib.augment.preprocessing(horizontal_flip=False, mean=[0] * 3, variance=[1] * 3)
    pictures = drawn(plots.augmentations(image, layer))
    assert len(pictures) == 8
    assert pictures[0].shape == pictures[1].shape == (64, 64, 3)  # enlarged to be compared
    assert not np.array_equal(pictures[1], pictures[2])


@pytest.mark.parametrize("size", [(48, 40), (20, 64)])
def test_augmentations_beside_an_original_of_another_size(image, size):
    pictures = drawn(plots.augmentations(image, keras.layers.Resizing(*size)))
    shape = max(size[0], 32), max(size[1], 32), 3
    assert [picture.shape for picture in pictures] == [shape] * 8
    first = np.asarray(image, "float32")
    first = (first - first.min()) / np.ptp(first)
    np.testing.assert_allclose(pictures[0][0, 0], first[0, 0], atol=1e-6)
    np.testing.assert_allclose(pictures[0][-1, -1], first[-1, -1], atol=1e-6)


HISTORY = {"loss": [4, 3], "val_loss": [4.5, 4], "top_1": [0.1, 0.2], "val_top_1": [0.1, 0.15]}


def test_learning_curves_of_a_training_that_broke():
    broken = {key: [1.0, np.nan, np.nan] for key in ("loss", "val_loss", "top_1", "val_top_1")}
    losses, accuracies = plots.learning_curves({"broken": broken}).axes
    assert losses.get_xlim() == accuracies.get_xlim() == (0.5, 3.5)


def test_learning_curves_show_every_history():
    figure = plots.learning_curves({"one": HISTORY, "two": HISTORY}, published={"two": 0.5})
    losses, accuracies = figure.axes
    assert losses.get_ylabel() == "cross-entropy (nats)"
    assert accuracies.get_ylabel() == "top-1 accuracy (%)"
    assert [text.get_text() for text in accuracies.get_legend().get_texts()] == ["one", "two"]
    assert accuracies.lines[0].get_xdata().tolist() == [1, 2]
    assert accuracies.lines[0].get_ydata().tolist() == [10, 15]
    assert accuracies.lines[-1].get_ydata()[0] == 50


def test_a_history_may_hold_validation_alone():
    validation = {key: HISTORY[key] for key in ("val_loss", "val_top_1")}
    losses, accuracies = plots.learning_curves({"all": HISTORY, "validation": validation}).axes
    assert len(losses.lines) == len(accuracies.lines) == 3
    assert losses.lines[-1].get_ydata().tolist() == HISTORY["val_loss"]


def test_there_may_be_more_curves_than_colours():
    names = [str(number) for number in range(len(plots.COLOURS) + 2)]
    losses, accuracies = plots.learning_curves(dict.fromkeys(names, HISTORY)).axes
    assert len(losses.lines) == len(accuracies.lines) == 2 * len(names)


def test_run_table_rounds_and_marks_the_best():
    columns = {"model": ["a", "b"], "parameters": [1234, 5678], "top-1 (%)": [10.123, 20.456]}
    table = pd.DataFrame(columns | {"top-5 (%)": [60.0, 50.0]}, index=["one", "two"])
    html = plots.run_table(table).to_html()
    assert "1,234" in html and "10.12<" in html and "20.46<" in html
    (best,) = re.findall(r"([^{}]*){\s*font-weight: bold", html)
    assert set(re.findall(r"row\d_col\d", best)) == {"row1_col2", "row0_col3"}
    assert "bold" not in plots.run_table(table[:1]).to_html()  # there is nothing to compare


def test_heat_map_centres_a_symmetric_scale_on_zero():
    figure = plots.heat_map(np.array([[-1.0, 3.0]]), symmetric=True, label="weight", title="t")
    drawn = figure.axes[0].images[0]
    assert drawn.get_clim() == (-3.0, 3.0) and drawn.get_cmap().name == "RdBu_r"  # red above zero
    assert figure.axes[0].get_title() == "t" and figure.axes[1].get_ylabel() == "weight"


def test_confusion_matrix_names_classes_and_writes_counts():
    axes, _ = plots.confusion_matrix([[3, 1], [0, 10]], ["cat", "dog"]).axes
    np.testing.assert_allclose(axes.images[0].get_array(), [[0.75, 0.25], [0, 1]])
    written = {text.get_position(): (text.get_text(), text.get_color()) for text in axes.texts}
    assert written == {(0, 0): ("3", "white"), (1, 0): ("1", "black"), (1, 1): ("10", "white")}
    for labels in (axes.get_xticklabels(), axes.get_yticklabels()):
        assert [text.get_text() for text in labels] == ["cat", "dog"]
    assert (axes.get_ylabel(), axes.get_xlabel()) == ("true class", "answer of the model")


def test_prediction_frames_what_the_model_sees(image):
    photo = np.zeros((60, 40, 3), np.uint8)
    whole, small, bars = plots.prediction(photo, image, np.array([0.1, 0.7, 0.2]), "abc").axes
    assert whole.patches[0].get_bbox().bounds == (-0.5, 9.5, 40, 40)
    np.testing.assert_array_equal(small.images[0].get_array(), image)
    assert [text.get_text() for text in bars.get_yticklabels()] == ["b", "c", "a"]
    assert [bar.get_width() for bar in bars.patches] == [0.7, 0.2, 0.1]


def test_prediction_shows_six_classes_and_sizes_by_width():
    photo, seen = np.zeros((60, 40, 3), np.uint8), np.zeros((8, 16, 3), np.uint8)
    whole, small, bars = plots.prediction(photo, seen, np.arange(8) / 28, "abcdefgh").axes
    assert len(bars.patches) == 6
    assert "40 x 60" in whole.get_title() and "16 x 8" in small.get_title()


def test_mosaic_shows_every_map_in_its_place():
    maps = np.arange(1, 13).reshape(3, 2, 2)
    (picture,) = drawn(plots.mosaic(maps, columns=2, limit=12))
    picture = np.ma.filled(picture, np.nan)
    assert picture.shape == (5, 5)  # two lines of two maps, and a gap between
    np.testing.assert_allclose(picture[:2, :2], maps[0] / 12)
    np.testing.assert_allclose(picture[:2, 3:], maps[1] / 12)
    np.testing.assert_allclose(picture[3:, :2], maps[2] / 12)
    assert np.isnan(picture[2]).all() and np.isnan(picture[3:, 3:]).all()


def test_mosaic_scales_each_map_by_its_own_largest_value():
    maps = np.array([[[0.0, -4.0]], [[0.1, 0.2]], [[0.0, 0.0]]])
    (picture,) = drawn(plots.mosaic(maps, columns=3))
    shown = picture[:, [0, 1, 3, 4, 6, 7]]
    np.testing.assert_allclose(shown, [[0, -1, 0.5, 1, 0, 0]])


def test_classifier_diagram_has_a_panel_a_step(image):
    model = mixlib.create("keras_fnet", num_blocks=3)
    panels = plots.classifier_diagram(model, image).axes
    titles = "images preprocessing patches stem positions 3 x FNetLayer pool head".split(" ")
    titles[5:8] = [" ".join(titles[5:8])]
    assert [axes.get_title() for axes in panels] == titles
    assert [axes.get_xlabel() for axes in panels][-3:] == ["64 x 256", "256", "100"]
    assert panels[2].images[0].get_array().shape == (78, 78, 3)  # 8 patches of 8, 7 gaps of 2
    blocks = keras.Model(model.input, model.get_layer("block_2").output)
    (last,) = keras.ops.convert_to_numpy(blocks(image[None].astype("float32")))
    np.testing.assert_allclose(panels[5].images[0].get_array(), last, rtol=1e-3, atol=1e-4)


def test_classifier_diagram_of_a_wide_image(image):
    model = mixlib.create("mixer_tiny", image_size=(32, 64), num_blocks=1)
    panels = plots.classifier_diagram(model, np.concatenate([image, image], axis=1)).axes
    (patches,) = (axes for axes in panels if axes.get_title() == "patches")
    picture = patches.images[0].get_array()
    assert picture.shape == (39, 79, 3)  # 8 x 16 patches of 4, gaps of 1
    np.testing.assert_array_equal(picture[:, :39], picture[:, 40:])


def test_the_style_stays_inside():
    before = plt.rcParams["font.size"], plt.rcParams["axes.grid"]
    with plots.style():
        assert plt.rcParams["axes.grid"] is True
    assert (plt.rcParams["font.size"], plt.rcParams["axes.grid"]) == before


def test_a_notebook_shows_every_figure():
    code = "import numpy as np; from mixlib import plots"
    draw = "plots.images(np.zeros((1, 4, 4, 3)));"
    cells = [nbformat.v4.new_code_cell(source) for source in (code, draw, draw)]
    notebook = nbclient.execute(nbformat.v4.new_notebook(cells=cells), kernel_name="python3")
    outputs = [cell.outputs for cell in notebook.cells[1:]]
    assert ["image/png" in output.data for shown in outputs for output in shown] == [True, True]


def test_the_frame_in_a_wide_photo_is_in_the_middle():
    photo, seen = np.zeros((40, 60, 3), np.uint8), np.zeros((8, 8, 3), np.uint8)
    whole = plots.prediction(photo, seen, np.array([0.1, 0.9]), "ab").axes[0]
    assert whole.patches[0].get_bbox().bounds == (9.5, -0.5, 40, 40)


def test_validation_is_the_solid_line():
    for axes in plots.learning_curves({"one": HISTORY}).axes:
        assert [line.get_linestyle() for line in axes.lines] == ["-", "--"]


def test_red_is_above_zero():
    image = plots.mosaic(np.array([[[1.0, -1.0]]]), columns=1).axes[0].images[0]
    red, blue = image.cmap(image.norm(image.get_array()))[0]
    assert red[0] > red[2] and blue[2] > blue[0]
