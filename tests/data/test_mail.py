"""A mail becomes the text that the model reads, whoever sent it and whatever they tried."""

import json
import re
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spamctl.data.bundled_sets import read_everyday
from spamctl.data.cleaning import clean
from spamctl.data.mail import parse_mail
from tests import mails

FROM = "From: Anna Novak <northfield.example>\n"
MOST_SECONDS = 1.0
MOST_MEMORY = 64 * 2**20


def body(raw):
    """Return what the model reads below the subject."""
    return parse_mail(raw).text.partition("\n\n")[2]


def test_a_plain_mail_is_its_sender_its_subject_a_blank_line_and_its_body():
    found = parse_mail(mails.mail("See you at noon?\n\nAnna", subject="Lunch on Friday"))
    assert found.text == f"{FROM}Subject: Lunch on Friday\n\nSee you at noon?\n\nAnna"
    assert (found.subject, found.from_name, found.from_domain) == (
        "Lunch on Friday",
        "Anna Novak",
        "northfield.example",
    )
    assert (found.hidden, found.attachments, found.hosts, found.notes) == (0, (), (), ())


def test_mails_of_the_corpus_come_back_as_they_stand_there():
    _, messages = read_everyday()
    whole = [one.text for one in messages if one.traits.medium == "mail" and one.text.startswith("Subject: ")]
    plain = [text for text in whole if not any(mark in text for mark in ("\n>", "\n--", "\n__", "=?"))]
    assert len(plain) > 2_400
    changed = []
    for text in plain:
        subject, _, said = text.removeprefix("Subject: ").partition("\n\n")
        read = parse_mail(mails.mail(said, subject=subject, From=None)).text
        if "\n" not in subject and read != re.sub(" +(?=\n)", "", clean(text)).strip():
            changed.append(text)
    assert changed == []


def test_fields_that_are_missing_have_no_line():
    assert parse_mail(mails.mail("Hello", subject=None)).text == f"{FROM}\nHello"
    assert parse_mail(mails.mail("Hello", subject=None, From=None)).text == "Hello"
    assert parse_mail(mails.mail("", subject=None)).text == ""
    assert parse_mail(mails.mail("Hello", From="bob@x.example")).text == "From: x.example\nSubject: Lunch\n\nHello"
    assert parse_mail(mails.mail("Hello", From="Bob <>")).text == "From: Bob\nSubject: Lunch\n\nHello"


def test_line_ends_of_the_wire_are_read():
    raw = mails.mail("One\n\nTwo", subject="Wire", X_More="a\n b").replace(b"\n", b"\r\n")
    assert parse_mail(raw).text == f"{FROM}Subject: Wire\n\nOne\n\nTwo"


def test_encoded_words_are_decoded():
    raw = mails.mail(
        subject="=?utf-8?B?R3LDvMOf?= =?utf-8?Q?e_an?= alle", From="=?iso-8859-1?q?J=FCrgen?= <j@x.example>"
    )
    found = parse_mail(raw)
    assert (found.subject, found.from_name) == ("Grüße an alle", "Jürgen")


@pytest.mark.parametrize("subject", ["=?utf-8?B?####?=", "=?nonsense?q?caf=E9?=", "=?utf-8?q?=ff=fe?=", "=?=?=?="])
def test_damaged_encoded_words_are_still_a_subject(subject):
    assert parse_mail(mails.mail(subject=subject)).subject


@pytest.mark.parametrize(
    ("charset", "codec", "text"),
    [
        ("utf-8", "utf-8", "Grüße"),
        ("iso-8859-1", "cp1252", "naïve – “quoted”"),
        ("KOI8-R", "koi8-r", "Привет, как дела"),
        ("gb2312", "gb18030", "您好,朋友"),
        ("ks_c_5601-1987", "cp949", "안녕하세요"),
        ("CHINESEBIG5", "big5", "您好"),
        ("DEFAULT_CHARSET", "utf-8", "Grüße"),
        ("unknown-8bit", "cp1252", "Schöne Grüße aus Köln, wir hören voneinander. Für Rückfragen: später"),
        ("", "utf-8", "Grüße"),
        ("utf-8", "cp1252", "Schöne Grüße aus Köln, wir hören voneinander. Für Rückfragen: später"),
    ],
)
def test_charsets_are_read_as_named_or_guessed(charset, codec, text):
    typed = f"text/plain; charset={charset}" if charset else "text/plain"
    raw = mails.mail("HERE", Content_Type=typed).replace(b"HERE", text.encode(codec))
    found = parse_mail(raw)
    assert found.text == f"{FROM}Subject: Lunch\n\n{text}"
    named = charset not in {"DEFAULT_CHARSET", "unknown-8bit"} and (charset, codec) != ("utf-8", "cp1252")
    assert bool(found.notes) is not named


@pytest.mark.parametrize("encoding", ["base64", "Base64 ", "quoted-printable"])
def test_transfer_encodings_are_decoded(encoding):
    coded = "R3LDvMOfZQ=" if "64" in encoding else "Gr=C3=BC=\n=C3=9Fe"
    kind = "text/plain; charset=utf-8"
    assert body(mails.mail(coded, Content_Type=kind, Content_Transfer_Encoding=encoding)) == "Grüße"


def test_the_plain_text_is_preferred():
    said = "The meeting moves to Thursday at ten, in the small room upstairs."
    raw = mails.multipart(mails.part(said), mails.part(f"<p><b>{said}</b></p>", "text/html"))
    assert body(raw) == said


@pytest.mark.parametrize("stub", ["This mail needs a program that shows HTML.", "", " \n"])
def test_html_is_read_where_the_plain_text_does_not_stand_for_it(stub):
    shown = "<h1>Spring sale</h1>" + "<p>Everything in the garden department is reduced this week.</p>" * 5
    raw = mails.multipart(mails.part(stub), mails.part(shown, "text/html"))
    assert body(raw).startswith("Spring sale\n\nEverything in the garden")
    assert "HTML." not in body(raw)


def test_a_decoy_is_read_with_the_html_that_is_shown():
    decoy = "The choir meets on Tuesday at seven in the parish hall, and tea will be served after the rehearsal."
    raw = mails.multipart(mails.part(decoy), mails.part("<p>Your parcel is held. Pay 1.99 now at once!", "text/html"))
    found = parse_mail(raw)
    assert body(raw).startswith("Your parcel is held.")
    assert "choir" in body(raw)
    assert found.notes == ("plain text and HTML differ: both are read",)


@pytest.mark.parametrize(
    "hidden",
    [
        '<div style="display:none">SALAD</div>',
        '<div style="DISPLAY : None !important"><p>SALAD</div>',
        '<span style="visibility:hidden">SALAD</span>',
        '<span style="font-size:0px">SALAD</span>',
        '<p style="font-size: 1px; color: #333">SALAD</p>',
        '<div style="max-height:0;overflow:hidden">SALAD</div>',
        '<div style="opacity:0">SALAD</div>',
        '<div style="position:absolute; left:-9999px">SALAD</div>',
        '<div style="text-indent:-5000px">SALAD</div>',
        '<font color="#FFFFFF">SALAD</font>',
        '<p style="color:white">SALAD</p>',
        '<table bgcolor="#0a0a0a"><tr><td><font color="black">SALAD</font></table>',
        '<div style="background:rgb(20, 20, 30)"><i style="color:#14141e">SALAD</i></div>',
        "<div hidden>SALAD</div>",
        '<div class="x other">SALAD</div>',
        '<div id="Y">SALAD</div>',
        "<template>SALAD</template>",
        "<!-- SALAD -->",
        "<!--[if mso]><p>SALAD</p><![endif]-->",
        "<script>SALAD</script>",
        '<img alt="SALAD" width=1 height=1>',
        '<p style="color:transparent">SALAD</p>',
    ],
)
def test_hidden_text_is_left_out_and_counted(hidden):
    raw = mails.page(f"<p>Seen before</p>{hidden}<p>Seen after</p>", style=".x{display:none} #y{font-size:0}")
    found = parse_mail(raw)
    assert body(raw) == "Seen before\n\nSeen after"
    if not hidden.startswith(("<!--", "<script", "<img")):
        assert found.hidden == len("SALAD")
        assert found.notes == ("5 hidden characters were left out",)


@pytest.mark.parametrize(
    "seen",
    [
        '<td style="font-size:0"><div style="font-size:14px">SEEN</div></td>',
        '<div style="visibility:hidden"><b style="visibility:visible">SEEN</b></div>',
        '<td bgcolor="#003366"><font color="#ffffff">SEEN</font></td>',
        '<td background="http://x.example/a.png"><font color="white">SEEN</font></td>',
        '<a class="button" style="color:#fff">SEEN</a>',
        '<p style="display:none"><p>SEEN</p>',
        '<td style="display:none"><td>SEEN</td>',
        '<p title="a > b">SEEN</p>',
        '<p class="phone">SEEN</p>',
        "<p style='font-size:1em'>SEEN</p>",
    ],
)
def test_what_is_seen_stays(seen):
    style = "table td .button{background-color:#06c} @media (max-width:600px){.phone{display:none}}"
    assert body(mails.page(seen, style)) == "SEEN"


def test_links_show_their_hosts():
    raw = mails.page(
        '<p>Pay at <a href="https://user@Evil.example:8080/pay?x">your bank</a>, or see '
        '<a href="http://shop.example/a">shop.example</a>. <a href="mailto:a@b.example">Write</a></p>'
        '<a href="//image.example/x"><img alt="Open" src="x.png"></a>'
    )
    found = parse_mail(raw)
    assert body(raw) == "Pay at your bank <evil.example>, or see shop.example. Write\n\nOpen <image.example>"
    assert found.hosts == ("evil.example", "shop.example", "image.example")
    plain = mails.mail("See https://a.example/x and http://B.example.")
    assert parse_mail(plain).hosts == ("a.example", "b.example")


def test_pages_read_as_plain_mails_do():
    raw = mails.page(
        "<h1>News</h1><p>One\n two<br>three</p><ul><li>first<li>second</ul><table><tr><td>a<td>b</table>&copy;"
    )
    assert body(raw) == "News\n\nOne two\nthree\n\n- first\n- second\n\na b\n\n©"


def test_attachments_are_named_and_not_read():
    named = mails.part(
        b"%PDF", "application/pdf", encoding="base64", Content_Disposition="attachment; filename*=utf-8''r%C3%A9.pdf"
    )
    text = mails.part("SECRET", Content_Disposition='attachment; filename="notes.txt"')
    enclosed = mails.part(mails.mail("ENCLOSED"), "message/rfc822")
    image = mails.part(b"GIF", "image/gif")
    raw = mails.multipart(mails.part("Here they are."), named, text, image, enclosed, kind="mixed")
    assert parse_mail(raw).attachments == ("ré.pdf", "notes.txt", "image/gif", "message/rfc822")
    assert body(raw) == "Here they are."


LEAKS = {
    "X_Spam_Flag": "YES",
    "X_Spam_Status": "Yes, score=9.7 required=5.0 tests=LEAKED autolearn=no",
    "X_Spam_Report": "LEAKED spam report",
    "X_Rspamd_Server": "LEAKED",
    "X_Rspamd_Action": "LEAKED add header",
    "X_Spamd_Result": "LEAKED default: False [11.20 / 15.00]",
    "Authentication_Results": "mx.example; dkim=fail LEAKED",
    "X_Bogosity": "LEAKED Spam, tests=bogofilter",
    "X_Microsoft_Antispam": "LEAKED",
    "X_Virus_Scanned": "LEAKED",
    "X_Mozilla_Status2": "LEAKED",
    "X_Gmail_Labels": "Spam LEAKED",
    "X_Folder": "Junk LEAKED",
    "Received_SPF": "fail LEAKED",
    "Delivered_To": "junk+LEAKED@home.example",
}
TAGS = ["***SPAM***", "[SPAM]", "*****SPAM*****", "{Spam?}", "[Suspected Spam 7.3]", "SPAM:", "[spam] ***SPAM***"]
TAGS += ["[Bulk]", "*** SPAM ***", "{Possible Spam}", "[PHISHING]", "(spam 12.1/5.0)", "[Spam detected]", "[[SPAM]]:"]


@pytest.mark.parametrize("tag", TAGS)
def test_what_filters_add_never_reaches_the_text(tag):
    clean_one = mails.mail("Buy now", subject="Great offer")
    tagged = mails.mail("Buy now", subject=f"{tag} Great offer", **LEAKS)
    assert parse_mail(tagged).text == parse_mail(clean_one).text == f"{FROM}Subject: Great offer\n\nBuy now"


@pytest.mark.parametrize(
    "subject",
    [
        "Spam filter for our list",
        "[spamassassin-users] rules",
        "[SUP-12] spam",
        "*New* spam",
        "[Bulk order] chairs",
        "[virus-discuss] a",
    ],
)
def test_subjects_that_speak_of_spam_stay(subject):
    assert parse_mail(mails.mail(subject=subject)).subject == subject


def test_a_mail_within_the_report_of_a_filter_is_read_instead_of_it():
    inner = mails.mail("Buy now", subject="Great offer")
    enclosed = mails.part(
        inner,
        "message/rfc822; x-spam-type=original",
        Content_Description="original message before SpamAssassin",
        Content_Disposition="attachment",
    )
    report = mails.part("Spam detection software, running on the system, LEAKED")
    raw = mails.multipart(report, enclosed, kind="mixed", subject="***SPAM*** Great offer", X_Spam_Flag="YES")
    assert parse_mail(raw).text == parse_mail(inner).text


def test_long_history_and_signatures_are_cut():
    quoted = "\n".join(f"> line {n}" for n in range(50))
    signature = "Anna Novak\nNorthfield\n+49 30 0000000\nBerlin\nCONFIDENTIAL"
    raw = mails.mail(f"{'Yes, gladly. ' * 20}\n\nOn Monday Ben wrote:\n{quoted}\n-- \n{signature}", subject="Re: Lunch")
    assert "> line 5\n" in body(raw)
    assert "> line 6" not in body(raw)
    assert body(raw).endswith("--\nAnna Novak\nNorthfield\n+49 30 0000000\nBerlin")


@pytest.mark.parametrize("mark", ["-----Original Message-----", "----- Ursprüngliche Nachricht -----", "_" * 32])
def test_a_reply_keeps_the_beginning_of_what_it_answers_and_a_forwarded_mail_stays_whole(mark):
    below = "From: Ben\nSent: Monday\nTo: Anna\nSubject: Lunch\n\nline 1\nline 2\nline 3\nline 4"
    reply = body(mails.mail(f"Agreed.\n\n{mark}\n{below}", subject="RE: Lunch"))
    assert reply.endswith("Subject: Lunch\nline 1\nline 2")
    assert body(mails.mail(f"See below.\n\n{mark}\n{below}", subject="FW: Lunch")).endswith("line 4")


def test_spam_cannot_hide_where_history_is_cut():
    payload = "\n".join(f"> Buy the watch number {n} now" for n in range(20))
    assert "number 19" in body(mails.mail(payload))
    signed = "Hello\n-- \n" + "\n".join(f"Buy the watch number {n} now" for n in range(20))
    assert "number 19" in body(mails.mail(signed))


def test_flowed_lines_are_joined():
    raw = mails.mail("A long \nparagraph.\n> quoted \n> text\n-- \nAnna", Content_Type="text/plain; format=flowed")
    assert body(raw) == "A long paragraph.\n> quoted\n> text\n--\nAnna"
    raw = mails.mail("wo \nrd", Content_Type="text/plain; format=flowed; delsp=yes")
    assert body(raw) == "word"


def test_threads_lists_and_dates_are_known():
    found = parse_mail(
        mails.mail(
            From='"Novak, Anna" <anna@Northfield.example>',
            Reply_To="<x@else.example>",
            List_Id="The choir <Choir.lists.example>",
            List_Unsubscribe="<mailto:leave@lists.example?subject=x>, <https://lists.example/leave>",
            Message_ID="<A1@x>",
            References="<r1@x>\n <r2@x>",
            In_Reply_To="<r2@x>",
            Date="Tue, 05 Mar 2024 10:00:00 +0100",
        )
    )
    assert (found.from_name, found.from_domain, found.reply_domain) == (
        "Novak, Anna",
        "northfield.example",
        "else.example",
    )
    assert (found.list_id, found.unsubscribe) == ("choir.lists.example", "lists.example")
    assert (found.message_id, found.references) == ("a1@x", ("r1@x", "r2@x"))
    assert found.date == datetime(2024, 3, 5, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    "date", ["", "yesterday", "Tue, 99 Mar 99999 10:00", "Mon, 01 Jan 1900 00:00:00 +0000", "\0", "1e9"]
)
def test_a_date_that_is_none_is_left_out_and_the_server_s_is_believed_first(date):
    assert parse_mail(mails.mail(Date=date)).date is None
    received = "from a by b; Tue, 05 Mar 2024 10:00:00 +0000"
    assert parse_mail(mails.mail(Received=received, Date=date)).date == datetime(2024, 3, 5, 10, tzinfo=UTC)


@pytest.mark.parametrize(
    "raw", [b"", b"\n", b"no header at all", b"\x1f\x8b\x08", b"From x\n", b":\n\n:", b"\r", b"A: b"]
)
def test_what_is_hardly_a_mail_has_a_text(raw):
    assert isinstance(parse_mail(raw).text, str)


@given(st.binary(max_size=2_000))
def test_any_bytes_are_read(raw):
    found = parse_mail(raw)
    assert clean(found.text) == found.text


@given(
    st.lists(
        st.sampled_from(
            [
                b"\n",
                b"\r\n",
                b"--x",
                b"--",
                b"Content-Type: ",
                b"multipart/mixed; boundary=x",
                b"text/html",
                b"<p ",
                b"style=",
                b'"',
                b"display:none",
                b">",
                b"</p>",
                b"&lt;",
                b"=?utf-8?b?",
                b"?=",
                b"Subject: ",
                b" ",
                b"\xff",
                b"a",
                b"base64",
                b"Content-Transfer-Encoding: ",
                b"message/rfc822",
                b"<!--",
                b"<style>",
                b"{",
                b"}",
                b"charset=",
                b"utf-16",
            ]
        ),
        max_size=60,
    )
)
def test_any_pieces_of_mails_are_read(pieces):
    assert isinstance(parse_mail(b"".join(pieces)).text, str)


MEASURE = """
import json, resource, sys, time
from pathlib import Path
from spamctl.data.mail import parse_mail
from tests import mails

def status(name):
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith(name)) * 1024

parse_mail(b"Subject: x\\n\\n" + bytes(range(128, 256)))  # what is loaded once
for path in sorted(Path(sys.argv[1]).iterdir()):
    raw = path.read_bytes()
    Path("/proc/self/clear_refs").write_text("5")
    before, begun = status("VmRSS"), time.process_time()
    text = parse_mail(raw).text
    print(json.dumps([path.name, time.process_time() - begun, status("VmHWM") - before, len(text)]), flush=True)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="the peak of memory is read from /proc, which Linux has")
def test_no_mail_takes_more_than_a_second_and_64_mib(tmp_path):
    for name, raw in mails.hostile():
        (tmp_path / name.replace("/", " ")).write_bytes(raw)
    done = subprocess.run([sys.executable, "-c", MEASURE, str(tmp_path)], capture_output=True, text=True, check=True)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(found) == len(list(tmp_path.iterdir()))
    assert [one for one in found if one[1] > MOST_SECONDS or one[2] > MOST_MEMORY] == []
