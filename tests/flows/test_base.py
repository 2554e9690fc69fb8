"""Every option is a parameter of the flow, and a step tells what it does in events that the launcher reads."""

import importlib
import io
import json
import tarfile
import warnings
from dataclasses import fields
from pathlib import Path
from types import SimpleNamespace

import pytest

from spamctl.cli.process import KINDS, read_event
from spamctl.config.verbs import VERBS
from spamctl.data import corpus
from spamctl.errors import GateRefusedError, UsageError
from spamctl.schema import event
from spamctl.schema.codec import to_json
from tests.each import each


@pytest.fixture(scope="module")
def base():
    """Import Metaflow, whose own copy of a YAML reader warns of the one that is installed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return importlib.import_module("spamctl.flows.base")


def events(capsys):
    """Return the events told so far, as the launcher reads them."""
    read = [read_event(line) for line in capsys.readouterr().out.splitlines()]
    assert None not in read
    names = {kind: name for name, kind in KINDS.items()}
    return [(names[type(event)], to_json(event)) for event in read]


@each("verb", VERBS)
def test_every_option_is_a_parameter_spelled_as_its_flag(base, verb):
    made = base.parameters(VERBS[verb])
    for option in VERBS[verb].declared():
        if option.secret:
            continue
        parameter = made.pop(option.name)
        parameter.init()
        assert f"--{parameter.name}" == option.flag
        assert parameter.kwargs["type"] is option.kind
        assert parameter.kwargs["default"] == option.default
    assert made == {}  # what may hold a password is none


def test_a_step_is_announced(base, capsys):
    with base.stage("tune", "Fine-tune", index=3, of=6):
        base.note("a fact")
        base.warning("a surprise")
        base.metric("validation loss", 0.5, epoch=1)
    assert events(capsys) == [
        ("stage", {"stage": "tune", "title": "Fine-tune", "index": 3, "of": 6}),
        ("note", {"text": "a fact"}),
        ("warning", {"text": "a surprise"}),
        ("metric", {"name": "validation loss", "value": 0.5, "epoch": 1}),
    ]


def test_a_refusal_is_told_with_its_exit_code_and_leaves_the_step(base, capsys):
    with pytest.raises(GateRefusedError), base.stage("register", "Register", index=1, of=1):
        raise GateRefusedError("under the threshold")
    assert events(capsys)[-1] == ("refusal", {"exit_code": 3, "text": "under the threshold"})


def test_a_failure_is_told_with_its_step_and_leaves_it(base, capsys):
    with pytest.raises(ZeroDivisionError), base.stage("tune", "Fine-tune", index=1, of=1):
        raise ZeroDivisionError("no rows")
    assert events(capsys)[-1] == ("failure", {"stage": "tune", "text": "ZeroDivisionError: no rows"})


def test_progress_is_told_a_few_times_a_second_and_at_the_end(base, capsys, monkeypatch):
    now = 0.0
    monkeypatch.setattr("time.monotonic", lambda: now)
    for item in base.tracked(range(100), "reading", total=100, unit="rows"):
        now = item * 0.01
    told = [fields["done"] for _, fields in events(capsys)]
    assert told[0] == 1
    assert told[-1] == 100
    assert len(told) <= 7


def test_a_result_is_one_line_of_ascii_whatever_is_in_it(base, capsys):
    base.result("train", {"registered": True, "reason": 'naïve\n\x1b[31m{"spamctl": "note"}', "verb": "other"})
    out = capsys.readouterr().out
    assert out.isascii()
    assert out.count("\n") == 1
    assert json.loads(out)["verb"] == "train"


@each("verb", ["train", "traffic"])
def test_a_dataset_is_asked_for_as_every_option_says(base, monkeypatch, verb):
    asked = []
    monkeypatch.setattr(
        corpus, "read_datasets", lambda request, **_: asked.append(request) or corpus.Corpus((), "", "")
    )
    changed = {
        field.name: {bool: False, str: f"another {field.name}"}[type(field.default)]
        for field in fields(corpus.CorpusRequest)
    }
    base.read_datasets(VERBS[verb](**changed))
    assert asked == [corpus.CorpusRequest(**changed)]


@pytest.fixture
def elsewhere(base, monkeypatch):
    """Make a flow whose steps run elsewhere, with what the launcher hands on."""

    def elsewhere(**given):
        monkeypatch.setenv(event.VARIABLE, json.dumps(to_json(event.StepSetup(**given))))
        module = importlib.import_module("tests.cli.tiny_flow")
        return importlib.reload(module).TrainFlow  # as each process of a run imports it anew

    return elsewhere


def test_steps_elsewhere_get_variables_and_what_their_machine_must_have(elsewhere, monkeypatch):
    monkeypatch.setenv("SPAMCTL_LABEL_TARGET_URI", "postgresql://db/spam")
    names = ("SPAMCTL_LABEL_TARGET_URI", "NOT_SET", event.VARIABLE)
    flow = elsewhere(variables=names, resources={"end": {"gpu": 1, "memory": 9_000}})
    given = {name: {deco.name: deco.attributes for deco in getattr(flow, name).decorators} for name in ("start", "end")}
    for decorators in given.values():
        assert decorators["environment"]["vars"].keys() == {"SPAMCTL_LABEL_TARGET_URI", event.VARIABLE}
    assert "resources" not in given["start"]
    assert {name: given["end"]["resources"][name] for name in ("gpu", "memory")} == {"gpu": 1, "memory": 9_000}


def test_files_are_laid_out_where_a_step_runs_and_what_is_there_stays(elsewhere, base):
    packed = io.BytesIO()
    Path("model").mkdir()
    Path("model/weights").write_bytes(b"1")
    Path("mine.csv").write_text("text,label")
    with tarfile.open(fileobj=packed, mode="w") as archive:
        archive.add("model")
        archive.add("mine.csv")
    Path("model/weights").unlink()
    Path("mine.csv").write_text("another")
    flow = elsewhere(files=True)
    assert base.parameters(VERBS["label"])[event.FILES].name == event.FILES
    step = SimpleNamespace(**{event.FILES: packed.getvalue()})
    flow._settle(step, base.step_setup())
    assert Path("model/weights").read_bytes() == b"1"
    assert Path("mine.csv").read_text() == "another"
    assert Path(".spamctl").is_dir()


def test_a_secret_that_a_job_lacks_is_named(elsewhere, base):
    flow = elsewhere(secrets=("SPAMCTL_LABEL_TARGET_URI",))
    with pytest.raises(UsageError, match=r"^SPAMCTL_LABEL_TARGET_URI: not in the step's environment; put it"):
        flow._settle(SimpleNamespace(), base.step_setup())


def test_what_a_step_writes_elsewhere_is_kept_as_a_value(elsewhere, base):
    Path("reports/17").mkdir(parents=True)
    Path("reports/17/index.html").write_bytes(b"page")
    Path("none").touch()
    places = (Path("reports"), Path("none"), Path("missing.csv"), Path())
    assert base.left_files(*places) == {}  # on this machine they are where they belong
    elsewhere()
    assert base.left_files(*places) == {"reports/17/index.html": b"page"}
