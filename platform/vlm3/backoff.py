"""How long to wait before another attempt at what may succeed later, and when to give up."""

import math
import random
import time

_jitter = random.Random()
"""Not keyed: it moves requests in time and never touches data."""


class Backoff:
    """The pauses between the attempts at one thing; begun with the first attempt.

    The pause after attempt k is uniform in [0, first_s · 2^(k−1)], "full jitter" (M. Brooker, Exponential backoff and
    jitter, 2015).
    """

    def __init__(
        self, first_s: float, *, longest_s: float = math.inf, attempts: int | None = None, deadline_s: float = math.inf
    ) -> None:
        """Start the clock.

        Args:
            first_s: ceiling of the first pause.
            longest_s: no pause is longer, whatever is asked for.
            attempts: how many there are at most, the first one included; None for any number.
            deadline_s: no attempt begins later than this after the first one.
        """
        self._ceiling_s, self._longest_s = first_s, longest_s
        self._attempts_left, self._deadline_s = attempts, deadline_s
        self._started_s = time.monotonic()

    @property
    def spent_s(self) -> float:
        """Seconds since the first attempt began."""
        return time.monotonic() - self._started_s

    def pause_s(self, least_s: float = 0.0) -> float | None:
        """Seconds to wait after an attempt that failed, None to give up.

        Args:
            least_s: what the other side asks for, such as a Retry-After.
        """
        pause_s = min(max(_jitter.uniform(0, self._ceiling_s), least_s), self._longest_s)
        self._ceiling_s = min(2 * self._ceiling_s, self._longest_s)
        if self._attempts_left is not None:
            self._attempts_left -= 1
        return None if self._attempts_left == 0 or self.spent_s + pause_s > self._deadline_s else pause_s
