"""Turns and interruptions for the tests of every framework."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any

import pytest

from voicegw.events import Message, ToolCall, Turn

ReplyFunction = Callable[[Turn], AsyncGenerator[Any, None]]

SYSTEM = Message("system", "Be brief.")
FIRST = (SYSTEM, Message("user", "I am Ann."))
CUT_OFF = (
    Message("user", "How is it?"),
    Message("assistant", tool_calls=(ToolCall("c1", "look"),)),
    Message("user", "Never mind."),
    Message("user", "Bye."),
)
"""The caller interrupted a tool, and then a phrase of the gateway."""
SECOND = (*FIRST, Message("assistant", "Hello Ann."), Message("user", "Who am I?"))


def turn(*messages: Message, **fields: Any) -> Turn:
    return Turn("7", messages or (Message("user", "Hi"),), **fields)


async def collect_events(reply_function: ReplyFunction, turn: Turn) -> list[Any]:
    async with aclosing(reply_function(turn)) as events:
        return [event async for event in events]


def text(events: list[Any]) -> str:
    return "".join(event for event in events if isinstance(event, str))


async def interrupt(reply_function: ReplyFunction, waiting: asyncio.Event) -> list[Any]:
    """Cancel a reply where its model waits. Return the events before."""
    events: list[Any] = []

    async def listen() -> None:
        async with aclosing(reply_function(turn(call="c"))) as reply:
            async for event in reply:
                events.append(event)  # noqa: PERF401 (an interruption must find what came before)

    listening = asyncio.create_task(listen())
    await waiting.wait()
    for _ in range(50):
        await asyncio.sleep(0)  # lets the events before arrive
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    return events
