"""Messages of a bucket are read and scored parts are written there as in a folder; what fails is told in one line."""

import json

import boto3
import pyarrow as pa
import pytest
from pyarrow import parquet

from spamctl.data import shards, storage
from spamctl.data.score_input import InputRequest, read
from spamctl.data.shard_output import PartFolder
from spamctl.errors import DataError
from tests.data.test_shard_output import MADE_OF, PLANNED, SHARDS, SUMMARY, write
from tests.data.test_shards import LAID, messages

pytestmark = pytest.mark.scale
PLACES = {"a.jsonl": "rows/a.jsonl", "f.parquet": "rows/f.parquet", "h.csv": "rows/h.csv", "i.mbox": "box/.Junk/i.mbox"}


@pytest.fixture(scope="module")
def server():
    """Run an S3 server."""
    moto = pytest.importorskip("moto.server", reason="needs moto: uv sync --group scale")
    running = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    running.start()
    yield "http://{}:{}".format(*running.get_host_and_port())
    running.stop()


@pytest.fixture
def bucket(server, monkeypatch):
    """Return a client of the server, with an empty bucket there."""
    for name, value in {"AWS_ENDPOINT_URL": server, "AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    storage._s3.cache_clear()
    client = boto3.client("s3")
    client.create_bucket(Bucket="messages")
    yield client
    for one in client.list_objects_v2(Bucket="messages").get("Contents", []):
        client.delete_object(Bucket="messages", Key=one["Key"])
    client.delete_bucket(Bucket="messages")
    storage._s3.cache_clear()


@pytest.mark.parametrize("name", PLACES)
def test_a_file_of_a_bucket_is_read_as_one_of_this_machine(bucket, tmp_path, name):
    LAID[name](tmp_path / name)
    bucket.upload_file(str(tmp_path / name), "messages", PLACES[name])
    here, there = InputRequest(str(tmp_path / name)), InputRequest(f"s3://messages/{PLACES[name]}")
    expected = [(one.place, one.text, one.label, one.fault) for one in read(here)]
    found = messages(shards.plan(there, 700, ""), there)
    assert [(one.place, one.text, one.label, one.fault) for one in found] == expected
    assert {one.source for one in found} == {there.messages}


def test_a_folder_of_a_bucket_holds_rows_or_mails(bucket, tmp_path):
    for name, key in PLACES.items():
        LAID[name](tmp_path / name)
        bucket.upload_file(str(tmp_path / name), "messages", key)
    bucket.put_object(Bucket="messages", Key="rows/notes.md", Body=b"no messages")
    bucket.put_object(Bucket="messages", Key="box/one.eml", Body=b"Subject: a\n\nhello\n")
    rows = InputRequest("s3://messages/rows/")
    found = messages(shards.plan(rows, 700, ""), rows)
    assert {one.source for one in found} == {f"s3://messages/{key}" for key in PLACES.values() if "rows" in key}
    mails = InputRequest("s3://messages/box")
    plan = shards.plan(mails, 700, "")
    found = messages(plan, mails)
    assert [one.place for one in found] == list(range(1, 92))
    assert found[0].source == "s3://messages/box .Junk/i:1"
    assert (found[-1].source, found[-1].label) == ("s3://messages/box INBOX:one.eml", "not spam")
    assert set(plan.meanings) == {"spam", "not spam"}


def test_parts_of_a_bucket_are_whole_or_not_there(bucket):
    output = PartFolder("s3://messages/verdicts/")
    output.check(resume=False, overwrite=False)
    output.begin(MADE_OF, PLANNED, overwrite=False)
    with pytest.raises(ZeroDivisionError), output.writing(SHARDS[1], with_text=False):
        raise ZeroDivisionError
    write(output, SHARDS[0])
    assert [output.summary(shard) for shard in SHARDS] == [SUMMARY, None, None]
    assert PartFolder(output.place).begin(MADE_OF, PLANNED, overwrite=False).run == output.begun.run
    with storage.open_file(output.name_of(SHARDS[0])) as file:
        assert parquet.read_table(pa.BufferReader(file.read())).num_rows == 3
    output.begin(MADE_OF, PLANNED, overwrite=True)
    keys = {one["Key"] for one in bucket.list_objects_v2(Bucket="messages")["Contents"]}
    assert keys - {"verdicts/"} == {"verdicts/_plan.json"}  # pyarrow marks a folder that had become empty


@pytest.mark.parametrize(
    ("place", "told"),
    [
        ("s3://messages/gone.jsonl", "holds no file of a known kind"),
        ("s3://elsewhere/a.jsonl", "s3://elsewhere/a.jsonl: "),
        ("s3://", "names no bucket: s3://BUCKET/FOLDER/"),
    ],
)
def test_what_is_not_there_is_told_in_one_line(bucket, place, told):
    with pytest.raises(DataError, match=told) as refusal:
        shards.plan(InputRequest(place), 700, "")
    assert "\n" not in str(refusal.value)


def test_a_missing_bucket_for_the_output_is_told_before_anything_is_read(bucket):
    with pytest.raises(DataError, match="there is no bucket elsewhere: make it, or correct the name"):
        PartFolder("s3://elsewhere/out/").check(resume=False, overwrite=False)


def test_a_file_that_has_changed_in_a_bucket_is_refused(bucket):
    bucket.put_object(Bucket="messages", Key="a.jsonl", Body=json.dumps({"text": "one"}).encode() + b"\n")
    request = InputRequest("s3://messages/a.jsonl")
    plan = shards.plan(request, 700, "")
    bucket.put_object(Bucket="messages", Key="a.jsonl", Body=json.dumps({"text": "two"}).encode() + b"\n")
    with pytest.raises(DataError, match=r"s3://messages/a\.jsonl: has changed since the scoring began"):
        messages(plan, request)
