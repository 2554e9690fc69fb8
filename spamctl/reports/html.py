"""Build a self-contained page: no script, no request, and no unescaped text."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from spamctl import display

# A file's name, perhaps below folders or one folder up: nothing that a browser could read as a scheme or a host.
_BESIDE = re.compile(r"(?:\.\./)?[A-Za-z0-9_][A-Za-z0-9_.-]*(?:/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")

_STYLE = """
:root { color-scheme: light; --ink: #1f2328; --grey: #59636e; --line: #d0d7de; --ground: #f6f8fa; }
body { margin: 0 auto; padding: 2rem 1.5rem 4rem; max-width: 66rem; color: var(--ink); background: #fff;
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", "DejaVu Sans", sans-serif; }
h1 { margin: 0 0 .5rem; font-size: 1.5rem; line-height: 1.3; overflow-wrap: anywhere; }
h2 { margin: 2.5rem 0 .75rem; font-size: 1.1rem; }
p { margin: .5rem 0; max-width: 48rem; overflow-wrap: anywhere; }
.verdict { padding: .75rem 1rem; border-left: .4rem solid; background: var(--ground); }
.good { border-color: #009e73; } .fair { border-color: #e69f00; } .bad { border-color: #d55e00; }
.loud { padding: .6rem 1rem; border: 2px solid #d55e00; font-weight: 600; max-width: none; }
.quiet { color: var(--grey); font-size: .9rem; }
table { border-collapse: collapse; font-size: .92rem; font-variant-numeric: tabular-nums; }
th { padding: .35rem .8rem; text-align: left; border-bottom: 2px solid var(--line); color: var(--grey); }
td { padding: .3rem .8rem; border-bottom: 1px solid var(--line); vertical-align: top; overflow-wrap: anywhere; }
.number { text-align: right; white-space: nowrap; } .faint { color: var(--grey); white-space: nowrap; }
.typed { color: var(--grey); min-width: 16rem; }
.text { display: block; max-width: 42rem; max-height: 9em; overflow: auto; unicode-bidi: isolate;
        font-family: ui-monospace, "DejaVu Sans Mono", Consolas, monospace; font-size: .85rem; }
.pictures { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(26rem, 100%), 1fr)); gap: 1rem; }
.alarm { color: #b34700; font-weight: 600; white-space: nowrap; } .calm { color: #00664b; white-space: nowrap; }
.unsure { color: #7a5200; font-weight: 600; white-space: nowrap; }
code { padding: .1rem .3rem; background: var(--ground); font-family: ui-monospace, "DejaVu Sans Mono", monospace; }
td.name { white-space: nowrap; } .scroll { max-width: 100%; overflow-x: auto; }
a { color: #0b5cad; } summary { cursor: pointer; margin: 1rem 0 .5rem; font-weight: 600; }
@media (max-width: 40rem) { body { padding: 1rem .75rem 3rem; } th, td { padding: .3rem .5rem; } }
figure { margin: 0; padding: .5rem; max-width: 46rem; border: 1px solid var(--line); border-radius: 6px; }
img { display: block; width: 100%; height: auto; }
"""


@dataclass(frozen=True, slots=True)
class Markup:
    """HTML that is already safe; only this module's functions make it."""

    html: str


@dataclass(frozen=True, slots=True)
class Column:
    """Column of a table: its head, and how its cells look: "number", "faint", "typed", a hostile "text" or plain."""

    head: str
    kind: str = ""


def document(title: str, parts: Iterable[Markup]) -> str:
    """Return a whole page; its policy lets a browser run no script and fetch nothing, whatever the parts hold."""
    digest = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; img-src data:; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    body = "\n".join(part.html for part in parts)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        '<meta name="referrer" content="no-referrer">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{display.html(title)}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n{body}\n</body>\n</html>\n"
    )


def element(tag: str, text: object, kind: str = "") -> Markup:
    """Return one element around escaped text."""
    return Markup(f"<{tag}{_class(kind)}>{display.html(text)}</{tag}>")


def strong(text: object) -> Markup:
    """Return escaped text that stands out."""
    return element("strong", text)


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table; every cell that is not Markup is escaped."""
    head = "".join(f"<th{_class(_kind_of_head(column))}>{display.html(column.head)}</th>" for column in columns)
    body = "\n".join(f"<tr>{_cells(columns, row)}</tr>" for row in rows)
    return Markup(
        f'<div class="scroll"><table>\n<thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody>\n</table></div>'
    )


def beside(address: str) -> bool:
    """Return whether an address is that of a file beside the page, below it or one folder up, in plain letters."""
    return bool(_BESIDE.fullmatch(address)) and ".." not in address.removeprefix("../")


def link(text: object, address: str) -> Markup:
    """Return a link to a file that lies `beside` the page; every other address is an error."""
    if not beside(address):
        raise ValueError(f"not the name of a file beside the page: {address!r}")
    return Markup(f'<a href="{display.html(address)}">{display.html(text)}</a>')


def line(*parts: object, kind: str = "") -> Markup:
    """Return a paragraph of texts, which are escaped, and of Markup."""
    return Markup(f"<p{_class(kind)}>{''.join(map(_html, parts))}</p>")


def folded(summary: object, parts: Iterable[Markup]) -> Markup:
    """Return parts that a reader opens with a click, which needs no script."""
    body = "\n".join(part.html for part in parts)
    return Markup(f"<details>\n<summary>{display.html(summary)}</summary>\n{body}\n</details>")


def pictures(plots: Mapping[str, bytes]) -> Markup:
    """Return PNG pictures side by side, each carried by the page itself."""
    figures = "\n".join(
        f'<figure><img alt="{display.html(name.replace("_", " "))}" '
        f'src="data:image/png;base64,{base64.b64encode(png).decode()}"></figure>'
        for name, png in plots.items()
    )
    return Markup(f'<div class="pictures">\n{figures}\n</div>')


def _kind_of_head(column: Column) -> str:
    """Return what a column's head looks like; the box of a hostile text would tear it out of its row."""
    return "" if column.kind == "text" else column.kind


def _cells(columns: Sequence[Column], row: Sequence[object]) -> str:
    """Return the cells of one row."""
    return "".join(_cell(column, value) for column, value in zip(columns, row, strict=True))


def _cell(column: Column, value: object) -> str:
    """Return one cell; hostile text gets a box of its own, in which its direction stays."""
    if column.kind == "text":
        return f'<td><span class="text" dir="auto">{display.html(value)}</span></td>'
    return f"<td{_class(column.kind)}>{_html(value)}</td>"


def _html(value: object) -> str:
    """Return Markup as it is, and anything else escaped."""
    return value.html if isinstance(value, Markup) else display.html(value)


def _class(kind: str) -> str:
    """Return a class attribute, or nothing."""
    return f' class="{display.html(kind)}"' if kind else ""
