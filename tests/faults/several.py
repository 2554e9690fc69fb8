"""Run the server as `spamctl serve` does, in as many processes as it is told to."""

import os
import socket
import sys
from dataclasses import replace

from spamctl.errors import SpamctlError
from spamctl.serving.state import Settings
from spamctl.serving.worker import READY
from spamctl.serving.workers import run


def say(line):
    print(line, flush=True)


def tell(line):
    print(line, file=sys.stderr, flush=True)


def main(descriptor):
    """Serve on the port of a socket that is already open: nobody else can have taken it."""
    settings = Settings.from_json(sys.stdin.readline())
    with socket.socket(fileno=descriptor) as reserved:
        port = reserved.getsockname()[1]
    try:
        run(
            replace(settings, port=port),
            None,
            os.environ,
            lambda line: print(line, file=sys.stderr),
            lambda: say(READY),
        )
    except SpamctlError as refusal:
        say(refusal)
        return refusal.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1])))
