"""Collect a deployment from the options of every verb, refuse what pods could not use, and write it."""

from __future__ import annotations

import ipaddress
import math
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, urlsplit

from spamctl.config.deploy import FIXED, NONE, DeployOptions, changed, json_schema
from spamctl.config.options import Options
from spamctl.config.serve import ServeOptions
from spamctl.display import without_password
from spamctl.errors import OptionsError
from spamctl.schema.serve import Deployment, DeployResult, Images, Scaling, Workflow

REGISTRY: Final = "MLFLOW_TRACKING_URI"
TOKEN: Final = "SPAMCTL_SERVE_TOKEN"  # noqa: S105 - a variable's name
STORE: Final = "SPAMCTL_SERVE_DATASTORE_URI"
# Credentials that pods take from this machine's variables, where they are set.
OF_REGISTRY: Final = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
OF_STORAGE: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_DEFAULT_REGION")
LOCAL_STORE: Final = "spam.db"  # the default, in whose place the server's own store comes
# Options that name files, by verb, and words that are none.
READ: Final = ("dataset", "good", "spam", "replay", "labels", "must_deliver", "must_catch", "messages")
WRITTEN: Final = ("export", "output")  # in a pod, they would go with it
WORDS: Final = frozenset({NONE, "sms-spam", "everyday", ""})
POSTGRESQL: Final = ("postgresql", "postgres")
PORTS: Final = {"http": 80, "https": 443, **dict.fromkeys(POSTGRESQL, 5432)}
PAUSE_S: Final = 5  # of the chart, before a pod stops
MARGIN_S: Final = 15
_LOCAL_NAMES: Final = frozenset({"localhost", ""})


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Options of the deployment, of the server, and of each verb that runs as a workflow; the variables in force."""

    options: DeployOptions
    serve: ServeOptions
    verbs: Mapping[str, Options]
    token: str = field(repr=False)
    variables: Mapping[str, str] = field(repr=False)

    @property
    def scheduled(self) -> Iterator[tuple[str, Options]]:
        """Yield the verbs that run as workflows: `score` has nothing to read unless a file names its messages."""
        if self.options.datastore != NONE:
            yield from ((verb, one) for verb, one in self.verbs.items() if verb != "score" or self.has_messages)

    @property
    def has_messages(self) -> bool:
        """Return whether `score` was given messages."""
        return all(one.items().get("messages") != "-" for verb, one in self.verbs.items() if verb == "score")


def deploy(chosen: Chosen, environment: Mapping[str, str]) -> DeployResult:
    """Write the folder; raise OptionsError for all that pods could not use at once.

    `environment` is that of Metaflow's processes.
    """
    from spamctl.deploy import folder, workflows

    if faults := [*_server_faults(chosen), *_workflow_faults(chosen)]:
        raise OptionsError(faults)
    to = Path(chosen.options.to)
    folder.require_ours(to)
    deployment = collected(chosen)
    if deployment.workflows:
        workflows.require_usable(environment)
    parts = folder.write(deployment, workflows.templates(deployment, environment), to)
    return DeployResult(str(to), parts, tuple(_next(deployment, to)))


def collected(chosen: Chosen) -> Deployment:
    """Return everything that the files are made of."""
    options, serve = chosen.options, chosen.serve
    return Deployment(
        release=options.release,
        namespace=options.kubernetes_namespace,
        images=Images(repository=options.image, tag=options.image_tag),
        scaling=Scaling(
            min_replicas=options.min_replicas,
            max_replicas=options.max_replicas,
            waiting_rows=options.waiting_rows,
            cpus=options.cpus,
            memory_mib=options.memory_mib,
        ),
        serve=changed(serve, without=FIXED),
        serve_schema=json_schema(ServeOptions, without=FIXED),
        grace_seconds=math.ceil(serve.drain_seconds) + PAUSE_S + MARGIN_S,
        egress_ports=sorted({_port(urlsplit(address)) for address in _addresses(chosen)}),
        secrets=_server_secrets(chosen),
        job_secrets=_job_secrets(chosen),
        step_cpus=options.step_cpus,
        step_memory_mib=options.step_memory_mib,
        datastore="" if options.datastore == NONE else options.datastore,
        workflows=tuple(
            Workflow(verb=verb, options=changed(one), schedule=options.schedule(verb)) for verb, one in chosen.scheduled
        ),
    )


def _addresses(chosen: Chosen) -> Iterator[str]:
    yield chosen.variables[REGISTRY]
    if chosen.serve.capture != "off":
        yield chosen.serve.datastore_uri


def _port(parts: SplitResult) -> int:
    return parts.port or PORTS[parts.scheme.split("+")[0]]


def _server_secrets(chosen: Chosen) -> dict[str, str]:
    store = {} if chosen.serve.capture == "off" else {STORE: chosen.serve.datastore_uri}
    return {TOKEN: chosen.token} | store | _given(chosen, REGISTRY, *OF_REGISTRY)


def _job_secrets(chosen: Chosen) -> dict[str, str]:
    """Return the variables of the steps: where the registry, the storage and each verb's store are."""
    found = _given(chosen, REGISTRY, *OF_REGISTRY, *OF_STORAGE)
    for _, options in chosen.scheduled:
        values = options.items()
        for item in options.declared():
            if item.secret:
                value = str(values[item.name])
                found[item.variable] = chosen.serve.datastore_uri if value == LOCAL_STORE else value
    return found


def _given(chosen: Chosen, *names: str) -> dict[str, str]:
    return {name: value for name in names if (value := chosen.variables.get(name))}


# Refuse what is fine on one machine, and of no use to a pod.


def _server_faults(chosen: Chosen) -> Iterator[str]:
    if not chosen.token:
        yield (
            f"{TOKEN} is not set: a server that others reach needs a token; "
            "python3 -c 'import secrets; print(secrets.token_urlsafe())' makes one"
        )
    yield from _registry_faults(chosen.variables.get(REGISTRY, ""))
    if chosen.serve.capture != "off":
        yield from _store_faults(
            "the server's datastore_uri", "SPAMCTL_SERVE_DATASTORE_URI", chosen.serve.datastore_uri
        )
    if chosen.serve.spamd != NONE:
        yield (
            f"the server's spamd {chosen.serve.spamd}: its protocol knows no token, so it is not deployed: "
            "take it out, and run spamctl serve --spamd beside the mail server"
        )
    yield from _odd_values("serve", chosen.serve)


def _registry_faults(uri: str) -> Iterator[str]:
    """Yield why pods could not reach the registry of models."""
    parts = _split(uri)
    if parts is None or parts.scheme not in {"http", "https"}:
        told = f"{without_password(uri)} is none" if uri else "it is not set"
        yield f"{REGISTRY}: pods need an MLflow server, and {told}: set it to an address such as http://mlflow:5000"
    elif is_local(parts.hostname or ""):
        yield f"{REGISTRY}: {without_password(uri)} is this machine, which pods do not reach: name the server's host"


def _store_faults(what: str, variable: str, address: str) -> Iterator[str]:
    """Yield why pods could not share a store."""
    parts = _split(address)
    if parts is None or parts.scheme.split("+")[0] not in POSTGRESQL:
        yield (
            f"{what}: {without_password(address)} is a file of one machine, and pods share a database: "
            f"set {variable} to an address such as postgresql://user:password@host/spam"
        )
    elif is_local(parts.hostname or ""):
        yield f"{what}: {without_password(address)} is this machine, which pods do not reach: set {variable}"


def _split(address: str) -> SplitResult | None:
    """Take an address apart; None if it is none."""
    try:
        parts = urlsplit(address)
        return parts if parts.scheme and (parts.port is None or parts.port > 0) else None
    except ValueError:
        return None


def is_local(host: str) -> bool:
    """Return whether a host is this machine, or none."""
    if host in _LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _workflow_faults(chosen: Chosen) -> Iterator[str]:
    """Yield the options of workflows that name this machine's files or stores, or need a terminal."""
    if chosen.options.datastore != NONE and chosen.options.schedule("score") and not chosen.has_messages:
        yield "--score-schedule: there is nothing to score: name messages in a file for --score"
    for verb, options in chosen.scheduled:
        yield from _odd_values(verb, options)
        values = options.items()
        for item in options.declared():
            value = str(values[item.name])
            if item.secret and value not in {NONE, LOCAL_STORE} and item.name != "webhook":
                yield from _store_faults(f"{item.name} of {verb}", item.variable, value)
            elif item.name in READ + WRITTEN and _names_a_file(value):
                yield f"{item.name} of {verb}: {value} is a file of this machine, which pods do not have: use s3://"
        if verb == "label" and values.get("source") == "review":
            yield "source of label: review needs a person at a terminal: use another source, or spamctl label here"
        if values.get("watch", NONE) != NONE:
            yield f"watch of {verb}: a workflow runs once: use --{verb}-schedule instead"


def _names_a_file(value: str) -> bool:
    return any(one.strip() not in WORDS and "://" not in one for one in value.split(",")) and value != "-"


def _odd_values(verb: str, options: Options) -> Iterator[str]:
    """Yield values that YAML, or Argo's own braces, would not carry unchanged."""
    for name, value in changed(options).items():
        if not str(value).isprintable() or "{{" in str(value):
            yield f"{name} of {verb}: {value!r} holds a control character or {{{{: leave it out"


def _next(deployment: Deployment, to: Path) -> Iterator[str]:
    """Yield what to type next."""
    image, chart, secret, workflows = (shlex.quote(str(to / n)) for n in ("image", "chart", "secret.yaml", "workflows"))
    for target, name in (("serve", deployment.images.serve), ("jobs", deployment.images.jobs)):
        if target == "serve" or deployment.workflows:
            yield f"buildah build --target {target} --tag {name} {image}"
            yield f"buildah push {name}"
    yield f"kubectl apply --namespace {deployment.namespace} --filename {secret}"
    yield f"helm upgrade --install {deployment.release} {chart} --namespace {deployment.namespace}"
    if deployment.workflows:
        yield f"kubectl apply --filename {workflows}"
