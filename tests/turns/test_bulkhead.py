"""The bulkhead of an agent has a fixed number of places."""

from __future__ import annotations

from voicegw.turns.bulkhead import Bulkhead


def test_a_full_bulkhead_takes_no_run_until_one_is_released() -> None:
    bulkhead = Bulkhead(2)
    assert [bulkhead.acquire() for _ in range(3)] == [True, True, False]
    assert bulkhead.run_count == 2
    bulkhead.release()
    assert [bulkhead.acquire(), bulkhead.acquire()] == [True, False]
