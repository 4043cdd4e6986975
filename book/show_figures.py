"""Shows every figure once for light and once for dark pages, while the book is built.

`site_extension.py` names this file in PYTHONSTARTUP, so each notebook's kernel runs it. A notebook
that runs elsewhere shows a figure once.
"""


def show_for_both_themes(figure):
    """Display a figure twice, sharply; a comment in each image says which theme it is for."""
    import contextlib
    import os
    import sys

    from IPython.core.pylabtools import retina_figure
    from IPython.display import display

    folder = os.path.dirname(os.environ["PYTHONSTARTUP"])
    if folder not in sys.path:
        sys.path.append(folder)
    from dark_figures import in_dark

    for theme, drawn in (("light", contextlib.nullcontext()), ("dark", in_dark(figure))):
        with drawn:
            png, size = retina_figure(figure, base64=True, metadata={"Comment": theme})
        width = {"width": size["width"]}  # the height follows, on narrow pages too
        display({"image/png": png}, metadata={"image/png": width}, raw=True)


get_ipython().display_formatter.ipython_display_formatter.for_type_by_name(  # noqa: F821
    "matplotlib.figure", "Figure", show_for_both_themes
)
del show_for_both_themes
