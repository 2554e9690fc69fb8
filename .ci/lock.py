"""Make uv.lock name versions only: no host, no file address, no folder of one machine.

    lock.py --make      make the lock anew with `uv lock`, then strip it
    lock.py --sync      install what the lock names with `uv sync`, and leave the lock as it was
    lock.py --clean     strip what comes in on standard input (git's clean filter for uv.lock)
    lock.py --check     refuse a lock that would be committed unstripped

uv accepts a stripped lock, keeps its versions, and fills in the files from whichever index or wheel folder the machine
uses. The lock must be made where the folder of CPU wheels is known (UV_FIND_LINKS): only then does it hold both builds
of torch, and only then does a machine with that folder get the small one.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
LOCK = ROOT / "uv.lock"


def strip(lock: str) -> str:
    """Drop every package's files and index, and the root's copy of pyproject.toml; twice changes nothing."""
    lock = re.sub(r"^sdist = .*\n", "", lock, flags=re.MULTILINE)
    lock = re.sub(r"^wheels = \[\n(?: .*\n)*\]\n", "", lock, flags=re.MULTILINE)
    lock = re.sub(r'source = \{ registry = "[^"]*" \}', 'source = { registry = "." }', lock)
    # With the root's metadata in place uv believes the lock complete, and then fails for want of files.
    lock = re.sub(r"^\[package\.metadata[^\n]*\]\n(?:(?!\[).*\n)*", "", lock, flags=re.MULTILINE)
    # uv writes the forks in the order it met them, which differs from run to run.
    lock = re.sub(r"(?<=resolution-markers = \[\n)(?: .*\n)+", lambda forks: in_order(forks[0]), lock)
    return re.sub(r"\n{3,}", "\n\n", lock).rstrip("\n") + "\n"


def in_order(lines: str) -> str:
    """Sort lines."""
    return "".join(sorted(lines.splitlines(keepends=True)))


def versions(lock: str) -> set[str]:
    """Name what a lock installs, as `torch 2.13.0+cpu`."""
    pairs = re.findall(r'^\[\[package\]\]\nname = "(.+)"\nversion = "(.+)"$', lock, flags=re.MULTILINE)
    return {f"{name} {version}" for name, version in pairs}


def uv(*words: str) -> int:
    """Run the uv that the Makefile chose."""
    environment = os.environ | {"PYC_INVALIDATION_MODE": "TIMESTAMP"}  # what is compiled already is left as it is
    return subprocess.run([os.environ.get("UV", "uv"), *words], cwd=ROOT, env=environment, check=False).returncode


def make() -> int:
    """Lock anew, and put the old lock back when a build that only a wheel folder has was lost on the way."""
    before = strip(LOCK.read_text(encoding="utf-8"))
    status = uv("lock", *sys.argv[2:])
    after = strip(LOCK.read_text(encoding="utf-8"))
    lost = sorted(name for name in versions(before) - versions(after) if "+" in name)
    LOCK.write_text(before if lost or status else after, encoding="utf-8")
    if lost:
        print(f"uv.lock is unchanged: no wheel of {', '.join(lost)} here; set UV_FIND_LINKS to the folder that has it")
    return status or int(bool(lost))


def sync() -> int:
    """Install and compile, say which versions this machine's index did not have, and leave the lock as it was.

    Else each process compiles torch and its like again where PYTHONDONTWRITEBYTECODE is set, and a run starts a dozen.
    """
    before = LOCK.read_text(encoding="utf-8")
    try:
        status = uv("sync", "--compile-bytecode", *sys.argv[2:])
        new = versions(LOCK.read_text(encoding="utf-8")) - versions(before)
    finally:
        LOCK.write_text(before, encoding="utf-8")
    if new:
        print(f"uv.lock does not name {', '.join(sorted(new))}, which uv chose here: `make lock` would record it")
    return status


def clean() -> int:
    """Strip standard input."""
    sys.stdout.buffer.write(strip(sys.stdin.buffer.read().decode("utf-8")).encode("utf-8"))
    return 0


def check() -> int:
    """Look at the lock that git would commit or, outside a repository, at the file."""
    staged = subprocess.run(
        ["git", "-c", "safe.directory=*", "show", ":./uv.lock"], cwd=ROOT, capture_output=True, check=False
    )
    lock = staged.stdout.decode("utf-8") if staged.returncode == 0 else LOCK.read_text(encoding="utf-8")
    fault = "://" in lock or strip(lock) != lock
    if fault:
        print("uv.lock names hosts or files: run `make lock`, then `git add uv.lock`")
    return int(fault)


if __name__ == "__main__":
    modes = {"--make": make, "--sync": sync, "--clean": clean, "--check": check}
    mode = modes.get("".join(sys.argv[1:2]))
    raise SystemExit(mode() if mode else __doc__)
