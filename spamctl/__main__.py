"""Run `python -m spamctl` as `spamctl`."""

import sys

from spamctl.cli.app import main

if __name__ == "__main__":
    sys.exit(main())
