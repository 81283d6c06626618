"""The pulse tells who blocks the loop, on a clock that only they can move."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.clock import VirtualLoop
from voicegw.pulse import EVERY, LATE, Pulse


def block(seconds: float) -> None:
    """Time passes, and the loop does not turn."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.jump.now += seconds


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    assert all(record.levelname == "WARNING" for record in caplog.records)
    return [json.loads(record.getMessage()) for record in caplog.records]


async def test_a_loop_that_turns_is_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    pulse = Pulse()
    await asyncio.sleep(600)
    pulse.stop()
    assert told(caplog) == []


async def test_a_loop_that_was_blocked_is_told_of_once_with_its_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pulse = Pulse()
    await asyncio.sleep(EVERY / 2)
    block(3.0)
    await asyncio.sleep(60)
    pulse.stop()
    [line] = told(caplog)
    assert (line["event"], line["seconds"]) == ("blocked", 3.0 - EVERY / 2)
    assert "await" in str(line["hint"])


async def test_every_time_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    pulse = Pulse()
    for seconds in (2.0, 1.0):
        block(seconds)
        await asyncio.sleep(10)
    pulse.stop()
    assert [line["seconds"] for line in told(caplog)] == [2.0 - EVERY, 1.0 - EVERY]


@pytest.mark.parametrize(("seconds", "times"), [(EVERY + LATE, 1), (EVERY + LATE - 0.001, 0)])
async def test_what_nobody_hears_is_not_told(
    seconds: float, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    pulse = Pulse()
    block(seconds)
    await asyncio.sleep(10)
    pulse.stop()
    assert len(told(caplog)) == times


@pytest.mark.parametrize("beaten", [False, True])
async def test_after_the_stop_no_timer_is_left(beaten: bool, caplog: pytest.LogCaptureFixture) -> None:
    pulse = Pulse()
    if beaten:
        await asyncio.sleep(1)
    pulse.stop()
    assert pulse.timer.cancelled()
    block(9.0)
    await asyncio.sleep(9)
    assert (told(caplog), pulse.timer.cancelled()) == ([], True)
