"""Tell what the steps of a monitoring tell, as the next line of the file `plan` says; the watch's tests drive it.

It is no flow, which takes seconds to start and runs again and again in a watch. tests/cli/test_launch.py starts a real
one, and so does tests/flows/test_monitor.py.
"""

import json
import os
import sys
import time
from pathlib import Path

from spamctl.errors import UnavailableError, UsageError
from tests.monitored import CALM, DRIFTED

REFUSALS = {
    "locked": UnavailableError("spam.db: it is locked by another program: wait for that program, or stop it"),
    "absent": UsageError("spam.db: there is no store yet: spamctl serve makes it, or correct the address"),
}
FINDINGS = {"calm": CALM, "drifted": DRIFTED}


def tell(kind, **fields):
    """Write an event as a step does, behind Metaflow's own prefix."""
    event = json.dumps({"spamctl": kind, **fields})
    print(f"2026-03-12 09:30:00.000 [17/start/1 (pid {os.getpid()})] {event}", flush=True)


def main():
    """Do what the plan says next; its last line counts for ever."""
    tell("stage", stage="start", title="Behave", index=1, of=1)
    plan = Path("plan").read_text().split()
    Path("plan").write_text(" ".join(plan[1:] or plan))
    if plan[0] == "hang":
        Path("hangs").touch()
        time.sleep(600)
        return
    if refusal := REFUSALS.get(plan[0]):
        tell("refusal", exit_code=refusal.exit_code, text=str(refusal))
        sys.exit(1)
    finding = FINDINGS[plan[0]]
    left = Path(".spamctl", f"monitor-{os.getpid()}.json")
    left.write_text(json.dumps(finding["causes"]))
    tell("result", **(finding | {"verb": "monitor", "causes": str(left)}))


if __name__ == "__main__":
    main()
