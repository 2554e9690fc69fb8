"""An event is one line of JSON behind Metaflow's prefix; anything else is a line of the log."""

import json

from spamctl.cli.process import KINDS, Line, read_event, read_failure, read_headline, read_line, read_reason
from spamctl.schema.codec import to_json
from spamctl.schema.event import Result
from tests.each import each

PREFIX = "2026-11-23 05:51:58.123 [1763876/tune/3 (pid 4242)] "


def test_why_metaflow_failed_is_read_of_two_lines():
    assert read_headline("    S3 object not found:") == "S3 object not found: "
    assert read_headline("[t-1-abcd]     Unknown step decorator:") == "Unknown step decorator: "
    assert read_reason("[t-1-abcd]     s3://bucket/a  ") == "s3://bucket/a"
    assert read_reason("    s3://bucket/a") == "s3://bucket/a"
    for other in ("S3 object not found:", "    Step failure:", "    The graph looks good!", '{"a":'):
        assert read_headline(other) == ""


def test_a_line_of_a_job_is_that_of_its_step():
    event = '{"spamctl": "note", "text": "[x] y"}'
    assert read_line(f"{PREFIX}[t-1-abcd] {event}") == Line("tune", event)
    assert read_line(f"{PREFIX}[t-1-abcd] words") == Line("tune", "[t-1-abcd] words")


def test_metaflows_prefix_is_taken_off():
    assert read_line(PREFIX + "words [x] of a step") == Line("tune", "words [x] of a step")
    assert read_line(PREFIX) == Line("tune", "")
    assert read_line("2026-11-23 05:51:58.123 Workflow starting (run-id 1763876):") is None
    assert read_line("Traceback") is None


@each(
    "fields",
    [
        {"spamctl": "stage", "stage": "tune", "title": "Fine-tune", "index": 3, "of": 6},
        {"spamctl": "progress", "task": "frozen pass", "done": 128, "total": 3626, "unit": "messages"},
        {"spamctl": "metric", "name": "validation loss", "value": 0.123, "epoch": 1},
        {"spamctl": "note", "text": "…"},
        {"spamctl": "warning", "text": ""},
        {"spamctl": "refusal", "exit_code": 2, "text": "no"},
        {"spamctl": "failure", "stage": "tune", "text": "no"},
        {"spamctl": "result", "verb": "train", "registered": True},
    ],
)
def test_an_event_is_read_and_one_that_lacks_a_field_is_not(fields):
    event, rest = read_event(json.dumps(fields)), {k: v for k, v in fields.items() if k != "spamctl"}
    assert isinstance(event, KINDS.get(fields["spamctl"], Result))
    assert (event.told if isinstance(event, Result) else to_json(event)) == rest
    short = dict(list(fields.items())[:-1]) if fields["spamctl"] != "result" else {"spamctl": "result"}
    if fields["spamctl"] != "metric":
        assert read_event(json.dumps(short)) is None


@each(
    "text",
    [
        "",
        "{}",
        '{"spamctl"',
        '{"spamctl": 3}',
        '{"spamctl": null}',
        '{"spamctl": "dance"}',
        ' {"spamctl": "note"}',
        "[1]",
    ],
)
def test_anything_else_is_no_event(text):
    assert read_event(text) is None


def test_the_last_line_of_a_trace_is_known():
    assert read_failure("ZeroDivisionError: division by zero") == "ZeroDivisionError: division by zero"
    assert read_failure("spamctl.errors.DataError: no") == "spamctl.errors.DataError: no"
    assert read_failure("KeyboardInterrupt") == "KeyboardInterrupt"
    assert read_failure('File "x.py", line 3, in f') is None
    assert read_failure("an Error in a sentence") is None
