"""How long to wait before an operation is attempted again, and when to give up."""

import math
import random
import time

_jitter = random.Random()
"""Not seeded by the run: it shifts requests in time and never affects data."""


class Backoff:
    """Pauses between the attempts at one operation; create it when the first attempt begins.

    The pause after attempt k is uniform in [0, first_s · 2^(k−1)], "full jitter" (M. Brooker, Exponential backoff and
    jitter, 2015).
    """

    def __init__(
        self, first_s: float, *, longest_s: float = math.inf, attempts: int | None = None, deadline_s: float = math.inf
    ) -> None:
        """Start the clock.

        Args:
            first_s: upper bound of the first pause.
            longest_s: upper bound of every pause, also of one that the other side asks for.
            attempts: maximum number of attempts, the first one included; None for no limit.
            deadline_s: no attempt begins later than this many seconds after the first one.
        """
        self._ceiling_s, self._longest_s = first_s, longest_s
        self._attempts_left, self._deadline_s = attempts, deadline_s
        self._started_s = time.monotonic()

    @property
    def spent_s(self) -> float:
        """Seconds since the first attempt began."""
        return time.monotonic() - self._started_s

    def pause_s(self, least_s: float = 0.0) -> float | None:
        """Seconds to wait after a failed attempt, or None to give up.

        Args:
            least_s: minimum pause that the other side asks for, e.g. in a Retry-After header.
        """
        pause_s = min(max(_jitter.uniform(0, self._ceiling_s), least_s), self._longest_s)
        self._ceiling_s = min(2 * self._ceiling_s, self._longest_s)
        if self._attempts_left is not None:
            self._attempts_left -= 1
        return None if self._attempts_left == 0 or self.spent_s + pause_s > self._deadline_s else pause_s
