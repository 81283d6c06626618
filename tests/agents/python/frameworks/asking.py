"""What every framework is asked in its tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from voicegw.events import Message, Turn

Replying = Callable[[Turn], AsyncGenerator[Any, None]]

SYSTEM = Message("system", "Be brief.")
FIRST = (SYSTEM, Message("user", "I am Ann."))
SECOND = (*FIRST, Message("assistant", "Hello Ann."), Message("user", "Who am I?"))


def turn(*messages: Message, **how: Any) -> Turn:
    return Turn("7", messages or (Message("user", "Hi"),), **how)


async def told(replying: Replying, asked: Turn) -> list[Any]:
    async with aclosing(replying(asked)) as events:
        return [event async for event in events]


def text(events: list[Any]) -> str:
    return "".join(event for event in events if isinstance(event, str))


async def interrupt(replying: Replying, waiting: asyncio.Event) -> list[Any]:
    """What was told when the caller interrupts where the model waits."""
    events: list[Any] = []

    async def listen() -> None:
        async with aclosing(replying(turn(call="c"))) as reply:
            async for event in reply:
                events.append(event)  # noqa: PERF401 (an interruption must find what came before)

    listening = asyncio.create_task(listen())
    await waiting.wait()
    for _ in range(50):
        await asyncio.sleep(0)  # what was said before has arrived by then
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    return events
