"""The lock names versions, never hosts."""

import re
import shutil
import subprocess
import tomllib
from importlib.metadata import version
from itertools import chain

import lock
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

FULL = """version = 1
resolution-markers = [
    "python_full_version >= '3.12'",
    "python_full_version < '3.12'",
]

[[package]]
name = "spamctl"
version = "0.1.0"
source = { editable = "." }
dependencies = [
    { name = "torch", version = "2.13.0", source = { registry = "https://index.example/all" } },
]

[package.dev-dependencies]
dev = [
    { name = "zipp" },
]

[package.metadata]
requires-dist = [{ name = "torch", specifier = "==2.13.0" }]

[package.metadata.requires-dev]
dev = [{ name = "zipp", specifier = ">=4" }]

[[package]]
name = "torch"
version = "2.13.0+cpu"
source = { registry = "/a/folder/of/wheels" }
wheels = [
    { path = "torch-2.13.0+cpu-cp311-cp311-manylinux_2_28_x86_64.whl" },
]

[[package]]
name = "zipp"
version = "4.1.2"
source = { registry = "https://index.example/all" }
sdist = { url = "https://files.example/zipp-4.1.2.tar.gz", hash = "sha256:18", size = 1 }
wheels = [
    { url = "https://files.example/zipp-4.1.2-py3-none-any.whl", hash = "sha256:b8", size = 1 },
]
"""
STRIPPED = """version = 1
resolution-markers = [
    "python_full_version < '3.12'",
    "python_full_version >= '3.12'",
]

[[package]]
name = "spamctl"
version = "0.1.0"
source = { editable = "." }
dependencies = [
    { name = "torch", version = "2.13.0", source = { registry = "." } },
]

[package.dev-dependencies]
dev = [
    { name = "zipp" },
]

[[package]]
name = "torch"
version = "2.13.0+cpu"
source = { registry = "." }

[[package]]
name = "zipp"
version = "4.1.2"
source = { registry = "." }
"""


@pytest.fixture(scope="module")
def committed(root):
    """Return the lock as a commit would hold it now."""
    return lock.strip((root / "uv.lock").read_text(encoding="utf-8"))


def git(folder, *words):
    return subprocess.run(["git", *words], cwd=folder, capture_output=True, text=True, check=True).stdout


def test_stripping_keeps_versions_and_drops_the_rest():
    assert lock.strip(FULL) == STRIPPED
    assert lock.strip(STRIPPED) == STRIPPED


def test_the_lock_that_is_committed_names_no_host():
    assert lock.check() == 0


def test_the_lock_in_the_working_copy_would_be_committed_without_hosts(committed):
    assert "://" not in committed
    assert not re.search(r"\.whl|\.tar\.gz|sha256", committed)
    assert lock.versions(committed)


def test_the_lock_holds_both_builds_of_torch(committed):
    assert {"torch 2.13.0", "torch 2.13.0+cpu"} <= lock.versions(committed)


def test_the_lock_answers_every_requirement(committed, pyproject):
    wanted = [*pyproject["project"]["dependencies"], *chain(*pyproject["dependency-groups"].values())]
    locked = {}
    for package in tomllib.loads(committed)["package"]:
        locked.setdefault(package["name"], []).append(package["version"])
    for requirement in map(Requirement, wanted):
        found = locked.get(canonicalize_name(requirement.name), [])
        assert any(requirement.specifier.contains(one, prereleases=True) for one in found), requirement


def test_what_is_locked_is_what_is_installed(committed, pyproject):
    names = {Requirement(line).name.lower() for line in pyproject["project"]["dependencies"]}
    assert {f"{name} {version(name)}" for name in names} <= lock.versions(committed)


def test_a_synced_copy_is_committed_stripped(tmp_path, root):
    git(tmp_path, "init", "--quiet")
    (tmp_path / ".ci").mkdir()
    shutil.copy(root / ".ci" / "lock.py", tmp_path / ".ci" / "lock.py")
    shutil.copy(root / ".gitattributes", tmp_path / ".gitattributes")
    git(tmp_path, "config", "filter.spamctl-lock.clean", "python3 .ci/lock.py --clean")
    (tmp_path / "uv.lock").write_text(STRIPPED, encoding="utf-8")
    git(tmp_path, "add", ".")
    (tmp_path / "uv.lock").write_text(FULL, encoding="utf-8")
    assert git(tmp_path, "diff", "uv.lock") == ""
    git(tmp_path, "add", "uv.lock")
    assert git(tmp_path, "show", ":uv.lock") == STRIPPED


@pytest.fixture
def clone(tmp_path, root, monkeypatch):
    """Return a folder with the script, a stripped lock, and a uv that leaves behind the lock it is told to."""
    (tmp_path / ".ci").mkdir()
    shutil.copy(root / ".ci" / "lock.py", tmp_path / ".ci" / "lock.py")
    (tmp_path / "uv.lock").write_text(STRIPPED, encoding="utf-8")
    uv = tmp_path / "uv"
    uv.write_text("#!/bin/sh\necho $* > words\ncp answer uv.lock\nexit ${UV_EXIT:-0}\n", encoding="utf-8")
    uv.chmod(0o755)
    monkeypatch.setenv("UV", str(uv))
    return tmp_path


def run(clone, *words):
    words = ["python3", ".ci/lock.py", *words]
    return subprocess.run(words, cwd=clone, capture_output=True, text=True, check=False)


def test_locking_strips_what_uv_wrote(clone):
    (clone / "answer").write_text(FULL.replace("4.1.2", "4.2.0"), encoding="utf-8")
    assert run(clone, "--make", "--upgrade").returncode == 0
    assert (clone / "uv.lock").read_text(encoding="utf-8") == STRIPPED.replace("4.1.2", "4.2.0")
    assert (clone / "words").read_text(encoding="utf-8") == "lock --upgrade\n"


def test_locking_without_the_folder_of_wheels_changes_nothing(clone):
    (clone / "answer").write_text(FULL.replace("2.13.0+cpu", "2.13.0"), encoding="utf-8")
    done = run(clone, "--make")
    assert done.returncode == 1
    assert "no wheel of torch 2.13.0+cpu here; set UV_FIND_LINKS" in done.stdout
    assert (clone / "uv.lock").read_text(encoding="utf-8") == STRIPPED


def test_installing_leaves_the_lock_as_it_was_and_tells_what_differs(clone):
    (clone / "answer").write_text(FULL.replace("4.1.2", "4.2.0"), encoding="utf-8")
    done = run(clone, "--sync")
    assert done.returncode == 0
    assert "zipp 4.2.0" in done.stdout
    assert (clone / "uv.lock").read_text(encoding="utf-8") == STRIPPED


def test_what_is_installed_is_compiled_once_and_not_by_every_process(clone):
    (clone / "uv").write_text("#!/bin/sh\necho $* $PYC_INVALIDATION_MODE > words\n", encoding="utf-8")
    assert run(clone, "--sync", "--inexact").returncode == 0
    assert (clone / "words").read_text(encoding="utf-8") == "sync --compile-bytecode --inexact TIMESTAMP\n"


def test_a_failure_of_uv_is_a_failure_and_leaves_the_lock_as_it_was(clone, monkeypatch):
    monkeypatch.setenv("UV_EXIT", "2")
    (clone / "answer").write_text("", encoding="utf-8")
    assert run(clone, "--sync").returncode == 2
    assert run(clone, "--make").returncode == 2
    assert (clone / "uv.lock").read_text(encoding="utf-8") == STRIPPED


def test_an_unstripped_lock_is_refused(clone):
    assert run(clone, "--check").returncode == 0
    (clone / "uv.lock").write_text(FULL, encoding="utf-8")
    done = run(clone, "--check")
    assert done.returncode == 1
    assert "make lock" in done.stdout
