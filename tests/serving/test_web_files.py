"""In a real browser the pages show verdicts, take feedback, obey no message, and can be read by everybody."""

import contextlib
import json
import re
import shutil
import sqlite3
import subprocess
import urllib.parse
import urllib.request

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import WebDriverWait

from spamctl import display
from spamctl.serving.access import Access
from spamctl.serving.state import Limits
from tests import chromium, tiny_models, tiny_packages
from tests.hostile import PAYLOADS
from tests.served import served

pytestmark = pytest.mark.browser

OFFER, PLAN = (message.text for message in tiny_models.messages(2))
WIDTHS, SCHEMES, PAGES = (320, 390, 768, 1280), ("light", "dark"), ("/", "/docs")
# The contrast of each piece of text with what lies under it, by WCAG 2.2, and what it says: the lowest first.
CONTRAST = """
const pen = new OffscreenCanvas(1, 1).getContext("2d", { willReadFrequently: true });
const paint = (colours) => {
  pen.clearRect(0, 0, 1, 1);
  for (const colour of colours) { pen.fillStyle = colour; pen.fillRect(0, 0, 1, 1); }
  return pen.getImageData(0, 0, 1, 1).data;
};
const light = (rgb) => {
  const [r, g, b] = [...rgb].slice(0, 3).map((v) => v / 255)
    .map((v) => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4);
  return .2126 * r + .7152 * g + .0722 * b;
};
const found = [];
const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
while (texts.nextNode()) {
  const holder = texts.currentNode.parentElement, words = texts.currentNode.data.trim();
  if (!words || !holder.checkVisibility() || holder.closest("noscript, .skip, .unseen-label")) continue;
  const under = [];
  for (let at = holder; at; at = at.parentElement) under.unshift(getComputedStyle(at).backgroundColor);
  const ground = light(paint(under)), ink = light(paint([...under, getComputedStyle(holder).color]));
  found.push([(Math.max(ground, ink) + .05) / (Math.min(ground, ink) + .05), words]);
}
return found.sort((a, b) => a[0] - b[0]);
"""
# How a test puts any text into the box, a lone surrogate too, which the driver itself cannot carry.
ASK = "message.value = JSON.parse(arguments[0]); document.getElementById('ask').requestSubmit()"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    with chromium.driven(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def browser(driven):
    """Return the browser, as wide and as light as most; after the test its console must be empty."""
    look(driven, 1280, "light")
    driven.get_log("browser")
    yield driven
    assert [entry["message"] for entry in driven.get_log("browser") if "status of" not in entry["message"]] == []


@pytest.fixture
def page(browser, server):
    """Return the browser with the page open and its first figures in place."""
    return opened(browser, server.address)


def opened(browser, address):
    browser.get(address)
    until(browser, lambda: "version" not in said(browser, "served") and "champion" in said(browser, "served"))
    return browser


def look(browser, width, scheme):
    screen = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", screen)
    feature = {"name": "prefers-color-scheme", "value": scheme}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})


def until(browser, holds):
    return WebDriverWait(browser, 20, poll_frequency=0.05).until(lambda _: holds())


def said(browser, name):
    return browser.find_element(By.ID, name).text


def content(browser, selector):
    """Return the text of the first element of a selector: each character, whether it is drawn or not."""
    return json.loads(
        browser.execute_script("return JSON.stringify(document.querySelector(arguments[0]).textContent)", selector)
    )


def ask(browser, text):
    """Put a text into the box, wait for its verdict, and return the text that the box made of it."""
    browser.execute_script("document.getElementById('verdict').replaceChildren()")
    browser.execute_script(ASK, json.dumps(text))
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#verdict .facts"))
    return json.loads(browser.execute_script("return JSON.stringify(document.getElementById('message').value)"))


def post(server, *texts, **params):
    body = json.dumps({"inputs": [{"text": text} for text in texts], "params": params})
    request = urllib.request.Request(
        f"{server.address}/invocations", body.encode(), {"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)["predictions"]


def stored(server, columns, uuid):
    with contextlib.closing(sqlite3.connect(server.database)) as database:
        return database.execute(f"SELECT {columns} FROM data WHERE uuid = ?", [uuid]).fetchone()


def shown_uuid(browser):
    return said(browser, "verdict").rpartition(" ")[2]


@pytest.mark.parametrize(("text", "verdict"), [(OFFER, "Spam"), (PLAN, "Not spam")])
def test_a_message_gets_its_verdict_said_aloud(page, text, verdict):
    page.find_element(By.ID, "message").send_keys(text)
    page.find_element(By.ID, "send").click()
    until(page, lambda: said(page, "headline"))
    assert page.find_element(By.CSS_SELECTOR, "#headline[role=status] strong").text == verdict
    spoken = page.find_element(By.CSS_SELECTOR, "#verdict .bar[role=img]").get_attribute("aria-label")
    probability = tiny_packages.probability(text)
    assert re.sub(r"\s", " ", spoken) == f"probability of spam {written(probability)}, threshold 50 %"


def written(probability):
    """Write a probability as the page does."""
    return "> 99.9 %" if probability > 0.999 else "< 0.1 %" if probability < 0.001 else f"{probability:.1%}"[:-1] + " %"


def test_the_words_are_marked_by_their_push(page, server):
    text = f"\U0001f4b0 {OFFER} {PLAN}"  # a character of two code units before them
    ask(page, text)
    (answer,) = post(server, text, explain=True, data_capture=False)
    pushed = [(row["word"], row["push"] > 0) for row in answer["explanation"] if abs(row["push"]) >= 0.05]
    marks = page.find_elements(By.CSS_SELECTOR, "#verdict mark")
    assert [(mark.text, mark.get_attribute("class") == "is-spam") for mark in marks] == pushed
    assert {True, False} == {spam for _, spam in pushed}
    strongest = sorted((row["push"] for row in answer["explanation"]), key=abs, reverse=True)[:5]
    figures = [figure.text for figure in page.find_elements(By.CSS_SELECTOR, ".pushes .figure")]
    assert [float(figure.replace("\u2212", "-")) for figure in figures] == pytest.approx(strongest, abs=0.051)


def test_the_bar_is_as_long_as_the_probability_and_its_mark_stands_at_the_threshold(page, server):
    text = f"{OFFER} {PLAN}"
    ask(page, text)
    (answer,) = post(server, text, data_capture=False)
    bar, filled, mark = (
        page.find_element(By.CSS_SELECTOR, f"#verdict {part}").rect for part in (".bar", ".filled", ".mark-at")
    )
    until(page, lambda: page.execute_script("return document.getAnimations().length") == 0)
    filled = page.find_element(By.CSS_SELECTOR, "#verdict .filled").rect
    assert filled["width"] / bar["width"] == pytest.approx(answer["probability"], abs=0.01)
    assert (mark["x"] + 1 - bar["x"]) / bar["width"] == pytest.approx(0.5, abs=0.01)


def test_the_keyboard_is_enough(page):
    page.find_element(By.ID, "message").send_keys(OFFER, Keys.CONTROL, Keys.ENTER)
    until(page, lambda: said(page, "headline"))
    page.execute_script("document.querySelector('.skip').focus()")
    reached = []
    for _ in range(40):
        page.switch_to.active_element.send_keys(Keys.TAB)
        here = page.switch_to.active_element
        reached.append(here.get_attribute("id") or here.text)
        outline = page.execute_script("return getComputedStyle(document.activeElement).outlineStyle")
        assert outline != "none", reached[-1]
        if reached[-1] == "Not spam":
            break
    assert [name for name in reached if name in {"message", "send", "keep", "a prize", "Spam", "Not spam"}] == [
        "message",
        "send",
        "keep",
        "a prize",
        "Spam",
        "Not spam",
    ]


@pytest.mark.parametrize("example", ["prize", "parcel", "friend"])
def test_an_example_is_one_click(page, example):
    page.find_element(By.CSS_SELECTOR, f"[data-example={example}]").click()
    until(page, lambda: said(page, "headline"))
    assert content(page, ".message") == page.find_element(By.ID, "message").get_attribute("value")


def test_feedback_is_stored_and_can_be_corrected(page, server):
    ask(page, OFFER)
    uuid = shown_uuid(page)
    for words, label in {"Not spam": "not spam", "Spam": "spam"}.items():
        button = page.find_element(By.XPATH, f"//div[@id='verdict']//button[.='{words}']")
        button.click()
        until(page, lambda button=button: button.get_attribute("aria-pressed") == "true")
        assert stored(server, "ground_truth, label_source", uuid) == (label, "user")
    assert len(page.find_elements(By.CSS_SELECTOR, "#verdict [aria-pressed=true]")) == 1


def test_what_shall_not_be_kept_is_not_kept(page, server):
    page.find_element(By.ID, "keep").click()
    ask(page, PLAN)
    assert "not kept" in said(page, "verdict")
    assert stored(server, "uuid", shown_uuid(page)) is None
    assert not page.find_elements(By.CSS_SELECTOR, "#verdict .feedback")


def test_what_others_ask_shows_up_and_an_open_row_stays_open(page, server):
    (first,) = post(server, f"{PLAN} first")
    row = until(page, lambda: first_row(page, "first"))
    row.find_element(By.TAG_NAME, "summary").click()
    (button,) = until(page, lambda: row.find_elements(By.XPATH, ".//button[.='Not spam']"))
    button.click()
    until(page, lambda: stored(server, "ground_truth", first["uuid"]) == ("not spam",))
    post(server, f"{PLAN} second")
    until(page, lambda: first_row(page, "second"))
    assert row.get_attribute("open")
    assert page.switch_to.active_element.text == "Not spam"
    assert said(page, "rate") != "–"
    assert re.fullmatch(r"\d+\s%|<\s1\s%|>\s99\s%", said(page, "share"))
    assert re.fullmatch(r"<?\s?[\d.,]+\s(ms|s)", said(page, "p99"))


def first_row(browser, word):
    row = browser.find_element(By.CSS_SELECTOR, "#verdicts details")
    return row if word in row.text else None


@contextlib.contextmanager
def watched(folder):
    """Lend a server and a browser on its page; at the end, nothing that a message asked for may have happened."""
    with served(folder) as server, chromium.driven(folder) as browser:
        opened(browser, server.address)
        count = "return document.querySelectorAll('script, style, link, iframe, img, form, base, meta, object').length"
        calm = browser.title, browser.execute_script(count)
        yield server, browser
        assert (browser.title, browser.execute_script(count)) == calm
        assert browser.current_url == f"{server.address}/"
    assert chromium.elsewhere(folder / "requests.json") == []
    assert "/recent" in (folder / "requests.json").read_text(encoding="utf-8", errors="replace")


def test_no_hostile_message_is_obeyed_by_its_verdict(tmp_path):
    with watched(tmp_path) as (_, browser):
        for payload in PAYLOADS:
            text = ask(browser, payload)
            assert content(browser, ".message") == "".join(
                display.visible(character) + "\n" * (character == "\n") for character in text
            )
            assert browser.title == "spamctl"


@pytest.mark.parametrize("first", range(0, len(PAYLOADS), 30))
def test_no_hostile_message_is_obeyed_by_the_list(tmp_path, first):
    payloads = PAYLOADS[first : first + 30]
    with watched(tmp_path) as (server, browser):
        post(server, *payloads, data_capture=False)
        until(browser, lambda: len(browser.find_elements(By.CSS_SELECTOR, "#verdicts li")) == len(payloads))
        script = "[...document.querySelectorAll('#verdicts .text')].map((text) => text.textContent)"
        seen = json.loads(browser.execute_script(f"return JSON.stringify({script})"))
        cut = [payload if len(payload) <= 500 else f"{payload[:500]}…" for payload in payloads]
        assert seen == [display.visible(payload) for payload in reversed(cut)]


def test_the_browser_would_have_obeyed(tmp_path):
    page = tmp_path / "page.html"
    page.write_text(f"<!doctype html><title>calm</title>{PAYLOADS[0]}<img src='http://evil.example/pixel.png'>")
    with chromium.driven(tmp_path) as browser:
        browser.get(page.as_uri())
        assert browser.title == "RAN"
    assert "http://evil.example/pixel.png" in chromium.elsewhere(tmp_path / "requests.json")


def test_the_policy_stops_what_a_fault_of_ours_would_let_in(driven, server):
    opened(driven, server.address)
    script = "try { document.body.innerHTML = '<img src=x>'; return 'taken' } catch (error) { return error.name }"
    assert driven.execute_script(script) == "TypeError"
    until(driven, lambda: "TrustedHTML" in str(driven.get_log("browser")))


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        (Limits(in_flight=0), "The server is busy. Try again in 1 s."),
        (Limits(body_bytes=10), "status 413"),
        (Limits(timeout_s=0), "status 504"),
    ],
    ids=["busy", "too long", "too slow"],
)
def test_a_refusal_is_told(browser, tmp_path, limits, words):
    with served(tmp_path, limits=limits) as server:
        opened(browser, server.address)
        browser.execute_script(ASK, json.dumps(OFFER))
        alert = browser.find_element(By.CSS_SELECTOR, "#fault[role=alert]")
        until(browser, alert.is_displayed)
        assert words in alert.text
        assert said(browser, "headline") == ""


def test_a_server_that_is_gone_is_told_and_one_that_comes_back_is_found(browser, tmp_path):
    with served(tmp_path) as server:
        opened(browser, server.address)
    browser.execute_script(ASK, json.dumps(OFFER))
    until(browser, lambda: "cannot be reached" in said(browser, "fault"))
    until(browser, lambda: "cannot be reached" in said(browser, "served"))
    assert browser.find_element(By.ID, "dot").get_attribute("class") == "dot dead"
    browser.get_log("browser")  # a refused connection is told there, too


def test_the_token_is_the_password_of_the_browser(browser, tmp_path):
    with served(tmp_path, access=Access("s3cret")) as server:
        with pytest.raises(urllib.error.HTTPError, match="401") as refused:
            urllib.request.urlopen(server.address)
        refused.value.close()
        opened(browser, server.address.replace("//", "//me:s3cret@"))
        ask(browser, OFFER)
        assert said(browser, "headline").startswith("Spam")


def test_nothing_is_promised_where_nothing_is_kept(browser, tmp_path):
    with served(tmp_path, capture=False) as server:
        opened(browser, server.address)
        assert not browser.find_element(By.ID, "keep-label").is_displayed()
        ask(browser, OFFER)
        assert "not kept" in said(browser, "verdict")


def test_every_text_stands_out_from_its_ground_and_no_page_is_wider_than_the_screen(browser, server):
    post(server, *PAYLOADS[:12], OFFER, PLAN, data_capture=False)
    for scheme in SCHEMES:
        for width in WIDTHS:
            for place in PAGES:
                look(browser, width, scheme)
                browser.get(f"{server.address}{place}")
                if place == "/":
                    ask(browser, f"{OFFER} {PLAN} zero\u200bwidth {'W' * 300}")
                    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#verdicts summary"))[0].click()
                else:
                    until(browser, lambda: browser.find_elements(By.CLASS_NAME, "route"))
                assert browser.execute_script("return document.documentElement.scrollWidth") <= width, (place, width)
                contrasts = browser.execute_script(CONTRAST)
                assert len(contrasts) > 20
                assert contrasts[0][0] >= 4.5, (scheme, place, contrasts[:3])


@pytest.mark.parametrize("place", PAGES)
def test_each_control_has_a_name(browser, server, place):
    browser.get(f"{server.address}{place}")
    if place == "/":
        ask(browser, OFFER)
    else:
        until(browser, lambda: browser.find_elements(By.CLASS_NAME, "route"))
    nodes = browser.execute_cdp_cmd("Accessibility.getFullAXTree", {})["nodes"]
    named = [(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes if not node["ignored"]]
    controls = [
        name for role, name in named if role in {"button", "checkbox", "textbox", "link", "navigation", "image"}
    ]
    assert len(controls) >= 8
    assert all(controls)
    assert sum(role == "main" for role, _ in named) == 1
    assert len(browser.find_elements(By.TAG_NAME, "h1")) == 1


def test_the_manual_tells_every_route_and_every_status(browser, server):
    with urllib.request.urlopen(f"{server.address}/openapi.json") as answer:
        api = json.load(answer)
    browser.get(f"{server.address}/docs")
    until(browser, lambda: browser.find_elements(By.CLASS_NAME, "route"))
    every = {cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#every-route td:first-child")}
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            section = browser.find_element(By.XPATH, f"//section[h2[normalize-space()='{method.upper()} {path}']]")
            assert operation["summary"] in section.text
            told = {cell.text for cell in section.find_elements(By.CSS_SELECTOR, "td:first-child")}
            assert operation["responses"].keys() <= told | every
            assert section.find_elements(By.TAG_NAME, "pre")


def test_every_command_of_the_manual_works_as_it_stands(browser, server):
    if shutil.which("curl") is None:
        pytest.skip("no curl on PATH: apt-get install -y curl")
    browser.get(f"{server.address}/docs")
    until(browser, lambda: browser.find_elements(By.CLASS_NAME, "route"))
    lines = [block.get_attribute("textContent") for block in browser.find_elements(By.TAG_NAME, "pre")]
    assert len(lines) >= 12
    for line in lines:
        told = line.replace("curl ", "curl -sS -o /dev/null -w '%{http_code}' ", 1)
        done = subprocess.run(["bash", "-c", told], capture_output=True, text=True, check=True, timeout=30)
        expected = "404" if urllib.parse.urlsplit(line.split()[1]).path == "/feedback" else "200"
        assert done.stdout == expected, line
