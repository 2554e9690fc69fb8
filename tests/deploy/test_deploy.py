"""The command writes a whole folder, keeps secrets out of the chart, and refuses what pods could not use."""

import json
import stat
from pathlib import Path

import pytest
import yaml

from spamctl.config.deploy import FIXED
from spamctl.config.serve import ServeOptions
from tests.deploy.conftest import VARIABLES
from tests.each import each

STORE = VARIABLES["SPAMCTL_SERVE_DATASTORE_URI"]
HOSTILE = [
    "yes",
    "0o17",
    "1e3",
    "a: b # c",
    "{{ .Values.secret }}",
    "'\"\\ $(id) `id` é €",
    "~",
    "- x",
    "!!binary x",
    "@",
]


def texts(folder):
    """Return what every file below a folder says."""
    files = [path for path in Path(folder).rglob("*") if path.is_file()]
    return {path: path.read_text(encoding="utf-8", errors="replace") for path in files}


def values():
    return yaml.safe_load(Path("out/chart/values.yaml").read_text(encoding="utf-8"))


def test_the_folder_is_whole_and_says_what_to_type_next(deploy):
    done = deploy()
    assert (done.code, done.err) == (0, "")
    assert "buildah build --target serve --tag spamctl-serve:0.2.0 out/image" in done.out
    assert "helm upgrade --install spamctl out/chart --namespace default" in done.out
    assert {path.name for path in Path("out").iterdir()} == {".spamctl-deployment", "image", "chart", "secret.yaml"}
    assert {path.name for path in Path("out/image").iterdir()} == {
        *("Containerfile", "serve.lock", "jobs.lock", "spamctl"),
    }
    assert Path("out/image/spamctl/serving/server.py").is_file()
    assert "python:3." in Path("out/image/Containerfile").read_text(encoding="utf-8")


def test_secrets_stand_in_the_secret_alone_which_is_for_its_owner(deploy):
    assert deploy(variables=VARIABLES | {"MLFLOW_TRACKING_PASSWORD": "of-the-registry"}).code == 0
    everywhere = texts("out")
    for secret in (VARIABLES["SPAMCTL_SERVE_TOKEN"], STORE, 'pass\\"w0rd', "of-the-registry"):
        assert {path.name for path, text in everywhere.items() if secret in text} <= {"secret.yaml"}
    (secret,) = yaml.safe_load_all(Path("out/secret.yaml").read_text(encoding="utf-8"))
    assert secret["stringData"] == {**VARIABLES, "MLFLOW_TRACKING_PASSWORD": "of-the-registry"}
    assert stat.S_IMODE(Path("out/secret.yaml").stat().st_mode) == 0o600


def test_the_users_own_options_are_values(deploy):
    text = "capture: best-effort\ncached_rows: 10000000\ncapture_seconds: 1.5\ndrain_seconds: 90\nport: 9000\n"
    assert deploy(serve=text).code == 0
    wanted = {"capture": "best-effort", "cached_rows": 10_000_000, "capture_seconds": 1.5, "drain_seconds": 90.0}
    assert values()["serve"] == wanted
    assert values()["gracePeriodSeconds"] == 110
    assert values()["egressPorts"] == [5000, 5433]


def test_a_default_is_not_restated(deploy):
    assert deploy(serve="capture: required\nport: 8080\n").code == 0
    assert values()["serve"] == {}


@each("value", HOSTILE)
def test_an_odd_value_is_the_same_after_yaml(deploy, value):
    done = deploy(serve=f"allowed_hosts: {json.dumps(value)}\n")
    if "{{" in value:
        assert done.code == 2
        assert "allowed_hosts of serve: " in done.err
    else:
        assert done.code == 0
        assert values()["serve"] == {"allowed_hosts": value}


def test_the_schema_lists_every_option_of_the_server_but_secrets_and_what_the_chart_decides(deploy):
    assert deploy().code == 0
    schema = json.loads(Path("out/chart/values.schema.json").read_text(encoding="utf-8"))
    options = schema["properties"]["serve"]
    declared = {item.name: item for item in ServeOptions.declared()}
    assert options["properties"].keys() == declared.keys() - FIXED
    assert options["additionalProperties"] is False
    assert not [item for item in declared.values() if item.secret and item.name in options["properties"]]
    assert options["properties"]["max_rows"] | {"description": ""} == {
        "type": "integer",
        "description": "",
        "minimum": 1,
        "maximum": 1_000_000,
    }


def test_an_earlier_deployment_is_replaced_and_nothing_else_is(deploy):
    assert deploy().code == 0
    Path("out/chart/left.yaml").write_text("left: 1\n", encoding="utf-8")
    assert deploy(serve="max_rows: 7\n").code == 0
    assert values()["serve"] == {"max_rows": 7}
    assert not Path("out/chart/left.yaml").exists()
    Path("out/.spamctl-deployment").unlink()
    done = deploy()
    assert done.code == 2
    assert done.err == "spamctl: --to out: exists and is no deployment: name a new folder, or remove it\n"
    assert Path("out/secret.yaml").is_file()


@each(
    ("changed", "told"),
    [
        ({"SPAMCTL_SERVE_TOKEN": ""}, "SPAMCTL_SERVE_TOKEN is not set: a server that others reach needs a token"),
        ({"SPAMCTL_SERVE_TOKEN": "short"}, "SPAMCTL_SERVE_TOKEN: must hold at least 16 ASCII characters"),
        ({"MLFLOW_TRACKING_URI": ""}, "MLFLOW_TRACKING_URI: pods need an MLflow server, and it is not set"),
        ({"MLFLOW_TRACKING_URI": "sqlite:///m.db"}, "MLFLOW_TRACKING_URI: pods need an MLflow server, and sqlite"),
        (
            {"MLFLOW_TRACKING_URI": "http://localhost:5000"},
            "MLFLOW_TRACKING_URI: http://localhost:5000 is this",
        ),
        ({"MLFLOW_TRACKING_URI": "http://u:pw@[::1]:1"}, "MLFLOW_TRACKING_URI: http://u:***@[::1]:1 is this machine"),
        ({"SPAMCTL_SERVE_DATASTORE_URI": "spam.db"}, "the server's datastore_uri: spam.db is a file of one machine"),
        (
            {"SPAMCTL_SERVE_DATASTORE_URI": "postgresql://a:pw@127.0.0.1/spam"},
            "the server's datastore_uri: postgresql://a:***@127.0.0.1/spam is this machine",
        ),
        ({"SPAMCTL_DEPLOY_RELEASE": "Spam_1"}, "SPAMCTL_DEPLOY_RELEASE: must be 1 to 40 small letters"),
        ({"SPAMCTL_DEPLOY_IMAGE": "a b"}, "SPAMCTL_DEPLOY_IMAGE: must be a repository such as"),
        ({"SPAMCTL_DEPLOY_MIN_REPLICAS": "20"}, "SPAMCTL_DEPLOY_MIN_REPLICAS: must be at least"),
        ({"SPAMCTL_DEPLOY_DATASTORE": "/metaflow"}, "SPAMCTL_DEPLOY_DATASTORE: must be a folder in a bucket"),
        ({"SPAMCTL_DEPLOY_TRAIN_SCHEDULE": "daily"}, "SPAMCTL_DEPLOY_TRAIN_SCHEDULE: must be five fields of cron"),
        ({"SPAMCTL_DEPLOY_TRAIN_SCHEDULE": "0 3 * * 0"}, "SPAMCTL_DEPLOY_TRAIN_SCHEDULE: needs --datastore"),
    ],
)
def test_what_pods_could_not_use_is_refused_in_a_line(deploy, changed, told):
    done = deploy(variables=VARIABLES | changed)
    assert done.code == 2
    assert done.err.startswith(f"spamctl: {told}")
    assert done.err.count("\n") == 1
    assert "pw@" not in done.err
    assert not Path("out").exists()


def test_what_is_wrong_in_several_files_is_told_at_once(deploy):
    done = deploy("--label", "gone.yaml", serve="max_rows: 0\nspamd: 127.0.0.1:783\n", train="epocs: 3\n")
    assert done.code == 2
    assert done.err.splitlines() == [
        "spamctl: max_rows in serve.yaml: must be at least 1, got 0",
        "spamctl: epocs in train.yaml: there is no such option; did you mean epochs?",
        "spamctl: --label gone.yaml: there is no such file; name a YAML file as for spamctl label",
    ]


def test_a_protocol_without_a_token_is_not_deployed(deploy):
    done = deploy(serve="spamd: 127.0.0.1:783\n")
    assert done.code == 2
    assert done.err.startswith("spamctl: the server's spamd 127.0.0.1:783: its protocol knows no token")


@each(
    ("verb", "text", "told"),
    [
        ("train", "dataset: mine.csv\n", "dataset of train: mine.csv is a file of this machine"),
        ("monitor", "datastore_uri: other.db\n", "datastore_uri of monitor: other.db is a file of one machine"),
        ("monitor", "watch: 5m\n", "watch of monitor: a workflow runs once: use --monitor-schedule instead"),
        ("label", "source: review\n", "source of label: review needs a person at a terminal"),
        ("score", "messages: inbox.mbox\n", "messages of score: inbox.mbox is a file of this machine"),
        ("score", "messages: s3://mails/\noutput: out/\n", "output of score: out/ is a file of this machine"),
    ],
)
def test_a_workflow_needs_nothing_of_this_machine(deploy, verb, text, told):
    done = deploy("--datastore", "s3://bucket/metaflow", variables=VARIABLES | NOBODY, **{verb: text})
    assert done.err.startswith(f"spamctl: {told}")
    assert done.err.count("\n") == 1
    assert done.code == 2
    assert not Path("out").exists()


def test_a_store_of_labels_is_no_file_of_a_workflow(deploy):
    pytest.importorskip("kubernetes", reason="Metaflow writes for Argo through it: make test-scale")
    done = deploy("--datastore", "s3://bucket/metaflow", variables=VARIABLES | NOBODY, train="feedback: spam.db\n")
    assert done.err.startswith("spamctl: METAFLOW_S3_ENDPOINT_URL: http://127.0.0.1:9 does not answer")
    assert (done.err.count("\n"), done.code) == (1, 1)
    assert not Path("out").exists()


NOBODY = {"METAFLOW_S3_ENDPOINT_URL": "http://127.0.0.1:9", "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}
