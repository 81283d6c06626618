"""The memory of calls that are remembered stays within `calls.max_memory`, and returns to its base."""

from __future__ import annotations

import asyncio
import gc
import re
import tracemalloc
from typing import Any

from starlette.types import ASGIApp

from tests.support.asgi import send_request
from tests.support.fake_agent import FakeAgent
from tests.support.gateway import create_gateway, send_turn

TOOLS = [
    {
        "type": "function",
        "function": {
            "name": f"tool_{number}",
            "description": "Book, change or look up an appointment of the caller. " * 2,
            "parameters": {
                "type": "object",
                "properties": {"day": {"type": "string"}, "name": {"type": "string"}},
            },
        },
    }
    for number in range(60)
]
MAX_MEMORY = 1_000_000
CALLS = 400


class BriefAgent(FakeAgent):
    """An agent that records nothing."""

    async def reply(self, turn: Any) -> Any:
        yield "We are open from eight to five."


async def call_memory(app: ASGIApp) -> float:
    metrics = (await send_request(app, method="GET", path="/metrics")).body.decode()
    found = re.search(r"^voicegw_calls_memory_bytes (\S+)$", metrics, re.MULTILINE)
    assert found is not None
    return float(found[1])


async def play_calls(app: ASGIApp, first: int, count: int) -> None:
    for number in range(first, first + count):
        metadata = {f"key_{index}": f"{number} {index}" for index in range(10)}
        await send_turn(
            app, {"tools": TOOLS, "metadata": metadata}, headers={"x-voicegw-call": f"call-{number}"}
        )


async def test_calls_with_many_tools_stay_within_the_limit_and_leave_nothing_behind() -> None:
    app = create_gateway(
        BriefAgent(), calls={"max_memory": MAX_MEMORY, "idle": 60.0}, turns={"replay_window": 10.0}
    )
    await play_calls(app, 0, 20)
    await asyncio.sleep(200.0)
    tracemalloc.start()
    try:
        await play_calls(app, 20, CALLS)
        gc.collect()
        replayable, counted = tracemalloc.get_traced_memory()[0], await call_memory(app)
        await asyncio.sleep(20.0)
        remembered = await call_memory(app)
        await asyncio.sleep(200.0)
        gc.collect()
        base = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert 0.9 * MAX_MEMORY < counted <= MAX_MEMORY
    assert replayable < 2 * MAX_MEMORY, "the tools alone would take 40 times as much"
    assert 0 < remembered < MAX_MEMORY
    assert (await call_memory(app), base < MAX_MEMORY / 5) == (0, True)
