"""Run real trainings of a tiny GPT-2 through the real command, each in a folder of its own."""

import contextlib
import csv
import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from spamctl.registry import registry_file
from tests import asking, tiny_models
from tests.conftest import COLOUR_VARIABLES, OUR_VARIABLES
from tests.made_once import folder_made_once
from tests.ports import closed_port
from tests.store.conftest import postgres

__all__ = ["postgres"]

HUB_TOKEN = "hf_canary-of-the-hub"
COVERAGE = "COVERAGE_PROCESS_CONFIG"  # by which a child process knows that it is to be measured
OWN = ("--dataset", "messages.csv", "--spam-label", "junk", "--base-model", "./tiny-gpt2", "--threads", "1")
# A training that learns to tell the messages apart, and is soon done.
QUICK = ("--epochs", "8", "--patience", "8", "--batch-size", "8", "--learning-rate", "5e-3", "--engine", "float32")
QUICK += ("--depth", "2", "--max-false-positive-rate", "0.05")
SECONDS = 500  # a training takes half a minute of one free core; several share two


@dataclass(frozen=True)
class Desk:
    """Stand in a folder that holds messages and a tiny GPT-2, and type commands there.

    Measuring what a command covers makes it half as long again, so only the first one of each kind is measured.
    """

    folder: Path
    covered: bool = True

    def environment(self) -> dict[str, str]:
        """Return the environment of a user who has set nothing but a token, and whose hub does not answer."""
        ours = {k: v for k, v in os.environ.items() if not k.startswith(OUR_VARIABLES) and k not in COLOUR_VARIABLES}
        home = {"HOME": str(self.folder / "home"), "USER": "ada", "OMP_NUM_THREADS": "1", "COLUMNS": "100"}
        home["SPAMCTL_TRAIN_SUITES"] = home["SPAMCTL_RECALIBRATE_SUITES"] = (
            "none"  # of which a model of a few thousand weights passes none
        )
        if not self.covered:
            ours.pop(COVERAGE, None)
        return ours | home | {"HF_ENDPOINT": f"http://127.0.0.1:{closed_port()}", "HF_TOKEN": HUB_TOKEN}

    def start(self, *words, **variables) -> subprocess.Popen:
        """Start Python in the folder; what it writes goes to the files out and err."""
        with self.path("out").open("w") as out, self.path("err").open("w") as err:
            return subprocess.Popen(
                [sys.executable, *words], cwd=self.folder, env=self.environment() | variables, stdout=out, stderr=err
            )

    def train(self, *words, **variables) -> subprocess.Popen:
        """Start `spamctl train`."""
        return self.start("-m", "spamctl", "train", *words, **variables)

    def path(self, name) -> Path:
        """Return a file of the folder."""
        return self.folder / name

    def ended(self, process) -> int:
        """Wait for a process to end and return its exit code."""
        return process.wait(timeout=SECONDS)

    @property
    def out(self) -> str:
        """Return what was written to standard output."""
        return self.path("out").read_text()

    @property
    def err(self) -> str:
        """Return what was written to standard error."""
        return self.path("err").read_text()

    @property
    def log(self) -> str:
        """Return all that the steps of the last run wrote."""
        return max(self.path(".spamctl/logs").glob("*.log"), key=lambda path: path.stat().st_mtime_ns).read_text()

    def events(self, text=None):
        """Return the events that the steps told, in order."""
        lines = (self.log if text is None else text).splitlines()
        return [json.loads(line[line.index('{"spamctl"') :]) for line in lines if '{"spamctl"' in line]

    def told(self, kind):
        """Return the events of one kind."""
        return [event for event in self.events() if event["spamctl"] == kind]

    def ask(self, program, answer_of=asking.answer_of, **variables):
        """Run a small program beside the runs, and return the JSON that it prints last."""
        folder = str(self.folder)
        here = {"METAFLOW_DATASTORE_SYSROOT_LOCAL": folder, "METAFLOW_USER": "ada", "METAFLOW_HOME": f"{folder}/home"}
        environment = replace(self, covered=False).environment() | here | variables
        told = answer_of(program, self.folder, environment)
        assert told["code"] == 0, told["err"]
        return json.loads(told["out"].splitlines()[-1])


def write_messages(path, messages, spam="junk", rest="fine"):
    """Write messages into a csv file, labelled in a user's own words."""
    with path.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["text", "label"])
        rows.writerows([message.text, spam if message.is_spam else rest] for message in messages)


@pytest.fixture(scope="session")
def tiny_gpt2():
    """Return a folder that holds a tiny GPT-2."""
    return folder_made_once("tiny-gpt2", tiny_models.save_gpt2)


@pytest.fixture(scope="session")
def lay(tmp_path_factory, tiny_gpt2):
    """Lay a desk; whatever was started at one and still runs in the end is killed."""

    def lay(name, *, covered=True):
        desk = Desk(tmp_path_factory.mktemp(name), covered)
        write_messages(desk.path("messages.csv"), tiny_models.messages(200))
        desk.path("tiny-gpt2").symlink_to(tiny_gpt2)
        return desk

    return lay


@pytest.fixture(scope="session")
def lay_trained(tmp_path_factory, tiny_gpt2):
    """Lay a desk whose first version leads: a copy of one training for all that only begin with such a version."""

    def train(folder):
        write_messages(folder / "messages.csv", tiny_models.messages(200))
        shutil.copytree(tiny_gpt2, folder / "tiny-gpt2")
        desk = Desk(folder, covered=False)
        assert desk.ended(desk.train(*OWN, *QUICK)) == 0, desk.err

    def lay_trained(name):
        made = folder_made_once("trained-desk", train)
        folder = tmp_path_factory.mktemp(name)
        shutil.copytree(made, folder, symlinks=True, dirs_exist_ok=True)
        registry_file.adopt(folder / "mlflow.db", "spam")  # whoever opens a copied registry first changes it
        return Desk(folder, covered=False)

    return lay_trained


@pytest.fixture
def desk(lay):
    """Return a desk for one test."""
    return lay("desk")


def family(pid):
    """Return a process and all that it started, and what they started."""
    parents = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            parents[int(stat.parent.name)] = int(stat.read_text().rpartition(")")[2].split()[1])
    found = [pid]
    for one in found:
        found += [child for child, parent in parents.items() if parent == one]
    return found


def kill_family(process):
    """Kill a process and all that it started, as a power cut does: the parents first, so that none can clean up."""
    pids = family(process.pid)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)
    process.wait()
