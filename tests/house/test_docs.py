"""The documents show what the program really prints, lead where they say, and stay short enough to be read."""

import re

import docs
import pytest

from spamctl import __version__
from spamctl.cli.app import TOPICS
from spamctl.config.verbs import VERBS
from tests.each import each

BLOCK = "Before\n<!-- spamctl:begin {0} -->\nold\n<!-- spamctl:end {0} -->\nafter\n"


LINK = re.compile(r"\]\((?!https?://)([^)#]*)#?([^)]*)\)")
CONSOLE = re.compile(r"^```console\n(.*?)^```$", re.DOTALL | re.MULTILINE)
PARTS = r"(?: (?:from|table) .+?)?"


@pytest.fixture(scope="module", params=docs.DOCUMENTS, ids=lambda path: "/".join(path.parts[-2:]))
def document(request):
    return request.param


@pytest.fixture(scope="module")
def readme(root):
    return (root / "README.md").read_text(encoding="utf-8")


def test_a_document_is_what_the_program_prints(document):
    text = document.read_text(encoding="utf-8")
    assert docs.render(text) == text
    assert "<!-- spamctl:begin " in text


def test_readme_promises_only_commands_that_exist(readme, root):
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    promised = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.MULTILINE))
    assert {"demo", "test"} <= promised <= targets


def test_readme_is_an_index(readme):
    assert len(readme.encode()) <= 20_000
    assert len(readme.splitlines()) <= 300
    assert max(len(shown.splitlines()) for shown in CONSOLE.findall(readme)) <= 15
    notes = readme.partition("## Contributing\n")[2].partition("\n## ")[0]
    assert 0 < len(notes.splitlines()) <= 40


def test_readme_lists_its_sections(readme):
    sections = re.findall(r"^## (.+)$", readme, re.MULTILINE)
    assert re.findall(r"\[([^]]+)\]\(#", readme) == sections


def test_links_lead_somewhere(document):
    for place, section in LINK.findall(document.read_text(encoding="utf-8")):
        target = document.parent / place if place else document
        assert target.exists(), place
        if section:
            headings = re.findall(r"^#+ (.+)$", target.read_text(encoding="utf-8"), re.MULTILINE)
            assert section in {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def test_what_documents_type_can_be_typed(document):
    """Every `spamctl VERB` of a document, with each of its flags, is one that there is."""
    text = document.read_text(encoding="utf-8")
    text = CONSOLE.sub("", text)  # of what was recorded another test sees to it that it was
    for verb, rest in re.findall(r"spamctl ([a-z]+)\b([^`\n#|]*)", text):
        if verb in VERBS:
            flags = {flag for option in VERBS[verb].declared() for flag in (option.flag, f"--no-{option.flag[2:]}")}
            assert set(re.findall(r"--[a-z-]+", rest)) <= flags | {"--help", "--config", "--resume", "--debug"}, rest
        else:
            assert not rest.startswith(" --"), f"spamctl {verb}{rest}"


def test_a_command_is_shown_with_its_output():
    assert docs.render(BLOCK.format("$ python -c print(1)")) == (
        "Before\n<!-- spamctl:begin $ python -c print(1) -->\n```console\n$ python -c print(1)\n1\n```\n"
        "<!-- spamctl:end $ python -c print(1) -->\nafter\n"
    )


def test_a_command_that_fails_is_no_documentation():
    with pytest.raises(SystemExit, match="exit 7"):
        docs.render(BLOCK.format("$ python -c raise(SystemExit(7))"))


def test_a_block_that_is_not_closed_is_refused():
    with pytest.raises(SystemExit, match="1 marks make 0 blocks"):
        docs.render("<!-- spamctl:begin recipes train -->\n")


@each("what", ["nonsense", "recipes", "recorded", "tree"])
def test_an_unknown_block_is_refused(what):
    with pytest.raises(SystemExit, match=f"no block is called '{what}'"):
        docs.render(BLOCK.format(what))


def test_every_recipe_is_listed_with_its_reasons(root):
    page = (root / "configs" / "README.md").read_text(encoding="utf-8")
    recipes = sorted((root / "configs").glob("*/*.yaml"))
    assert [f"{path.parent.name}/{path.name}" for path in recipes] == sorted(re.findall(r"\]\((.+?\.yaml)\)", page))
    shown = docs.render(BLOCK.format("recipes train"))
    assert "* [`quick.yaml`](train/quick.yaml): Every step in little time, " in shown


def test_a_stale_block_is_named(capsys, tmp_path):
    stale = tmp_path / "page.md"
    stale.write_text(BLOCK.format("recipes train"), encoding="utf-8")
    assert docs.check(stale) == 1
    assert "page.md is not what the program prints: run `make docs` (recipes train)" in capsys.readouterr().out
    stale.write_text(docs.render(stale.read_text(encoding="utf-8")), encoding="utf-8")
    assert docs.check(stale) == 0


def test_what_is_recorded_says_when_where_and_how_it_ended(tmp_path, monkeypatch, root):
    monkeypatch.setattr(docs, "RECORDED", tmp_path)
    code = f"print('{root}/demo ',flush=True);raise(SystemExit(3))"
    assert docs.record("answer", ["python", "-c", code]) == 0
    command, facts, output = (tmp_path / "answer.txt").read_text(encoding="utf-8").splitlines()
    assert command == f"$ python -c {code}"
    assert re.fullmatch(r"# \d{4}-\d\d-\d\d, .+, \d+ cores, \d+ GiB, Python 3[\d.]+; took \d+ s, exit code 3", facts)
    assert output == "~/spamctl/demo"
    shown = docs.render(BLOCK.format("recorded answer"))
    assert f"```console\n{command}\n{facts}\n{output}\n```" in shown


def test_of_a_long_recording_the_end_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "RECORDED", tmp_path)
    (tmp_path / "long.txt").write_text("$ long\n# today\none\nEnd: no\ntwo\nEnd: yes\nthree\n", encoding="utf-8")
    shown = docs.render(BLOCK.format("recorded long from End:"))
    assert "```console\n$ long\n# today\n…\nEnd: yes\nthree\n```" in shown
    with pytest.raises(SystemExit, match="no recorded line begins with 'Nothing'"):
        docs.render(BLOCK.format("recorded long from Nothing"))


def test_of_a_long_recording_a_table_is_enough(tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "RECORDED", tmp_path)
    long = "$ long\n# today\none\n\n kind   n\n ─────────\n a      1\n\n kind   n\n ─────────\n b      2\n"
    (tmp_path / "long.txt").write_text(long, encoding="utf-8")
    table = "```console\n$ long\n# today\n…\n kind   n\n ─────────\n a      1\n```"
    assert table in docs.render(BLOCK.format("recorded long table kind n"))
    assert table in docs.render(BLOCK.format("recorded long table other|kind"))
    with pytest.raises(SystemExit, match="no recorded line begins with 'kind m'"):
        docs.render(BLOCK.format("recorded long table kind m"))


def test_a_failure_is_not_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "RECORDED", tmp_path)
    assert docs.record("fault", ["python", "-c", "raise(SystemExit(1))"]) == 1
    assert not list(tmp_path.iterdir())


def test_every_recording_is_shown(root):
    pages = "".join(path.read_text(encoding="utf-8") for path in docs.DOCUMENTS)
    for path in (root / ".ci" / "recorded").glob("*"):
        assert re.search(rf"<!-- spamctl:begin recorded {path.stem}{PARTS} -->", pages)


def test_every_picture_is_shown_and_readme_shows_one(readme, root):
    pages = "".join(path.read_text(encoding="utf-8") for path in docs.DOCUMENTS)
    for path in (root / ".ci" / "pictures").glob("*"):
        assert f".ci/pictures/{path.name})" in pages
    assert len(re.findall(r"!\[.+\]\(\.ci/pictures/.+\)", readme)) == 1


def test_the_version_is_the_same_everywhere(root, pyproject):
    lock = (root / "uv.lock").read_text(encoding="utf-8")
    changes = (root / "spamctl" / "CHANGELOG.md").read_text(encoding="utf-8")
    assert pyproject["project"]["version"] == __version__
    assert f'name = "spamctl"\nversion = "{__version__}"\n' in lock
    assert re.findall(r"^## (.+)$", changes, re.MULTILINE)[0] == __version__


def test_topics_and_changes_come_with_the_package(root, pyproject, tracked):
    assert pyproject["tool"]["hatch"]["build"]["targets"]["wheel"] == {"packages": ["spamctl"]}
    assert set(TOPICS.values()) <= {path for path in tracked if path.is_relative_to(root / "spamctl")}
