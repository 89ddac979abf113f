"""How many requests of a process may be in flight at one prefix: fewer when the store asks to slow down."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from vlm3.storage.counters import COUNTERS

START_IN_FLIGHT = 16
MOST_IN_FLIGHT = 64


class AdaptiveLimit:
    """A limit that halves on refusal and grows by about one for each full round of successes.

    Additive increase, multiplicative decrease (Chiu and Jain 1989): processes that share a prefix without knowing of
    each other converge to equal shares of what it can bear.
    """

    def __init__(self, uri: str, start: int = START_IN_FLIGHT, most: int = MOST_IN_FLIGHT) -> None:
        """A limit of `start` that can grow to `most`; its value is reported under `uri`."""
        self._uri, self._limit, self._most = uri, float(start), most
        self._in_flight, self._halved_at_s = 0, float("-inf")
        self._changed = threading.Condition()
        COUNTERS.set_limit(uri, self.limit)

    @property
    def limit(self) -> int:
        """Requests that may be in flight now, at least 1."""
        return int(self._limit)

    @contextmanager
    def place(self) -> Iterator[float]:
        """Hold one place among the requests in flight; yields the seconds spent waiting for it."""
        asked_s = time.monotonic()
        with self._changed:
            self._changed.wait_for(lambda: self._in_flight < self.limit)
            self._in_flight += 1
        try:
            yield time.monotonic() - asked_s
        finally:
            with self._changed:
                self._in_flight -= 1
                self._changed.notify()

    def succeeded(self) -> None:
        """Let the limit grow, as a request was answered."""
        with self._changed:
            if self._limit < self._most:
                self._set(min(self._limit + 1 / self._limit, self._most))
                self._changed.notify()

    def refused(self, sent_s: float) -> None:
        """Halve the limit, as the store refused a request sent at `sent_s` (`time.monotonic`) and asked to slow down.

        A refusal of a request sent before the last halving is ignored, so that a burst of refusals halves once.
        """
        with self._changed:
            if sent_s > self._halved_at_s:
                self._halved_at_s = time.monotonic()
                self._set(max(self._limit / 2, 1.0))

    def _set(self, limit: float) -> None:
        before, self._limit = self.limit, limit
        if self.limit != before:
            COUNTERS.set_limit(self._uri, self.limit)


@lru_cache(maxsize=1024)
def limit_of(uri: str, endpoint: str | None) -> AdaptiveLimit:
    """The limit that all threads of this process share for the prefix `uri` at `endpoint`."""
    return AdaptiveLimit(uri)
