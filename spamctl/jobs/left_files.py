"""Write what a run's steps left on other machines: `python -m spamctl.jobs.left_files MonitorFlow 17`."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from metaflow import Run, namespace

from spamctl.schema import event

LAST = "end"  # step of every flow


def main(flow: str, run_id: str) -> None:
    """Write each file that the last step kept as a value; what is outside the working folder's reach is refused."""
    from spamctl.reports import monitor_page
    from spamctl.store import text_locations

    namespace(None)
    task = Run(f"{flow}/{run_id}")[LAST].task
    kept: dict[str, bytes] = task[event.LEFT].data if event.LEFT in task else {}
    for name, content in kept.items():
        path = Path(name)
        if path.is_absolute() or ".." in path.parts:
            raise SystemExit(f"{name}: lies outside this folder; name a place inside it")
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        with os.fdopen(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
            file.write(content)
        draft.replace(path)
    # `spamctl forget` looks there from now on, as after a run on this machine.
    exports = [Path(name) for name in kept if not Path(name).is_relative_to(".spamctl")]
    if flow == "MonitorFlow":
        for folder in {path.parent.parent for path in exports}:
            text_locations.remember_reports(folder)
            monitor_page.list_pages(folder)
    else:
        for path in exports:
            text_locations.remember_place(text_locations.EXPORT, path)


if __name__ == "__main__":
    main(*sys.argv[1:])
