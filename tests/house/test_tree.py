"""The tree is the table of contents."""

import ast
import re

TOP_LEVEL = {"spamctl", "tests", "configs", "pyproject.toml", "uv.lock", "Makefile", "README.md", "LICENSE"}
EMPTY_WORDS = {"utils", "util", "common", "helpers", "helper", "misc", "tools", "stuff"}
# A path of one machine: somebody's home, a working folder, a file that was there for a moment.
MACHINE_PATH = re.compile(r"(?<![\w.~*-])/(?:work|farm|root|home|Users|opt|mnt|tmp)/[a-zA-Z]")
REGISTRY = re.compile(r"://[^\s\"']*(?:pypi|pythonhosted|anaconda|jfrog|/simple\b)")


def test_nothing_else_stands_at_top_level(tracked, root):
    names = {path.relative_to(root).parts[0] for path in tracked}
    assert {name for name in names if not name.startswith(".")} <= TOP_LEVEL
    assert {"spamctl", "tests", "pyproject.toml", "uv.lock", "Makefile", "README.md", "LICENSE", ".ci"} <= names


def test_every_module_opens_with_one_sentence(modules):
    faults = []
    for module in modules.values():
        first = (ast.get_docstring(module.tree) or "").partition("\n")[0]
        if not re.fullmatch(r"[A-Z`].*\w.*[.]", first) or ". " in first:
            faults.append(f"{module.name}: {first!r}")
    assert not faults


def test_no_two_modules_say_the_same(modules):
    sentences = [(ast.get_docstring(module.tree) or "").partition("\n")[0] for module in modules.values()]
    assert len(set(sentences)) == len(sentences)


def test_every_folder_of_the_package_is_a_package(modules, root):
    folders = {path.parent for path in (root / "spamctl").rglob("*.py")}
    assert all((folder / "__init__.py").is_file() for folder in folders)


def test_no_module_is_named_after_nothing(modules):
    assert not [name for name in modules if EMPTY_WORDS & set(re.split(r"[._]", name))]


def test_tests_stand_where_the_code_stands(modules, root):
    rooms = {module.room for module in modules.values() if module.path.name == "__init__.py"} - {""}
    folders = {path.parent.relative_to(root / "tests").parts[0] for path in (root / "tests").glob("*/**/test_*.py")}
    assert folders <= rooms | {"house", "faults", "scale", "security"}


def text_of(path):
    """Return what a file says; what is no text in a picture does not matter, what is counts."""
    return path.read_text(encoding="utf-8", errors="replace")


def test_no_file_names_a_place_of_one_machine(tracked, root):
    faults = []
    for path in tracked:
        if path.name != "uv.lock" and path.relative_to(root).parts[0] != "tests":
            faults += [f"{path.name}: {found[0]}" for found in MACHINE_PATH.finditer(text_of(path))]
    assert not faults


def test_no_file_names_a_package_index(tracked):
    assert not [path for path in tracked if path.name != "uv.lock" and REGISTRY.search(text_of(path))]
