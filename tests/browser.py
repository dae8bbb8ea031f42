"""A real Chromium without a window, for the tests and the figures of the report page."""

from __future__ import annotations

import importlib
import importlib.util
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_ARGUMENTS = ("headless", "no-sandbox", "no-first-run", "disable-gpu", "disable-quic", "disable-background-networking")
_OFFLINE = ("disable-component-update", "disable-sync")


def missing() -> str | None:
    """What keeps this machine from driving a browser, and the remedy; None where nothing does."""
    if not (shutil.which("chromium") and shutil.which("chromedriver")):
        return "needs Chromium and its driver: apt-get install chromium chromium-driver"
    return None if importlib.util.find_spec("selenium") else "needs selenium: pip install selenium"


@contextmanager
def chromium() -> Iterator[Any]:
    webdriver: Any = importlib.import_module("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        for argument in (*_ARGUMENTS, *_OFFLINE, f"user-data-dir={profile}"):
            options.add_argument(f"--{argument}")
        session = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
        session.set_window_size(1240, 1400)
        try:
            yield session
        finally:
            session.quit()
