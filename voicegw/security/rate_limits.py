"""Limits concurrent turns and requests per minute. Pure: the caller passes the time."""

from __future__ import annotations

from voicegw.errors import TooManyRequests
from voicegw.security.keys import ApiKey

SLACK = 1e-6  # seconds; sums of sixtieths are not exact


class RateLimiter:
    """Counts the turns that run, and spaces those of each key over the minute.

    `concurrent_turns` and `requests_per_minute` (0 for no limit) are those of the whole gateway; each of
    its `workers` processes keeps to its share, at least 1. A key may spend a whole minute's requests
    in one burst. Remembers one number per key that came by, and keys come from the configuration.
    """

    def __init__(self, concurrent_turns: int, requests_per_minute: int = 0, *, workers: int = 1) -> None:
        self.running_turns = 0
        self._most = max(1, concurrent_turns // workers)
        self._rate = requests_per_minute
        self._workers = workers
        self._free: dict[str, float] = {}  # when the key's bucket will be full again

    def acquire(self, key: ApiKey, now: float) -> None:
        """A turn begins, or `TooManyRequests` says after how many seconds to try again; then nothing is counted."""
        if self.running_turns >= self._most:
            raise TooManyRequests("Too many turns at once: try again in a second.", retry_after=1.0)
        self._spend(key, now)
        self.running_turns += 1

    def release(self) -> None:
        """A turn that `begin` let in has ended."""
        self.running_turns -= 1

    def _spend(self, key: ApiKey, now: float) -> None:
        rate = self._rate if key.requests_per_minute is None else key.requests_per_minute
        if not rate:
            return
        each = 60 / max(1, rate // self._workers)
        free = max(now, self._free.get(key.name, now)) + each
        if free > now + 60 + SLACK:
            raise TooManyRequests(
                "Too many requests in a minute for this API key.", retry_after=free - now - 60
            )
        self._free[key.name] = free
