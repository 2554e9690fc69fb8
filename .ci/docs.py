"""Keep the documents showing what the program really prints.

    docs.py --write                  fill every block of README.md, tests/bench/RESULTS.md and configs/README.md
    docs.py --check                  refuse a block that is not what would be written now
    docs.py --record NAME COMMAND…   run a command that takes minutes and keep its output in .ci/recorded/NAME.txt

A block stands between `<!-- spamctl:begin WHAT -->` and `<!-- spamctl:end WHAT -->`. WHAT is one of

    $ spamctl --help            a cheap command that prints the same on every machine
    recorded NAME               all that was recorded
    recorded NAME from TEXT     its command, and its end from the last line that begins with these words
    recorded NAME table TEXT    its command, and the first table whose heading begins with these words; of several
                                texts with `|` between them, the first that is there
    recipes VERB                the YAML files of a verb in configs/, each with its reasons
"""

import datetime as dt
import os
import platform
import re
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

from spamctl.cores import cores

ROOT = Path(__file__).resolve().parent.parent
CONFIGS = ROOT / "configs"
DOCUMENTS = (ROOT / "README.md", ROOT / "tests" / "bench" / "RESULTS.md", CONFIGS / "README.md")
RECORDED = ROOT / ".ci" / "recorded"
BLOCK = re.compile(r"(<!-- spamctl:begin (?P<what>.+?) -->\n)(?P<body>.*?)(<!-- spamctl:end (?P=what) -->)", re.DOTALL)
MARK = re.compile(r"<!-- spamctl:(?:begin|end) .+? -->")
ANSWERS = (0, 3)  # done, and "the answer is no"; anything else is a failure and no documentation
WIDTH = 100
LINE = 120
GIB = 2**30


def render(document: str) -> str:
    """Fill every block of a document; a begin without its end is an error."""
    marks = len(MARK.findall(document))
    filled, blocks = BLOCK.subn(lambda block: f"{block[1]}{content(block['what'])}{block[4]}", document)
    if marks != 2 * blocks:
        raise SystemExit(f"{marks} marks make {blocks} blocks; each begin needs the end of the same name")
    return filled


def content(what: str) -> str:
    """Make one block's lines."""
    if what.startswith("$ "):
        return fence("console", f"{what}\n{printed(what.removeprefix('$ ').split())}")
    kind, _, rest = what.partition(" ")
    if kind == "recipes" and rest:
        return "".join(recipe(path) for path in sorted((CONFIGS / rest).glob("*.yaml")))
    if kind == "recorded" and rest:
        name, _, part = rest.partition(" ")
        return fence("console", excerpt((RECORDED / f"{name}.txt").read_text(encoding="utf-8"), part))
    raise SystemExit(f"no block is called {what!r}; see .ci/docs.py")


def excerpt(text: str, part: str) -> str:
    """Return what was recorded: all of it, or its command and what `from TEXT` or `table TEXT` names."""
    if not part:
        return text
    how, _, wanted = part.partition(" ")
    lines = text.splitlines(keepends=True)
    for words in wanted.split("|"):
        places = [place for place, line in enumerate(lines) if place > 1 and begins(line, words)]
        if places and how == "from":
            return "".join([*lines[:2], "…\n", *lines[places[-1] :]])
        if places and how == "table":
            end = next((place for place in range(places[0], len(lines)) if not lines[place].strip()), len(lines))
            return "".join([*lines[:2], "…\n", *lines[places[0] : end]])
    raise SystemExit(f"no recorded line begins with {wanted!r}")


def begins(line: str, words: str) -> bool:
    """Tell whether a line begins with some words, however many blanks stand between them."""
    wanted = words.split()
    return line.split()[: len(wanted)] == wanted


def recipe(path: Path) -> str:
    """Describe a recipe by the comment that opens it."""
    comment = [line.removeprefix("#").strip() for line in path.read_text(encoding="utf-8").split("\n\n")[0].split("\n")]
    told = f"* [`{path.name}`]({path.parent.name}/{path.name}): {' '.join(comment[2:])}"
    return "\n".join([*textwrap.wrap(told, LINE, subsequent_indent="  ", break_on_hyphens=False), ""])


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
    """Drop blanks at the ends of lines, and call this clone and the home by their names wherever they lie."""
    for place, name in ((ROOT, "~/spamctl"), (Path.home(), "~")):
        text = text.replace(str(place), name)
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


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
    print(f"kept in .ci/recorded/{name}.txt; `make docs` puts it into the documents")
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
            for document in DOCUMENTS:
                document.write_text(render(document.read_text(encoding="utf-8")), encoding="utf-8")
            return 0
        case ["--check"]:
            return max([check(document) for document in DOCUMENTS])
    raise SystemExit(__doc__)


def check(path: Path) -> int:
    """Name the blocks of a document that are not what would be written now."""
    document = path.read_text(encoding="utf-8")
    render(document)  # refuses marks that do not match
    stale = [block["what"] for block in BLOCK.finditer(document) if block["body"] != content(block["what"])]
    if stale:
        print(f"{path.name} is not what the program prints: run `make docs` ({', '.join(stale)})")
    return int(bool(stale))


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
