"""The watchdog logs the code that blocks the event loop; on the virtual clock only that code moves time."""

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
from voicegw.telemetry.watchdog import (
    BLOCKED_AFTER,
    CHECK_INTERVAL,
    LoopWatchdog,
    StackSampler,
    agent_location,
)


def block(seconds: float) -> None:
    """Let time pass while the loop does not run."""
    loop = asyncio.get_running_loop()
    assert isinstance(loop, VirtualLoop)
    loop.clock.now += seconds


def logged(caplog: pytest.LogCaptureFixture) -> list[dict[str, object]]:
    assert all(record.levelname == "WARNING" for record in caplog.records)
    return [json.loads(record.getMessage()) for record in caplog.records]


async def test_running_loop_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = LoopWatchdog()
    await asyncio.sleep(600)
    watchdog.stop()
    assert logged(caplog) == []


async def test_block_is_logged_once_with_its_seconds(
    caplog: pytest.LogCaptureFixture,
) -> None:
    watchdog = LoopWatchdog()
    await asyncio.sleep(CHECK_INTERVAL / 2)
    block(3.0)
    await asyncio.sleep(60)
    watchdog.stop()
    [line] = logged(caplog)
    assert (line["event"], line["seconds"]) == ("blocked", 3.0 - CHECK_INTERVAL / 2)
    assert "await" in str(line["hint"])


async def test_every_block_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = LoopWatchdog()
    for seconds in (2.0, 1.0):
        block(seconds)
        await asyncio.sleep(10)
    watchdog.stop()
    assert [line["seconds"] for line in logged(caplog)] == [2.0 - CHECK_INTERVAL, 1.0 - CHECK_INTERVAL]


@pytest.mark.parametrize(
    ("seconds", "times"), [(CHECK_INTERVAL + BLOCKED_AFTER, 1), (CHECK_INTERVAL + BLOCKED_AFTER - 0.001, 0)]
)
async def test_short_block_is_not_logged(
    seconds: float, times: int, caplog: pytest.LogCaptureFixture
) -> None:
    watchdog = LoopWatchdog()
    block(seconds)
    await asyncio.sleep(10)
    watchdog.stop()
    assert len(logged(caplog)) == times


@pytest.mark.parametrize("after_check", [False, True])
async def test_stop_cancels_the_timer(after_check: bool, caplog: pytest.LogCaptureFixture) -> None:
    watchdog = LoopWatchdog()
    if after_check:
        await asyncio.sleep(1)
    watchdog.stop()
    assert watchdog.timer.cancelled()
    block(9.0)
    await asyncio.sleep(9)
    assert (logged(caplog), watchdog.timer.cancelled()) == ([], True)


CODE = """
import asyncio, re, time

def work(say):
    re.sub("a", lambda found: say(), "a")

async def reply(say):
    work(say)
"""


def agent(folder: Path) -> object:
    """Return a module with an agent."""
    file = folder / "busy.py"
    file.write_text(CODE, "utf-8")
    spec = util.spec_from_file_location("busy", file)
    assert spec is not None
    assert spec.loader is not None
    module = util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


async def test_location_is_in_the_agent_s_code_even_deep_in_a_library(tmp_path: Path) -> None:
    locations: list[str] = []
    loop_code = {sys._getframe().f_code}
    module: Any = agent(tmp_path)

    def say() -> str:
        locations.append(agent_location(sys._getframe(), loop_code))
        return ""

    await module.reply(say)
    assert locations == [f"{tmp_path}/busy.py:8"]


def test_location_without_an_agent_is_that_of_the_thread() -> None:
    frame = sys._getframe()
    assert agent_location(frame, {frame.f_code}) == f"{__file__}:{frame.f_lineno}"
    assert agent_location(None) == ""


@pytest.mark.wire
async def test_sampler_finds_the_line_that_blocks_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    watchdog = LoopWatchdog(StackSampler())
    time.sleep(CHECK_INTERVAL + BLOCKED_AFTER + 0.05)  # noqa: ASYNC251 (the sampler must see this block)
    line = sys._getframe().f_lineno - 1
    for _ in range(3):
        await asyncio.sleep(0)  # the check is due
    watchdog.stop()
    assert logged(caplog)[0]["where"] == f"{__file__}:{line}"
