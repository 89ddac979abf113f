"""What a process asked of its stores: cheap counts, so that a task can report what it used."""

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field

from vlm3.storage.failures import Reason


@dataclass(frozen=True, slots=True)
class StorageUse:
    """Counts of this process up to one moment, or between two. Picklable."""

    requests: int = 0
    """Attempts, failed ones included. A listing counts once however many pages it has."""
    bytes_read: int = 0
    """Bytes that were delivered; those of a broken answer are not counted."""
    bytes_written: int = 0
    retries: Mapping[Reason, int] = field(default_factory=dict)
    """Attempts that failed and were made again, by reason."""
    backoff_s: float = 0.0
    """Seconds of pauses before another attempt, summed over threads."""
    limit_wait_s: float = 0.0
    """Seconds of waiting for a place among the requests in flight, summed over threads."""
    limits: Mapping[str, int] = field(default_factory=dict)
    """Requests that may be in flight now, by URI of the store."""

    def since(self, earlier: "StorageUse") -> "StorageUse":
        """What was used after `earlier` was taken; `limits` are the later ones."""
        retries = {reason: count - earlier.retries.get(reason, 0) for reason, count in self.retries.items()}
        return StorageUse(
            requests=self.requests - earlier.requests,
            bytes_read=self.bytes_read - earlier.bytes_read,
            bytes_written=self.bytes_written - earlier.bytes_written,
            retries={reason: count for reason, count in retries.items() if count},
            backoff_s=self.backoff_s - earlier.backoff_s,
            limit_wait_s=self.limit_wait_s - earlier.limit_wait_s,
            limits=self.limits,
        )


class Counters:
    """The counts behind `StorageUse`; every method may be called from any thread."""

    def __init__(self) -> None:
        """Start with all counts at zero."""
        self._lock = threading.Lock()
        self._requests = self._bytes_read = self._bytes_written = 0
        self._backoff_s = self._limit_wait_s = 0.0
        self._retries: dict[Reason, int] = {}
        self._limits: dict[str, int] = {}

    def add_request(self, limit_wait_s: float) -> None:
        """Count an attempt that starts, and the seconds it waited for its place."""
        with self._lock:
            self._requests += 1
            self._limit_wait_s += limit_wait_s

    def add_bytes(self, *, read: int = 0, written: int = 0) -> None:
        """Count the bytes of a request that succeeded."""
        with self._lock:
            self._bytes_read += read
            self._bytes_written += written

    def add_retry(self, reason: Reason, pause_s: float) -> None:
        """Count an attempt that failed and is made again after a pause."""
        with self._lock:
            self._retries[reason] = self._retries.get(reason, 0) + 1
            self._backoff_s += pause_s

    def set_limit(self, uri: str, limit: int) -> None:
        """Record the new limit of a store."""
        with self._lock:
            self._limits[uri] = limit

    def snapshot(self) -> StorageUse:
        """The counts now, all taken at the same moment."""
        with self._lock:
            return StorageUse(
                self._requests,
                self._bytes_read,
                self._bytes_written,
                dict(self._retries),
                self._backoff_s,
                self._limit_wait_s,
                dict(self._limits),
            )


COUNTERS = Counters()
"""The counts of this process."""


def storage_use() -> StorageUse:
    """What this process has used since it started."""
    return COUNTERS.snapshot()
