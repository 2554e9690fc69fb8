"""Measure a block's training steps alone and beside one busy core, with threads that spin while they wait, and without.

    python tests/bench/company.py [--steps 200] [--busy 1] [--quick]

OpenMP's threads wait for each other after every operation. Where another program has one of their cores, those that
spin keep the others from it. It prints a table and asserts nothing. `--quick` only shows that everything runs.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from measuring import circumstances, say, table

from spamctl.cli.process import child_environment
from spamctl.cores import cores

# The last block of a small language model learns from batches of short messages.
WORK = """
import sys, time
import torch
steps = int(sys.argv[1])
block = torch.nn.TransformerEncoderLayer(576, 9, 1536, batch_first=True, dropout=0.0)
wanted = torch.optim.AdamW(block.parameters(), lr=1e-4)
rows = torch.randn(32, 24, 576)
def step():
    wanted.zero_grad()
    block(rows).square().mean().backward()
    wanted.step()
step()
began = time.perf_counter()
for _ in range(steps):
    step()
print(time.perf_counter() - began)
"""
SPIN = "while True: pass"
ACTIVE = {"OMP_WAIT_POLICY": "ACTIVE", "KMP_BLOCKTIME": "infinite"}

WAYS: dict[str, dict[str, str] | None] = {
    "what spamctl sets": {},
    "the library's default": None,
    "threads that spin": ACTIVE,
}


def main() -> None:
    """Time both ways to wait, alone and in company, and print how they compare."""
    options = parsed()
    steps = 1 if options.quick else options.steps
    print(circumstances(cores(), ("torch",)))
    if options.quick:
        print("quick: these numbers only show that everything runs")
    rows = []
    for name, variables in WAYS.items():
        say(name)
        alone = seconds(steps, variables)
        with busy(options.busy):
            beside = seconds(steps, variables)
        rows.append([name, f"{alone:.2f} s", f"{beside:.2f} s", f"{beside / alone:.1f}x"])
    print(table(["", f"{steps} steps alone", f"beside {options.busy} busy", "ratio"], rows))


def seconds(steps: int, variables: dict[str, str] | None) -> float:
    """Return the seconds of some steps in a child with spamctl's environment, and variables of ours; None: its own."""
    with tempfile.TemporaryDirectory() as folder:
        environment = child_environment({**os.environ, **(variables or {})}, Path(folder))
        if variables is None:
            for name in ACTIVE:
                environment.pop(name, None)
        command = [sys.executable, "-c", WORK, str(steps)]
        return float(subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout)


@contextmanager
def busy(count: int) -> Iterator[None]:
    """Keep a core busy with each of `count` processes while the block runs."""
    others = [subprocess.Popen([sys.executable, "-c", SPIN]) for _ in range(count)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


def parsed() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200, help="training steps that are timed")
    parser.add_argument("--busy", type=int, default=1, help="processes that keep a core busy")
    parser.add_argument("--quick", action="store_true", help="run everything on next to nothing")
    return parser.parse_args()


if __name__ == "__main__":
    main()
