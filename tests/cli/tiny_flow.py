"""Be a flow of two steps that behaves as its data set is called: the launcher's tests drive it."""

import json
import os
import signal
import time
from pathlib import Path

from metaflow import step

from spamctl.config.train import TrainOptions
from spamctl.errors import DataError
from spamctl.flows import base


class TrainFlow(base.VerbFlow):
    """Behave as the option `dataset` says: well, refuse, break, hang, ..."""

    locals().update(base.parameters(TrainOptions))

    @step
    def start(self):
        """Read nothing, and tell the progress of it."""
        with base.stage("start", "Read the messages", index=1, of=2):
            options = self.options(TrainOptions)
            base.note(f"epochs {options.epochs}, rate {options.learning_rate}, seed {options.seed}")
            for _ in base.tracked(range(50), "reading", total=50, unit="messages"):
                time.sleep(0.002)
        self.behaviour = options.dataset
        self.next(self.end)

    @step
    def end(self):
        """Do what was asked for."""
        with base.stage("end", "Behave", index=2, of=2):
            is_first = not Path("pid").exists()
            Path("pid").write_text(str(os.getpid()))
            behave("hang" if self.behaviour == "once" and is_first else self.behaviour)
            base.result("train", json.loads(Path("result.json").read_text()))


def behave(behaviour):
    """Refuse, break, hang or tell a result."""
    if behaviour == "refuse":
        raise DataError(
            "nothing in \x1b[31m[bold]messages.csv[/bold]: it has one class only; add messages of the other"
        )
    if behaviour == "break":
        raise ZeroDivisionError("no [red]rows[/red]")
    if behaviour == "die":
        os.kill(os.getpid(), signal.SIGKILL)
    if behaviour in {"hang", "deaf"}:
        if behaviour == "deaf":
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        time.sleep(60)


if __name__ == "__main__":
    TrainFlow()
