"""Serve, send, label and watch in demo/, where a filter was trained; tests/bench/RESULTS.md shows it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import picture

DEMO = Path(__file__).resolve().parents[1] / "demo"
LOG = DEMO / "serve.log"
WINNER = "You are a winner you have been specially selected to receive $1000 cash or a $2000 award."
ASK = f"""curl --silent --show-error -X POST http://127.0.0.1:8080/invocations -H "Content-Type: application/json" \
  -d '{{"inputs": [{{"text": "{WINNER}"}}]}}'"""
COMMANDS = (
    ASK,
    "spamctl traffic",
    "spamctl traffic --drift-type vocabulary",
    "spamctl label --source truth",
    "spamctl monitor --datastore-uri spam.db",
    'sqlite3 spam.db "SELECT COUNT(*) FROM data;"',
)
ANSWERS = (0, 3)  # done, and "the answer is no", which a monitor says of drifted traffic
SECONDS_TO_START = 300.0


def main() -> int:
    """Run the commands one after the other, beside the server, and stop at the first that fails."""
    os.environ["PATH"] = os.pathsep.join((str(Path(sys.executable).parent), os.environ["PATH"]))
    for left in DEMO.glob("spam.db*"):
        left.unlink()
    with LOG.open("w", encoding="utf-8") as log:
        server = subprocess.Popen(["spamctl", "serve"], cwd=DEMO, stdout=log, stderr=subprocess.STDOUT)
    try:
        _wait(server)
        print(f"$ spamctl serve &\n{LOG.read_text(encoding='utf-8')}", flush=True)
        for command in COMMANDS:
            print(f"\n$ {command}", flush=True)
            code = subprocess.run(command, shell=True, cwd=DEMO, check=False).returncode  # noqa: S602 - as one types it
            if code not in ANSWERS:
                return code
        print(flush=True)
        picture.take("serve", "http://127.0.0.1:8080/", 1200, 1000)
    finally:
        server.send_signal(signal.SIGTERM)
        code = server.wait()
        LOG.unlink()
    return code


def _wait(server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + SECONDS_TO_START
    while "Try it:" not in (told := LOG.read_text(encoding="utf-8")):
        if server.poll() is not None or time.monotonic() > deadline:
            raise SystemExit(f"the server did not start:\n{told}")
        time.sleep(0.1)


if __name__ == "__main__":
    raise SystemExit(main())
