"""The book's figures: one function per figure, one style for all."""

import itertools
import math

import keras
import matplotlib.pyplot as plt
import numpy as np
from cycler import cycler
from matplotlib import cbook
from matplotlib.figure import Figure
from PIL import Image

from mixlib.patches import Patches

# After Okabe and Ito's palette, which colour-blind readers can tell apart. Its orange and vermilion
# are darker here, for contrast on white, and grey stands for its yellow.
COLOURS = ("#0072B2", "#CC8400", "#009E73", "#CC79A7", "#56B4E9", "#B84A00", "#999999", "#000000")

STYLE = {
    "axes.prop_cycle": cycler(color=COLOURS),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.3,
    "axes.titlesize": "medium",
    "figure.constrained_layout.use": True,
    "figure.dpi": 110,
    "font.size": 10,
    "image.interpolation": "nearest",
    "legend.frameon": False,
}


def style():
    """Context in which a figure of one's own looks like the book's: ``with plots.style(): …``."""
    # Matplotlib chooses its backend at the first figure. Chosen inside the context, its settings
    # would be undone at the end, and a notebook would show the first figure only.
    plt.draw_if_interactive()
    return plt.rc_context(STYLE)


def portrait(size=224):
    """Return a photo: the portrait of Grace Hopper that Matplotlib ships, in the public domain.

    Parameters
    ----------
    size : int
        Height and width of the square cut from it, in pixels.

    Returns
    -------
    numpy.ndarray
        uint8, shape (size, size, 3).
    """
    with cbook.get_sample_data("grace_hopper.jpg") as file:
        photo = Image.open(file).crop((44, 20, 488, 464))
        return np.asarray(photo.resize((size, size), Image.Resampling.LANCZOS))


def images(pictures, titles=None, columns=8, size=1.2) -> Figure:
    """Show images in a grid.

    Parameters
    ----------
    pictures : array
        Shape (n, height, width, channels); uint8 from 0 to 255, or floats, which are scaled to the
        range that all of them span.
    titles : sequence of str, optional
        One per image.
    columns : int
        Images per row.
    size : float
        Width of an image, in inches.
    """
    pictures = _to_displayable(pictures)
    columns = min(columns, len(pictures))
    rows = math.ceil(len(pictures) / columns)
    height = size * (1.3 if titles is not None else 1.0)
    with style():
        figure, grid = plt.subplots(
            rows, columns, figsize=(columns * size, rows * height), squeeze=False
        )
        for axes in grid.flat:
            axes.set_axis_off()
        for index, picture in enumerate(pictures):
            axes = grid.flat[index]
            axes.imshow(picture, cmap="gray")
            if titles is not None:
                axes.set_title(str(titles[index]), fontsize="x-small", wrap=True)
    return figure


def class_examples(pictures, labels, class_names) -> Figure:
    """Show images of every class, one row per class: the first eight, or all that there are.

    Parameters
    ----------
    pictures : array
        Shape (n, height, width, channels).
    labels : numpy.ndarray
        Integer labels, shape (n,), indices into `class_names`.
    class_names : sequence of str
    """
    rows, columns = len(class_names), 8
    pictures = _to_displayable(pictures)
    with style():
        figure, grid = plt.subplots(
            rows, columns, figsize=(0.9 * columns + 1, 0.9 * rows), squeeze=False
        )
        for label, (name, row) in enumerate(zip(class_names, grid, strict=True)):
            chosen = np.flatnonzero(labels == label)[:columns]
            for axes in row:
                axes.set(xticks=[], yticks=[])
                axes.set_frame_on(False)
            for axes, picture in zip(row, pictures[chosen], strict=False):
                axes.imshow(picture)
            row[0].set_ylabel(name, rotation=0, ha="right", va="center")
    return figure


def patches(image, patch_size) -> Figure:
    """Show an image with the patch grid on it, and its patches in the order of the sequence.

    Parameters
    ----------
    image : array
        Shape (height, width, channels).
    patch_size : int
        In pixels.
    """
    image = _to_displayable(np.asarray(image))
    height, width, channels = image.shape
    sequence = keras.ops.convert_to_numpy(Patches(patch_size)(image[None].astype("float32")))[0]
    cut = sequence.reshape(-1, patch_size, patch_size, channels).astype(image.dtype)
    rows, columns = height // patch_size, width // patch_size
    with style():
        figure = plt.figure(figsize=(8, 4 * rows / columns + 0.4))
        whole, parts = figure.subfigures(1, 2)
        axes = whole.subplots()
        axes.imshow(image)
        axes.set_xticks(np.arange(0, width, patch_size) - 0.5, [])
        axes.set_yticks(np.arange(0, height, patch_size) - 0.5, [])
        axes.grid(color="white", alpha=0.9, linewidth=1)
        axes.tick_params(length=0)
        axes.set_title(f"{height} x {width} pixels")
        parts.suptitle(f"{len(cut)} patches of {patch_size} x {patch_size}", fontsize="medium")
        for axes, patch in zip(parts.subplots(rows, columns, squeeze=False).flat, cut, strict=True):
            axes.imshow(patch)
            axes.set_axis_off()
    return figure


def augmentations(image, layer) -> Figure:
    """Show an image and what an augmentation layer makes of it, seven times.

    Where they differ in size, the smaller ones are enlarged, by repeating pixels.

    Parameters
    ----------
    image : array
        Shape (height, width, channels), 0 to 255.
    layer : keras.layers.Layer
        Called with ``training=True``.
    """
    image = np.asarray(image, "float32")
    made = [keras.ops.convert_to_numpy(layer(image[None], training=True))[0] for _ in range(7)]
    pictures = [_to_displayable(picture) for picture in (image, *made)]
    titles = ["original", *(f"draw {index}" for index in range(1, 8))]
    height, width, _ = np.max([picture.shape for picture in pictures], axis=0)
    y, x = np.arange(height)[:, None], np.arange(width)
    pictures = [p[y * p.shape[0] // height, x * p.shape[1] // width] for p in pictures]
    return images(pictures, titles)


def learning_curves(histories, published=None) -> Figure:
    """Show loss and top-1 accuracy over the epochs, training dashed and validation solid.

    Parameters
    ----------
    histories : Mapping
        From a label to a history (the dict of lists of an `Experiment` or a `Run`). Of one that
        holds validation alone, only this is drawn.
    published : Mapping, optional
        From a label to a published top-1 test accuracy between 0 and 1, drawn as a dotted line.
    """
    with style():
        figure, (losses, accuracies) = plt.subplots(1, 2, figsize=(9, 3.4))
        longest = max(len(history["val_loss"]) for history in histories.values())
        looks = itertools.cycle(zip(COLOURS, "os^Dv<>X", strict=True))
        for (colour, marker), (label, history) in zip(looks, histories.items(), strict=False):
            epochs = np.arange(1, len(history["val_loss"]) + 1)
            for axes, key, scale in ((losses, "loss", 1), (accuracies, "top_1", 100)):
                for column, line in ((f"val_{key}", "-"), (key, "--")):
                    if column not in history:
                        continue
                    axes.plot(
                        epochs,
                        scale * np.asarray(history[column]),
                        line,
                        color=colour,
                        marker=marker,
                        markersize=4,
                        markevery=max(1, len(epochs) // 10),
                        linewidth=1.5 if line == "-" else 1,
                        label=label if line == "-" else None,
                    )
            if published and label in published:
                accuracies.axhline(100 * published[label], color=colour, linestyle=":")
        losses.set(xlabel="epoch", ylabel="cross-entropy (nats)")
        accuracies.set(xlabel="epoch", ylabel="top-1 accuracy (%)")
        for axes in (losses, accuracies):
            axes.xaxis.get_major_locator().set_params(integer=True, min_n_ticks=1)
            axes.set_xlim(0.5, longest + 0.5)
        accuracies.legend(title="validation (solid), training (dashed)", title_fontsize="small")
    return figure


def run_table(table):
    """Style a table of runs for reading: rounded figures, the best accuracies in bold.

    Parameters
    ----------
    table : pandas.DataFrame
        From `mixlib.runs.tabulate`, with further columns or fewer.

    Returns
    -------
    pandas.io.formats.style.Styler
    """
    accuracies = [column for column in table.columns if column.endswith("(%)")]
    formats = {column: "{:.2f}" for column in accuracies}
    formats |= {"parameters": "{:,}", "seconds/epoch": "{:.1f}"}
    compared = [column for column in ("top-1 (%)", "top-5 (%)") if column in accuracies]
    return (
        table.rename_axis(None)
        .style.format(
            {column: text for column, text in formats.items() if column in table.columns},
            na_rep="–",
        )
        .highlight_max(subset=compared if len(table) > 1 else [], props="font-weight: bold")
    )


def heat_map(matrix, title=None, symmetric=False, label=None, axes=None) -> Figure:
    """Show a matrix as colours, with a scale.

    Parameters
    ----------
    matrix : array
        Shape (rows, columns).
    title : str, optional
    symmetric : bool
        Whether the scale is centred on zero, with two hues for the signs.
    label : str, optional
        What the values are, with their unit.
    axes : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.
    """
    matrix = np.asarray(matrix)
    with style():
        if axes is None:
            _, axes = plt.subplots(figsize=(4.2, 3.4))
        limit = np.abs(matrix).max() or 1.0
        limits = {"vmin": -limit, "vmax": limit, "cmap": "RdBu_r"} if symmetric else {}
        drawn = axes.imshow(matrix, **({"cmap": "viridis"} | limits))
        axes.grid(False)
        axes.figure.colorbar(drawn, ax=axes, label=label)
        if title:
            axes.set_title(title)
    return axes.figure


def confusion_matrix(counts, class_names) -> Figure:
    """Show what a classifier took the images of each class for, as counts.

    The colour is the share of the row, so that classes of different size can be compared.

    Parameters
    ----------
    counts : array
        Shape (classes, classes): a row per true class, a column per predicted one.
    class_names : sequence of str
    """
    counts = np.asarray(counts)
    share = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    side = 1.5 + 0.42 * len(counts)
    with style():
        figure, axes = plt.subplots(figsize=(side + 0.8, side))
        drawn = axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for row, column in np.ndindex(counts.shape):
            if counts[row, column]:
                colour = "white" if share[row, column] > 0.5 else "black"
                text = {"ha": "center", "va": "center", "fontsize": "small", "color": colour}
                axes.text(column, row, counts[row, column], **text)
        ticks = range(len(class_names))
        axes.set_xticks(ticks, class_names, rotation=45, ha="right", rotation_mode="anchor")
        axes.set_yticks(ticks, class_names)
        axes.set(xlabel="answer of the model", ylabel="true class")
        axes.tick_params(length=0)
        axes.grid(False)
        figure.colorbar(drawn, ax=axes, label="share of the true class", shrink=0.8)
    return figure


def prediction(photo, seen, probabilities, class_names) -> Figure:
    """Show a photo, what of it the model sees, and the six classes it finds most probable.

    Parameters
    ----------
    photo : array
        As it was taken, shape (height, width, channels). A frame marks the middle part that has
        the proportions of `seen`.
    seen : array
        What it became: cropped to the middle and resized, shape (height, width, channels).
    probabilities : array
        Shape (classes,).
    class_names : sequence of str
    """
    (height, width), (rows, columns) = photo.shape[:2], seen.shape[:2]
    scale = min(height / rows, width / columns)
    corner = (width - scale * columns) / 2 - 0.5, (height - scale * rows) / 2 - 0.5
    best = np.argsort(probabilities)[::-1][:6]
    with style():
        figure, (whole, small, bars) = plt.subplots(
            1, 3, figsize=(9, 2.9), width_ratios=(1, 1, 1.3)
        )
        whole.imshow(photo)
        frame = {"fill": False, "linewidth": 2.5, "edgecolor": COLOURS[1], "clip_on": False}
        whole.add_patch(plt.Rectangle(corner, scale * columns, scale * rows, **frame))
        whole.set_title(f"as it is: {width} x {height} pixels")
        small.imshow(seen)
        small.set_title(f"as the model sees it: {columns} x {rows}")
        for axes in (whole, small):
            axes.set_axis_off()
        bars.barh(range(len(best)), probabilities[best], color=COLOURS[0])
        bars.set_yticks(range(len(best)), [class_names[label] for label in best])
        bars.set(xlim=(0, 1), xlabel="probability (softmax)")
        bars.grid(axis="y", visible=False)
        bars.invert_yaxis()
    return figure


def mosaic(maps, columns=8, limit=None, title=None, label=None, axes=None) -> Figure:
    """Show small maps side by side, red above zero and blue below: filters, or similarities.

    Parameters
    ----------
    maps : array
        Shape (n, rows, columns).
    columns : int
        Maps per row.
    limit : float, optional
        Value of the strongest colour. Default: each map's own largest magnitude.
    title : str, optional
    label : str, optional
        What the values are. With it, a colour bar is drawn.
    axes : matplotlib.axes.Axes, optional
        Where to draw. Default: a new figure.
    """
    maps = np.asarray(maps, "float64")
    limits = np.abs(maps).max(axis=(1, 2)) if limit is None else np.full(len(maps), limit)
    scaled = maps / np.maximum(limits, 1e-12)[:, None, None]
    lines, gap = math.ceil(len(maps) / columns), max(1, maps.shape[1] // 8)
    tiles = np.full((lines * columns, maps.shape[1] + gap, maps.shape[2] + gap), np.nan)
    tiles[: len(maps), :-gap, :-gap] = scaled
    tiles = tiles.reshape(lines, columns, *tiles.shape[1:]).transpose(0, 2, 1, 3)
    picture = tiles.reshape(lines * tiles.shape[1], -1)[:-gap, :-gap]
    with style():
        if axes is None:
            _, axes = plt.subplots(figsize=(4.4, 0.4 + 4 * len(picture) / picture.shape[1]))
        drawn = axes.imshow(picture, cmap="RdBu_r", vmin=-1, vmax=1)
        axes.set(xticks=[], yticks=[], frame_on=False)
        axes.grid(False)
        if title:
            axes.set_title(title)
        if label:
            axes.figure.colorbar(drawn, ax=axes, label=label, shrink=0.8)
    return axes.figure


def classifier_diagram(model, image) -> Figure:
    """Show what an image becomes on its way through a classifier, step by step.

    Tokens and features are shown as matrices, red above zero and blue below, each step on its own
    scale.

    Parameters
    ----------
    model : keras.Model
        From `mixlib.create` or `mixlib.build_classifier`. Layers of the same kind that follow each
        other share a panel, which shows what the last of them returns.
    image : array
        Shape (height, width, channels), 0 to 255.
    """
    steps = []  # (layer, number of layers like it)
    for layer in model.layers:
        if type(layer).__name__ in ("Add", "Dropout"):
            continue
        alike = steps and type(steps[-1][0]) is type(layer)
        steps[-1:] = [(layer, steps[-1][1] + 1)] if alike else [*steps[-1:], (layer, 1)]
    values = keras.Model(model.input, [layer.output for layer, _ in steps])(
        np.asarray(image, "float32")[None]
    )
    with style():
        widths = [0.35 if len(value.shape) == 2 else 1 for value in values]
        figure, panels = plt.subplots(
            1, len(steps), figsize=(1.75 * sum(widths) + 1, 2.1), width_ratios=widths
        )
        for index, (axes, (layer, count), value) in enumerate(
            zip(panels, steps, values, strict=True)
        ):
            value = keras.ops.convert_to_numpy(value)[0]
            shape = " x ".join(map(str, value.shape))
            if isinstance(layer, Patches):
                picture = _to_displayable(keras.ops.convert_to_numpy(values[index - 1])[0])
                gap = max(1, layer.patch_size // 4)
                value = with_gaps(picture, layer.patch_size, gap, fill=1)
            if value.ndim == 3:
                axes.imshow(_to_displayable(value))
            else:
                value = value.reshape(len(value), -1)
                limit = np.quantile(np.abs(value), 0.99)
                axes.imshow(value, cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
                axes.set_box_aspect(1 if value.shape[1] > 1 else 6)
            title = f"{count} x {type(layer).__name__}" if count > 1 else layer.name
            axes.set_title(title, fontsize="small")
            axes.set_xlabel(shape, fontsize="small")
            axes.set(xticks=[], yticks=[])
            axes.grid(False)
            if index:
                arrow = {"arrowstyle": "->", "color": "0.3"}
                ends = {"xycoords": axes.transAxes, "textcoords": "offset points"}
                axes.annotate("", (-0.02, 0.5), (-14, 0), arrowprops=arrow, **ends)
    return figure


def with_gaps(picture, size, gap, fill):
    """Cut a picture into patches, and set them apart.

    Parameters
    ----------
    picture : numpy.ndarray
        Shape (height, width, channels).
    size, gap : int
        Of the patches, and of the room between them, in pixels.
    fill : float
        Value of the room.

    Returns
    -------
    numpy.ndarray
        Larger than the picture by the gaps.
    """
    height, width, channels = picture.shape
    # (height, width, channels) -> (rows, size, columns, size, channels), and back with the gaps
    cut = picture.reshape(height // size, size, width // size, size, channels)
    cut = np.pad(cut, [(0, 0), (0, gap)] * 2 + [(0, 0)], constant_values=fill)
    return cut.reshape(height // size * (size + gap), -1, channels)[:-gap, :-gap]


def _to_displayable(pictures):
    """Images as uint8, or as floats scaled to [0, 1] by their common range."""
    pictures = np.asarray(pictures)
    if pictures.dtype == np.uint8:
        return pictures
    pictures = pictures.astype("float32")
    low, high = pictures.min(), pictures.max()
    return (pictures - low) / max(high - low, 1e-12)
