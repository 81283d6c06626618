"""The pulse tells who blocks the loop, on a clock that only they can move."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from importlib import util
from pathlib import Path
from typing import Any

import pytest

from tests.support.clock import VirtualLoop
from voicegw.telemetry.watchdog import EVERY, LATE, LoopWatchdog, StackSampler, place


def block(seconds: float) -> None:
    """Time passes, and the loop does not turn."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.jump.now += seconds


def told(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    assert all(record.levelname == "WARNING" for record in caplog.records)
    return [json.loads(record.getMessage()) for record in caplog.records]


async def test_a_loop_that_turns_is_not_worth_a_word(caplog: pytest.LogCaptureFixture) -> None:
    pulse = LoopWatchdog()
    await asyncio.sleep(600)
    pulse.stop()
    assert told(caplog) == []


async def test_a_loop_that_was_blocked_is_told_of_once_with_its_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    pulse = LoopWatchdog()
    await asyncio.sleep(EVERY / 2)
    block(3.0)
    await asyncio.sleep(60)
    pulse.stop()
    [line] = told(caplog)
    assert (line["event"], line["seconds"]) == ("blocked", 3.0 - EVERY / 2)
    assert "await" in str(line["hint"])


async def test_every_time_is_told_of(caplog: pytest.LogCaptureFixture) -> None:
    pulse = LoopWatchdog()
    for seconds in (2.0, 1.0):
        block(seconds)
        await asyncio.sleep(10)
    pulse.stop()
    assert [line["seconds"] for line in told(caplog)] == [2.0 - EVERY, 1.0 - EVERY]


@pytest.mark.parametrize(("seconds", "times"), [(EVERY + LATE, 1), (EVERY + LATE - 0.001, 0)])
async def test_what_nobody_hears_is_not_told(
    seconds: float, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    pulse = LoopWatchdog()
    block(seconds)
    await asyncio.sleep(10)
    pulse.stop()
    assert len(told(caplog)) == times


@pytest.mark.parametrize("beaten", [False, True])
async def test_after_the_stop_no_timer_is_left(beaten: bool, caplog: pytest.LogCaptureFixture) -> None:
    pulse = LoopWatchdog()
    if beaten:
        await asyncio.sleep(1)
    pulse.stop()
    assert pulse.timer.cancelled()
    block(9.0)
    await asyncio.sleep(9)
    assert (told(caplog), pulse.timer.cancelled()) == ([], True)


CODE = """
import asyncio, re, time

def work(say):
    re.sub("a", lambda found: say(), "a")

async def reply(say):
    work(say)
"""


def agent(folder: Path) -> object:
    """An agent's module."""
    file = folder / "busy.py"
    file.write_text(CODE, "utf-8")
    spec = util.spec_from_file_location("busy", file)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_the_place_is_that_of_the_agent_s_code_however_deep_in_libraries_it_is(tmp_path: Path) -> None:
    seen: list[str] = []
    below = {sys._getframe().f_code}
    module: Any = agent(tmp_path)

    def say() -> str:
        seen.append(place(sys._getframe(), below))
        return ""

    await module.reply(say)
    assert seen == [f"{tmp_path}/busy.py:8"]


def test_without_an_agent_the_place_is_where_the_thread_is() -> None:
    here = sys._getframe()
    assert place(here, {here.f_code}) == f"{__file__}:{here.f_lineno}"
    assert place(None) == ""


@pytest.mark.wire
async def test_a_lookout_tells_where_the_loop_does_not_turn(caplog: pytest.LogCaptureFixture) -> None:
    pulse = LoopWatchdog(StackSampler())
    time.sleep(EVERY + LATE + 0.05)  # noqa: ASYNC251 (that is what it is to see)
    line = sys._getframe().f_lineno - 1
    for _ in range(3):
        await asyncio.sleep(0)  # the beat is due
    pulse.stop()
    assert told(caplog)[0]["where"] == f"{__file__}:{line}"
