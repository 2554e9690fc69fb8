"""Run a site as one would: replicas of the server behind haproxy, one PostgreSQL and one MLflow server."""

import contextlib
import csv
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from spamctl.engine.engine import GOLDEN
from spamctl.registry import registration, tracking
from tests import tiny_packages
from tests.conftest import OUR_VARIABLES
from tests.faults.processes import children_of, is_there
from tests.ports import closed_port
from tests.registered import RECORD
from tests.scale.servers import an_mlflow_server

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "configs" / "proxy" / "haproxy.cfg"
MISSING = "no haproxy here: install it (Debian: apt-get install haproxy)"
REPLICAS = 3
REPEATED = "repeated: "  # begins a line of haproxy's log that is of a request
PATIENCE_S = 600  # two cores that others use, too, take minutes to start three servers


def haproxy():
    """Find haproxy, which distributions keep off a user's PATH."""
    return shutil.which("haproxy") or shutil.which("haproxy", path="/usr/sbin:/sbin")


def until(true, within_s=PATIENCE_S):
    """Wait until something is true."""
    deadline = time.monotonic() + within_s
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.1)


def environment(home, **variables):
    """Return the environment of a machine on which nobody has set anything."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith(OUR_VARIABLES)}
    ours |= {"HOME": str(home), "USER": "ada", "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "COLUMNS": "100"}
    return ours | {"DO_NOT_TRACK": "true", "MLFLOW_DISABLE_TELEMETRY": "true"} | variables


def tree(pid):
    """Return a process and all that it has started, and they have."""
    return {pid}.union(*(tree(child) for child in children_of(pid)))


@dataclass
class Replica:
    """One server with a folder of its own, on a port that stays the same when it is started anew."""

    folder: Path
    registry: str
    store: str
    port: int = field(default_factory=closed_port)
    process: subprocess.Popen | None = None

    @property
    def address(self):
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self):
        """Return what it wrote."""
        return (self.folder / "log").read_text(encoding="utf-8", errors="replace")

    def start(self):
        """Start it; it may not answer yet."""
        self.folder.mkdir(exist_ok=True)
        variables = {"MLFLOW_TRACKING_URI": self.registry, "SPAMCTL_SERVE_DATASTORE_URI": self.store}
        words = ["serve", "--port", str(self.port), "--follow-seconds", "1", "--threads", "1"]
        words += ["--capture-seconds", "60"]  # the database may have to wait for its share of the machine
        with (self.folder / "log").open("a") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "spamctl", *words],
                cwd=self.folder,
                env=environment(self.folder, **variables),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def is_ready(self):
        assert self.process.poll() is None, self.log
        with contextlib.suppress(httpx.HTTPError):
            return httpx.get(f"{self.address}/ready", timeout=30).status_code == 200
        return False

    def get(self, path):
        return httpx.get(f"{self.address}{path}", timeout=60)

    def figure(self, name):
        """Add up one of its figures over all labels."""
        lines = self.get("/metrics").text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith((f"{name} ", f"{name}{{")))

    def kill(self):
        """End all of its processes as a machine that loses its power does."""
        processes = tree(self.process.pid)
        for pid in processes:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        self.process.wait(PATIENCE_S)
        until(lambda: not any(map(is_there, processes)))

    def stop(self):
        """End it in good order, and return its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE_S)


@dataclass
class Site:
    """The replicas behind their proxy, and what they share."""

    replicas: list[Replica]
    port: int
    socket: Path
    log: Path
    store: str
    registry: str
    scales: dict[str, float] = field(default_factory=dict)  # by version: of the probabilities that it gives

    def promote(self, version):
        """Move the champion."""
        with tracking.open_tracking(self.registry) as client:
            client.set_registered_model_alias("spam", "champion", version)

    def statistics(self):
        """Return haproxy's figures of the replicas together: by the name of a column."""
        with socket.socket(socket.AF_UNIX) as asking:
            asking.connect(str(self.socket))
            asking.sendall(b"show stat\n")
            text = b"".join(iter(lambda: asking.recv(2**16), b"")).decode()
        (found,) = (row for row in csv.DictReader(text.removeprefix("# ").splitlines()) if row["svname"] == "BACKEND")
        return found

    def tries(self):
        """Return how often haproxy sent each request that it has answered, in the order of the answers."""
        told = self.log.read_text(encoding="utf-8")
        return [1 + int(times) for times in re.findall(rf"{REPEATED}\+?(\d+)\n", told)]  # plus: it went elsewhere


def register(registry, scale):
    """Register a version whose probabilities have a scale of their own, and return its number."""
    with tracking.open_tracking(registry) as client:
        run_id = registration.log_run(client, "spam", registry, RECORD)
        model_uri = registration.log_model(run_id, tiny_packages.files("", *GOLDEN, scale=scale))
        return registration.register(client, "spam", model_uri, run_id, {})


@contextlib.contextmanager
def behind_haproxy(replicas):
    """Run haproxy as the recipe says; lend its port, the socket where it tells its figures, and its log.

    The log has a line a request, which says how often it was repeated. The figures count each repetition twice where
    a replica had taken the request: as a retry, and as one that went to another replica.
    """
    port = closed_port()
    with tempfile.TemporaryDirectory(prefix="haproxy-") as folder:
        asked, log = Path(folder, "stats"), Path(folder, "log")
        text = CONFIG.read_text(encoding="utf-8").replace("127.0.0.1:8080", f"127.0.0.1:{port}")
        for number, replica in enumerate(replicas, 1):
            text = text.replace(f"127.0.0.1:808{number}", f"127.0.0.1:{replica.port}")
        text = text.replace("global\n", f"global\n  stats socket {asked} level user\n  log stdout format raw local0\n")
        text = text.replace("defaults\n", f'defaults\n  log global\n  log-format "{REPEATED}%rc"\n')
        config = Path(folder, "haproxy.cfg")
        config.write_text(text, encoding="utf-8")
        with log.open("w") as lines:
            process = subprocess.Popen([haproxy(), "-db", "-f", str(config)], stdout=lines)  # quiet, it logs nothing
        try:
            until(lambda: asked.exists() or process.poll() is not None)
            assert process.poll() is None, text
            yield port, asked, log
        finally:
            process.kill()
            process.wait()


@contextlib.contextmanager
def a_site(folder, store):
    """Lend a site whose champion is version 1 of two."""
    with contextlib.ExitStack() as stack:
        (folder / "registry").mkdir()
        registry = stack.enter_context(an_mlflow_server(folder / "registry"))
        scales = {register(registry, scale): scale for scale in (4.0, 2.0)}
        replicas = [Replica(folder / f"replica{number}", registry, store) for number in range(REPLICAS)]
        site = Site(replicas, 0, Path(), Path(), store, registry, scales)
        site.promote(min(scales))
        for replica in replicas:
            stack.callback(
                lambda replica=replica: replica.process and replica.process.poll() is None and replica.kill()
            )
            replica.start()
            until(replica.is_ready)  # one after the other: together they would wait for the registry too long
        site.port, site.socket, site.log = stack.enter_context(behind_haproxy(replicas))
        until(lambda: site.statistics()["act"] == str(REPLICAS))
        yield site
