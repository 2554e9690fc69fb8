"""Take the picture of a page for the documents, with a Chromium that reaches nothing but this machine.

picture.py NAME ADDRESS [WIDTH] [HEIGHT]   look at a file or an address, and keep .ci/pictures/NAME.png
"""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

PICTURES = Path(__file__).resolve().parent / "pictures"
BROWSERS = ("chromium", "chromium-browser", "google-chrome")
PATIENCE_S = 120
PAGE_MS = 4_000  # for what a page draws after it was loaded


def take(name: str, address: str, width: int = 1200, height: int = 1500) -> None:
    """Keep a page as a PNG of some width and height in pixels."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise SystemExit("a picture needs Chromium: apt-get install -y chromium")
    page = address if "://" in address else Path(address).resolve().as_uri()
    PICTURES.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as home:
        subprocess.run(
            [
                browser,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--hide-scrollbars",
                "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
                f"--user-data-dir={home}",
                f"--window-size={width},{height}",
                f"--virtual-time-budget={PAGE_MS}",
                f"--screenshot={PICTURES / f'{name}.png'}",
                page,
            ],
            check=True,
            timeout=PATIENCE_S,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


if __name__ == "__main__":
    if len(sys.argv) < 3:  # noqa: PLR2004 - a name and an address
        raise SystemExit(__doc__)
    take(sys.argv[1], sys.argv[2], *map(int, sys.argv[3:]))
