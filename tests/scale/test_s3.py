"""The S3 server that the tests start is a real one, and what it refuses is told in one line."""

from pathlib import Path

import pytest

from spamctl.cli.remote import Words, planned
from spamctl.config.label import LabelOptions
from spamctl.errors import UsageError

pytestmark = [pytest.mark.scale, pytest.mark.timeout(3_600)]


def test_the_server_keeps_what_it_is_given(s3):
    bucket = s3.bucket("probe")
    s3.client().put_object(Bucket=bucket, Key="a/b", Body=b"kept")
    assert s3.client().get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"kept"


def values_in(s3, bucket, **changes):
    """Plan a run whose values are in a bucket here, with some variables changed."""
    variables = s3.variables(bucket) | changes
    with planned(LabelOptions(), Words([], "s3"), variables, Path.cwd()) as plan:
        return plan


def test_a_bucket_that_is_there_is_taken(s3):
    plan = values_in(s3, s3.bucket("probe"))
    assert plan.told == "values of the run: s3://probe/metaflow"
    assert plan.environment["METAFLOW_DEFAULT_DATASTORE"] == "s3"


@pytest.mark.parametrize(
    ("bucket", "changes", "told"),
    [
        ("nowhere", {}, "there is no such bucket; create it, or correct METAFLOW_DATASTORE_SYSROOT_S3"),
        (
            "probe",
            {"AWS_SECRET_ACCESS_KEY": "wrong"},
            "the credentials are refused (403); correct AWS_ACCESS_KEY_ID and its secret",
        ),
        (
            "probe",
            {"AWS_ACCESS_KEY_ID": "test:nobody"},
            "the credentials are refused (403); correct AWS_ACCESS_KEY_ID and its secret",
        ),
    ],
)
def test_what_the_server_refuses_is_one_line_and_exit_code_2(s3, bucket, changes, told):
    s3.bucket("probe")
    with pytest.raises(UsageError) as caught:
        values_in(s3, bucket, **changes)
    assert str(caught.value) == f"s3://{bucket} at {s3.endpoint}: {told}"
    assert caught.value.exit_code == 2
