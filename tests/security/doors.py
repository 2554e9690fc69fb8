"""Push hostile paths through every door of the program, and tell what was touched: doors.py OUTSIDE.

It is a process of its own, which works in an empty folder: what watches its files cannot be taken away again.
"""

import contextlib
import http.server
import json
import os
import re
import socket
import sys
import threading
import urllib.parse
from collections import defaultdict
from itertools import cycle
from pathlib import Path

from spamctl import cores
from spamctl.errors import SpamctlError
from tests.hostile_paths import hostile_paths

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"model_name", "model_version", "shadow", "to", "experiment"}  # options that become part of a path, or might
FOLDER = ("deploy", "to")  # where its user wants it
ONE = {"os.chmod", "os.listdir", "os.mkdir", "os.remove", "os.rmdir", "os.scandir", "os.truncate", "os.utime", "open"}
ONE |= {"shutil.rmtree", "sqlite3.connect"}
TWO = {"os.link", "os.rename", "os.symlink", "shutil.copyfile", "shutil.copytree", "shutil.move"}
READ = (sys.prefix, sys.base_prefix, str(ROOT / "spamctl"), str(ROOT / "tests"))  # as modules are imported
READ += (str(cores.MINE), str(cores.GROUPS))  # and as cores are counted, whatever was typed


class Watch:
    """Note each file outside of the workspace that is opened, listed, made, moved or removed while it is armed."""

    def __init__(self, workspace):
        self.workspace, self.armed, self.touched = str(workspace), False, []

    def __call__(self, event, arguments):
        if self.armed and event in ONE | TWO:
            for place in arguments[: 1 + (event in TWO)]:
                if isinstance(place, str | bytes | os.PathLike):
                    self._note(event, os.fsdecode(place).removeprefix("file:"), arguments)

    def _note(self, event, place, arguments):
        where = os.path.abspath(place)  # noqa: PTH100 - resolve() would touch it
        reads = event in {"os.listdir", "os.scandir"} or (event == "open" and not arguments[2] & os.O_ACCMODE)
        if not below(where, self.workspace) and not (reads and any(below(where, folder) for folder in READ)):
            self.touched.append(f"{event} {where}")


def below(place, folder):
    return place == folder or place.startswith(f"{folder}/")


class Taken(Exception):  # noqa: N818 - no error: some doors may take a name, as long as nothing is touched
    """Tell that a name was taken for one."""


def options(texts):
    """Give every option of every verb that is a text a hostile one; those that are names must be refused."""
    from spamctl.config.options import Given
    from spamctl.config.sources import validate
    from spamctl.config.verbs import VERBS
    from spamctl.errors import OptionsError

    def door(text):
        for verb in VERBS.values():
            words = [option for option in verb.declared() if option.kind is str and not option.choices]
            faults = []
            try:
                validate(verb, [{option.name: Given(text, option.flag) for option in words}])
            except OptionsError as refusal:
                faults = [fault.partition(":")[0] for fault in refusal.faults]
            named = {option.flag for option in words if option.name in NAMES and (verb.verb, option.name) != FOLDER}
            if taken := named - set(faults):
                raise Taken(f"{verb.verb} {taken}")

    for text in texts:
        yield text, door


def run_ids(texts):
    """Ask to resume a run of a hostile name."""
    from spamctl.cli import run

    runs = Path(".metaflow/TrainFlow")
    runs.mkdir(parents=True)
    (runs / "latest_run").write_text("17")
    for text in texts:
        yield text, lambda text: refuse(run._origin(run.Flow.of("train"), Path.cwd(), text))


def hub_names(texts):
    """Look for a base model of a hostile name in the cache of the hub, which cannot be asked."""
    from spamctl.training import base_model

    for text in texts:
        yield text, lambda text: refuse(base_model.find_on_hub(text))


def reasons(texts):
    """Ask for the words behind a verdict of a hostile model, and of a hostile version."""
    from spamctl.serving.explain import Reasons

    Path("models/spam").mkdir(parents=True)
    known = Reasons(Path("models"))
    for text in texts:
        yield text, lambda text: refuse(known.words(text, "1", "win"))
        yield text, lambda text: refuse(known.words("spam", text, "win"))


def refuse(answer):
    """Raise Taken if there is an answer at all."""
    if answer:
        raise Taken(str(answer)[:200])


def file_names(texts):
    """Verify a package whose manifest lists a file of a hostile name."""
    from spamctl.engine import manifest
    from spamctl.engine.manifest import Golden, Manifest

    folder = Path("package")
    folder.mkdir()
    for text in [*texts, *(f"{text}.json" for text in texts)]:
        with contextlib.suppress(UnicodeEncodeError):  # a manifest is UTF-8
            sealed = manifest.seal({text: b"x"}, Manifest("int8", "f32", 64, 2, 1.5, 0.0, 0.5, (Golden("", 0.5),), {}))
            (folder / manifest.MANIFEST).write_bytes(sealed[manifest.MANIFEST])
            yield text, lambda _: refuse(manifest.verify(folder))


def report_folders(texts):
    """Write the report of a run of a hostile name."""
    from spamctl.reports import monitor_page
    from tests.monitored import CALM, told

    for text in texts:
        yield (
            text,
            lambda text: refuse(monitor_page.write_pages(Path("reports"), told(CALM | {"run_id": text}), {}, {})),
        )


def addresses(texts):
    """Read a hostile address of a store, plain and as URLs; many are the path of a file, which is not opened."""
    from spamctl.store.address import parse

    for text in texts:
        for form in ("{}", "sqlite:///{}", "postgresql://me:word@127.0.0.1:1/{}"):
            yield form.format(text), parse


@contextlib.contextmanager
def registry():
    """Be an MLflow server that calls its one version what it is told to, and keeps a sound package of it."""
    from tests import tiny_packages

    package = Path("registered/artifacts/package")
    package.parent.mkdir(parents=True)
    tiny_packages.write(package)
    version = {}

    class Registry(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            route = urllib.parse.urlsplit(self.path).path.rpartition("/")[2]
            told = {
                "search": {"model_versions": [version]},
                "get-download-uri": {"artifact_uri": Path("registered").absolute().as_uri()},
            }.get(route, {"model_version": version})
            body = json.dumps(told).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["MLFLOW_TRACKING_URI"] = f"http://127.0.0.1:{server.server_port}"
        yield version
        server.shutdown()


def versions(texts):
    """Fetch a model of a hostile name, and one whose registry answers a hostile version, run or source."""
    from spamctl.registry import versions

    cache = Path("copies").absolute()
    plain = {"name": "spam", "version": "1", "run_id": "ab" * 16, "source": "models:/m-1", "status": "READY"}

    def fetch(wanted):
        return lambda _: refuse(versions.fetch("spam", wanted, cache))

    def copied(_):
        place = Path(versions.fetch("spam", "1", cache).folder)
        if place.parent != cache / "spam" or not re.fullmatch(r"1-[A-Za-z0-9]{0,12}", place.name):
            raise Taken(str(place))

    with registry() as answer:
        answer.update(plain)
        copied("")  # MLflow reads what it needs before it is watched
        for text, wanted in zip(filter(str.isascii, texts), cycle(("champion", "latest", "1"))):
            yield text, lambda text: refuse(versions.fetch(text, "champion", cache))
            answer.update(plain | {"version": text})
            yield text, fetch(wanted)
            for origin in ({"run_id": text}, {"run_id": "", "source": text}):
                answer.update(plain | origin)
                yield text, copied


def http_paths(texts):
    """Ask the real server for a hostile path: as it is, and below the folder of its files, there in percent too."""
    from tests.served import served

    Path("server").mkdir()
    with served(Path("server").absolute()) as server:
        port = int(server.address.rpartition(":")[2])

        def get(path):
            with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
                link.sendall(b"GET %b HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n" % path)
                answer = b"".join(iter(lambda: link.recv(65536), b""))
            if answer.split()[1] not in {b"400", b"404", b"414", b"431"} or b"SECRET" in answer:
                raise Taken(answer[:200].decode("latin-1"))
            raise SpamctlError("there is no such page")

        for text in texts:
            raw = text.encode("utf-8", "surrogatepass")
            unsplit = re.sub(rb"[\x00-\x20?\x7f-\xff]", lambda found: b"%%%02X" % found[0][0], raw)
            for path in (b"/" + unsplit, b"/web/" + unsplit, b"/web/" + urllib.parse.quote(raw, safe="").encode()):
                yield path, get


def nothing(texts):
    """Open a hostile path with no guard at all, to see that it would be noted."""
    for text in texts:
        yield text, lambda text: Path("workshop", text).read_bytes()


DOORS = {
    door.__name__: door
    for door in (options, run_ids, hub_names, reasons, file_names, report_folders, addresses, versions, http_paths)
}


def outcome_of(attempt, text):
    """Try a door, and say in a word what came of it."""
    try:
        attempt(text)
    except SpamctlError:
        return "refused"
    except Taken as taken:
        return f"taken: {taken}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"[:300]
    return "passed"


def main(outside):
    texts = hostile_paths(outside)
    watch = Watch(Path.cwd())
    sys.addaudithook(watch)
    told = {}
    for name, door in {**DOORS, "nothing": nothing}.items():
        seen = defaultdict(list)
        for text, attempt in door(texts):
            if not seen:
                outcome_of(attempt, text)  # what is imported and read once is of no account
            watch.armed, watch.touched = True, []
            outcome = outcome_of(attempt, text)
            watch.armed = False
            seen[outcome].append(ascii(text)[:80])
            seen["touched"] += [f"{place} by {ascii(text)[:80]}" for place in watch.touched]
        told[name] = seen
    print(json.dumps(told))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
