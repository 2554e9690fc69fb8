"""The S3 server that the tests start is a real one."""

import pytest

pytestmark = pytest.mark.scale


def test_the_server_keeps_what_it_is_given(s3):
    bucket = s3.bucket("probe")
    s3.client().put_object(Bucket=bucket, Key="a/b", Body=b"kept")
    assert s3.client().get_object(Bucket=bucket, Key="a/b")["Body"].read() == b"kept"
