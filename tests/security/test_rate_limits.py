"""The rate limiter spaces the turns of a key over a minute and counts those that run."""

from __future__ import annotations

import pytest

from tests.security.test_keys import BOSS, DESK
from voicegw.errors import TooManyRequests
from voicegw.security.keys import ANONYMOUS, ApiKey
from voicegw.security.rate_limits import RateLimiter


def test_turns_at_the_same_time_are_limited_and_an_ended_one_makes_room() -> None:
    limits = RateLimiter(2)
    limits.acquire(BOSS, 0.0)
    limits.acquire(DESK, 0.0)
    with pytest.raises(TooManyRequests) as caught:
        limits.acquire(BOSS, 0.0)
    assert (caught.value.retry_after, caught.value.status, limits.running_turns) == (1.0, 429, 2)
    limits.release()
    limits.acquire(BOSS, 0.0)
    assert limits.running_turns == 2


def spend(limits: RateLimiter, key: ApiKey, now: float) -> float | None:
    """One whole turn; the wait in seconds if it is refused."""
    try:
        limits.acquire(key, now)
    except TooManyRequests as busy:
        return busy.retry_after
    limits.release()
    return None


def test_a_key_may_spend_its_minute_at_once_and_gets_it_back_evenly() -> None:
    limits = RateLimiter(9, 3)
    assert [spend(limits, BOSS, 0.0) for _ in range(4)] == [None, None, None, 20.0]
    assert [spend(limits, BOSS, at) for at in (15.0, 20.0, 20.0, 39.0, 40.0)] == [5.0, None, 20.0, 1.0, None]
    assert [spend(limits, BOSS, 1000.0) for _ in range(4)] == [None, None, None, 20.0]


@pytest.mark.parametrize("now", [0.0, 12345.678, 5e6 + 0.1])
@pytest.mark.parametrize("rate", [1, 7, 11, 49, 600, 997])
def test_the_burst_is_exactly_the_rate(rate: int, now: float) -> None:
    limits = RateLimiter(1, rate)
    assert [spend(limits, BOSS, now) for _ in range(rate)] == [None] * rate
    wait = spend(limits, BOSS, now)
    assert wait is not None
    assert spend(limits, BOSS, now + wait) is None


def test_a_refused_turn_counts_nowhere() -> None:
    limits = RateLimiter(1, 1)
    assert spend(limits, BOSS, 0.0) is None
    assert [spend(limits, BOSS, 30.0) for _ in range(3)] == [30.0, 30.0, 30.0]
    assert limits.running_turns == 0
    assert spend(limits, BOSS, 60.0) is None


def test_too_many_turns_at_once_cost_nothing_of_the_minute() -> None:
    limits = RateLimiter(1, 2)
    limits.acquire(DESK, 0.0)
    assert [spend(limits, BOSS, 0.0) for _ in range(5)] == [1.0] * 5
    limits.release()
    assert [spend(limits, BOSS, 0.0) for _ in range(3)] == [None, None, 30.0]


def test_keys_do_not_spend_each_others_minute() -> None:
    limits = RateLimiter(9, 1)
    assert [spend(limits, key, 0.0) for key in (BOSS, ANONYMOUS, BOSS)] == [None, None, 60.0]


def test_a_keys_own_rate_wins_and_zero_is_no_limit() -> None:
    limits = RateLimiter(9, 1)
    assert [spend(limits, DESK, 0.0) for _ in range(11)] == [None] * 10 + [6.0]
    free = ApiKey("free", b"", requests_per_minute=0)
    assert {spend(limits, free, 0.0) for _ in range(1000)} == {None}
    assert {spend(RateLimiter(9), BOSS, 0.0) for _ in range(1000)} == {None}


def test_workers_share_the_limits_and_each_keeps_at_least_one() -> None:
    shared = RateLimiter(5, 6, workers=2)
    assert [spend(shared, BOSS, 0.0) for _ in range(4)] == [None, None, None, 20.0]
    for _ in range(2):
        shared.acquire(DESK, 0.0)
    assert spend(shared, DESK, 0.0) == 1.0
    few = RateLimiter(1, 1, workers=8)
    assert [spend(few, BOSS, 0.0) for _ in range(2)] == [None, 60.0]
    few.acquire(DESK, 0.0)
    assert spend(few, DESK, 0.0) == 1.0


def test_memory_is_bounded_by_the_number_of_keys() -> None:
    limits = RateLimiter(1, 100000)
    for turn in range(1000):
        spend(limits, BOSS if turn % 2 else ANONYMOUS, float(turn))
    assert set(limits._free) == {"boss", ""}
