"""Write the folder of a deployment: what builds the images, the Helm chart, the workflows and the secrets."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import yaml

import spamctl
from spamctl import folders
from spamctl.deploy import requirements
from spamctl.errors import UsageError
from spamctl.schema.codec import JsonObject, to_json
from spamctl.schema.serve import Deployment, jobs_secret

MARK: Final = ".spamctl-deployment"  # in every folder that this module wrote, and may replace
SECRET: Final = "secret.yaml"  # noqa: S105 - a file's name
PACKAGE: Final = Path(spamctl.__file__).parent
FILES: Final = Path(__file__).parent / "files"
_UNSHIPPED: Final = ("__pycache__", "*.pyc")
# Words and numbers that a reader of YAML 1.1 or 1.2 would not take for text stay quoted, and so does all that is odd.
_PLAIN: Final = re.compile(r"(?!(?:y|n|yes|no|on|off|true|false|null)\Z)[A-Za-z][A-Za-z0-9._/-]*", re.IGNORECASE)


def write(deployment: Deployment, workflows: Mapping[str, Sequence[JsonObject]], to: Path) -> dict[str, str]:
    """Write the folder, in place of an earlier one, and return its parts with what each is for.

    `workflows` are the objects of each verb. What was there is replaced when everything is written. Raises UsageError
    if the folder is another's, or cannot be written.
    """
    require_ours(to)
    try:
        with folders.temporary_folder("deploy") as place:
            parts = _write(deployment, workflows, place)
            to.parent.mkdir(parents=True, exist_ok=True)
            if to.exists():
                shutil.rmtree(to)
            shutil.copytree(place, to)
            (to / SECRET).chmod(0o600)
    except OSError as error:
        raise UsageError(f"--to {to}: cannot be written: {error.strerror or error}; name another folder") from None
    return parts


def require_ours(to: Path) -> None:
    """Raise UsageError if a folder exists that no deployment was written to."""
    if to.exists() and not (to / MARK).is_file() and not (to.is_dir() and not any(to.iterdir())):
        raise UsageError(f"--to {to}: exists and is no deployment: name a new folder, or remove it")


def _write(deployment: Deployment, workflows: Mapping[str, Sequence[JsonObject]], place: Path) -> dict[str, str]:
    (place / MARK).write_text(f"{spamctl.__version__}\n", encoding="utf-8")
    _images(place / "image")
    _chart(deployment, place / "chart")
    secret = place / SECRET
    secret.touch(mode=0o600)
    secret.write_text("---\n".join(map(_document, _secrets(deployment))), encoding="utf-8")
    for verb, objects in workflows.items():
        (place / "workflows").mkdir(exist_ok=True)
        documents = "---\n".join(map(_document, objects))
        (place / "workflows" / f"{verb}.yaml").write_text(documents, encoding="utf-8")
    parts = {
        "image": f"builds {deployment.images.serve} and {deployment.images.jobs}",
        "chart": f"Helm chart of the server: {deployment.scaling.min_replicas} to {deployment.scaling.max_replicas}",
        SECRET: "token, store and registry; for you alone: apply it, then delete it",
    }
    if workflows:
        parts |= {"workflows": f"Argo WorkflowTemplates: {', '.join(workflows)}"}
    return parts


def _images(place: Path) -> None:
    """Write what builds the images: the Containerfile, the locks and this very package."""
    shutil.copytree(PACKAGE, place / "spamctl", ignore=shutil.ignore_patterns(*_UNSHIPPED))
    python = f"{sys.version_info.major}.{sys.version_info.minor}"
    recipe = (FILES / "image" / "Containerfile").read_text(encoding="utf-8").replace("@python@", python)
    (place / "Containerfile").write_text(recipe, encoding="utf-8")
    for name, lines in (("serve", requirements.serving_lock()), ("jobs", requirements.jobs_lock())):
        (place / f"{name}.lock").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _chart(deployment: Deployment, place: Path) -> None:
    shutil.copytree(FILES / "chart", place)
    about: JsonObject = {
        "apiVersion": "v2",
        "name": "spamctl",
        "description": "spamctl serve with several replicas",
        "type": "application",
        "version": spamctl.__version__,
        "appVersion": spamctl.__version__,
        "kubeVersion": ">=1.30.0-0",  # of the pause before a pod stops
    }
    (place / "Chart.yaml").write_text(_document(about), encoding="utf-8")
    (place / "values.yaml").write_text(_values(deployment), encoding="utf-8")
    schema = json.dumps(_schema(deployment), indent=2)
    (place / "values.schema.json").write_text(f"{schema}\n", encoding="utf-8")


def _values(deployment: Deployment) -> str:
    """Return the chart's values with what each is for; none is a secret."""
    parts: list[tuple[str, JsonObject]] = [
        ("The image that serves.", {"image": deployment.images.serve}),
        ("The Secret with token, store and registry: secret.yaml makes it.", {"secret": deployment.release}),
        ("Replicas, and what each may use; waitingRows per replica is what they are kept at.",
         {"scaling": to_json(deployment.scaling)}),
        ("Seconds for the answers in hand when a pod stops: drain_seconds and a margin.",
         {"gracePeriodSeconds": deployment.grace_seconds}),
        ("Ports of the store and of the registry.", {"egressPorts": list(deployment.egress_ports)}),
        ("Options of spamctl serve, but for secrets; spamctl serve --help-all explains them.",
         {"serve": dict(deployment.serve)}),
    ]  # fmt: skip
    return "\n".join(f"# {purpose}\n{_document(value)}" for purpose, value in parts)


def _schema(deployment: Deployment) -> JsonObject:
    """Return the JSON schema by which Helm refuses wrong values."""

    def whole(least: int, most: int) -> JsonObject:
        return {"type": "integer", "minimum": least, "maximum": most}

    def exactly(properties: JsonObject) -> JsonObject:
        return {
            "type": "object",
            "additionalProperties": False,
            "required": list(properties),
            "properties": properties,
        }

    text: JsonObject = {"type": "string", "minLength": 1}
    scaling: JsonObject = {
        "minReplicas": whole(1, 1000),
        "maxReplicas": whole(1, 1000),
        "waitingRows": whole(1, 1_000_000),
        "cpus": whole(1, 256),
        "memoryMiB": whole(256, 1_048_576),
    }
    values: JsonObject = {
        "image": text,
        "secret": text,
        "scaling": exactly(scaling),
        "gracePeriodSeconds": whole(1, 7200),
        "egressPorts": {"type": "array", "items": whole(1, 65_535)},
        "serve": deployment.serve_schema,
    }
    # Helm adds `global` on its own.
    with_global = {**values, "global": {"type": "object"}}
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **exactly(values), "properties": with_global}


def _secrets(deployment: Deployment) -> list[JsonObject]:
    """Return the Secret of the server and, where there are workflows, that of their steps."""
    named = {deployment.release: deployment.secrets}
    if deployment.workflows:
        named[jobs_secret(deployment)] = deployment.job_secrets
    return [
        {
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": name},
            "type": "Opaque",
            "stringData": dict(variables),
        }
        for name, variables in named.items()
    ]


class _Dumper(yaml.SafeDumper):
    """Writer of YAML whose text is quoted wherever any reader might take it for something else."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=None if _PLAIN.fullmatch(text) else '"')


_Dumper.add_representer(str, _text)


def _document(value: JsonObject) -> str:
    """Return a value as one document of YAML in ASCII, its keys in the order given."""
    written: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=float("inf"))
    return written
