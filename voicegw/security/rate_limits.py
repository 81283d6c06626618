"""Limits of concurrent turns and of requests per minute. Pure: the caller passes the time."""

from __future__ import annotations

from voicegw.errors import TooManyRequests
from voicegw.security.keys import ApiKey

ROUNDING_TOLERANCE = 1e-6
"""Seconds by which a burst may exceed the minute, because sums of fractions are not exact."""


class RateLimiter:
    """Counts concurrent turns, and limits the requests per minute of each API key with a leaky bucket.

    `concurrent_turns` and `requests_per_minute` (0 for no limit) hold for the whole gateway; each of its
    `workers` processes allows its share, at least 1. A key may spend the requests of a whole minute in one
    burst. The memory is one number per key, and keys come from the configuration.
    """

    def __init__(self, concurrent_turns: int, requests_per_minute: int = 0, *, workers: int = 1) -> None:
        # The number of turns that run now.
        self.running_turns = 0
        # The limit of `running_turns` in this process.
        self._max_turns = max(1, concurrent_turns // workers)
        # The limit of a key without a limit in its own settings, for all workers together; 0 for no limit.
        self._requests_per_minute = requests_per_minute
        self._workers = workers
        # The time at which the bucket of each key is empty again, by the key's name.
        self._empty_at: dict[str, float] = {}

    def acquire(self, key: ApiKey, now: float) -> None:
        """Count a turn of this key that begins at `now`, in seconds.

        Raise TooManyRequests, with the seconds until a retry, at a limit; then nothing is counted.
        """
        if self.running_turns >= self._max_turns:
            raise TooManyRequests("Too many turns at once: try again in a second.", retry_after=1.0)
        self._count_request(key, now)
        self.running_turns += 1

    def release(self) -> None:
        """Count the end of a turn for which `acquire` returned."""
        self.running_turns -= 1

    def _count_request(self, key: ApiKey, now: float) -> None:
        per_minute = self._requests_per_minute if key.requests_per_minute is None else key.requests_per_minute
        if not per_minute:
            return
        interval = 60 / max(1, per_minute // self._workers)
        empty_at = max(now, self._empty_at.get(key.name, now)) + interval
        if empty_at > now + 60 + ROUNDING_TOLERANCE:
            raise TooManyRequests(
                "Too many requests in a minute for this API key.", retry_after=empty_at - now - 60
            )
        self._empty_at[key.name] = empty_at
