"""Define the version that a server serves, and what a deployment of servers consists of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from spamctl.schema.codec import JsonObject, key

# Define the version that a server serves, and the result of the serve flow.


@dataclass(frozen=True, slots=True)
class Release:
    """A version that can be served: `folder` holds its package, `alias` is what it was found by, if anything.

    `digest` is the package's, by which it is known even if its number is given to another one; `sealed` tells whether
    the registry knows it too.
    """

    name: str
    version: str
    alias: str
    folder: str
    digest: str = ""
    sealed: bool = True


@dataclass(frozen=True, slots=True)
class Releases:
    """The version to serve, and the one that shadows it, if any."""

    served: Release
    shadow: Release | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeResult(Releases):
    """Releases that were verified: the served one's threshold (a probability of spam) and engine.

    `golden_delta` is the largest change of a golden message's probability on this processor, `seconds` the time that
    verifying took.
    """

    threshold: float
    engine: str
    golden_delta: float
    seconds: float


# Define what a deployment consists of, as plain values, and the result of writing it.

Scalar = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Repository and tag of two images: one that serves, and one that trains, labels, monitors and scores."""

    repository: str
    tag: str

    @property
    def serve(self) -> str:
        """Return the name of the image that serves."""
        return f"{self.repository}-serve:{self.tag}"

    @property
    def jobs(self) -> str:
        """Return the name of the image that runs the steps of flows."""
        return f"{self.repository}-jobs:{self.tag}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaling:
    """Number of replicas, rows that wait per replica before one is added, and the share of a machine of each."""

    min_replicas: int = field(metadata=key("minReplicas"))
    max_replicas: int = field(metadata=key("maxReplicas"))
    waiting_rows: int = field(metadata=key("waitingRows"))
    cpus: int
    memory_mib: int = field(metadata=key("memoryMiB"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Workflow:
    """A verb that Argo runs: its options that differ from the defaults, and its schedule in cron's form, if any."""

    verb: str
    options: Mapping[str, Scalar]
    schedule: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """Everything that the files of a deployment are made of, with the secrets apart.

    `serve` holds the options of the server that differ from their defaults, `serve_schema` is the JSON schema of all
    that may be set. `secrets` are environment variables of every pod, `egress_ports` those that the server calls.
    """

    release: str
    namespace: str
    images: Images
    scaling: Scaling
    serve: Mapping[str, Scalar]
    serve_schema: JsonObject
    grace_seconds: int
    egress_ports: Sequence[int]
    secrets: Mapping[str, str] = field(repr=False)
    job_secrets: Mapping[str, str] = field(repr=False)
    step_cpus: int = 4
    step_memory_mib: int = 8192
    datastore: str = ""  # S3 folder of Metaflow, or nothing: then there are no workflows
    workflows: Sequence[Workflow] = ()


@dataclass(frozen=True, slots=True)
class DeployResult:
    """Folder that was written, its files by what they are for, and what to type next."""

    folder: str
    files: Mapping[str, str]
    next: Sequence[str]


def jobs_secret(deployment: Deployment) -> str:
    """Return the name of the Secret of the workflows' steps."""
    return f"{deployment.release}-jobs"
