"""The figure that the book opens with."""

import matplotlib
from matplotlib import pyplot as plt
from overview import overview

matplotlib.use("Agg")


def test_overview_mixes_every_patch_with_every_other():
    figure = overview(size=4)
    gates = 4  # of gMLP: each patch goes straight on, and is multiplied
    assert [len(axes.lines) for axes in figure.axes] == [0, 16, 16, 16 + gates]
    assert [[text.get_text() for text in axes.texts] for axes in figure.axes][3] == ["×"] * gates
    assert [len(axes.images) for axes in figure.axes] == [1, 8, 8, 8]  # before and after
    plt.close("all")
