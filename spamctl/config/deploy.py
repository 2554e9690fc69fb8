"""Declare the options of `spamctl deploy`, and describe another verb's options as a JSON schema."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, ClassVar, Final

from annotated_types import Ge, Gt, Le

from spamctl import __version__
from spamctl.config.options import Fault, Option, Options, Scalar, option, shown
from spamctl.schema.codec import JsonObject

VERBS: Final = ("train", "label", "monitor", "score")  # that run as workflows
NONE: Final = "none"
# Of the server, what the chart decides: where it listens is the image's, and secrets come from the Secret.
FIXED: Final = frozenset({"host", "port", "token_file", "insecure", "spamd", "datastore_uri"})

_LABEL = re.compile(r"[a-z](?:[-a-z0-9]{0,38}[a-z0-9])?")  # leaves room for what Argo adds to a name
_IMAGE = re.compile(r"[a-z0-9]+(?:[._:/-]+[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]{0,127}")
_BUCKET = re.compile(r"s3://[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](?:/[A-Za-z0-9._-]+)+")
_CRON = re.compile(r"(?:[0-9A-Za-z*/,?-]+ ){4}[0-9A-Za-z*/,?-]+")


@dataclass(frozen=True, kw_only=True)
class DeployOptions(Options):
    """Options of a deployment."""

    verb: ClassVar[str] = "deploy"
    summary: ClassVar[str] = "Write the files that build images and run spamctl on Kubernetes: Helm chart, workflows."
    example: ClassVar[str] = "spamctl deploy --to deployment --serve configs/serve/gateway.yaml"

    to: str = option(
        "deployment", "Folder to write: a new one, or that of an earlier deployment, which is replaced.", group="Output"
    )

    release: str = option("spamctl", "Name of the release, and of everything in the cluster.", group="Cluster")
    kubernetes_namespace: str = option("default", "Namespace of the workflows.", group="Cluster")
    image: str = option(
        "spamctl", "Repository of the images with its registry's host; -serve and -jobs are appended.", group="Cluster"
    )
    image_tag: str = option(__version__, "Tag of the images.", group="Cluster")
    min_replicas: Annotated[int, Ge(1), Le(1000)] = option(2, "Minimum number of servers.", group="Cluster")
    max_replicas: Annotated[int, Ge(1), Le(1000)] = option(10, "Maximum number of servers.", group="Cluster")
    waiting_rows: Annotated[int, Ge(1), Le(1_000_000)] = option(
        100, "Messages waiting per server, on average, above which servers are added.", group="Cluster", advanced=True
    )
    cpus: Annotated[int, Ge(1), Le(256)] = option(2, "CPU cores per server.", group="Cluster", advanced=True)
    memory_mib: Annotated[int, Ge(256), Le(1_048_576)] = option(
        2048, "Memory per server, in mebibytes.", group="Cluster", advanced=True
    )

    serve: str = option(NONE, "YAML file of options for spamctl serve, as for its --config.", group="Values")
    train: str = option(NONE, "YAML file of options for spamctl train, as for its --config.", group="Values")
    label: str = option(NONE, "YAML file of options for spamctl label, as for its --config.", group="Values")
    monitor: str = option(NONE, "YAML file of options for spamctl monitor, as for its --config.", group="Values")
    score: str = option(NONE, "YAML file of options for spamctl score, as for its --config.", group="Values")

    datastore: str = option(
        NONE,
        "S3 folder in which Metaflow keeps runs, such as s3://bucket/metaflow; none: no workflows.",
        group="Workflows",
    )
    step_cpus: Annotated[int, Ge(1), Le(256)] = option(
        4, "CPU cores of a workflow's step.", group="Workflows", advanced=True
    )
    step_memory_mib: Annotated[int, Ge(256), Le(1_048_576)] = option(
        8192, "Memory of a workflow's step, in mebibytes.", group="Workflows", advanced=True
    )
    train_schedule: str = option(NONE, "When to train, as cron writes it, such as 0 3 * * 0.", group="Workflows")
    label_schedule: str = option(NONE, "When to label, as cron writes it.", group="Workflows")
    monitor_schedule: str = option(NONE, "When to monitor, as cron writes it, such as 7 * * * 1-5.", group="Workflows")
    score_schedule: str = option(NONE, "When to score, as cron writes it.", group="Workflows")

    def faults(self) -> Iterator[Fault]:
        """Yield names that Kubernetes or a registry of images would refuse, and schedules without workflows."""
        for name, pattern, words in (
            ("release", _LABEL, "must be 1 to 40 small letters, digits and dashes, and begin with a letter"),
            ("kubernetes_namespace", _LABEL, "must be 1 to 40 small letters, digits and dashes"),
            ("image", _IMAGE, "must be a repository such as registry.example.org/team/spamctl, without a tag"),
            ("image_tag", _TAG, "must be letters, digits and . _ - alone"),
        ):
            if not pattern.fullmatch(given := str(self.items()[name])):
                yield Fault((name,), f"{words}, got {shown(given)}")
        if self.max_replicas < self.min_replicas:
            words = f"must be at least --min-replicas {self.min_replicas}, got {self.max_replicas}"
            yield Fault(("max_replicas", "min_replicas"), words)
        if self.datastore != NONE and not _BUCKET.fullmatch(self.datastore):
            words = f"must be a folder in a bucket, such as s3://bucket/metaflow, or none, got {shown(self.datastore)}"
            yield Fault(("datastore",), words)
        yield from self._schedule_faults()

    def _schedule_faults(self) -> Iterator[Fault]:
        for verb in VERBS:
            name, given = f"{verb}_schedule", self.schedule(verb)
            if given and not _CRON.fullmatch(given):
                yield Fault((name,), f"must be five fields of cron, such as 0 3 * * 0, or none, got {shown(given)}")
            elif given and self.datastore == NONE:
                yield Fault((name, "datastore"), "needs --datastore: without one there are no workflows")

    def values_of(self, verb: str) -> str:
        """Return the YAML file of a verb's options, or nothing."""
        given = str(self.items()[verb])
        return "" if given == NONE else given

    def schedule(self, verb: str) -> str:
        """Return when a verb is to run, or nothing."""
        given = str(self.items()[f"{verb}_schedule"])
        return "" if given == NONE else given


def changed(options: Options, *, without: frozenset[str] = frozenset()) -> dict[str, Scalar]:
    """Return the options that differ from their defaults, by name, without secrets and those named."""
    defaults = {item.name: item.default for item in options.declared()}
    return {
        name: value
        for name, value in options.recorded().items()
        if name not in without and (value, type(value)) != (defaults[name], type(defaults[name]))
    }


def json_schema(options: type[Options], *, without: frozenset[str]) -> JsonObject:
    """Describe a verb's options, secrets and those named left out, as a JSON schema that allows no other key."""
    listed = [item for item in options.declared() if not item.secret and item.name not in without]
    properties = {item.name: _property(item) for item in listed}
    return {"type": "object", "additionalProperties": False, "properties": properties}


_TYPES = {int: "integer", float: "number", bool: "boolean", str: "string"}


def _property(item: Option) -> JsonObject:
    described: JsonObject = {"type": _TYPES[item.kind], "description": item.help}
    if item.choices:
        described |= {"enum": list(item.choices)}
    for bound in item.bounds:
        if isinstance(bound, Ge):
            described |= {"minimum": bound.ge}
        elif isinstance(bound, Gt):
            described |= {"exclusiveMinimum": bound.gt}
        elif isinstance(bound, Le):
            described |= {"maximum": bound.le}
        else:
            described |= {"exclusiveMaximum": bound.lt}
    return described
