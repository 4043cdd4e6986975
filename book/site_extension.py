"""What the site has beyond its theme: figures for light and dark, and page descriptions."""

import os
import pathlib
import re
import textwrap
from urllib.parse import urljoin

from docutils import nodes
from PIL import Image

FOLDER = pathlib.Path(__file__).parent
PREVIEW = "_static/preview.png"
# What MyST-NB, Docutils and pandas write that screen readers stumble over: a name that hides the
# text, a list without list items, roles that are no longer used, headers of nothing.
ACCESSIBLE = {
    '<summary aria-label="Toggle hidden content">': "<summary>",
    '<div role="list" class="citation-list">': '<div class="citation-list">',
    ' role="doc-biblioentry"': "",
    "<th></th>": "<td></td>",
    '<th class="blank level0" >&nbsp;</th>': "<td></td>",
}


def public_address(repository):
    """Where GitHub shows the site of a repository; empty where there is none, or another host."""
    found = re.fullmatch(r"https://github\.com/([\w.-]+)/([\w.-]+)", repository)
    return "https://{}.github.io/{}/".format(*found.groups()) if found else ""


def set_address(app, config):
    """Derive the site's address from the repository's, which stands in `_config.yml`."""
    config.html_baseurl = public_address(config.html_theme_options.get("repository_url", ""))


def read_side_by_side(app, config):
    """Run up to four notebooks at a time: Jupyter Book reads one page after the other."""
    app.parallel = min(4, os.cpu_count() or 1)
    # Two number and copy after all is read, one writes LaTeX; none declares itself parallel-safe.
    for name in ("sphinx_multitoc_numbering", "sphinx-mathjax-offline", "sphinx_jupyterbook_latex"):
        app.extensions[name].parallel_read_safe = True


def mark_figures(app, doctree):
    """Say of each figure how large it is, and which theme it is for; that shows and hides it."""
    for image in doctree.findall(nodes.image):
        if image["uri"].endswith(".png"):
            with Image.open(pathlib.Path(app.srcdir, image["uri"])) as png:
                theme, image["pixels"] = png.info.get("Comment"), png.size
            if theme in ("light", "dark"):
                image["classes"].append(f"only-{theme}")


def description(doctree):
    """What a page says of itself before its first heading, in a sentence or two of plain text."""
    beginning = next(doctree.findall(nodes.section)).children
    shown = [node for node in beginning if isinstance(node, nodes.paragraph | nodes.bullet_list)]
    if len(shown) > 1 and isinstance(shown[1], nodes.bullet_list):
        shown = shown[1:]  # "After this chapter you will be able to", and what
    text = " ".join(part for node in shown for part in node.astext().split())
    text = re.sub(r" ?\[[^]]*\d{4}\]", "", text)  # citations
    return re.sub(
        r"\W+…$", " …", textwrap.shorten(text[:1].upper() + text[1:], 200, placeholder="…")
    )


def keep_logs_out_of_search(app, doctree):
    """Logs are listed on a page of their own; there are many, and most say the same."""
    if app.env.docname.startswith("book/runs/"):
        app.env.metadata[app.env.docname]["nosearch"] = True


def sized(body, doctree):
    """Say how large each figure is, so that no text moves when it comes; load it when it is near.

    The figure for the other theme is not shown, so it is not loaded either.
    """
    images = (image for image in doctree.findall(nodes.image) if "pixels" in image)
    for uri, (width, height) in {image["uri"]: image["pixels"] for image in images}.items():
        shown = f'src="{uri}"'
        body = body.replace(shown, f'{shown} width="{width}" height="{height}" loading="lazy"')
    return body


def complete_page(app, pagename, templatename, context, doctree):
    """Add what search engines and previews show, and leave out buttons that lead nowhere."""
    if doctree:
        context["description"] = description(doctree)
        for wrong, right in ACCESSIBLE.items():
            context["body"] = context["body"].replace(wrong, right)
        context["body"] = sized(context["body"], doctree)
    context["social_preview"] = urljoin(app.config.html_baseurl, PREVIEW)
    if context.get("page_source_suffix") != ".ipynb":  # nothing that Colab and Binder could open
        context["header_buttons"] = [
            button for button in context["header_buttons"] if button["label"] != "launch-buttons"
        ]


def open_front_door(app, error):
    """Write the page that leads to the first one, and says the same of itself: people share it."""
    if error:
        return
    first = f"{app.config.root_doc}.html"
    text = pathlib.Path(app.outdir, first).read_text(encoding="utf-8")
    said = re.findall(
        r'<title>.*?</title>|<meta (?:property="og:|name="(?:description|twitter:)).*?/>|'
        r'<link rel="canonical".*?/>',
        text,
    )
    lines = ["<!DOCTYPE html>", '<html lang="en">', '<meta charset="utf-8"/>', *said]
    lines += [f'<meta http-equiv="refresh" content="0; url={first}"/>']
    lines += [f'<a href="{first}">Read on</a>', ""]
    pathlib.Path(app.outdir, "index.html").write_text("\n".join(lines), encoding="utf-8")


def draw_preview(app, error):
    """Store the picture that is shown with links to the site."""
    if app.config.html_baseurl and not error:
        from overview import overview

        figure = overview()
        figure.set_size_inches(12, 6.3)
        figure.savefig(pathlib.Path(app.outdir, PREVIEW), dpi=100)


def remove_other_pages(app, error):
    """Remove what an earlier build made of pages that the book no longer has."""
    for folder in ("book", "notebooks") if not error else ():
        for path in pathlib.Path(app.outdir, folder).rglob("*.html"):
            if path.relative_to(app.outdir).with_suffix("").as_posix() not in app.env.found_docs:
                path.unlink()


def setup(app):
    os.environ["PYTHONSTARTUP"] = str(FOLDER / "show_figures.py")
    app.connect("config-inited", set_address)
    app.connect("config-inited", read_side_by_side)
    app.connect("doctree-read", mark_figures)
    app.connect("doctree-read", keep_logs_out_of_search)
    app.connect("html-page-context", complete_page, priority=502)  # after the theme's buttons
    app.connect("build-finished", open_front_door)
    app.connect("build-finished", draw_preview)
    app.connect("build-finished", remove_other_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
