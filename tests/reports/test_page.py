"""A page carries everything it shows, and shows text without obeying it."""

import html.parser
import re

import pytest

from spamctl.reports.html import Column, Markup, document, element, folded, line, link, pictures, strong, table
from tests.each import each


class Outline(html.parser.HTMLParser):
    """Collect the elements of a page, and every address they name."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.addresses, self.words = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        self.addresses += [value for name, value in attributes if name in {"src", "href", "action", "data", "srcset"}]

    def handle_data(self, data):
        self.words.append(data)


COLUMNS = (Column("name"), Column("n", "number"), Column("message", "text"))


def test_cells_are_escaped_unless_they_are_markup():
    made = table(COLUMNS, [("<b>", strong("1 < 2"), "<script>")]).html
    assert "<td>&lt;b&gt;</td>" in made
    assert '<td class="number"><strong>1 &lt; 2</strong></td>' in made
    assert '<td><span class="text" dir="auto">&lt;script&gt;</span></td>' in made


def test_heads_stand_in_one_row_over_their_columns():
    head = table(COLUMNS, []).html.partition("<tbody>")[0]
    assert '<tr><th>name</th><th class="number">n</th><th>message</th></tr>' in head


def test_a_row_of_another_length_is_an_error():
    with pytest.raises(ValueError, match="shorter"):
        table(COLUMNS, [("only", "two")])


def test_the_style_is_the_one_the_policy_names():
    import base64
    import hashlib

    page = document("t", [])
    sheet = re.search(r"<style>(.*?)</style>", page, re.DOTALL)[1]
    digest = base64.b64encode(hashlib.sha256(sheet.encode()).digest()).decode()
    assert f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'" in page


def test_hostile_words_add_no_element_and_no_address(payloads):
    plain = Outline(document("t", [element("h1", "t"), table(COLUMNS, [("t", "t", "t")])]))
    for payload in payloads:
        page = document(payload, [element("h1", payload), table(COLUMNS, [(payload, payload, payload)])])
        outline = Outline(page)
        assert outline.tags == plain.tags
        assert outline.addresses == []


def test_pictures_are_carried_by_the_page():
    outline = Outline(pictures({"loss_curve": b"\x89PNG"}).html)
    assert outline.tags == ["div", "figure", "img"]
    assert outline.addresses == ["data:image/png;base64,iVBORw=="]


@each("address", ["index.html", "run-17/data_quality.html", "1.2/a_b.csv", "../index.html"])
def test_a_link_leads_to_a_file_beside_the_page(address):
    outline = Outline(line("See ", link("<b>that</b>", address), kind="quiet").html)
    assert outline.tags == ["p", "a"]
    assert outline.addresses == [address]
    assert "".join(outline.words) == "See <b>that</b>"


@each(
    "address",
    [
        "",
        "/etc",
        "//evil.example",
        "http://evil.example",
        "javascript:alert(1)",
        "../../up.html",
        "../",
        "..",
        "a/../b",
        "a/../../b",
        "a..b",
        "a\\b",
        "a?b",
        "a#b",
        "a b",
        "a/",
        ".hidden",
        '"x',
        "a\n",
        "data:x",
        "é.html",
        "a//b",
        "a%2e",
    ],
)
def test_a_link_to_anywhere_else_is_an_error(address):
    with pytest.raises(ValueError, match="not the name of a file beside the page"):
        link("x", address)


def test_a_link_never_carries_a_payload(payloads):
    for payload in payloads:
        outline = Outline(link(payload, "index.html").html)
        assert (outline.tags, outline.addresses) == (["a"], ["index.html"])
        if re.fullmatch(r"W+", payload) is None:
            with pytest.raises(ValueError, match="beside the page"):
                link("x", payload)


def test_folded_parts_are_there_and_escaped():
    assert Outline(folded("<i>", [element("p", "<b>")]).html).tags == ["details", "summary", "p"]


@pytest.mark.browser
@pytest.mark.slow
def test_escaping_alone_stops_every_payload(visit, payloads, tmp_path):
    parts = [element("h1", payload) for payload in payloads]
    parts.append(table(COLUMNS, [(payload, payload, payload) for payload in payloads]))
    page = re.sub(r"<meta http-equiv=.*?>", "", document("calm", parts), count=1)
    assert "Content-Security-Policy" not in page
    path = tmp_path / "page.html"
    path.write_text(page, encoding="utf-8")
    seen = visit(path)
    assert "<title>calm</title>" in seen.dom
    assert seen.asked == []


@pytest.mark.browser
@pytest.mark.slow
def test_the_policy_alone_stops_every_payload(visit, payloads, tmp_path):
    raw = [Markup(payload.encode("utf-8", "replace").decode()) for payload in payloads if "refresh" not in payload]
    path = tmp_path / "page.html"
    path.write_text(document("calm", raw), encoding="utf-8")
    seen = visit(path)
    assert "<title>calm</title>" in seen.dom
    assert seen.asked == []


@pytest.mark.browser
@pytest.mark.slow
def test_the_browser_would_have_run_them(visit, payloads, tmp_path):
    path = tmp_path / "page.html"
    hosts = "<img src='http://evil.example/pixel.png'><link rel=stylesheet href='https://fonts.example/x.css'>"
    hosts += "<iframe src='http://10.1.2.3/'></iframe><script>new WebSocket('ws://socket.example/')</script>"
    path.write_text(f"<!doctype html><title>calm</title>{payloads[0]}{hosts}")
    seen = visit(path)
    assert "<title>RAN</title>" in seen.dom
    addresses = {"http://evil.example/pixel.png", "https://fonts.example/x.css", "http://10.1.2.3/"}
    assert addresses | {"ws://socket.example/"} <= set(seen.asked)


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize(
    ("element", "asked"),
    [
        ("<meta http-equiv=refresh content='0;url=http://evil.example/away'>", "http://evil.example/away"),
        ("<link rel=preconnect href='http://evil.example'>", "http://~notfound"),
    ],
)
def test_the_browser_would_have_left_and_looked_up_a_name(visit, tmp_path, element, asked):
    path = tmp_path / "page.html"
    path.write_text(f"<!doctype html><title>calm</title>{element}")
    assert asked in visit(path).asked


@pytest.mark.browser
@pytest.mark.slow
def test_what_the_browser_asks_for_itself_does_not_count(visit, tmp_path):
    path = tmp_path / "page.html"
    path.write_text("<!doctype html><title>calm</title>")
    assert visit(path).asked == []
