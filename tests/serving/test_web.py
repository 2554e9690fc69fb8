"""The pages are made of files that hold no other site's address, and no way for a text to become markup."""

import html.parser
import re
from importlib import resources

import pytest
from starlette.applications import Starlette
from starlette.testclient import TestClient

from spamctl.serving import app
from tests.each import each

FILES = {
    entry.name: entry.read_text(encoding="utf-8")
    for entry in (resources.files("spamctl.serving") / app.FOLDER).iterdir()
}
SCRIPTS = {name: text for name, text in FILES.items() if name.endswith(".js")}
PLACES = {"/": "index.html", "/docs": "docs.html"} | {
    f"/web/{name}": name for name in FILES if not name.endswith(".html")
}
# What turns text into elements, code or style.
SINKS = r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|DOMParser|createContextualFragment|setHTML|srcdoc"
SINKS += r"|\beval\b|\bFunction\(|import\(|cssText|insertRule|\.style\.(?!setProperty)|setAttribute\(\"style"


@pytest.fixture(scope="module")
def client():
    return TestClient(Starlette(routes=app.page_routes()))


class Outline(html.parser.HTMLParser):
    """Collect the tags of a page, and every attribute."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.attributes, self.inside = [], [], ""
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.attributes += attributes
        self.inside = tag

    def handle_endtag(self, _tag):
        self.inside = ""

    def handle_data(self, data):
        assert self.inside not in {"script", "style"} or not data.strip()


@each("place", PLACES)
def test_each_file_is_served_as_what_it_is(client, place):
    answer = client.get(place)
    assert answer.status_code == 200
    assert answer.text == FILES[PLACES[place]]
    kinds = {"html": "text/html", "js": "text/javascript", "css": "text/css", "svg": "image/svg+xml"}
    assert answer.headers["content-type"].partition(";")[0] == kinds[PLACES[place].rpartition(".")[2]]


@each("place", PLACES)
def test_the_policy_lets_nothing_in_from_elsewhere(client, place):
    rules = dict(rule.strip().split(" ", 1) for rule in client.get(place).headers["content-security-policy"].split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == rules["frame-ancestors"] == "'none'"
    assert {rules[name] for name in ("script-src", "style-src", "connect-src")} == {"'self'"}
    assert rules["require-trusted-types-for"] == "'script'"
    assert "unsafe" not in str(rules)


@each("place", PLACES)
def test_a_browser_that_has_a_file_gets_it_once(client, place):
    tag = client.get(place).headers["etag"]
    for given in (tag, f"W/{tag}", f'"other", {tag}', "*"):
        answer = client.get(place, headers={"if-none-match": given})
        assert answer.status_code == 304
        assert answer.content == b""
    assert client.get(place, headers={"if-none-match": '"other"'}).status_code == 200


@each(
    "place",
    ["/web", "/web/", "/web/index.html", "/web/../web.py", "/web/%2e%2e/web.py", "/web/..%2fweb.py", "/web//app.js"],
)
def test_nothing_else_is_served(client, place):
    assert client.get(place).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_a_page_is_only_read(client, method):
    assert client.request(method, "/").status_code == 405


@pytest.mark.parametrize("page", ["index.html", "docs.html"])
def test_a_page_holds_no_script_and_no_style_of_its_own(page):
    outline = Outline(FILES[page])
    assert not [name for name, _ in outline.attributes if name == "style" or name.startswith("on")]
    addresses = [value for name, value in outline.attributes if name in {"src", "href"}]
    assert addresses
    assert all(re.fullmatch(r"/[\w./]*|#\w+", address) for address in addresses)


@each("name", FILES)
def test_no_file_holds_an_address_of_another_site(name):
    places = set(re.findall(r"(?:https?:)?//[\w.-]+\.\w+", FILES[name]))
    assert places <= {"http://www.w3.org", "http://parcel-fee.example"}  # a namespace, and a message to try
    assert "@import" not in FILES[name]
    assert not re.search(r"\burl\(", FILES[name])


@each("name", SCRIPTS)
def test_no_script_can_turn_text_into_markup(name):
    assert not re.findall(SINKS, SCRIPTS[name])


@each("name", SCRIPTS)
def test_a_script_imports_what_exists_and_what_is_exported(name):
    for names, file in re.findall(r'import \{([^}]*)\} from "\./([\w.]+)"', SCRIPTS[name]):
        for one in names.split(","):
            assert re.search(rf"export (?:async )?(?:function|class|const) {one.strip()}\b", SCRIPTS[file])


@each("name", [name for name in FILES if name.endswith((".js", ".css"))])
def test_a_file_opens_with_one_sentence_and_is_short(name):
    first, *_ = lines = FILES[name].splitlines()
    assert re.fullmatch(r"(?://|/\*) [A-Z][^.]*\.(?: \*/)?", first)
    assert len(lines) <= 300
