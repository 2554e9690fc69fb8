"""Drive a Chromium that reaches nothing but this machine."""

import contextlib
import json
import os
import re
import shutil
from urllib.parse import urlsplit

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
    "--disable-features=AutofillServerCommunication",  # it asks what the fields of a page's forms may mean
    "--disable-sync",
)

NOBODY = "not an origin"  # is behind what the browser asks for itself: the time, its updates


def program(name):
    """Return the path of a program, or skip the test with the cure."""
    found = next(filter(None, map(shutil.which, NAMES[name])), None)
    if found is None:
        pytest.skip(f"no {name} on PATH: {CURES[name]}")
    return found


@contextlib.contextmanager
def driven(folder):
    """Lend a browser that keeps its files in a new folder; beside them, requests.json is its log of the network."""
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


def elsewhere(log):
    """Return what pages asked of any host but this machine, by the browser's log: addresses, and names looked up."""
    told = json.loads(log.read_text(encoding="utf-8", errors="replace"))
    kinds = {number: name for name, number in told["constants"]["logEventTypes"].items()}
    asked = []
    for event in told["events"]:
        kind, known = kinds[event["type"]], event.get("params", {})
        if kind == "URL_REQUEST_START_JOB" and known.get("initiator", NOBODY) != NOBODY:
            asked.append(known["url"])
        if kind == "HOST_RESOLVER_MANAGER_REQUEST" and re.match("file:|http://127", _page_of(known)):
            asked.append(known["host"])  # also what is only connected to
    return [address for address in asked if urlsplit(address).hostname != "127.0.0.1"]


def _page_of(known):
    """Return the origin of the page for which a name is looked up."""
    return known.get("network_anonymization_key", "")
