"""Pass Metaflow's own words on to a flow, and prepare a run whose steps or values are on other machines."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

import typer

from spamctl.cli.process import QUIET, STATE, metaflow_settings
from spamctl.config.options import Options, shown
from spamctl.display import without_password
from spamctl.errors import OptionsError, SpamctlError, UnavailableError, UsageError
from spamctl.schema import event
from spamctl.schema.codec import from_json, to_json
from spamctl.schema.event import StepSetup
from spamctl.sqlite_url import file_of

if TYPE_CHECKING:
    from botocore.exceptions import ClientError

With = Annotated[
    list[str],
    typer.Option(
        "--with",
        help="Metaflow decorator for every step, such as kubernetes, batch or resources:memory=8000; repeatable.",
        metavar="SPEC",
    ),
]
Datastore = Annotated[
    str,
    typer.Option("--datastore", help="Where Metaflow keeps a run's values: local, s3, azure or gs.", metavar="WORD"),
]
Metadata = Annotated[
    str, typer.Option("--metadata", help="Where Metaflow keeps the list of runs: local or service.", metavar="WORD")
]

# Decorators that leave a step on this machine; any other starts it on one that has neither our files nor our variables.
HERE = {"card", "catch", "environment", "resources", "retry", "secrets", "timeout"}
DATASTORES, METADATA = ("local", "s3", "azure", "gs"), ("local", "service")
S3 = "s3"
ROOTS = {kind: f"METAFLOW_DATASTORE_SYSROOT_{kind.upper()}" for kind in DATASTORES}
FILES = ("dataset", "good", "spam", "replay", "labels", "messages", "must_deliver", "must_catch", "base_model")
WRITTEN = ("report_dir", "export", "output", "into_maildir")
NO_FILES = {"none", "sms-spam", "everyday", "smollm2-135m"}
WEB = ("http://", "https://")
HANDED = ("SPAMCTL_", "MLFLOW_", "HF_")  # beginnings of the variables that a step elsewhere needs, too
NOT_HANDED = {event.VARIABLE, "HF_TOKEN", "HF_TOKEN_PATH", "HF_HOME"}  # of our account, and of our folders
# Variables that say what --datastore, --metadata and --with do: those that Metaflow's options read come first.
STORED, LISTED, ALWAYS = (
    (f"METAFLOW_{word}", f"METAFLOW_DEFAULT_{word}") for word in ("DATASTORE", "METADATA", "DECOSPECS")
)
OF_THE_CLUSTER = "METAFLOW_KUBERNETES_SECRETS"  # which every job there gets
MOST_BYTES = 2**31  # of files: a run's values hold them in memory
PATIENCE_S = 5
REGISTRY = "MLFLOW_TRACKING_URI"


@dataclass(frozen=True)
class Words:
    """What was typed of Metaflow's own words."""

    with_: With = field(default_factory=list)
    datastore: Datastore = ""
    metadata: Metadata = ""


@dataclass(frozen=True)
class Plan:
    """How a run is started: Metaflow's words, the variables, and whether its steps run on other machines."""

    words: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    is_remote: bool = False
    told: str = ""

    def keep(self, place: Path) -> None:
        """Write down what steps elsewhere were given, for whoever resumes the run."""
        if told := self.environment.get(event.VARIABLE):
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(told, encoding="utf-8")


def kept_setup(folder: Path, flow: str, run_id: str) -> Path:
    """Name the file that tells what the steps of a run elsewhere were given."""
    return folder / STATE / "elsewhere" / f"{flow}-{run_id}.json"


@contextlib.contextmanager
def planned(
    options: Options, words: Words, variables: Mapping[str, str], folder: Path, resumed: Path | None = None
) -> Iterator[Plan]:
    """Check the words and what they need, and yield how to start the run; files that are handed on last as long.

    Of a run that is `resumed` elsewhere, that file says what its steps were given. Raises UsageError for what cannot
    work, UnavailableError if the datastore does not answer.
    """
    settings = metaflow_settings(variables)
    kept = _known("--datastore", words.datastore or _first(settings, *STORED) or "local", DATASTORES)
    listed = _known("--metadata", words.metadata or _first(settings, *LISTED) or "local", METADATA)
    # A server runs where it is started.
    always = {name: "" if options.verb == "serve" else settings.get(name, "") for name in ALWAYS}
    told = dict.fromkeys(STORED, kept) | dict.fromkeys(LISTED, listed) | always
    names = [spec.partition(":")[0] for spec in [*words.with_, *" ".join(always.values()).split()]]
    elsewhere = [name for name in names if name not in HERE]
    if elsewhere and kept == "local":
        raise UsageError(
            f"--with {elsewhere[0]}: steps on other machines cannot read this folder; add --datastore s3, azure or gs"
        )
    if kept != "local":
        _require_datastore(kept, settings, variables)
    place = f"values of the run: {settings.get(ROOTS[kept], '')}" if kept != "local" else ""
    if not elsewhere:
        yield Plan(tuple(_with(words.with_)), told, told=place)
        return
    with _handed(options, words, variables, resumed or folder) as plan:
        yield replace(
            plan, environment={**told, **plan.environment}, told=f"{place}; steps run with {', '.join(elsewhere)}"
        )


def _with(specs: Iterable[str]) -> Iterator[str]:
    for spec in specs:
        yield from ("--with", spec)


@contextlib.contextmanager
def _handed(options: Options, words: Words, variables: Mapping[str, str], folder: Path) -> Iterator[Plan]:
    """Yield how to start steps elsewhere: with the files, variables and resources that they need.

    `folder` is the working folder, or the file of a run that is resumed.
    """
    own, specs = _environment_of(words.with_)
    given = {**variables, **own}
    if folder.suffix == ".json":
        if not folder.is_file():
            raise UsageError("--resume: the run's steps were on this machine; resume it without --with, or start over")
        before = from_json(StepSetup, json.loads(folder.read_text(encoding="utf-8")))
        yield Plan(tuple(_with(specs)), own | {event.VARIABLE: json.dumps(to_json(before))}, is_remote=True)
        return
    _refuse_files_of_ours(options, given)
    archive = folder / STATE / f"handed-{os.getpid()}.tar"
    try:
        files = _packed(options, archive)
        has_secrets = any("secrets" in spec for spec in (*specs, *map(variables.get, ALWAYS)) if spec)
        inherited = _inherited(options, given, own, has_secrets=has_secrets or OF_THE_CLUSTER in variables)
        setup = replace(inherited, files=files, resources=resources_of(options))
        more = (f"--{event.FILES}={archive}",) if files else ()
        yield Plan((*_with(specs), *more), own | {event.VARIABLE: json.dumps(to_json(setup))}, is_remote=True)
    finally:
        archive.unlink(missing_ok=True)


def _first(settings: Mapping[str, str], *names: str) -> str:
    """Return the first of some variables that is set, or nothing."""
    return next((settings[name] for name in names if settings.get(name)), "")


def _known(flag: str, word: str, known: tuple[str, ...]) -> str:
    if word not in known:
        raise UsageError(f"{flag}: must be {', '.join(known[:-1])} or {known[-1]}, got {shown(word)}")
    return word


# Check within a moment that the datastore is there, and takes our credentials.


def _require_datastore(kind: str, settings: Mapping[str, str], variables: Mapping[str, str]) -> None:
    root = settings.get(ROOTS[kind], "")
    if not root:
        example = "s3://BUCKET/metaflow" if kind == S3 else "the container's address"
        raise UsageError(f"--datastore {kind}: {ROOTS[kind]} is not set; set it to {example}")
    if kind != S3:
        return
    found = re.fullmatch(r"s3://([^/]+)(?:/.*)?", root)
    if not found:
        raise UsageError(f"{ROOTS[kind]}: must be like s3://BUCKET/metaflow, got {shown(root)}")
    require_bucket(found[1], settings.get("METAFLOW_S3_ENDPOINT_URL", ""), variables)


def require_bucket(bucket: str, endpoint: str, variables: Mapping[str, str]) -> None:
    """Return if an S3 bucket can be reached; raise UsageError, or UnavailableError if its server does not answer."""
    import boto3
    from botocore.config import Config
    from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, ProfileNotFound

    where = f"s3://{bucket}" + (f" at {without_password(endpoint)}" if endpoint else "")
    config = Config(connect_timeout=PATIENCE_S, read_timeout=PATIENCE_S, retries={"total_max_attempts": 1})
    try:
        keys = {
            "aws_access_key_id": variables.get("AWS_ACCESS_KEY_ID"),
            "aws_secret_access_key": variables.get("AWS_SECRET_ACCESS_KEY"),
            "aws_session_token": variables.get("AWS_SESSION_TOKEN"),
            "region_name": variables.get("AWS_DEFAULT_REGION"),
        }
        session = boto3.Session(**keys, profile_name=variables.get("AWS_PROFILE"))
        session.client("s3", endpoint_url=endpoint or None, config=config).head_bucket(Bucket=bucket)
    except ClientError as error:
        raise _refused(where, error) from None
    except (NoCredentialsError, ProfileNotFound) as error:
        raise UsageError(f"{where}: {error}; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY") from None
    except (BotoCoreError, ValueError) as error:
        why = type(error).__name__
        raise UnavailableError(
            f"{where}: the S3 server does not answer ({why}); start it, or correct METAFLOW_S3_ENDPOINT_URL"
        ) from None


def _refused(where: str, error: ClientError) -> SpamctlError:
    """Explain what an S3 server answered to who asked for a bucket."""
    code = str(error.response.get("Error", {}).get("Code", ""))
    if code in {"404", "NoSuchBucket"}:
        return UsageError(f"{where}: there is no such bucket; create it, or correct {ROOTS[S3]}")
    if code in {"400", "401", "403", "AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch"}:
        return UsageError(f"{where}: the credentials are refused ({code}); correct AWS_ACCESS_KEY_ID and its secret")
    return UnavailableError(f"{where}: the S3 server answers {code}; try again later")


# Hand variables, files and resources to steps that run elsewhere.


def _environment_of(specs: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Take the variables out of `environment:vars={...}`, for a step has one such decorator; return the other specs."""
    own: dict[str, str] = {}
    rest = []
    for spec in specs:
        name, _, text = spec.partition(":")
        if name != "environment":
            rest.append(spec)
            continue
        try:
            values = json.loads(text.removeprefix("vars="))
            own |= {str(key): str(value) for key, value in values.items()}
        except (ValueError, AttributeError):
            raise UsageError(
                f'--with {name}: must be environment:vars={{"NAME": "value"}}, got {shown(text)}'
            ) from None
    return own, rest


def _refuse_files_of_ours(options: Options, variables: Mapping[str, str]) -> None:
    """Refuse a registry or a store in a file of this machine, and places outside its folder to write to."""
    uri, values = variables.get(REGISTRY, ""), options.items()
    faults = []
    if not uri.startswith(WEB):  # of a database, artefacts would stay in the folder of a step
        now = f"is {without_password(uri)}" if uri else "is not set"
        faults.append(f"{REGISTRY} {now}: steps elsewhere need an MLflow server; set it to http://HOST:5001")
    for option in options.declared():
        address = str(values[option.name])
        is_address = option.secret and address != "none" and not address.startswith(WEB)
        file = (file_of(address) if "://" in address else Path(address)) if is_address else None
        # What is to be forgotten is read if it is there; everything else must be.
        if file is not None and (option.name != "forgotten" or file.exists()):
            faults.append(f"{option.flag} {file}: a file of this machine; steps elsewhere need postgresql://...")
        if option.name in WRITTEN and "://" not in address and not _is_below(address):
            faults.append(f"{option.flag} {address}: what steps elsewhere write comes back below this folder only")
    if faults:
        raise OptionsError(faults)


def _inherited(
    options: Options, variables: Mapping[str, str], own: Mapping[str, str], *, has_secrets: bool
) -> StepSetup:
    """List the variables that steps inherit; what holds a password is left to the secret of their job.

    What was given as `environment:vars={...}` is `own`: whoever did so meant it to stand in the job's description.
    """
    found = {name: value for name, value in variables.items() if name.startswith(HANDED) and name not in NOT_HANDED}
    secret = {item.variable: str(options.items()[item.name]) for item in options.declared() if item.secret}
    found |= {name: value for name, value in secret.items() if not value.startswith(WEB)}  # a webhook is for us to call
    found |= own
    closed = tuple(sorted(name for name, value in found.items() if name not in own and _is_closed(name, value)))
    if closed and not has_secrets:
        raise UsageError(
            f"{', '.join(closed)}: holds a password, which a job's description must not; put it into a secret of the "
            "cluster and add --with kubernetes:secrets=NAME"
        )
    return StepSetup(tuple(sorted({*found, *QUIET, event.VARIABLE} - set(closed))), closed)


def _is_closed(name: str, value: str) -> bool:
    """Return whether a variable is a password or holds one."""
    try:
        return name.endswith(("PASSWORD", "TOKEN")) or bool(urlsplit(value).password)
    except ValueError:
        return True


def resources_of(options: Options) -> dict[str, dict[str, int]]:
    """Return what each step of a verb's flow asks of the machine that it runs on, in the words of `@resources`."""
    wanted = getattr(options, "step_resources", None)
    return wanted() if wanted else {}


def _packed(options: Options, place: Path) -> bool:
    """Pack the files that options name into a tar archive; return whether there are any."""
    found: dict[str, Path] = {}
    for option in options.declared():
        texts = str(options.items()[option.name]).split(",") if option.name in FILES else []
        for text in map(str.strip, texts):
            path = Path(text).expanduser()
            if text not in NO_FILES and "://" not in text and path.exists():
                found[_inside(option.flag, text)] = path
    if not found:
        return False
    descriptor = os.open(place, os.O_CREAT | os.O_TRUNC | os.O_WRONLY, 0o600)  # it may hold messages
    with os.fdopen(descriptor, "wb") as file, tarfile.open(fileobj=file, mode="w", dereference=True) as archive:
        for name, path in sorted(found.items()):
            archive.add(path, name, filter=_anonymous)
    if (size := place.stat().st_size) > MOST_BYTES:
        raise UsageError(f"{', '.join(found)}: {size / 2**30:.1f} GiB are too much to hand to steps; 2 GiB at most")
    return True


def _inside(flag: str, text: str) -> str:
    """Return a path relative to the working folder; refuse one outside, which a step may not be allowed to write."""
    if not _is_below(text):
        raise UsageError(f"{flag} {text}: steps elsewhere get files of this folder only; link it: ln -s {text} .")
    return os.path.normpath(text)


def _is_below(text: str) -> bool:
    """Return whether a path lies below the working folder, however it is spelt."""
    path = PurePosixPath(os.path.normpath(Path(text).expanduser()))
    return not path.is_absolute() and ".." not in path.parts


def _anonymous(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Leave out whose file it is and when it was changed, so that equal files are equal values."""
    member.mtime, member.uid, member.gid, member.uname, member.gname = 0, 0, 0, "", ""
    return member


def fetch_left_files(flow: str, run_id: str, environment: Mapping[str, str], folder: Path) -> None:
    """Write the files that a run's steps left for its caller into the working folder, as if they had run here."""
    command = [sys.executable, "-m", "spamctl.jobs.left_files", flow, run_id]
    done = subprocess.run(command, env=dict(environment), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        why = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise SpamctlError(f"the run is done, but what it wrote cannot be fetched: {why}")
