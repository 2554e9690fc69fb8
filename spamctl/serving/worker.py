"""Run one of several processes that answer on a socket opened by their parent."""

from __future__ import annotations

import os
import signal
import socket
import sys
import threading

from spamctl.errors import SpamctlError
from spamctl.serving.log import unfailing
from spamctl.serving.server import serve
from spamctl.serving.state import Settings

READY = "ready"


def main(descriptor: int) -> int:
    """Serve the settings from standard input, and stop when it ends: the parent is gone."""
    settings = Settings.from_json(sys.stdin.readline())
    threading.Thread(target=_stop_at_the_end, daemon=True).start()

    def tell(text: str) -> None:
        sys.stderr.write(f"worker {os.getpid()}: {text}\n")

    try:
        with socket.socket(fileno=descriptor) as listener:
            serve(settings, listener, unfailing(tell), lambda: _say(READY))
    except SpamctlError as refusal:
        _say(str(refusal).splitlines()[0])
        return refusal.exit_code
    return 0


def _say(line: str) -> None:
    """Send a message to the parent process."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _stop_at_the_end() -> None:
    sys.stdin.read()
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
