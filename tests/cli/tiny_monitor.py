"""Be a monitoring that ends as the next line of the file `plan` says; the watch's tests drive it."""

import json
import time
from pathlib import Path

from metaflow import current, step

from spamctl.config.monitor import MonitorOptions
from spamctl.errors import UnavailableError, UsageError
from spamctl.flows import base
from tests.monitored import CALM, DRIFTED


class MonitorFlow(base.VerbFlow):
    """Tell a finding, refuse, or hang."""

    locals().update(base.parameters(MonitorOptions))

    @step
    def start(self):
        """Do what the plan says next; its last line counts for ever."""
        with base.stage("start", "Behave", index=1, of=1):
            self.options(MonitorOptions)
            plan = Path("plan").read_text().split()
            Path("plan").write_text(" ".join(plan[1:] or plan))
            if plan[0] == "locked":
                raise UnavailableError("spam.db: it is locked by another program: wait for that program, or stop it")
            if plan[0] == "absent":
                raise UsageError("spam.db: there is no store yet: spamctl serve makes it, or correct the address")
            if plan[0] == "hang":
                Path("hangs").touch()
                time.sleep(60)
            finding = {"calm": CALM, "drifted": DRIFTED}[plan[0]]
            left = Path(".spamctl", f"monitor-{current.run_id}.json")
            left.write_text(json.dumps(finding["causes"]))
            base.result("monitor", finding | {"causes": str(left)})
        self.next(self.end)

    @step
    def end(self):
        """Do nothing more."""


if __name__ == "__main__":
    MonitorFlow()
