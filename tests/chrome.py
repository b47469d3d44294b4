"""A real browser for the pages of nodes and engine. It speaks to loopback only."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium import webdriver

IMPLICIT_WAIT_S = 5
"""A page may still be loading when its element is asked for."""


@contextmanager
def chrome(folder: Path) -> Iterator[webdriver.Chrome]:
    """A headless Chromium with its profile in ``folder``."""
    if not shutil.which("chromium") or not shutil.which("chromedriver"):
        pytest.skip("chromium and chromium-driver are not installed (`make dev` does)")
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in (
        "--headless=new",
        "--no-sandbox",
        "--window-size=1280,1000",
        "--disable-gpu",
        # Without these the browser looks for its maker's servers at every start; tests speak to loopback only.
        "--no-first-run",
        "--disable-quic",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
        f"--user-data-dir={folder}",
    ):
        options.add_argument(flag)
    options.accept_insecure_certs = True  # a test's CA is in no store; verification is tested with other clients
    made = webdriver.Chrome(options, webdriver.ChromeService(str(shutil.which("chromedriver"))))
    made.implicitly_wait(IMPLICIT_WAIT_S)
    try:
        yield made
    finally:
        made.quit()
