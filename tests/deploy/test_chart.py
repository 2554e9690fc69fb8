"""Helm reads the chart, Kubernetes' own schemas accept what it renders, and wrong values are refused in words."""

import json
from pathlib import Path

import pytest
import yaml

from spamctl.config.serve import ServeOptions
from tests.deploy.conftest import VARIABLES
from tests.each import each

pytestmark = pytest.mark.scale
RELEASE = "1.37"  # of Kubernetes, whose schemas are asked
OPTIONS = (
    "capture: best-effort\ncached_rows: 10000000\ncapture_seconds: 1.5\nmodel_version: '7'\n"
    'allowed_hosts: "yes, 0o17, {a}: <b> & \'c\' \\" \\\\ $(id) é"\n'
)


@pytest.fixture
def schemas():
    """Return the checker of Kubernetes' schemas."""
    return pytest.importorskip("kubernetes_validate", reason="pip install kubernetes-validate, or make set-up")


def test_helm_finds_nothing_wrong(deploy, helm):
    assert deploy(serve=OPTIONS).code == 0
    done = helm("lint", "--strict", "out/chart")
    assert done.code == 0, done.out
    assert "1 chart(s) linted, 0 chart(s) failed" in done.out


@each("text", ["", OPTIONS])
def test_kubernetes_schemas_accept_every_object(deploy, rendered, schemas, text):
    assert deploy(serve=text).code == 0
    objects = rendered()
    assert objects.keys() == {
        *("ConfigMap", "Deployment", "Service", "HorizontalPodAutoscaler", "PodDisruptionBudget", "NetworkPolicy"),
        "ServiceMonitor",
    }
    secrets = list(yaml.safe_load_all(Path("out/secret.yaml").read_text(encoding="utf-8")))
    for one in [*objects.values(), *secrets]:
        if one["kind"] != "ServiceMonitor":  # whose schema is not Kubernetes' own
            schemas.validate(one, RELEASE, strict=True)


def test_the_schemas_do_refuse_a_wrong_key(deploy, rendered, schemas):
    assert deploy().code == 0
    deployment = rendered()["Deployment"]
    deployment["spec"]["template"]["spec"]["containers"][0]["livenessProb"] = {}
    with pytest.raises(schemas.ValidationError):
        schemas.validate(deployment, RELEASE, strict=True)


def test_options_reach_the_server_unchanged(deploy, rendered):
    assert deploy(serve=OPTIONS).code == 0
    assert rendered()["ConfigMap"]["data"] == {
        "SPAMCTL_SERVE_CAPTURE": "best-effort",
        "SPAMCTL_SERVE_CACHED_ROWS": "10000000",
        "SPAMCTL_SERVE_CAPTURE_SECONDS": "1.5",
        "SPAMCTL_SERVE_MODEL_VERSION": "7",
        "SPAMCTL_SERVE_ALLOWED_HOSTS": "yes, 0o17, {a}: <b> & 'c' \" \\ $(id) é",
    }


def test_every_variable_of_a_pod_is_one_that_spamctl_knows(deploy, rendered):
    assert deploy().code == 0
    objects = rendered()
    assert objects["ConfigMap"]["data"] == {"SPAMCTL_SERVE_ALLOWED_HOSTS": "*"}
    pod = objects["Deployment"]["spec"]["template"]["spec"]
    assert pod["enableServiceLinks"] is False
    (container,) = pod["containers"]
    assert container["envFrom"] == [{"configMapRef": {"name": "spamctl"}}, {"secretRef": {"name": "spamctl"}}]


def test_a_pod_may_do_little(deploy, rendered):
    assert deploy().code == 0
    pod = rendered()["Deployment"]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["automountServiceAccountToken"] is False
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert pod["terminationGracePeriodSeconds"] > ServeOptions().drain_seconds + 5
    probes = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert probes == {"startup": "/ready", "readiness": "/ready", "liveness": "/ping"}


def test_replicas_follow_the_queue_and_prometheus_has_the_token(deploy, rendered):
    assert deploy("--min-replicas", "3", "--max-replicas", "9", "--waiting-rows", "50").code == 0
    objects = rendered()
    scaler = objects["HorizontalPodAutoscaler"]["spec"]
    assert (scaler["minReplicas"], scaler["maxReplicas"]) == (3, 9)
    assert scaler["metrics"][0]["pods"] == {
        "metric": {"name": "spamctl_waiting_rows"},
        "target": {"type": "AverageValue", "averageValue": "50"},
    }
    (endpoint,) = objects["ServiceMonitor"]["spec"]["endpoints"]
    assert endpoint["authorization"] == {"credentials": {"name": "spamctl", "key": "SPAMCTL_SERVE_TOKEN"}}
    ports = objects["NetworkPolicy"]["spec"]["egress"][0]["ports"]
    assert [port["port"] for port in ports] == [53, 53, 5000, 5433]


def test_without_prometheus_operator_there_is_no_monitor_of_its(deploy, helm):
    assert deploy().code == 0
    done = helm("template", "spamctl", "out/chart")
    assert done.code == 0
    assert "ServiceMonitor" not in done.out


def test_nothing_rendered_holds_a_secret(deploy, helm):
    assert deploy().code == 0
    done = helm("template", "spamctl", "out/chart", "--api-versions", "monitoring.coreos.com/v1")
    assert VARIABLES["SPAMCTL_SERVE_TOKEN"] not in done.out
    assert "w0rd" not in done.out


REFUSED = {
    "serve.max_rows=0": "at '/serve/max_rows': minimum: got 0, want 1",
    "serve.capture=never": "at '/serve/capture': value must be one of 'required', 'best-effort', 'off'",
    "serve.max_row=5": "at '/serve': additional properties 'max_row' not allowed",
    "serve.datastore_uri=postgresql://a:b@c/d": "at '/serve': additional properties 'datastore_uri' not allowed",
    "serve.port=9000": "at '/serve': additional properties 'port' not allowed",
    "scaling.minReplicas=none": "at '/scaling/minReplicas': got string, want integer",
    "replicas=3": "additional properties 'replicas' not allowed",
}


def test_wrong_values_are_refused_in_words(deploy, helm):
    assert deploy().code == 0
    told = {setting: helm("template", "spamctl", "out/chart", "--set", setting) for setting in REFUSED}
    assert not [setting for setting, done in told.items() if done.code == 0]
    assert not [done.err for setting, done in told.items() if REFUSED[setting] not in done.err]


def test_every_default_fits_the_schema(deploy):
    checker = pytest.importorskip("jsonschema", reason="pip install jsonschema, or make set-up")
    assert deploy().code == 0
    described = json.loads(Path("out/chart/values.schema.json").read_text(encoding="utf-8"))["properties"]["serve"]
    defaults = {item.name: item.default for item in ServeOptions.declared() if item.name in described["properties"]}
    checker.validate(defaults, described)
    with pytest.raises(checker.ValidationError):
        checker.validate(defaults | {"max_rows": 0}, described)
