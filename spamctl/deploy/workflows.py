"""Make Argo's workflow templates from the flows: Metaflow writes them, and the user's options go in."""

from __future__ import annotations

import importlib.util
import json
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

from spamctl import folders
from spamctl.errors import UnavailableError, UsageError
from spamctl.schema.codec import JsonObject
from spamctl.schema.serve import Deployment, Scalar, Workflow, jobs_secret

ENDPOINT: Final = "METAFLOW_S3_ENDPOINT_URL"
CONNECT_S: Final = 5.0
PATIENCE_S: Final = 600.0
ARGO: Final = "argoproj.io/v1alpha1"
_THREADS: Final = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_NOTED: Final = "metaflow/parameters"
_USER: Final = 10_001  # of both images
_TROUBLE: Final = ("S3", "s3://", "endpoint", "redentials", "bucket", "Bucket")  # of the storage, in Metaflow's words


def templates(deployment: Deployment, environment: Mapping[str, str]) -> dict[str, list[JsonObject]]:
    """Return the objects of each verb: its WorkflowTemplate, and the CronWorkflow that starts it, if any does.

    Metaflow uploads the flow's code to the datastore, whence every step takes it. `environment` is that of the child
    processes. Raises UnavailableError if the datastore does not take it.
    """
    return {one.verb: _objects(one, deployment, environment) for one in deployment.workflows}


def require_usable(environment: Mapping[str, str]) -> None:
    """Refuse within a moment what Metaflow would refuse after a minute.

    Raises UsageError if it cannot write workflows here, and UnavailableError if nobody listens where S3 should be.
    """
    if importlib.util.find_spec("kubernetes") is None:
        raise UsageError(
            "--datastore: workflows need the package kubernetes: pip install 'spamctl[deploy]', or leave it out"
        )
    if endpoint := environment.get(ENDPOINT):
        parts = urlsplit(endpoint)
        try:
            port = parts.port or {"http": 80, "https": 443}[parts.scheme]
            socket.create_connection((parts.hostname or "", port), timeout=CONNECT_S).close()
        except (OSError, ValueError, KeyError) as error:
            reason = getattr(error, "strerror", None) or "it is no address"
            raise UnavailableError(f"{ENDPOINT}: {endpoint} does not answer: {reason}; correct it") from None


def _objects(workflow: Workflow, deployment: Deployment, environment: Mapping[str, str]) -> list[JsonObject]:
    name = f"{deployment.release}-{workflow.verb}"
    template = _with_options(_created(workflow.verb, name, deployment, environment), workflow.options)
    cron = [_cron(name, workflow.schedule, deployment)] if workflow.schedule else []
    return [_bounded(template, deployment.step_cpus), *cron]


def _created(verb: str, name: str, deployment: Deployment, environment: Mapping[str, str]) -> Any:
    """Have Metaflow write the template of a flow, and return it without its empty fields."""
    command = [
        *(sys.executable, "-m", f"spamctl.flows.{verb}", "--no-pylint", "--datastore", "s3", "--with", "kubernetes"),
        *("argo-workflows", "--name", name, "create", "--only-json", "--new-token", name),
        "--no-enable-error-msg-capture",
    ]
    settings = {
        "METAFLOW_DATASTORE_SYSROOT_S3": deployment.datastore,
        "METAFLOW_KUBERNETES_CONTAINER_IMAGE": deployment.images.jobs,
        "METAFLOW_KUBERNETES_NAMESPACE": deployment.namespace,
        "METAFLOW_KUBERNETES_SECRETS": jobs_secret(deployment),
        "METAFLOW_KUBERNETES_CPU": str(deployment.step_cpus),
        "METAFLOW_KUBERNETES_MEMORY": str(deployment.step_memory_mib),
        "METAFLOW_S3_RETRY_COUNT": "1",
        "METAFLOW_S3_TRANSIENT_RETRY_COUNT": "1",
        "AWS_MAX_ATTEMPTS": "2",
    }
    try:
        with folders.temporary_folder("deploy") as place:
            surroundings = {**environment, **settings, "METAFLOW_TEMPDIR": str(place)}
            done = subprocess.run(
                command, env=surroundings, capture_output=True, text=True, check=False, timeout=PATIENCE_S
            )
    except subprocess.TimeoutExpired:
        raise UnavailableError(f"--datastore {deployment.datastore}: took the code of no flow in time") from None
    try:
        return _filled(json.loads(done.stdout))
    except ValueError:
        raise UnavailableError(
            f"--datastore {deployment.datastore}: Metaflow wrote no workflow for {verb}: {_reason(done.stderr)}; "
            "check the bucket, METAFLOW_S3_ENDPOINT_URL and the AWS_* variables"
        ) from None


def _reason(told: str) -> str:
    """Return the line of Metaflow's output that names the trouble, else the last one."""
    lines = [line.strip() for line in told.splitlines() if line.strip()]
    named = [line for line in lines if any(word in line for word in _TROUBLE)]
    last = (named or lines or ["it said nothing"])[-1]
    before = lines[lines.index(last) - 1] if last.startswith("s3://") and lines.index(last) else ""
    return f"{before} {last}".strip()[:300]


def _filled(value: Any) -> Any:
    """Return a JSON value without the keys that hold null."""
    if isinstance(value, dict):
        return {name: _filled(each) for name, each in value.items() if each is not None}
    return [_filled(each) for each in value] if isinstance(value, list) else value


def _with_options(template: Any, options: Mapping[str, Scalar]) -> Any:
    """Put options into a template as the values of its parameters: Metaflow reads each as JSON."""
    spelt = {name.replace("_", "-"): json.dumps(value) for name, value in options.items()}
    spec = template.get("spec")
    given = spec.get("arguments").get("parameters")
    if missing := spelt.keys() - {parameter.get("name") for parameter in given}:
        raise ValueError(f"the flow has no parameter {', '.join(sorted(missing))}")
    for parameter in given:
        parameter.update(value=spelt.get(parameter.get("name"), parameter.get("value")))
    for about in (template.get("metadata"), spec.get("workflowMetadata"), spec.get("podMetadata")):
        notes = about.get("annotations")
        described = json.loads(notes.get(_NOTED))
        for name, value in spelt.items():
            described.get(name).update(value=value)
        notes.update({_NOTED: json.dumps(described)})
    return template


def _bounded(template: Any, cpus: int) -> JsonObject:
    """Run a template's steps as the images' user, on as many threads as cores are asked for: a node may have many."""
    spec = template.get("spec")
    user = {"runAsNonRoot": True, "runAsUser": _USER, "runAsGroup": _USER, "fsGroup": _USER}
    spec.update(securityContext={**user, "seccompProfile": {"type": "RuntimeDefault"}})
    threads = [{"name": name, "value": str(cpus)} for name in _THREADS]
    for each in spec.get("templates"):
        if container := each.get("container"):
            container.get("env").extend(threads)
    written: JsonObject = template
    return written


def _cron(name: str, schedule: str, deployment: Deployment) -> JsonObject:
    """Return what starts a template on a schedule, one run at a time."""
    return {
        "apiVersion": ARGO,
        "kind": "CronWorkflow",
        "metadata": {"name": name, "namespace": deployment.namespace},
        "spec": {
            "schedules": [schedule],
            "timezone": "Etc/UTC",
            "concurrencyPolicy": "Forbid",
            "startingDeadlineSeconds": 600,
            "workflowSpec": {"workflowTemplateRef": {"name": name}},
        },
    }
