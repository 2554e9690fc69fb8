"""List names and addresses that lead out of a folder, if anything takes them for a part of a path."""

from pathlib import Path

OUTSIDE = "outside"  # the folder beside the workspace that they lead to
SECRET = "secret.txt"

CHAINS = tuple(f"{'../' * steps}{OUTSIDE}" for steps in range(1, 9))
DOTS = (
    "..", "../", "../..", "./..", ".", "...", "....", "..spam", ".spam", f"./../{OUTSIDE}", f"..//{OUTSIDE}",
    f"..///..//{OUTSIDE}", f"....//....//{OUTSIDE}", f".../.../{OUTSIDE}", f"..;/{OUTSIDE}", f"spam/../../{OUTSIDE}",
    f"spam/x/../../../{OUTSIDE}", f"../{OUTSIDE}/", f"../{OUTSIDE}/.", f"../{OUTSIDE}..", f"../{OUTSIDE}/{SECRET}",
    f"../{OUTSIDE}/spam", f"1/../../{OUTSIDE}", f"1-/../../{OUTSIDE}",
)  # fmt: skip
BACKSLASHES = (
    f"..\\{OUTSIDE}", f"..\\..\\{OUTSIDE}", f"..\\/{OUTSIDE}", f"../\\../{OUTSIDE}", f"spam\\..\\..\\{OUTSIDE}",
    "C:\\Windows\\win.ini", "c:/windows/win.ini", "\\\\host\\share\\x", "\\\\?\\C:\\x",
)  # fmt: skip
ENCODED = (
    f"%2e%2e/{OUTSIDE}", f"%2e%2e%2f{OUTSIDE}", f"..%2f{OUTSIDE}", f"..%2F{OUTSIDE}", f"%2E%2E%2F..%2F{OUTSIDE}",
    f".%2e/{OUTSIDE}", f"%2e./{OUTSIDE}", f"..%5c{OUTSIDE}", f"%2e%2e%5c{OUTSIDE}", f"..%00/{OUTSIDE}", "spam%00.html",
    f"%252e%252e%252f{OUTSIDE}", f"..%252f{OUTSIDE}", f"%252e%252e/{OUTSIDE}", f"..%255c{OUTSIDE}",
    f"..%c0%af{OUTSIDE}", f"%c0%ae%c0%ae/{OUTSIDE}", f"..%ef%bc%8f{OUTSIDE}", f"%u002e%u002e/{OUTSIDE}",
)  # fmt: skip
CONTROLS = (
    f"../{OUTSIDE}\0", f"\0../{OUTSIDE}", f"spam\0/../../{OUTSIDE}", "spam\0.db", "spam\n", "\nspam", "spam\r\n",
    "spam\t", " spam", "spam ", "spam/", "spam/.", f"..\x7f/{OUTSIDE}", f"..\x1b/{OUTSIDE}",
)  # fmt: skip
UNICODE = (
    f"\u2024\u2024/{OUTSIDE}", f"\u2025/{OUTSIDE}", f"\uff0e\uff0e/{OUTSIDE}", f"\u3002\u3002/{OUTSIDE}",
    f"..\u2215{OUTSIDE}", f"..\u2044{OUTSIDE}", f"..\uff0f{OUTSIDE}", f"..\u29f8{OUTSIDE}", f"..\uff3c{OUTSIDE}",
    f"\u202e../{OUTSIDE}", f"..\u200b/{OUTSIDE}", f"\ufeff../{OUTSIDE}", f"..\ud800/{OUTSIDE}",
)  # fmt: skip
HOMES = (
    "~", "~root", "~root/.ssh", f"~/../{OUTSIDE}", f"~/../../{OUTSIDE}", "~nobody/x", f"$HOME/../{OUTSIDE}", "${HOME}",
    f"$(touch ../{OUTSIDE})", f"`touch ../{OUTSIDE}`", "*", "?", "../*", f"**/{OUTSIDE}", f"[.][.]/{OUTSIDE}",
)  # fmt: skip
URIS = (
    "file:///etc/passwd", "file://localhost/etc/passwd", f"file:../{OUTSIDE}", "FILE:///etc/passwd",
    f"file://../{OUTSIDE}", f"models:/../{OUTSIDE}/1", f"runs:/../{OUTSIDE}", f"mlflow-artifacts:/../{OUTSIDE}",
    f"http://127.0.0.1:1/../{OUTSIDE}", f"s3://../{OUTSIDE}", f"data:,{OUTSIDE}",
)  # fmt: skip
PLACES = ("/", "/etc/passwd", "//etc/passwd", "/proc/self/environ", "/dev/shm/x", "/../etc/passwd")
LONG = ("a" * 129, "x" * 5000, f"{'../' * 2000}{OUTSIDE}", "a/" * 3000, f"{'x' * 200}/../../{OUTSIDE}")


def hostile_paths(outside: Path) -> list[str]:
    """Return them all, with those that name the folder `outside` in full."""
    absolute = (f"{outside}", f"/{outside}", f"{outside}/{SECRET}", f"{outside}/", f"spam/{outside}")
    uris = (f"file://{outside}", f"file:{outside}", f"file:////{outside}", f"sqlite:///{outside}/spam.db")
    return [
        *(*CHAINS, *DOTS, *BACKSLASHES, *ENCODED, *CONTROLS, *UNICODE, *HOMES, *URIS, *PLACES, *LONG),
        *(*absolute, *uris),
    ]
