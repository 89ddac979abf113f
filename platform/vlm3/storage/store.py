"""Files in a local folder or under a prefix of an S3 bucket, through one class, with errors a user can act on."""

import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from pathlib import Path, PurePosixPath
from typing import TypeVar

import fsspec

from vlm3.errors import DataError
from vlm3.storage.atomic import replace_file
from vlm3.storage.counters import COUNTERS
from vlm3.storage.failures import ShortBodyError, StorageError
from vlm3.storage.limiter import MOST_IN_FLIGHT, limit_of
from vlm3.storage.retrying import send

ResultT = TypeVar("ResultT")
CONNECT_TIMEOUT_S = 5
READ_TIMEOUT_S = 30
"""Longest time without a single byte, before the answer or within it."""
SINGLE_PUT_BYTES = 5 * 2**30
"""S3's limit for one PUT. Files are written with one PUT, so that they appear whole or not at all."""


@dataclass(frozen=True, slots=True)
class Store:
    """Files below one root. Picklable; each process makes its own connections. Paths are relative, with `/`.

    Unless it says otherwise, a method raises DataError where a file or bucket is missing, and StorageError where the
    store does not answer or refuses; transient failures are retried first (`retrying.send`).
    """

    uri: str
    """`s3://bucket[/prefix]` or an absolute local path, without a trailing slash."""

    @property
    def remote(self) -> bool:
        """True for S3."""
        return self.uri.startswith("s3://")

    def read(self, path: str) -> bytes:
        """All bytes of a file."""
        # One GET: s3fs would ask for the size first, whose failure does not tell a missing bucket from a missing file.
        whole = {"max_concurrency": 1} if self.remote else {}
        data: bytes = self._send(path, lambda files, full: files.cat_file(full, **whole))
        COUNTERS.add_bytes(read=len(data))
        return data

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length) of a file.

        Raises:
            DataError: the file ends before `offset + length`.
        """
        if length == 0:
            return b""

        def fetch(files: fsspec.AbstractFileSystem, full: str) -> bytes:
            data: bytes = files.cat_file(full, start=offset, end=offset + length)
            if len(data) == length:
                return data
            found = f"expected {length} bytes at {offset}, found {len(data)}"
            # Which of the two is short: the file, or this answer?
            if _size(files, full, remote=self.remote) < offset + length:
                raise DataError(f"{self._at(path)}: {found}: file is truncated")
            raise ShortBodyError(f"{found}: the answer is cut short")

        data = self._send(path, fetch)
        COUNTERS.add_bytes(read=length)
        return data

    def exists(self, path: str) -> bool:
        """Whether a file exists."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Bytes of a file; None where it does not exist."""

        def stat(files: fsspec.AbstractFileSystem, full: str) -> int | None:
            try:
                return _size(files, full, remote=self.remote)
            except FileNotFoundError:
                return None

        return self._send(path, stat)

    def list(self, prefix: str = "") -> tuple[str, ...]:
        """Paths of all files whose path starts with `prefix`, sorted; empty where there are none."""

        def find(files: fsspec.AbstractFileSystem, full: str) -> tuple[str, ...]:
            try:
                found = files.find(full)
            except FileNotFoundError:
                return ()
            return tuple(
                sorted(PurePosixPath(name).relative_to(full.removeprefix("s3://")).as_posix() for name in found)
            )

        return tuple(path for path in self._send("", find) if path.startswith(prefix))

    def write_atomic(self, path: str, data: bytes) -> None:
        """Write a file so that it appears whole or not at all, and check the stored size."""
        if self.remote:
            self._put(path, data)
        else:
            self._send(path, lambda _, full: replace_file(Path(full), data))
        COUNTERS.add_bytes(written=len(data))
        stored = self.size(path)
        if stored != len(data):
            raise StorageError(
                f"{self._at(path)}: wrote {len(data)} bytes, the store holds {stored}; check the store's health"
            )

    def delete(self, path: str) -> None:
        """Remove a file; nothing happens where there is none."""

        def remove(files: fsspec.AbstractFileSystem, full: str) -> None:
            with suppress(FileNotFoundError):
                files.rm_file(full)

        self._send(path, remove)

    def check(self) -> None:
        """Fail early, before work is done: check that the bucket can be accessed, or create the local folder."""
        if self.remote:
            bucket = self.uri.removeprefix("s3://").split("/")[0]
            Store(f"s3://{bucket}")._send("", lambda files, _: files.call_s3("head_bucket", Bucket=bucket))
        else:
            self._send("", lambda _, full: Path(full).mkdir(parents=True, exist_ok=True))

    def _put(self, path: str, data: bytes) -> None:
        if len(data) >= SINGLE_PUT_BYTES:
            raise StorageError(
                f"{self._at(path)}: {len(data)} bytes do not fit one atomic PUT (5 GiB); write smaller files"
            )
        # The server refuses a body that does not match the digest.
        digest = _base64_md5(data)
        self._send(path, lambda files, full: files.pipe_file(full, data, chunksize=SINGLE_PUT_BYTES, ContentMD5=digest))

    def _send(self, path: str, operation: Callable[[fsspec.AbstractFileSystem, str], ResultT]) -> ResultT:
        full, address = self._full(path), endpoint() if self.remote else None

        def attempt() -> ResultT:
            return operation(_s3(_s3_settings()) if self.remote else fsspec.filesystem("file"), full)

        return send(attempt, self._at(path), address, limit_of(self.uri, address))

    def _full(self, path: str) -> str:
        parts = path.split("/") if path else []
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise DataError(f"{self.uri}: {path!r} is not a path below it: give a relative path without '..'")
        return "/".join([self.uri, *parts])

    def _at(self, path: str) -> str:
        return f"{self.uri}/{path}" if path else self.uri


def open_store(uri: str) -> Store:
    """The store at a local path, `file://` or `s3://bucket/prefix`; nothing is contacted yet.

    S3's endpoint is AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL (default: Amazon's). Credentials come from the environment:
    AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the machine.

    Raises:
        DataError: an empty URI, another scheme, no bucket in an S3 URI, or `..` in one.
    """
    if uri.startswith("s3://"):
        parts = [part for part in uri.removeprefix("s3://").split("/") if part]
        if not parts or ".." in parts:
            raise DataError(f"{uri!r}: expected s3://BUCKET or s3://BUCKET/PREFIX")
        return Store("s3://" + "/".join(parts))
    if "://" in uri and not uri.startswith("file://"):
        raise DataError(f"{uri!r}: unknown kind of storage; give a local folder or s3://BUCKET/PREFIX")
    if not uri:
        raise DataError("no storage given: expected a local folder or s3://BUCKET/PREFIX")
    return Store(str(Path(uri.removeprefix("file://")).absolute()))


def endpoint() -> str | None:
    """The S3 endpoint that the environment asks for, None for Amazon's own."""
    return os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL") or None


def _s3_settings() -> tuple[tuple[str, str], ...]:
    return tuple(sorted((name, value) for name, value in os.environ.items() if name.startswith("AWS_")))


_connecting = threading.Lock()


def _s3(settings: tuple[tuple[str, str], ...]) -> fsspec.AbstractFileSystem:
    # Threads that start at the same time share one set of connections.
    with _connecting:
        return _connected(settings)


@lru_cache(maxsize=8)
def _connected(settings: tuple[tuple[str, str], ...]) -> fsspec.AbstractFileSystem:
    """One filesystem per process and environment. Listings are not cached: other processes write at the same time."""
    config: dict[str, object] = {
        "connect_timeout": CONNECT_TIMEOUT_S,
        "read_timeout": READ_TIMEOUT_S,
        "retries": {"total_max_attempts": 1},
        "max_pool_connections": MOST_IN_FLIGHT,
    }
    if endpoint() is not None and "AWS_REQUEST_CHECKSUM_CALCULATION" not in dict(settings):
        # Checksum trailers are Amazon's; many other stores refuse them. Content-MD5 guards our writes everywhere.
        config |= {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    files = fsspec.filesystem(
        "s3", endpoint_url=endpoint(), use_listings_cache=False, skip_instance_cache=True, config_kwargs=config
    )
    files.retries = 1  # `retrying.send` retries, in one place
    files.connect()
    return files


def _size(files: fsspec.AbstractFileSystem, full: str, *, remote: bool) -> int:
    if not remote:
        return Path(full).stat().st_size
    # s3fs's own `info` lists the bucket where there is no object.
    bucket, _, key = full.removeprefix("s3://").partition("/")
    return int(files.call_s3("head_object", Bucket=bucket, Key=key)["ContentLength"])


def _base64_md5(data: bytes) -> str:
    from base64 import b64encode

    return b64encode(md5(data, usedforsecurity=False).digest()).decode()
