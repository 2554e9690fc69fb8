"""Start a real S3 server for tests: OpenStack Swift with its s3api, in one folder."""

import contextlib
import getpass
import os
import shutil
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import boto3
from botocore.config import Config

from tests.ports import closed_port
from tests.scale.servers import ended

MISSING = (
    "no S3 server here: install OpenStack Swift beside the tests (uv sync --group scale), or in an environment of its "
    "own whose bin folder SPAMCTL_TESTS_SWIFT names"
)
RINGS = ("account", "container", "object")
KEY, SECRET = "test:tester", "testing"
SECONDS_TO_START = 180  # four interpreters, on machines that others use too

COMMON = """[DEFAULT]
bind_ip = 127.0.0.1
bind_port = {port}
workers = 0
user = {user}
swift_dir = {folder}
devices = {folder}/devices
mount_check = false
fallocate_reserve = 0
disable_fallocate = true
log_address = {folder}/log
recon_cache_path = {folder}
"""
RING = """
[pipeline:main]
pipeline = {name}-server
[app:{name}-server]
use = egg:swift#{name}
"""
PROXY = """
[pipeline:main]
pipeline = catch_errors cache listing_formats bulk s3api tempauth slo dlo proxy-server
[app:proxy-server]
use = egg:swift#proxy
account_autocreate = true
allow_account_management = true
[filter:catch_errors]
use = egg:swift#catch_errors
[filter:cache]
use = egg:swift#memcache
[filter:listing_formats]
use = egg:swift#listing_formats
[filter:bulk]
use = egg:swift#bulk
[filter:s3api]
use = egg:swift#s3api
[filter:tempauth]
use = egg:swift#tempauth
user_test_tester = testing .admin
[filter:slo]
use = egg:swift#slo
[filter:dlo]
use = egg:swift#dlo
"""
HASHES = """[swift-hash]
swift_hash_path_prefix = tests
swift_hash_path_suffix = tests
[storage-policy:0]
name = one
default = yes
"""


@dataclass(frozen=True)
class S3Server:
    """A running S3 server: its endpoint, and the credentials that it takes."""

    endpoint: str

    def client(self):
        """Return a client of boto3."""
        return boto3.client(
            "s3",
            endpoint_url=self.endpoint,
            aws_access_key_id=KEY,
            aws_secret_access_key=SECRET,
            region_name="us-east-1",
            config=Config(retries={"total_max_attempts": 2}),
        )

    def bucket(self, name):
        """Make a bucket if it is not there, and return its name."""
        client = self.client()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=name)
        return name

    def variables(self, bucket):
        """Return what points the clients of AWS, Metaflow and MLflow to a bucket here."""
        keys = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET, "AWS_DEFAULT_REGION": "us-east-1"}
        metaflow = {
            "METAFLOW_S3_ENDPOINT_URL": self.endpoint,
            "METAFLOW_DATASTORE_SYSROOT_S3": f"s3://{bucket}/metaflow",
        }
        return keys | metaflow | {"AWS_ENDPOINT_URL_S3": self.endpoint, "MLFLOW_S3_ENDPOINT_URL": self.endpoint}


def programs():
    """Return the folder of Swift's programs, or None."""
    places = [os.environ.get("SPAMCTL_TESTS_SWIFT", ""), str(Path(sys.executable).parent)]
    on_path = shutil.which("swift-proxy-server")
    places += [str(Path(on_path).parent)] if on_path else []
    return next((Path(place) for place in places if place and Path(place, "swift-proxy-server").is_file()), None)


@contextlib.contextmanager
def an_s3_server():
    """Run an S3 server while the block lasts, and leave nothing of it behind."""
    found = programs()
    assert found, MISSING
    with tempfile.TemporaryDirectory(prefix="spamctl-swift-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        ports = {part: closed_port() for part in (*RINGS, "proxy")}
        _configure(found, folder, ports)
        with contextlib.ExitStack() as stack:
            for part in ports:
                stack.enter_context(_running(found, folder, part))
            server = S3Server(f"http://127.0.0.1:{ports['proxy']}")
            _wait_until_it_answers(server, folder)
            yield server


def _configure(found, folder, ports):
    """Write the rings, of one replica on one device each, and the configuration of every part."""
    (folder / "devices" / "d1").mkdir(parents=True)
    (folder / "swift.conf").write_text(HASHES)
    for part, port in ports.items():
        common = COMMON.format(port=port, folder=folder, user=getpass.getuser())
        (folder / f"{part}.conf").write_text(common + (PROXY if part == "proxy" else RING.format(name=part)))
    rings = "".join(
        f"for words in ({part!r}, 'create', '4', '1', '1'), ({part!r}, 'add', 'r1z1-127.0.0.1:{ports[part]}/d1', '1'), "
        f"({part!r}, 'rebalance'):\n    build(*words)\n"
        for part in RINGS
    )
    code = f"""
from swift.cli.ringbuilder import main
def build(part, *words):
    try:
        main(["swift-ring-builder", "{folder}/" + part + ".builder", *words])
    except SystemExit as end:
        assert end.code in (None, 0), end.code
{rings}"""  # in one interpreter: nine would take as long as all else
    done = subprocess.run([found / "python", "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@contextlib.contextmanager
def _running(found, folder, part):
    with (folder / f"{part}.out").open("w") as out:
        command = [found / f"swift-{part}-server", folder / f"{part}.conf"]
        process = subprocess.Popen(command, stdout=out, stderr=out, env=os.environ | {"SWIFT_DIR": str(folder)})
    try:
        yield
    finally:
        ended(process)


def _wait_until_it_answers(server, folder):
    deadline = time.monotonic() + SECONDS_TO_START
    while True:
        try:
            server.client().list_buckets()
        except Exception:
            if time.monotonic() > deadline:
                told = "\n".join(path.read_text() for path in folder.glob("*.out"))
                raise AssertionError(f"the S3 server does not answer\n{told}") from None
            time.sleep(0.3)
        else:
            return
