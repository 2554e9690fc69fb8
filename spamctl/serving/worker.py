"""Run one of several processes that answer on sockets opened by their parent."""

from __future__ import annotations

import contextlib
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


def main(descriptor: int, for_mail: int | None = None) -> int:
    """Serve the settings from standard input, and stop when it ends: the parent is gone.

    The sockets that listen are given by their numbers: the one for HTTP, and the one for spamd, where it is wanted.
    """
    settings = Settings.from_json(sys.stdin.readline())
    threading.Thread(target=_stop_at_the_end, daemon=True).start()

    def tell(text: str) -> None:
        sys.stderr.write(f"worker {os.getpid()}: {text}\n")

    try:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(socket.socket(fileno=descriptor))
            mail = None if for_mail is None else stack.enter_context(socket.socket(fileno=for_mail))
            serve(settings, listener, unfailing(tell), lambda: _say(READY), for_mail=mail)
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
    sys.exit(main(*map(int, sys.argv[1:3])))
