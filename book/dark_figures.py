"""Figures for dark pages, from those that were drawn for light ones."""

import contextlib

import numpy as np
from matplotlib import colors

# What stands for black and for white on a dark page: the dark theme's own text and background.
INK, PAPER = (np.array(colors.to_rgb(colour)) for colour in ("#ced6dd", "#121212"))


@contextlib.contextmanager
def in_dark(figure):
    """Context in which a figure, however it was drawn, is one for a dark page.

    White, black and the greys between change places. Colours stay, for they can be told apart on
    both; so does what lies on an image, such as a grid or a number in a cell of a heat map.

    Parameters
    ----------
    figure : matplotlib.figure.Figure
        Saved inside the context. It is as before afterwards.
    """
    figure.draw_without_rendering()  # ticks exist from now on, and everything has its place
    keep = {artist for axes in figure.axes for artist in _on_images(axes)}
    artists = figure.findobj(lambda artist: artist not in keep)
    arrows = [getattr(artist, "arrow_patch", None) for artist in artists]
    before = [
        (artist, part, getattr(artist, f"get_{part}")())
        for artist in (*artists, *filter(None, arrows))
        if getattr(artist, "get_array", lambda: None)() is None  # else a colour map's
        for part in ("color", "facecolor", "edgecolor", "markerfacecolor", "markeredgecolor")
        if hasattr(artist, f"get_{part}")
    ]
    for artist, part, colour in before:
        rgba = colors.to_rgba_array(colour)
        grey = np.ptp(rgba[:, :3], axis=1) < 0.02
        if grey.any():
            rgba[grey, :3] = INK + rgba[grey, :3] * (PAPER - INK)
            artist.set(**{part: rgba if len(rgba) > 1 else rgba[0]})
    try:
        yield
    finally:
        for artist, part, colour in before:
            artist.set(**{part: colour})


def _on_images(axes):
    """What lies on the images of some axes."""
    meshes = [mesh for mesh in axes.collections if hasattr(mesh, "get_coordinates")]
    boxes = [image.get_window_extent() for image in (*axes.images, *meshes)]
    if not boxes:
        return
    for artist in axes.findobj():
        corners = artist.get_window_extent().get_points()
        if artist is not axes and np.isfinite(corners).all():
            if any(image.fully_contains(*corners.mean(axis=0)) for image in boxes):
                yield artist
