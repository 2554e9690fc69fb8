"""In a real browser the page reads a mail, pasted, dropped or opened, shows what is in it, and is taught by it."""

import base64
import contextlib
import json
import sqlite3

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from spamctl import display
from spamctl.data.mail import parse_mail
from tests import chromium, tiny_models
from tests.hostile import PAYLOADS
from tests.served import served
from tests.serving.test_web_files import ASK, CONTRAST, SCHEMES, ask, content, look, opened, said, shown_uuid, until

pytestmark = pytest.mark.browser

OFFER, PLAN = (message.text for message in tiny_models.messages(2))
MAIL = (
    "From: Prize Office <win@prizes.example>\r\nReply-To: <box@elsewhere.example>\r\nSubject: A letter\r\n"
    f"Content-Type: text/html; charset=utf-8\r\n\r\n<p>{OFFER}</p><p hidden>{PLAN}</p>"
    '<a href="http://claim.example/now">here</a>\r\n'
)
# Drops a file on the page as a person does: the browser lets no script, and so no driver, move a real one.
DROP = """
const bytes = Uint8Array.from(atob(arguments[0]), (one) => one.charCodeAt(0)), moved = new DataTransfer();
moved.items.add(new File([bytes], "letter.eml", { type: "message/rfc822" }));
const target = document.getElementById("message"), seen = [];
for (const kind of ["dragover", "drop"]) {
  target.dispatchEvent(new DragEvent(kind, { dataTransfer: moved, bubbles: true, cancelable: true }));
  seen.push(document.getElementById("ask").classList.contains("awaited"));
}
return seen;
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with served(tmp_path_factory.mktemp("server")) as running:
        yield running


@pytest.fixture(scope="module")
def driven(tmp_path_factory):
    with chromium.driven(tmp_path_factory.mktemp("browser")) as running:
        yield running


@pytest.fixture
def page(driven, server):
    """Return the browser with the page open; after the test its console must be empty."""
    look(driven, 1280, "light")
    driven.get_log("browser")
    yield opened(driven, server.address)
    assert [entry["message"] for entry in driven.get_log("browser") if "status of" not in entry["message"]] == []


def verdict_of(browser):
    until(browser, lambda: browser.find_elements(By.CSS_SELECTOR, "#verdict .facts"))
    names, values = (browser.find_elements(By.CSS_SELECTOR, f"#verdict .mail {tag}") for tag in ("dt", "dd"))
    return {name.text: value.text for name, value in zip(names, values, strict=True)}


def row(server, columns, uuid):
    with contextlib.closing(sqlite3.connect(server.database)) as database:
        return database.execute(f"SELECT {columns} FROM data WHERE uuid = ?", [uuid]).fetchone()


def check_told(page, server):
    """Check what the page tells of MAIL: its verdict, where it comes from, and what was stored of it."""
    told = verdict_of(page)
    assert told["From"] == "Prize Office at prizes.example"
    assert told["Answers go to"] == "elsewhere.example"
    assert told["Links to"] == "claim.example"
    assert "hidden" in told["Noted"]
    text = parse_mail(MAIL.encode()).text
    shown = "\n".join(map(display.visible, text.split("\n")))  # a mail has lines by nature: they need no escape
    assert content(page, ".message") == shown
    assert said(page, "headline").startswith("Spam")
    assert "in reach" in page.find_element(By.CSS_SELECTOR, "#verdict .facts").text
    assert page.find_elements(By.CSS_SELECTOR, "#verdict mark")
    assert row(server, "text, source", shown_uuid(page)) == (text, "mail")


def test_a_pasted_mail_is_read_as_one(page, server):
    page.execute_script(ASK, json.dumps(MAIL))
    check_told(page, server)


def test_a_dropped_mail_is_read_as_one(page, server):
    assert page.execute_script(DROP, base64.b64encode(MAIL.encode()).decode()) == [True, False]
    check_told(page, server)


def test_a_dropped_mail_that_is_asked_about_again_is_the_same_mail(page, server):
    page.execute_script(DROP, base64.b64encode(MAIL.encode()).decode())
    check_told(page, server)
    page.execute_script("document.getElementById('verdict').replaceChildren()")
    page.find_element(By.ID, "send").click()
    check_told(page, server)


def test_a_mail_file_is_opened_by_the_keyboard_alone(page, server, tmp_path):
    (tmp_path / "letter.eml").write_bytes(MAIL.encode())
    page.find_element(By.ID, "open").send_keys("")  # focus
    assert page.switch_to.active_element.accessible_name == "open a mail file"
    page.execute_script(
        "const clicked = new Promise((told) => file.addEventListener('click', (event) =>"
        " { event.preventDefault(); told(true) }, { once: true })); window.clicked = clicked"
    )
    page.switch_to.active_element.send_keys(Keys.ENTER)
    assert page.execute_script("return window.clicked") is True  # where a person would get the system's window
    page.find_element(By.ID, "file").send_keys(str(tmp_path / "letter.eml"))
    check_told(page, server)
    assert page.find_element(By.ID, "message").get_attribute("value") == parse_mail(MAIL.encode()).text


@pytest.mark.parametrize(("words", "label"), [("Spam", "spam"), ("Not spam", "not spam")])
def test_a_mail_teaches(page, server, words, label):
    page.execute_script(ASK, json.dumps(MAIL.replace("A letter", f"A letter, {words}")))
    verdict_of(page)
    page.find_element(By.XPATH, f"//div[@id='verdict']//button[.='{words}']").click()
    until(page, lambda: row(server, "ground_truth, label_source", shown_uuid(page)) == (label, "user"))


def test_what_only_resembles_a_mail_is_a_message(page, server):
    for text in (f"Subject: {OFFER}", f"Note: {PLAN}\nFrom: me", f"{PLAN}\n\nFrom: a\nTo: b"):
        ask(page, text)
        assert row(server, "text, source", shown_uuid(page)) == (text, "serve")


def test_a_message_shows_where_its_links_lead(page):
    ask(page, f"{PLAN} http://user@real.example:81/paypal.com https://p\u0430ypal.example/x http:// x")
    assert verdict_of(page)["Links to"] == "real.example, xn--pypal-4ve.example"


def test_what_shall_not_be_kept_of_a_mail_is_not_kept(page, server):
    page.find_element(By.ID, "keep").click()
    page.execute_script(ASK, json.dumps(MAIL))
    verdict_of(page)
    assert "not kept" in said(page, "verdict")
    assert row(server, "uuid", shown_uuid(page)) is None


def test_a_mail_out_of_reach_says_so(driven, tmp_path):
    with served(tmp_path, reach=0.5, threshold=0.01) as server:
        opened(driven, server.address)
        driven.execute_script(
            ASK, json.dumps("From: a@b.example\nSubject: x\n\nbihar arratsaldean elkartuko gara plazan")
        )
        verdict_of(driven)
        assert said(driven, "headline").startswith("Not spam")
        assert "Out of reach: unlike the training data." in said(driven, "verdict")


@pytest.mark.parametrize("first", range(0, len(PAYLOADS), 20))
def test_no_hostile_mail_is_obeyed(tmp_path, first):
    with served(tmp_path) as server, chromium.driven(tmp_path) as browser:
        opened(browser, server.address)
        count = "return document.querySelectorAll('script, style, link, iframe, img, form, base, meta, object').length"
        calm = browser.title, browser.execute_script(count)
        for payload in PAYLOADS[first : first + 20]:
            line = payload.replace("\r", " ").replace("\n", " ")
            kinds = "Content-Type: text/plain; charset=utf-8", "Content-Type: text/html; charset=utf-8"
            for kind in kinds:
                mail = f'From: "{line}" <a@{line}.example>\nReply-To: <b@{line}>\nSubject: {line}\n{kind}\n\n{payload}'
                ask(browser, mail)
        assert (browser.title, browser.execute_script(count)) == calm
        assert browser.current_url == f"{server.address}/"
    assert chromium.elsewhere(tmp_path / "requests.json") == []


def test_what_is_told_of_a_mail_stands_out_and_fits_every_screen(driven, server):
    mail = MAIL.replace("Prize Office", "W" * 300).replace("claim.example", f"{'w' * 60}.example")
    for scheme in SCHEMES:
        for width in (320, 400, 1200):
            look(driven, width, scheme)
            opened(driven, server.address)
            driven.execute_script(ASK, json.dumps(mail))
            verdict_of(driven)
            assert driven.execute_script("return document.documentElement.scrollWidth") <= width, (scheme, width)
            contrasts = driven.execute_script(CONTRAST)
            assert contrasts[0][0] >= 4.5, (scheme, width, contrasts[:3])
