"""The rate limiter counts concurrent turns and limits the requests per minute of each key."""

from __future__ import annotations

import pytest

from tests.security.test_keys import BOSS, DESK
from voicegw.errors import TooManyRequests
from voicegw.security.keys import ANONYMOUS, ApiKey
from voicegw.security.rate_limits import RateLimiter


def test_concurrent_turns_are_limited_until_one_ends() -> None:
    limiter = RateLimiter(2)
    limiter.acquire(BOSS, "desk", 0.0)
    limiter.acquire(DESK, "desk", 0.0)
    with pytest.raises(TooManyRequests) as caught:
        limiter.acquire(BOSS, "desk", 0.0)
    assert (caught.value.retry_after, caught.value.status, limiter.running_turns) == (1.0, 429, 2)
    limiter.release(DESK, "desk")
    limiter.acquire(BOSS, "desk", 0.0)
    assert limiter.running_turns == 2


def use(limiter: RateLimiter, key: ApiKey, now: float) -> float | None:
    """Acquire and release one turn; return the wait in seconds if it is refused."""
    try:
        limiter.acquire(key, "desk", now)
    except TooManyRequests as error:
        return error.retry_after
    limiter.release(key, "desk")
    return None


def test_key_may_use_a_minute_in_one_burst_and_recovers_evenly() -> None:
    limiter = RateLimiter(9, 3)
    assert [use(limiter, BOSS, 0.0) for _ in range(4)] == [None, None, None, 20.0]
    assert [use(limiter, BOSS, at) for at in (15.0, 20.0, 20.0, 39.0, 40.0)] == [5.0, None, 20.0, 1.0, None]
    assert [use(limiter, BOSS, 1000.0) for _ in range(4)] == [None, None, None, 20.0]


@pytest.mark.parametrize("now", [0.0, 12345.678, 5e6 + 0.1])
@pytest.mark.parametrize("rate", [1, 7, 11, 49, 600, 997])
def test_burst_is_exactly_the_rate(rate: int, now: float) -> None:
    limiter = RateLimiter(1, rate)
    assert [use(limiter, BOSS, now) for _ in range(rate)] == [None] * rate
    wait = use(limiter, BOSS, now)
    assert wait is not None
    assert use(limiter, BOSS, now + wait) is None


def test_refused_turn_is_not_counted() -> None:
    limiter = RateLimiter(1, 1)
    assert use(limiter, BOSS, 0.0) is None
    assert [use(limiter, BOSS, 30.0) for _ in range(3)] == [30.0, 30.0, 30.0]
    assert limiter.running_turns == 0
    assert use(limiter, BOSS, 60.0) is None


def test_turns_refused_for_concurrency_do_not_count_for_the_minute() -> None:
    limiter = RateLimiter(1, 2)
    limiter.acquire(DESK, "desk", 0.0)
    assert [use(limiter, BOSS, 0.0) for _ in range(5)] == [1.0] * 5
    limiter.release(DESK, "desk")
    assert [use(limiter, BOSS, 0.0) for _ in range(3)] == [None, None, 30.0]


def test_keys_have_separate_limits() -> None:
    limiter = RateLimiter(9, 1)
    assert [use(limiter, key, 0.0) for key in (BOSS, ANONYMOUS, BOSS)] == [None, None, 60.0]


def test_limit_of_a_key_takes_precedence_and_zero_is_no_limit() -> None:
    limiter = RateLimiter(9, 1)
    assert [use(limiter, DESK, 0.0) for _ in range(11)] == [None] * 10 + [6.0]
    free = ApiKey("free", b"", requests_per_minute=0)
    assert {use(limiter, free, 0.0) for _ in range(1000)} == {None}
    assert {use(RateLimiter(9), BOSS, 0.0) for _ in range(1000)} == {None}


def test_workers_share_the_limits_with_at_least_one_each() -> None:
    shared = RateLimiter(5, 6, workers=2)
    assert [use(shared, BOSS, 0.0) for _ in range(4)] == [None, None, None, 20.0]
    for _ in range(2):
        shared.acquire(DESK, "desk", 0.0)
    assert use(shared, DESK, 0.0) == 1.0
    few = RateLimiter(1, 1, workers=8)
    assert [use(few, BOSS, 0.0) for _ in range(2)] == [None, 60.0]
    few.acquire(DESK, "desk", 0.0)
    assert use(few, DESK, 0.0) == 1.0


def test_a_key_with_its_own_limit_takes_no_places_from_the_others() -> None:
    limiter, small = RateLimiter(5), ApiKey("small", b"", concurrent_turns=2)
    for _ in range(2):
        limiter.acquire(small, "desk", 0.0)
    with pytest.raises(TooManyRequests, match="at once for this API key"):
        limiter.acquire(small, "shop", 0.0)
    for _ in range(3):
        limiter.acquire(BOSS, "desk", 0.0)
    with pytest.raises(TooManyRequests, match="at once: try"):
        limiter.acquire(BOSS, "desk", 0.0)
    limiter.release(small, "desk")
    limiter.acquire(small, "shop", 0.0)


def test_an_agent_with_its_own_limit_leaves_places_to_the_others() -> None:
    limiter = RateLimiter(8, agents={"desk": 6}, workers=2)
    for key in (BOSS, DESK, BOSS):
        limiter.acquire(key, "desk", 0.0)
    with pytest.raises(TooManyRequests, match="at once for this agent"):
        limiter.acquire(BOSS, "desk", 0.0)
    limiter.acquire(BOSS, "shop", 0.0)
    limiter.release(DESK, "desk")
    limiter.release(BOSS, "shop")
    limiter.acquire(DESK, "desk", 0.0)
    with pytest.raises(TooManyRequests, match="at once for this agent"):
        limiter.acquire(BOSS, "desk", 0.0)


def test_memory_is_bounded_by_the_number_of_keys() -> None:
    limiter = RateLimiter(1, 100000)
    for turn in range(1000):
        use(limiter, BOSS if turn % 2 else ANONYMOUS, float(turn))
    assert set(limiter._empty_at) == {"boss", ""}
