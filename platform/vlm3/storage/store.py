"""One seam to bytes at rest: a local folder or a prefix of an S3 bucket, with errors a user can act on."""

import os
import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import lru_cache
from hashlib import md5
from pathlib import Path, PurePosixPath
from typing import TypeVar

import fsspec

from vlm3.errors import DataError
from vlm3.log import get_logger
from vlm3.storage.failures import S3_FAILURES, StorageError, explain, is_transient

log = get_logger(__name__)
ResultT = TypeVar("ResultT")
ATTEMPTS = 5
FIRST_PAUSE_S = 0.2
"""Pauses double: a store that does not answer is given up after about 3 s of pauses."""
SINGLE_PUT_BYTES = 5 * 2**30
"""S3's limit of one PUT; an object appears whole or not at all."""


@dataclass(frozen=True, slots=True)
class Store:
    """Files below one root. Picklable; connections belong to the process that uses it. Paths are relative, with `/`.

    Every method raises DataError where a file or bucket is missing and StorageError where the store does not answer or
    refuses; transient failures are retried first.
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
        data: bytes = self._retry(path, lambda files, full: files.cat_file(full, **whole))
        return data

    def read_range(self, path: str, offset: int, length: int) -> bytes:
        """Bytes [offset, offset + length) of a file.

        Raises:
            DataError: the file ends before.
        """
        if length == 0:
            return b""
        data: bytes = self._retry(path, lambda files, full: files.cat_file(full, start=offset, end=offset + length))
        if len(data) != length:
            raise DataError(
                f"{self._at(path)}: expected {length} bytes at {offset}, found {len(data)}: file is truncated"
            )
        return data

    def exists(self, path: str) -> bool:
        """Whether a file is there."""
        return self.size(path) is not None

    def size(self, path: str) -> int | None:
        """Bytes of a file, None when it is not there."""

        def stat(files: fsspec.AbstractFileSystem, full: str) -> int | None:
            try:
                return int(files.info(full, refresh=True)["size"]) if self.remote else Path(full).stat().st_size
            except FileNotFoundError:
                return None

        return self._retry(path, stat)

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

        return tuple(path for path in self._retry("", find) if path.startswith(prefix))

    def write_atomic(self, path: str, data: bytes) -> None:
        """Write a file so that it is there whole or not at all, and check what was stored."""
        if self.remote:
            self._put(path, data)
        else:
            self._retry(path, lambda _, full: _replace(Path(full), data))
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

        self._retry(path, remove)

    def check(self) -> None:
        """Fail early, before work is done: the bucket exists and lets us in, or the local folder can be made."""
        if self.remote:
            bucket = self.uri.removeprefix("s3://").split("/")[0]
            Store(f"s3://{bucket}")._retry("", lambda files, _: files.call_s3("head_bucket", Bucket=bucket))
        else:
            self._retry("", lambda _, full: Path(full).mkdir(parents=True, exist_ok=True))

    def _put(self, path: str, data: bytes) -> None:
        if len(data) >= SINGLE_PUT_BYTES:
            raise StorageError(
                f"{self._at(path)}: {len(data)} bytes do not fit one atomic PUT (5 GiB); write smaller files"
            )
        # The server refuses a body that does not match the digest.
        digest = _base64_md5(data)
        self._retry(
            path, lambda files, full: files.pipe_file(full, data, chunksize=SINGLE_PUT_BYTES, ContentMD5=digest)
        )

    def _retry(self, path: str, operation: Callable[[fsspec.AbstractFileSystem, str], ResultT]) -> ResultT:
        full = self._full(path)
        for attempt in range(1, ATTEMPTS + 1):
            try:
                return operation(_s3(_s3_settings()) if self.remote else fsspec.filesystem("file"), full)
            except S3_FAILURES as error:
                if attempt == ATTEMPTS or not is_transient(error):
                    raise explain(error, self._at(path), endpoint() if self.remote else None) from error
                pause_s = FIRST_PAUSE_S * 2 ** (attempt - 1)
                log.warning("%s: %s; trying again in %.1f s", self._at(path), error, pause_s)
                time.sleep(pause_s)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def _full(self, path: str) -> str:
        parts = path.split("/") if path else []
        if any(part in ("", ".", "..") or "\\" in part or "\0" in part for part in parts):
            raise DataError(f"{self.uri}: {path!r} is not a path below it: give a relative path without '..'")
        return "/".join([self.uri, *parts])

    def _at(self, path: str) -> str:
        return f"{self.uri}/{path}" if path else self.uri


def open_store(uri: str) -> Store:
    """The store at a local path, `file://` or `s3://bucket/prefix`; nothing is contacted yet.

    S3's endpoint is AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL (default: Amazon's), credentials are what the environment
    gives: AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, AWS_PROFILE, or the role of the machine.

    Raises:
        DataError: another scheme, or no bucket in an S3 URI.
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


@lru_cache(maxsize=8)
def _s3(settings: tuple[tuple[str, str], ...]) -> fsspec.AbstractFileSystem:
    """One filesystem a process and environment. Listings are never cached: other processes write at the same time."""
    config: dict[str, object] = {"connect_timeout": 5, "read_timeout": 60, "retries": {"total_max_attempts": 1}}
    if endpoint() is not None and "AWS_REQUEST_CHECKSUM_CALCULATION" not in dict(settings):
        # Checksum trailers are Amazon's; many other stores refuse them. Content-MD5 guards our writes everywhere.
        config |= {"request_checksum_calculation": "when_required", "response_checksum_validation": "when_required"}
    files = fsspec.filesystem(
        "s3", endpoint_url=endpoint(), use_listings_cache=False, skip_instance_cache=True, config_kwargs=config
    )
    files.retries = 1  # Store retries, in one place
    return files


def _base64_md5(data: bytes) -> str:
    from base64 import b64encode

    return b64encode(md5(data, usedforsecurity=False).digest()).decode()


def _replace(target: Path, data: bytes) -> None:
    """Write beside the target, flush to disk, rename over it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{secrets.token_hex(4)}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)
    folder = os.open(target.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)
