"""Make uv.lock name versions only: no host, no file address, no folder of one machine.

    lock.py                make the lock anew with `uv lock`, then strip it
    lock.py --clean        strip what comes in on standard input (git's clean filter for uv.lock)
    lock.py --check FILE…  tell whether each file is stripped; exit 1 when one is not

uv accepts a stripped lock, keeps its versions, and fills in the files from whichever index or wheel folder the machine
uses. The lock must be made where a folder of CPU wheels is known (UV_FIND_LINKS): only then does it hold both builds.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

LOCK = Path(__file__).resolve().parent.parent / "uv.lock"


def strip(lock: str) -> str:
    """Drop the files of every package, its index, and the root's copy of pyproject.toml; twice changes nothing."""
    lock = re.sub(r"^sdist = .*\n", "", lock, flags=re.MULTILINE)
    lock = re.sub(r"^wheels = \[\n(?: .*\n)*\]\n", "", lock, flags=re.MULTILINE)
    lock = re.sub(r'source = \{ registry = "[^"]*" \}', 'source = { registry = "." }', lock)
    # With the root's metadata in place uv believes the lock complete, and then fails for want of files.
    lock = re.sub(r"^\[package\.metadata[^\n]*\]\n(?:(?!\[).*\n)*", "", lock, flags=re.MULTILINE)
    # uv writes the forks in the order it met them, which differs from run to run.
    lock = re.sub(r"(?<=resolution-markers = \[\n)(?: .*\n)+", lambda found: "".join(sorted(found[0].splitlines(True))), lock)
    return re.sub(r"\n{3,}", "\n\n", lock).rstrip("\n") + "\n"


def local_builds(lock: str) -> set[str]:
    """Name the versions that only a local wheel folder offers, such as `2.13.0+cpu`."""
    return set(re.findall(r'^version = "([^"]+\+[^"]+)"$', lock, flags=re.MULTILINE))


def make() -> int:
    """Run `uv lock`, strip its answer, and put the old lock back when the new one lost a local build."""
    before = LOCK.read_text(encoding="utf-8") if LOCK.exists() else ""
    done = subprocess.run([os.environ.get("UV", "uv"), "lock", *sys.argv[1:]], cwd=LOCK.parent, check=False)
    if done.returncode:
        return done.returncode
    after = strip(LOCK.read_text(encoding="utf-8"))
    lost = local_builds(before) - local_builds(after)
    LOCK.write_text(strip(before) if lost else after, encoding="utf-8")
    if lost:
        print(f"uv.lock is unchanged: {', '.join(sorted(lost))} not found; set UV_FIND_LINKS to the folder of wheels that has it")
    return int(bool(lost))


def main() -> int:
    """Strip, check or make, as the first argument says."""
    match sys.argv[1:]:
        case ["--clean"]:
            sys.stdout.buffer.write(strip(sys.stdin.buffer.read().decode("utf-8")).encode("utf-8"))
            return 0
        case ["--check", *files] if files:
            faults = [name for name in files if strip(text := Path(name).read_text(encoding="utf-8")) != text or "://" in text]
            print("".join(f"{name} names hosts or files: run `make lock`\n" for name in faults), end="")
            return int(bool(faults))
        case _:
            return make()


if __name__ == "__main__":
    raise SystemExit(main())
