"""Reach the files of a folder of this machine, or of an S3 bucket, by one interface."""

from __future__ import annotations

import contextlib
import functools
import io
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO, Any, Final
from urllib.parse import urlsplit

from spamctl.errors import DataError

S3: Final = "s3://"
# Where an S3 server other than Amazon's is named, as Amazon's own clients and Metaflow read it.
ENDPOINTS: Final = ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "METAFLOW_S3_ENDPOINT_URL")
_REGIONS = ("AWS_REGION", "AWS_DEFAULT_REGION")
_CONNECT_S, _REQUEST_S, _TRIES = 5.0, 60.0, 3
_BUFFER = 2**20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file and its size in bytes; the name of one in a bucket begins with s3://."""

    name: str
    size: int


def is_remote(name: str) -> bool:
    """Return whether a name is that of a place in a bucket."""
    return name.startswith(S3)


def list_files(place: str, *, recursive: bool = False) -> list[StoredFile]:
    """Return the files of a folder in the order of their names, or the one file that a name is; none if it is nothing.

    Raises DataError if the folder or the bucket cannot be read.
    """
    from pyarrow import fs

    with _refusing(place):
        system, path = _located(place)
        found = system.get_file_info(path)
        if found.type == fs.FileType.File:
            return [StoredFile(place, found.size)]
        selector = fs.FileSelector(path, allow_not_found=True, recursive=recursive)
        start = S3 if is_remote(place) else ""
        every = [StoredFile(start + one.path, one.size) for one in system.get_file_info(selector) if one.is_file]
        return sorted(every, key=lambda one: one.name)


@contextlib.contextmanager
def open_file(name: str) -> Iterator[IO[bytes]]:
    """Open a file for its bytes, from any place in it; raise DataError if it cannot be read."""
    with _refusing(name):
        if not is_remote(name):
            with Path(name).open("rb") as file:
                yield file
            return
        system, path = _located(name)
        with system.open_input_file(path) as remote, io.BufferedReader(remote, _BUFFER) as file:
            yield file


def read_file(name: str) -> bytes | None:
    """Return what a small file holds, None if there is none."""
    if not list_files(name):
        return None
    with open_file(name) as file:
        return file.read()


def put(local: Path, name: str) -> None:
    """Make a file that was written beside its place, or in a folder for drafts, appear under its name at once.

    Raises DataError if it cannot be written. What is in a bucket appears when all of it is there.
    """
    with _refusing(name, "written"):
        if not is_remote(name):
            with local.open("rb") as file:
                os.fsync(file.fileno())
            local.replace(name)
            _sync(Path(name).parent)
            return
        system, path = _located(name)
        with local.open("rb") as file, system.open_output_stream(path) as remote:
            shutil.copyfileobj(file, remote, _BUFFER)


def remove(name: str) -> None:
    """Remove a file; one that is not there any more is none."""
    with _refusing(name, "removed"), contextlib.suppress(FileNotFoundError):
        system, path = _located(name)
        system.delete_file(path)


def make_folder(place: str) -> None:
    """Make a folder for its owner alone, in one that is there; a bucket has none, and must be there.

    Raises DataError if that is impossible.
    """
    if not is_remote(place):
        try:
            Path(place).mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise DataError(f"{place}: cannot be made ({error.strerror}): name a folder in one that is there") from None
        return
    from pyarrow import fs

    with _refusing(place):
        system, path = _located(place)
        bucket = PurePosixPath(path).parts[0]
        if system.get_file_info(bucket).type == fs.FileType.NotFound:
            raise DataError(f"{place}: there is no bucket {bucket}: make it, or correct the name")


def join(place: str, name: str) -> str:
    """Return the name of a file in a folder."""
    return f"{place.rstrip('/')}/{name}" if is_remote(place) else str(Path(place, name))


def name_of(name: str) -> str:
    """Return the last part of a name."""
    return PurePosixPath(name).name if is_remote(name) else Path(name).name


def _sync(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _located(name: str) -> tuple[Any, str]:
    """Return the file system that a name is of, and the path in it."""
    if is_remote(name):
        path = name.removeprefix(S3).rstrip("/")
        if not path:
            raise DataError(f"{name}: names no bucket: s3://BUCKET/FOLDER/")
        return _s3(path.partition("/")[0]), path
    from pyarrow import fs

    return fs.LocalFileSystem(), str(name)


@functools.cache
def _s3(bucket: str) -> Any:
    """Connect to Amazon, or to the server that a variable names; no wait is longer than a minute or so."""
    from pyarrow import fs

    endpoint = next(filter(None, map(os.environ.get, ENDPOINTS)), "")
    region = next(filter(None, map(os.environ.get, _REGIONS)), "")
    bounds = {
        "connect_timeout": _CONNECT_S,
        "request_timeout": _REQUEST_S,
        "retry_strategy": fs.AwsStandardS3RetryStrategy(max_attempts=_TRIES),
    }
    if endpoint:
        told = urlsplit(endpoint if "//" in endpoint else f"https://{endpoint}")
        return fs.S3FileSystem(
            endpoint_override=told.netloc, scheme=told.scheme, region=region or "us-east-1", **bounds
        )
    return fs.S3FileSystem(region=region or fs.resolve_s3_region(bucket), **bounds)


@contextlib.contextmanager
def _refusing(name: str, what: str = "read") -> Iterator[None]:
    """Refuse in one line what the system, or a server, does not allow."""
    try:
        yield
    except FileNotFoundError as error:
        raise DataError(f"{name}: is not there: correct the name") from error
    except OSError as error:
        reason = error.strerror or str(error).partition("\n")[0]
        cure = f"look at the credentials, and at {ENDPOINTS[1]}" if is_remote(name) else "look at its permissions"
        raise DataError(f"{name}: cannot be {what} ({reason}): {cure}") from error
