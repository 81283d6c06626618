"""Limits of concurrent turns and of requests per minute. Pure: the caller passes the time."""

from __future__ import annotations

from collections.abc import Mapping
from math import inf

from voicegw.errors import TooManyRequests
from voicegw.security.keys import ApiKey

ROUNDING_TOLERANCE = 1e-6
"""Seconds by which a burst may exceed the minute, because sums of fractions are not exact."""


class RateLimiter:
    """Counts concurrent turns, and limits the requests per minute of each API key with a leaky bucket.

    `concurrent_turns` is the limit of all turns together, `agents` has the limits of single agents by name;
    a key has its own. All limits hold for the whole gateway; each of its `workers` processes allows its
    share, at least 1. A key may spend the requests of a whole minute in one burst. The memory is three
    numbers per key or agent, and both come from the configuration.
    """

    def __init__(
        self,
        concurrent_turns: int,
        requests_per_minute: int = 0,
        *,
        agents: Mapping[str, int] | None = None,
        workers: int = 1,
    ) -> None:
        # The number of turns that run now, in all, by the key's name and by the agent's.
        self.running_turns = 0
        self._turns_by_key: dict[str, int] = {}
        self._turns_by_agent: dict[str, int] = {}
        self._workers = workers
        # The limits of turns in this process. An agent without one is limited by the others only.
        self._max_turns = self._share(concurrent_turns)
        self._max_turns_by_agent = {name: self._share(limit) for name, limit in (agents or {}).items()}
        # The limit of a key without a limit in its own settings, for all workers together; 0 for no limit.
        self._requests_per_minute = requests_per_minute
        # The time at which the bucket of each key is empty again, by the key's name.
        self._empty_at: dict[str, float] = {}

    def acquire(self, key: ApiKey, agent: str, now: float) -> None:
        """Count a turn of this key, answered by this agent, that begins at `now`, in seconds.

        Raise TooManyRequests, with the seconds until a retry, at a limit; then nothing is counted.
        """
        of_key, of_agent = self._turns_by_key.get(key.name, 0), self._turns_by_agent.get(agent, 0)
        if self.running_turns >= self._max_turns:
            raise _too_many("")
        if key.concurrent_turns is not None and of_key >= self._share(key.concurrent_turns):
            raise _too_many(" for this API key")
        if of_agent >= self._max_turns_by_agent.get(agent, inf):
            raise _too_many(" for this agent")
        self._count_request(key, now)
        self.running_turns += 1
        self._turns_by_key[key.name] = of_key + 1
        self._turns_by_agent[agent] = of_agent + 1

    def release(self, key: ApiKey, agent: str) -> None:
        """Count the end of a turn for which `acquire` returned."""
        self.running_turns -= 1
        self._turns_by_key[key.name] -= 1
        self._turns_by_agent[agent] -= 1

    def _share(self, limit: int) -> int:
        """Return this process' share of a limit of all workers."""
        return max(1, limit // self._workers)

    def _count_request(self, key: ApiKey, now: float) -> None:
        per_minute = self._requests_per_minute if key.requests_per_minute is None else key.requests_per_minute
        if not per_minute:
            return
        interval = 60 / self._share(per_minute)
        empty_at = max(now, self._empty_at.get(key.name, now)) + interval
        if empty_at > now + 60 + ROUNDING_TOLERANCE:
            raise TooManyRequests(
                "Too many requests in a minute for this API key.", retry_after=empty_at - now - 60
            )
        self._empty_at[key.name] = empty_at


def _too_many(whose: str) -> TooManyRequests:
    return TooManyRequests(f"Too many turns at once{whose}: try again in a second.", retry_after=1.0)
