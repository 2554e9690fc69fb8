"""Measure what one turn of the loop wins back: drift, labels, training with feedback, and the exchange of versions.

    python tests/bench/loop.py [--folder demo] [--coverage 0.3] [--keep FOLDER]

The folder holds a champion that was just trained (`make record-train`); it is copied without the answers that it gave,
and stays as it was. A server answers clean and then drifted messages, a share of them is labelled from their truth, and
a version is trained twice: once with labels of which 30 % are flipped, which should be refused, and once with the true
ones, which should lead. Then other drifted messages are sent. It prints a table, asserts nothing, and takes about ten
minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from measuring import circumstances, table

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = ("onnxruntime", "torch", "scikit-learn", "cleanlab")
# Where MLflow keeps paths: in this order (table, column).
PLACES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "storage_location"),
)
DRIFT = ("--drift-type", "modern", "--drift-proportion", "1", "--strength", "1")
FLIPPED = 0.3
PATIENCE_S = 120.0
RIGHT = """
SELECT AVG(d.classification = t.label), COUNT(*) FROM data AS d JOIN truth AS t ON d.uuid = t.uuid
WHERE t.traffic_run = ?
"""
LEARNT = """
SELECT COUNT(*) FROM registered_model_aliases AS a
JOIN model_version_tags AS t ON a.name = t.name AND a.version = t.version
WHERE a.alias = 'champion' AND t.key = ?
"""


@dataclass(frozen=True, slots=True)
class Desk:
    """Stand in a folder with a trained model and type commands there."""

    folder: Path

    def run(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Run a verb to its end; return its exit code, its result and the last line that it said."""
        print(f"$ spamctl {' '.join(words)}", file=sys.stderr, flush=True)
        done = subprocess.run(
            [sys.executable, "-m", "spamctl", *words],
            cwd=self.folder, env=environment(), capture_output=True, text=True, check=False,
        )  # fmt: skip
        print(done.stdout, done.stderr, file=sys.stderr, flush=True)
        logs = sorted(self.folder.glob(f".spamctl/logs/{words[0]}-*.log"), key=lambda path: path.stat().st_mtime_ns)
        told = [line for line in logs[-1].read_text(encoding="utf-8").splitlines() if '{"spamctl": "result"' in line]
        last = done.stderr.strip().splitlines()[-1:] or [""]
        return done.returncode, json.loads(told[-1][told[-1].index("{") :]) if told else {}, last[0]

    def send(self, address: str, samples: int, seed: int, drift: Sequence[str] = ()) -> float:
        """Send messages, and return the share of them that was answered rightly."""
        words = ("--target-uri", f"{address}/invocations", "--samples", str(samples), "--seed", str(seed))
        code, result, last = self.run("traffic", *words, *drift)
        if code:
            sys.exit(last)
        with closing(sqlite3.connect(self.folder / "spam.db")) as store:
            right, _ = store.execute(RIGHT, [result["run"]]).fetchone()
        return float(right)


def main() -> None:
    """Turn the loop once."""
    options = parsed()
    with tempfile.TemporaryDirectory(prefix="spamctl-loop-") as scratch:
        require_fresh(options.folder.resolve())
        desk = Desk(copied(options.folder.resolve(), options.keep or Path(scratch, "loop")))
        print(circumstances(0, PACKAGES).replace("0 threads", "all threads"))
        with served(desk.folder) as address:
            turn(desk, address, options)


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=ROOT / "demo", help="where mlflow.db lies")
    parser.add_argument("--coverage", type=float, default=0.3, help="share of the answers that get a label")
    parser.add_argument("--samples", type=int, default=2000, help="drifted messages to learn from, before labels")
    parser.add_argument("--keep", type=Path, help="work in this folder, which is made, and leave it there")
    return parser.parse_args()


def turn(desk: Desk, address: str, options: argparse.Namespace) -> None:
    """Send, label, train with wrong and then with right labels, send again, and print what came of it."""
    clean = desk.send(address, 900, seed=0)
    drifted = desk.send(address, options.samples, 1, DRIFT)
    with closing(sqlite3.connect(desk.folder / "spam.db")) as store:
        store.execute("VACUUM INTO ?", [str(desk.folder / "flipped.db")])
    reveal = ("--source", "truth", "--coverage", str(options.coverage))
    desk.run("label", "--target-uri", "flipped.db", *reveal, "--noise", str(FLIPPED))
    desk.run("label", *reveal)
    flipped_code, flipped, _ = desk.run("train", "--feedback", "flipped.db")
    began = time.monotonic()
    code, trained, _ = desk.run("train", "--feedback", "spam.db")
    seconds = time.monotonic() - began
    if trained.get("alias") == "champion":
        wait_for(address, str(trained["model_version"]))
    again = desk.send(address, options.samples, 2, DRIFT)
    lost = clean - drifted
    rows = [
        ["accuracy on clean traffic", f"{clean:.2%}", ""],
        ["on modern drift, before", f"{drifted:.2%}", f"lost {lost:.2%}"],
        ["on other modern drift, after", f"{again:.2%}", f"{(again - drifted) / lost:.0%} of it recovered"],
        *(beside("true labels", code, trained)),
        *(beside(f"{FLIPPED:.0%} flipped", flipped_code, flipped)),
        ["one training with feedback", f"{seconds:.0f} s", ""],
    ]
    print(table(["one turn of the loop", "measured", "beside it"], rows))
    print(f"true labels: {trained.get('reason')}\n{FLIPPED:.0%} flipped: {flipped.get('reason')}")


def beside(name: str, code: int, result: dict[str, Any]) -> Iterator[list[str]]:
    """Yield lines about a version that learnt from feedback, beside the champion."""
    told = result.get("feedback", {})
    counts = "/".join(str(told[part]["rows"]) for part in ("train", "validation", "recent"))
    yield [f"{name}: exit code {code}", result.get("alias", ""), f"{counts} rows, {told['doubtful']} set aside"]
    for part, found in result.get("comparison", {}).get("parts", {}).items():
        new, old = (found[which]["accuracy"]["value"] for which in ("challenger", "champion"))
        yield [f"{name}: accuracy on {part}", f"{new:.2%}", f"the champion's {old:.2%}, p = {found['p_value']:.2g}"]


def require_fresh(folder: Path) -> None:
    """End the program if the champion in a folder has learnt from answers already."""
    from spamctl.registry.registration import FEEDBACK_TAG

    with closing(sqlite3.connect(f"{(folder / 'mlflow.db').as_uri()}?mode=ro", uri=True)) as store:
        if store.execute(LEARNT, [FEEDBACK_TAG]).fetchone()[0]:
            sys.exit(
                f"the champion in {folder.name} has learnt from answers already: `make record-train` makes another"
            )


def copied(folder: Path, place: Path) -> Path:
    """Copy a trained folder, and tell its MLflow store where it lies now."""
    shutil.copytree(folder, place, ignore=shutil.ignore_patterns("spam.db*"))
    with closing(sqlite3.connect(place / "mlflow.db")) as store, store:
        for name, column in PLACES:
            store.execute(f"UPDATE {name} SET {column} = replace({column}, ?, ?)", [str(folder), str(place.resolve())])
    return place.resolve()


def environment() -> dict[str, str]:
    """Return the environment of a user who has set nothing, and asks no hub."""
    theirs = {name: value for name, value in os.environ.items() if not name.startswith(("SPAMCTL_", "MLFLOW_"))}
    return theirs | {"HF_HUB_OFFLINE": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "120"}


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve the champion on a free port while the block lasts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "spamctl", "serve", "--port", str(port), "--follow-seconds", "1"]
    with (folder / "server.log").open("w", encoding="utf-8") as log:
        server = subprocess.Popen(command, cwd=folder, env=environment(), stdout=log, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        wait_for(address, "")
        yield address
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait()


def wait_for(address: str, version: str) -> None:
    """Wait until the server answers, as a version if one is named."""
    deadline = time.monotonic() + PATIENCE_S
    while (answered := version_of(address)) is None or version not in {"", answered}:
        if time.monotonic() > deadline:
            sys.exit(f"the server answers as {answered}, not as {version or 'any version'}")
        time.sleep(0.2)


def version_of(address: str) -> str | None:
    """Ask the server what it serves."""
    try:
        with urllib.request.urlopen(f"{address}/version", timeout=5) as answer:
            return str(json.load(answer)["model_version"])
    except OSError:
        return None


if __name__ == "__main__":
    main()
