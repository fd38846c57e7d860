"""Pages in a real browser, without a network."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; skips where none is installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if CHROMIUM is None:
        pytest.skip("no chromium is installed")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


def open_page(
    browser: Any, place: Path | str, width: int = 1280, scheme: Any = "light"
) -> tuple[Any, list[str]]:
    """The loaded page, and all it complained of or asked for besides itself.

    Args:
        place: a file, which is opened without a network, or an address.
    """
    address, offline = (place, False) if isinstance(place, str) else (place.as_uri(), True)
    context = browser.new_context(
        viewport={"width": width, "height": 850}, color_scheme=scheme, offline=offline
    )
    opened, said = context.new_page(), []
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.on("request", lambda request: said.append(request.url))
    opened.goto(address)
    said.remove(address)
    return opened, said
