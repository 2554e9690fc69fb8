"""Build mails for tests: all are written here, none was ever sent."""

import base64

HOSTILE_SIZE = 25 * 2**20


def mail(text="Hello", *, subject="Lunch", **fields):
    """Return a plain mail; a field's underscores become hyphens, and None leaves it out."""
    given = {"From": "Anna Novak <anna@northfield.example>", "To": "you@home.example", "Subject": subject}
    given |= {name.replace("_", "-"): value for name, value in fields.items()}
    head = "".join(f"{name}: {value}\n" for name, value in given.items() if value is not None)
    return f"{head}\n{text}\n".encode()


def multipart(*parts, kind="alternative", boundary="=_b", subject="Lunch", **fields):
    """Return a mail of several parts, each as `part` gives it."""
    inner = b"".join(b"--" + boundary.encode() + b"\n" + one + b"\n" for one in parts)
    fields["Content_Type"] = f'multipart/{kind}; boundary="{boundary}"'
    head = mail("", subject=subject, MIME_Version="1.0", **fields)
    return head + inner + b"--" + boundary.encode() + b"--\n"


def part(content, kind="text/plain; charset=utf-8", *, encoding="", **fields):
    """Return a part of a multipart."""
    raw = content if isinstance(content, bytes) else content.encode()
    if encoding == "base64":
        raw = base64.encodebytes(raw)
    fields = {"Content-Type": kind} | {name.replace("_", "-"): value for name, value in fields.items()}
    if encoding:
        fields["Content-Transfer-Encoding"] = encoding
    return "".join(f"{name}: {value}\n" for name, value in fields.items()).encode() + b"\n" + raw


def page(body, style=""):
    """Return a mail that is only HTML."""
    source = f"<html><head><style>{style}</style><title>No title</title></head><body>{body}</body></html>"
    return mail(source, Content_Type="text/html; charset=utf-8", MIME_Version="1.0")


def hostile():
    """Yield names and bytes of mails that attack whoever parses them."""
    head = b"From: a@b.example\nSubject: attack\nMIME-Version: 1.0\n"
    mixed = b'Content-Type: multipart/mixed; boundary="x"\n\n'
    yield "one long line", head + b"\n" + b"A" * HOSTILE_SIZE
    yield "lines of a million characters", head + b"\n" + (b"A " * 500_000 + b"\n") * 20
    yield "ten thousand parts", head + mixed + b"--x\nContent-Type: text/plain\n\nhi\n" * 10_000 + b"--x--\n"
    yield "a million boundaries", head + mixed + b"--x\n" * 1_000_000
    nested = b"".join(b'Content-Type: multipart/mixed; boundary="b%d"\n\n--b%d\n' % (n, n) for n in range(50_000))
    yield "nested parts", head + nested + b"\nhi\n"
    enclosed = b"Content-Type: message/rfc822\n\n" * 100_000
    yield "nested mails", head + mixed + b"--x\n" + enclosed + b"hi\n--x--\n"
    yield "half a million fields", b"".join(b"X-F%d: y\n" % n for n in range(500_000)) + head + b"\nhi\n"
    yield "a field of 20 MB", head + b"X-Long: " + b"a b " * 5_000_000 + b"\n\nhi\n"
    yield "a folded field", b"Subject: a\n" + b" b\n" * 2_000_000 + b"\nhi\n"
    yield "many addresses", b"From: " + b"a@b.example, " * 500_000 + b"\n\nhi\n"
    yield "nested comments", b"From: " + b"(" * 1_000_000 + b"\nReply-To: " + b"<" * 100_000 + b"\n\nhi\n"
    yield "encoded words", b"Subject: " + b"=?utf-8?q?a?= " * 200_000 + b"\n\nhi\n"
    yield "parameters", head + b'Content-Type: text/plain; charset="' + b'";a="' * 300_000 + b"\n\nhi\n"
    yield "continued parameters", head + b"Content-Type: multipart/mixed" + b"; boundary*0=x" * 90_000 + b"\n\nhi\n"
    evil = b"Content-Type: text/plain; a=" + b'";' * 2_000 + b"\nContent-Disposition: inline; a=" + b'";' * 2_000
    yield "parameters in each part", head + mixed + (b"--x\n" + evil + b"\n\nhi\n") * 2_000
    yield "many long texts", head + mixed + (b"--x\n\n" + b"<p>text " * 30_000 + b"\n") * 100
    yield "many long pages", head + mixed + (b"--x\nContent-Type: text/html\n\n" + b"<p>text " * 30_000 + b"\n") * 100
    yield "base64 without end", head + b"Content-Transfer-Encoding: base64\n\n" + b"QUJD" * 5_000_000
    yield "quoted-printable", head + b"Content-Transfer-Encoding: quoted-printable\n\n" + b"=\n" * 8_000_000
    for charset in ("punycode", "idna", "utf-7", "zlib", "hex", "rot13", "unicode_escape", "undefined", "x" * 10_000):
        typed = f"Content-Type: text/plain; charset={charset}\n\n".encode()
        yield f"charset {charset[:20]}", head + typed + b"a-" + bytes(range(128, 256)) * 8_000
    yield "no charset", head + b"\n" + bytes(range(128, 256)) * 100_000
    yield "zeros", b"\0" * HOSTILE_SIZE
    yield "line ends", b"\n" * HOSTILE_SIZE
    yield "carriage returns", b"a: b\r\r" + b"x\r" * 10_000_000
    yield (
        "boundary of dashes",
        head + b'Content-Type: multipart/mixed; boundary="' + b"-" * 60 + b'"\n\n' + (b"-" * 61 + b"\n") * 400_000,
    )
    yield "quotes", head + b"\n" + b">\n" * 5_000_000
    yield "signatures", head + b"\n" + b"--\n" * 5_000_000
    yield "marks", head + b"\ne" + "\u0301".encode() * 3_000_000
    yield "entities", head + b"\n" + b"&amp;" * 3_000_000
    yield "tags of filters", b"Subject: " + b"[SPAM] " * 100_000 + b"\n\nhi\n"
    for name, source in pages():
        yield f"HTML: {name}", head + b"Content-Type: text/html\n\n" + source.encode()
        both = part("Hello there, this is the plain text.") + b"\n--x\n" + part(source, "text/html")
        yield f"HTML beside plain text: {name}", head + mixed + b"--x\n" + both + b"\n--x--\n"


def pages(size=2**20):
    """Yield names and sources of HTML that attack whoever parses it."""
    for name, piece in {
        "nested": "<div>",
        "spans": "<span>",
        "mangled": "<b><i></b>x</i>",
        "closed often": "</x>",
        "tables": "<table><td>",
        "paragraphs": "<p>x",
        "less than": "<",
        "comments": "<!--",
        "processing": "<?x ",
        "declarations": "<![if x]>",
        "quotes": '<a href="',
        "other quotes": "<a x='\"",
        "equal signs": "<a =",
        "attributes": "<a b c=d>",
        "style sheets": "<style>",
        "titles": "<title></style>",
        "links": "<a href=//x.example>y",
        "entities": "&#x41;",
        "long entities": "&#" + "9" * 5_000 + ";",
        "styles": '<p style="a:b;;;;color:#fff">x',
        "selectors": "<style>a,b,.c,#d{}</style>",
        "hidden": "<i hidden>x ",
        "lines": "<br>",
        "lists": "<ul><li>",
    }.items():
        yield name, piece * (size // len(piece))
    yield "one tag", "<div " + " ".join(f"a{n}=''" for n in range(size // 10)) + ">hi"
    yield "quoted tags", "<div " + " ".join(f'a{n}=">"' for n in range(size // 10)) + ">hi"
    yield "braces", "<style>" + "{" * size + "</style>hi"
    yield "at-rules", "<style>" + "@media{a{" * (size // 9) + "</style>hi"
    yield "comments of styles", "<style>" + "/*" * (size // 2) + "</style>hi"
    yield "classes", "<style>.a{color:red}</style>" + f"<p class='{'a ' * 5_000}'>x" * (size // 10_000)
    yield "white space", "<p>" + " \n" * (size // 2) + "</p>x"
    yield "text", "x" * size


def maildir(path, **folders):
    """Write a Maildir; each folder is a list of mails, and `INBOX` is the Maildir's own."""
    for name, found in folders.items():
        folder = path if name == "INBOX" else path / f".{name}"
        for inner in ("cur", "new", "tmp"):
            (folder / inner).mkdir(parents=True, exist_ok=True)
        for number, raw in enumerate(found):
            place = folder / ("new" if number % 3 == 0 else "cur")
            flags = "" if place.name == "new" else ":2,S"
            (place / f"17000{number:05}.M{number}P1.host{flags}").write_bytes(raw)
    return path


def mbox(*found):
    """Return an mbox of mails."""
    return b"".join(
        b"From someone@x.example Tue Mar  5 10:00:00 2024\n" + one.replace(b"\nFrom ", b"\n>From ") + b"\n"
        for one in found
    )


def sent(number, subject, text, *, day=0, **fields):
    """Return a plain mail with an identifier of its own, sent so many days into 2024."""
    month = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")[day // 28]
    fields.setdefault("Date", f"{1 + day % 28:02} {month} 2024 10:00:00 +0000")
    return mail(text, subject=subject, Message_ID=f"<{number}@x.example>", **fields)
