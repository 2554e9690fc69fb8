"""Build images with buildah and run them with runc, on a Debian root that debootstrap makes."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

PROGRAMS = {"buildah": "buildah", "runc": "runc", "debootstrap": "debootstrap"}
BASE = "localhost/base"
POLICY = '{"default": [{"type": "insecureAcceptAnything"}]}'
REGISTRIES = 'unqualified-search-registries = []\nshort-name-mode = "disabled"\n'
USER = 10001


def missing():
    """Say what is not here that images need, or nothing."""
    absent = [package for program, package in PROGRAMS.items() if not shutil.which(program, path=search_path())]
    if absent:
        return f"no images can be built here: apt-get install {' '.join(absent)}"
    return "" if os.geteuid() == 0 else "images are built and run by root alone here"


def search_path():
    """Return PATH with the folders of root's programs."""
    return f"{os.environ['PATH']}:/usr/sbin:/sbin"


def call(*words, timeout=1500, **settings):
    """Run a program to its end, without settings of the tests themselves, and return what it says."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SPAMCTL_")}
    done = subprocess.run(
        words, env={**kept, "PATH": search_path(), **settings}, capture_output=True, text=True, check=False,
        timeout=timeout,
    )  # fmt: skip
    assert done.returncode == 0, f"{' '.join(map(str, words[:8]))}…\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@dataclass(frozen=True)
class Builder:
    """Images in a store of their own in a folder, which needs no settings of the machine."""

    folder: Path

    def buildah(self, *words):
        settings = {}
        for name, text in (("policy.json", POLICY), ("registries.conf", REGISTRIES)):
            path = self.folder / name
            if not path.exists():
                path.write_text(text, encoding="utf-8")
            settings[name] = str(path)
        where = ["--root", self.folder / "store", "--runroot", self.folder / "run", "--storage-driver", "vfs"]
        return call("buildah", *where, *words, CONTAINERS_REGISTRIES_CONF=settings["registries.conf"])

    def make_base(self):
        """Make the image that ours are built on: Debian with its Python, as small as debootstrap makes it."""
        root = self.folder / "root"
        packages = "python3,python3-venv,ca-certificates"
        call("debootstrap", "--variant=minbase", f"--include={packages}", "bookworm", root)
        container = self.buildah("from", "scratch").strip()
        self.buildah("add", "--quiet", container, root, "/")
        self.buildah("commit", "--quiet", "--rm", container, BASE)
        shutil.rmtree(root)

    def build(self, target, context, wheels):
        """Build one of the two images of a deployment from wheels in a folder, and return its name."""
        name = f"localhost/{target}"
        self.buildah(
            *("build", "--isolation", "chroot", "--signature-policy", self.folder / "policy.json"),
            *("--target", target, "--tag", name, "--build-arg", f"BASE={BASE}"),
            *("--build-arg", "PIP_NO_INDEX=1", "--build-arg", "PIP_FIND_LINKS=/wheels"),
            *("--volume", f"{wheels}:/wheels:ro", context),
        )  # fmt: skip
        return name

    def image(self, name):
        """Return an image's root folder and its settings: each layer of vfs is a whole tree."""
        told = json.loads(self.buildah("inspect", "--type", "image", name))
        images = json.loads((self.folder / "store" / "vfs-images" / "images.json").read_text(encoding="utf-8"))
        (layer,) = [one["layer"] for one in images if f"{name}:latest" in one["names"]]
        return Image(self.folder / "store" / "vfs" / "dir" / layer, told["OCIv1"]["config"])


@dataclass(frozen=True)
class Image:
    """A root folder, and how a container of it starts."""

    root: Path
    config: dict

    @property
    def command(self):
        return [*self.config.get("Entrypoint", []), *self.config.get("Cmd", [])]


@dataclass
class Container:
    """A container of runc: a read-only root, no capability, a user who is not root, and two folders to write in."""

    image: Image
    folder: Path
    variables: dict = field(default_factory=dict)
    mounts: list = field(default_factory=list)
    name: str = ""

    def start(self, *command):
        """Start it with the image's own command, or another, and return the process; it shares the network."""
        self.name = f"spamctl-test-{os.getpid()}-{time.monotonic_ns()}"
        (self.folder / "config.json").write_text(json.dumps(self._settings(command)), encoding="utf-8")
        self.log = self.folder / "log"
        with self.log.open("ab") as log:
            return subprocess.Popen(
                ["runc", "--root", self.folder / "state", "run", "--bundle", self.folder, self.name],
                env={**os.environ, "PATH": search_path()}, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

    def run(self, *command, timeout=300):
        """Run a command to its end, and return its exit code and all that was said so far."""
        code = self.start(*command).wait(timeout)
        return code, self.log.read_text(encoding="utf-8", errors="replace")

    def kill(self, number=signal.SIGTERM):
        with contextlib.suppress(subprocess.CalledProcessError):
            subprocess.run(
                ["runc", "--root", self.folder / "state", "kill", self.name, str(int(number))],
                env={**os.environ, "PATH": search_path()}, check=True, capture_output=True,
            )  # fmt: skip

    def _settings(self, command):
        config = self.image.config
        user, _, group = config["User"].partition(":")
        variables = dict(line.split("=", 1) for line in config["Env"]) | self.variables
        work = {"destination": config["WorkingDir"], "source": str(self.work), "type": "bind", "options": ["rbind"]}
        return {
            "ociVersion": "1.0.2",
            "process": {
                "user": {"uid": int(user), "gid": int(group)},
                "args": list(command) or self.image.command,
                "env": [f"{name}={value}" for name, value in variables.items()],
                "cwd": config["WorkingDir"],
                "capabilities": {},
                "noNewPrivileges": True,
            },
            "root": {"path": str(self.image.root), "readonly": True},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["nosuid", "mode=755"]},
                {"destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": ["mode=1777"]},
                {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]},
                work,
                *self.mounts,
            ],
            "linux": {"namespaces": [{"type": "pid"}, {"type": "ipc"}, {"type": "uts"}, {"type": "mount"}]},
        }

    @property
    def work(self):
        """Return the folder that is written in, which outlives a container as an emptyDir does."""
        place = self.folder / "work"
        if not place.exists():
            place.mkdir(mode=0o700)
            os.chown(place, USER, USER)
        return place


@contextlib.contextmanager
def bundle(image, **settings):
    """Lend a container whose folder is removed at the end."""
    with tempfile.TemporaryDirectory(prefix="spamctl-bundle-", ignore_cleanup_errors=True) as name:
        container = Container(image, Path(name), **settings)
        try:
            yield container
        finally:
            container.kill(signal.SIGKILL)
