"""Keep README.md showing what the program really prints.

    docs.py --write                  fill every block of README.md
    docs.py --check                  refuse a block that is not what would be written now
    docs.py --record NAME COMMAND…   run a command that takes minutes and keep its output in .ci/recorded/NAME.txt

A block stands between `<!-- spamctl:begin WHAT -->` and `<!-- spamctl:end WHAT -->`. WHAT is a cheap command that
prints the same on every machine (`$ spamctl --help`), `tree` (the package, a sentence a module), `recorded NAME`, or
`recorded NAME from TEXT`: its command, and its end from the last line that begins with the text.
"""

import ast
import datetime as dt
import os
import platform
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from spamctl.cores import cores

ROOT = Path(__file__).resolve().parent.parent
README = ROOT / "README.md"
RECORDED = ROOT / ".ci" / "recorded"
BLOCK = re.compile(r"(<!-- spamctl:begin (?P<what>.+?) -->\n)(?P<body>.*?)(<!-- spamctl:end (?P=what) -->)", re.DOTALL)
MARK = re.compile(r"<!-- spamctl:(?:begin|end) .+? -->")
ANSWERS = (0, 3)  # done, and "the answer is no"; anything else is a failure and no documentation
WIDTH = 100
GIB = 2**30


def render(readme: str) -> str:
    """Fill every block of a README; a begin without its end is an error."""
    marks = len(MARK.findall(readme))
    filled, blocks = BLOCK.subn(lambda block: f"{block[1]}{content(block['what'])}{block[4]}", readme)
    if marks != 2 * blocks:
        raise SystemExit(f"README.md: {marks} marks make {blocks} blocks; each begin needs the end of the same name")
    return filled


def content(what: str) -> str:
    """Make one block's lines."""
    if what.startswith("$ "):
        return fence("console", f"{what}\n{printed(what.removeprefix('$ ').split())}")
    if what == "tree":
        return fence("text", "".join(f"{line}\n" for line in tree(ROOT / "spamctl")))
    if what.startswith("recorded "):
        name, _, start = what.removeprefix("recorded ").partition(" from ")
        return fence("console", ending((RECORDED / f"{name}.txt").read_text(encoding="utf-8"), start))
    raise SystemExit(f"README.md: no block is called {what!r}; see .ci/docs.py")


def ending(text: str, start: str) -> str:
    """Return what was recorded: all of it, or its head and what follows from the last line that begins with `start`."""
    lines = text.splitlines(keepends=True)
    places = [place for place, line in enumerate(lines) if place > 1 and line.startswith(start)]
    if not places:
        raise SystemExit(f"README.md: no recorded line begins with {start!r}")
    return text if not start else "".join([*lines[:2], "…\n", *lines[places[-1] :]])


def fence(language: str, text: str) -> str:
    """Wrap lines as a block of code."""
    return f"```{language}\n{text}```\n"


def printed(words: list[str]) -> str:
    """Run a program of .venv in an empty home at a fixed width without colours, and return what it prints."""
    with tempfile.TemporaryDirectory() as home:
        surroundings = {"PATH": os.environ["PATH"], "HOME": home, "LC_ALL": "C.UTF-8"} | plain_terminal()
        done = subprocess.run(program(words), cwd=home, env=surroundings, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"$ {' '.join(words)}\n{done.stdout}{done.stderr}exit {done.returncode}")
    return tidy(done.stdout)


def program(words: list[str]) -> list[str]:
    """Find the command in the environment that runs this script."""
    return [str(Path(sys.executable).parent / words[0]), *words[1:]]


def plain_terminal() -> dict[str, str]:
    """Ask for lines of one width and no colours."""
    return {"COLUMNS": str(WIDTH), "NO_COLOR": "1", "TERM": "dumb", "PYTHONUNBUFFERED": "1"}


def tidy(text: str) -> str:
    """Drop blanks at the ends of lines, and call this clone by its name wherever it lies."""
    return "".join(f"{line.rstrip()}\n" for line in text.replace(str(ROOT), "~/spamctl").splitlines())


def tree(package: Path) -> Iterator[str]:
    """Yield the package's folders and modules with the first sentence of each."""
    yield f"{package.name + '/':<26}{sentence(package / '__init__.py')}"
    rooms = sorted(path.parent for path in package.glob("*/__init__.py"))
    for module in modules(package):
        yield f"  {module.name:<24}{sentence(module)}"
    for room in rooms:
        yield f"  {room.name + '/':<24}{sentence(room / '__init__.py')}"
        for module in modules(room):
            yield f"    {module.name:<22}{sentence(module)}"


def modules(folder: Path) -> list[Path]:
    """List a folder's modules that say more than their folder does."""
    return sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")


def sentence(module: Path) -> str:
    """Return the first line of a module's docstring."""
    return (ast.get_docstring(ast.parse(module.read_text(encoding="utf-8"))) or "").partition("\n")[0]


def record(name: str, words: list[str]) -> int:
    """Run a command, show and keep what it prints, with the day, the machine and how it ended."""
    began, lines = time.monotonic(), []
    surroundings = os.environ | plain_terminal()
    with subprocess.Popen(
        program(words), env=surroundings, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    ) as child:
        for line in child.stdout or ():
            print(line, end="", flush=True)
            lines.append(line)
    if child.returncode not in ANSWERS:
        return child.returncode
    seconds = time.monotonic() - began
    today = dt.datetime.now(tz=dt.UTC).date()
    header = f"$ {' '.join(words)}\n# {today}, {machine()}; took {seconds:.0f} s, exit code {child.returncode}\n"
    RECORDED.mkdir(exist_ok=True)
    (RECORDED / f"{name}.txt").write_text(header + tidy("".join(lines)), encoding="utf-8")
    print(f"kept in .ci/recorded/{name}.txt; `make docs` puts it into README.md")
    return 0


def machine() -> str:
    """Describe the processor, the cores this process may use, and the memory."""
    cpu, lines = platform.processor() or platform.machine(), Path("/proc/cpuinfo")
    if lines.exists() and (found := re.search(r"model name\s*: (.+)", lines.read_text(encoding="utf-8"))):
        cpu = found[1]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
    return f"{cpu}, {cores()} cores, {memory:.0f} GiB, Python {platform.python_version()}"


def main(words: list[str]) -> int:
    """Write, check or record."""
    match words:
        case ["--record", name, *command] if command:
            return record(name, command)
        case ["--write"]:
            README.write_text(render(README.read_text(encoding="utf-8")), encoding="utf-8")
            return 0
        case ["--check"]:
            return check(README.read_text(encoding="utf-8"))
    raise SystemExit(__doc__)


def check(readme: str) -> int:
    """Name the blocks that are not what would be written now."""
    render(readme)  # refuses marks that do not match
    stale = [block["what"] for block in BLOCK.finditer(readme) if block["body"] != content(block["what"])]
    if stale:
        print(f"README.md is not what the program prints: run `make docs` ({', '.join(stale)})")
    return int(bool(stale))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
