"""The figure that the book opens with, which is also the preview of links to its site."""

import matplotlib.pyplot as plt
import numpy as np

from mixlib import plots


def overview(size=8):
    """Draw the book's subject: patches of a picture, and three ways to mix them.

    The portrait is cut into patches. One column of them then goes through each way of mixing. Every
    line is a weight, as strong as its magnitude, blue or orange by its sign. Patches are added up
    by these weights; at the gate, which opens where the sum is large, each is multiplied by its
    sum. What a model would learn is random here.

    Parameters
    ----------
    size : int
        Patches per side.

    Returns
    -------
    matplotlib.figure.Figure
    """
    picture = plots.portrait(size * 24)
    step = len(picture) // size
    middle = size // 2
    column = picture[:, middle * step : (middle + 1) * step].reshape(size, step, step, 3)
    places = np.arange(size)
    random = np.random.RandomState(1)
    sums = {
        "MLP-Mixer\nsums, learned": np.tanh(random.normal(size=(size, size))),
        "FNet\nsums, given": np.cos(2 * np.pi * np.outer(places, places) / size),
    }
    gate = {"gMLP\na gate, learned": 0.4 * random.normal(size=(size, size))}
    with plots.style():
        figure, (whole, *panels) = plt.subplots(
            1, 4, figsize=(9.6, 3.9), width_ratios=(1.8, 1, 1, 1)
        )
        gaps = 3  # pixels between the patches, which let the page through
        opaque = np.pad(picture, [(0, 0), (0, 0), (0, 1)], constant_values=255)
        cut = plots.with_gaps(opaque, step, gaps, fill=0)
        whole.imshow(cut)
        corner = middle * (step + gaps) - 2, -2
        frame = {"fill": False, "linewidth": 3, "edgecolor": plots.COLOURS[1], "clip_on": False}
        whole.add_patch(plt.Rectangle(corner, step + 3, len(cut) + 3, **frame))
        whole.set_title("A picture is a sequence of patches\n", fontsize="large")
        for axes, (title, matrix) in zip(panels, (sums | gate).items(), strict=True):
            mixed = np.tensordot(matrix, column - column.mean(), 1)
            if title in gate:
                mixed = column * (1 + 0.5 * mixed / mixed.std()).clip(0)
                for token in range(size):
                    axes.plot((0.4, 2.6), (-token, -token), color="black", linewidth=1.5)
                    axes.text(2.25, -token, "×", ha="center", va="center", fontsize=15)
            mixed = (mixed - mixed.min()) / np.ptp(mixed)
            for out, into in np.ndindex(size, size):
                value = matrix[out, into]
                axes.plot(
                    (0.4, 2.6),
                    (-into, -out),
                    color=plots.COLOURS[0 if value > 0 else 1],
                    alpha=min(1, 0.04 + 0.8 * abs(value) ** 1.5),
                    linewidth=0.4 + 2 * abs(value),
                )
            for token in range(size):
                for left, patches in ((-0.4, column), (2.6, mixed)):
                    box = (left, left + 0.8, -token - 0.4, -token + 0.4)
                    axes.imshow(patches[token], extent=box, zorder=2)
            axes.set(xlim=(-0.5, 3.5), ylim=(0.5 - size, 0.5), aspect="equal")
            axes.set_title(title, fontsize="large")
        for axes in (whole, *panels):
            axes.set_axis_off()
    return figure
