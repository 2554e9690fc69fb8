"""README.md shows what the program really prints."""

import re

import docs
import pytest

BLOCK = "Before\n<!-- spamctl:begin {0} -->\nold\n<!-- spamctl:end {0} -->\nafter\n"


def test_readme_is_what_the_program_prints(root):
    readme = (root / "README.md").read_text(encoding="utf-8")
    assert docs.render(readme) == readme


def test_readme_promises_only_commands_that_exist(root):
    readme = (root / "README.md").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z-]+):", (root / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    promised = set(re.findall(r"(?:^|`)make ([a-z-]+)", readme, re.MULTILINE))
    assert {"demo", "test"} <= promised <= targets


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
        docs.render("<!-- spamctl:begin tree -->\n")


def test_an_unknown_block_is_refused():
    with pytest.raises(SystemExit, match="no block is called 'nonsense'"):
        docs.render(BLOCK.format("nonsense"))


def test_the_tree_says_every_module_once(modules, root):
    lines = list(docs.tree(root / "spamctl"))
    assert len(lines) == len(modules)
    assert len({line.split()[0] + line[line.index(" ", 4) :] for line in lines}) == len(lines)


def test_a_stale_block_is_named(capsys):
    stale = BLOCK.format("tree")
    assert docs.check(stale) == 1
    assert "run `make docs` (tree)" in capsys.readouterr().out
    assert docs.check(docs.render(stale)) == 0


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


def test_a_failure_is_not_recorded(tmp_path, monkeypatch):
    monkeypatch.setattr(docs, "RECORDED", tmp_path)
    assert docs.record("fault", ["python", "-c", "raise(SystemExit(1))"]) == 1
    assert not list(tmp_path.iterdir())


def test_every_recording_is_shown(root):
    readme = (root / "README.md").read_text(encoding="utf-8")
    for path in (root / ".ci" / "recorded").glob("*"):
        assert re.search(rf"<!-- spamctl:begin recorded {path.stem}( from .+)? -->", readme)


def test_every_picture_is_shown(root):
    readme = (root / "README.md").read_text(encoding="utf-8")
    for path in (root / ".ci" / "pictures").glob("*"):
        assert f"](.ci/pictures/{path.name})" in readme
