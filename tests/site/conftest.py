"""A browser without a network, and the built site on a plain static server."""

import functools
import http.server
import shutil
import threading

import pytest
from built import SITE
from playwright import sync_api

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")


class Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        """Keep the tests' output readable."""


@pytest.fixture(scope="session")
def address():
    handler = functools.partial(Handler, directory=SITE)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="session")
def browser():
    executable = next(filter(None, map(shutil.which, BROWSERS)), None)
    if executable is None:
        pytest.exit(
            f"The site is tested in Chromium, and none of {', '.join(BROWSERS)} is on the PATH. "
            "On Debian or Ubuntu, install it with `apt-get install chromium`.",
            returncode=1,
        )
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=executable, args=["--disable-gpu", "--no-sandbox", "--disable-quic"]
        )
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def open_page(browser, address):
    """Open a page of the site as a reader without a network does, and note what goes wrong."""
    contexts = []

    def open_page(path, width=1280, **settings):
        context = browser.new_context(viewport={"width": width, "height": 800}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.trouble = []

        def only_the_site(route):
            if route.request.url.startswith((address, "data:", "blob:")):
                return route.continue_()
            page.trouble.append(f"request to another host: {route.request.url}")
            return route.abort()

        context.route("**/*", only_the_site)
        # What a reader breaks off by going on to another page has not failed.
        page.on(
            "requestfailed",
            lambda request: (
                request.failure != "net::ERR_ABORTED"
                and page.trouble.append(f"failed: {request.url}")
            ),
        )
        page.on("pageerror", lambda error: page.trouble.append(f"script error: {error}"))
        page.on(
            "response",
            lambda response: (
                response.status >= 400
                and page.trouble.append(f"status {response.status}: {response.url}")
            ),
        )
        page.on(
            "console",
            lambda message: (
                message.type in ("error", "warning")
                and page.trouble.append(f"console: {message.text}")
            ),
        )
        page.goto(f"{address}/{path}", wait_until="networkidle")
        page.add_style_tag(content="* { transition: none !important }")  # colours at once
        return page

    yield open_page
    for context in contexts:
        context.close()
