"""Drive a Chromium that reaches nothing but this machine."""

import contextlib
import os
import shutil

import pytest

NAMES = {"chromium": ("chromium", "chromium-browser", "google-chrome"), "chromedriver": ("chromedriver",)}
CURES = {"chromium": "apt-get install -y chromium", "chromedriver": "apt-get install -y chromium-driver"}
FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def program(name):
    """Return the path of a program, or skip the test with the cure."""
    found = next(filter(None, map(shutil.which, NAMES[name])), None)
    if found is None:
        pytest.skip(f"no {name} on PATH: {CURES[name]}")
    return found


@contextlib.contextmanager
def driven(folder):
    """Lend a browser that keeps its files in a new folder; beside them, requests.json tells what it asked for."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    options.binary_location = program("chromium")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    for flag in (*FLAGS, "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"):
        options.add_argument(flag)
    options.add_argument(f"--user-data-dir={folder / 'chromium'}")
    options.add_argument(f"--log-net-log={folder / 'requests.json'}")
    service = Service(program("chromedriver"), env=os.environ | {"HOME": str(folder)})
    browser = webdriver.Chrome(options=options, service=service)
    try:
        yield browser
    finally:
        browser.quit()
