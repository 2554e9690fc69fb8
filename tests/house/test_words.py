"""Help, reports, errors, docstrings and comments keep to the field's words."""

import ast
import io
import re
import tokenize

# A phrase that only this project would use, and what an engineer of the field writes.
BANNED = {
    r"\brings\b|\brang\b|\brung\b": "a test raises an alarm",
    r"\bdeals?\b|\bdealt\b": "rows are permuted",
    r"\bfair draw\b|\bdrawn fairly\b|\bby lot\b": "a random sample",
    r"\bmakes? of (?:it|them)\b": "the model's embeddings, its verdict",
    r"\bchose nothing\b": "held-out messages",
    r"\blooks nowhere\b": "none: skip",
    r"\bnumbers (?:of the packaged model|to multiply in)\b|\bin which numbers\b": "a precision",
    r"\bwhat enters (?:each|a|the) product": "the inputs of a linear layer",
    r"\bthe table for a child\b": "the environment of a child process",
    r"\bbe production\b": "send simulated traffic",
    r"\bno accuracy\b": "not an accuracy",
    r"\b(?:begins?|beginning) (?:it )?anew\b": "starts over",
    r"\b(?:could not|cannot) be had\b": "is not available",
}
OPENINGS = re.compile(r"(?:Hold|Say|Tell|Be|Lend)\b")
# A class is a thing: its docstring does not begin as a function's does. These words name things too.
NOUNS = {
    *("Answer", "Clean", "Label", "Limit", "List", "Load", "Log", "Name", "Number", "Place", "Progress", "Queue"),
    *("Record", "Release", "Report", "Run", "Scale", "Search", "Sum", "Test", "Trace"),
}


def docstrings(module):
    """Yield every docstring's node and text."""
    kinds = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef
    for node in ast.walk(module.tree):
        if isinstance(node, kinds) and (text := ast.get_docstring(node)):
            yield node, text


def prose(module):
    """Yield (line, text) of what is read by people: strings, docstrings among them, and comments."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT:
            yield token.start[0], token.string


def banned(text):
    """Return what to write instead of each banned phrase of a text."""
    flat = " ".join(text.split())
    return [
        f"{found[0]!r}: {better}"
        for phrase, better in BANNED.items()
        if (found := re.search(phrase, flat, re.IGNORECASE))
    ]


def test_a_banned_phrase_is_found_across_lines_and_cases():
    assert banned("Nothing\n    Rings here") == ["'Rings': a test raises an alarm"]
    assert banned("a ring buffer, strings, a dealer") == []


def test_no_banned_phrase_returns(modules):
    faults = [
        f"{module.name}:{line}: {fault}"
        for module in modules.values()
        for line, text in prose(module)
        for fault in banned(text)
    ]
    assert not faults


def test_the_web_page_uses_no_banned_phrase(tracked):
    pages = [path for path in tracked if path.parent.name == "web_files" and path.suffix in {".html", ".js"}]
    assert pages
    assert not [f"{path.name}: {fault}" for path in pages for fault in banned(path.read_text(encoding="utf-8"))]


def test_docstrings_open_as_an_engineer_expects(modules):
    faults = [
        f"{module.name}.{getattr(node, 'name', '')}: {text.splitlines()[0]}"
        for module in modules.values()
        for node, text in docstrings(module)
        if OPENINGS.match(text)
    ]
    assert not faults


def test_classes_are_described_by_noun_phrases(modules):
    every = [(module.name, node, text.split()[0]) for module in modules.values() for node, text in docstrings(module)]
    verbs = {first for _, node, first in every if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)} - NOUNS
    faults = [
        f"{name}.{node.name}: {first}"
        for name, node, first in every
        if isinstance(node, ast.ClassDef) and first in verbs
    ]
    assert not faults
