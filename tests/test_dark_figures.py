"""Figures for dark pages: grey turns over, colour stays, and the figure is as before."""

import matplotlib
import numpy as np
import pytest
from dark_figures import INK, PAPER, in_dark
from matplotlib import pyplot as plt

from mixlib import plots

matplotlib.use("Agg")


def test_black_and_white_change_places_and_colours_stay():
    with plots.style():
        figure, axes = plt.subplots()
        (line,) = axes.plot([0, 1])
        (black,) = axes.plot([1, 0], color="black")
        axes.annotate("", (0, 0), (1, 1), arrowprops={"color": "0.3"})
    arrow = axes.texts[0].arrow_patch
    before = [arrow.get_edgecolor(), axes.xaxis.label.get_color(), figure.get_facecolor()]
    with in_dark(figure):
        assert line.get_color() == plots.COLOURS[0]
        for colour in (black.get_color(), axes.title.get_color(), axes.spines.left.get_edgecolor()):
            np.testing.assert_allclose(colour, (*INK, 1))
        np.testing.assert_allclose(figure.get_facecolor(), (*PAPER, 1))
        assert arrow.get_edgecolor()[0] > 0.5
    assert black.get_color() == "black"
    assert [arrow.get_edgecolor(), axes.xaxis.label.get_color(), figure.get_facecolor()] == before


def test_a_figure_that_cannot_be_saved_is_as_before():
    figure, axes = plt.subplots()
    before = figure.get_facecolor(), axes.title.get_color()
    with pytest.raises(OSError, match="disk full"), in_dark(figure):
        raise OSError("disk full")
    assert (figure.get_facecolor(), axes.title.get_color()) == before


@pytest.mark.parametrize("draw", ["imshow", "pcolormesh"])
def test_what_lies_on_an_image_stays(draw):
    figure, axes = plt.subplots()
    getattr(axes, draw)([[0, 1], [1, 0]])
    on = axes.text(0.5, 0.5, "1", color="white")
    beside = axes.text(9, 0.5, "1", color="white")
    with in_dark(figure):
        assert on.get_color() == "white"
        np.testing.assert_allclose(beside.get_color(), (*PAPER, 1))
