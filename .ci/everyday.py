"""Keep the corpus `everyday`: write it as JSON lines to be read and mended, and pack it again.

    python .ci/everyday.py unpack everyday.jsonl
    python .ci/everyday.py pack everyday.jsonl

A packed corpus is the same bytes for the same rows; its sha256 beside it is that of the rows.
"""

import gzip
import hashlib
import json
import sys
from pathlib import Path

FOLDER = Path(__file__).parents[1] / "spamctl" / "data" / "bundled"
KEYS = ("text", "label", "kind", "family", "medium", "language", "style", "chunk")


def main() -> None:
    """Do what the command line says."""
    what, path = sys.argv[1], Path(sys.argv[2])
    if what == "unpack":
        path.write_bytes(gzip.decompress((FOLDER / "everyday.jsonl.gz").read_bytes()))
    elif what == "pack":
        print(f"{pack([json.loads(line) for line in path.read_text(encoding='utf-8').splitlines()]):,} rows packed")
    else:
        raise SystemExit(f"{what}: write pack or unpack")


def pack(rows: list[dict[str, str]]) -> int:
    """Write rows as the corpus, in the order of their kind and text, and return how many there are."""
    rows = sorted(({key: row[key] for key in KEYS} for row in rows), key=lambda row: (row["kind"], row["text"]))
    content = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    (FOLDER / "everyday.jsonl.gz").write_bytes(gzip.compress(content, mtime=0))
    (FOLDER / "everyday.sha256").write_text(hashlib.sha256(content).hexdigest() + "\n", encoding="ascii")
    return len(rows)


if __name__ == "__main__":
    main()
