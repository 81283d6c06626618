"""The agents behind the clients; the served gateway loads this file as its module `agents`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from pathlib import Path

from voicegw import errors
from voicegw.events import Event, Message, ToolCall, Turn, Usage

CITIES = ("Paris", "Rome")
OBJECT = '{"city": "Rome", "degrees": 21}'


async def trip(turn: Turn, pause: float = 0.0) -> AsyncGenerator[Event, None]:
    """Answer in three steps: ask for the weather of two cities, book the sunny one, and say the booking.

    The last step also says the messages of the turn, so that tests can compare the history. `pause` is the
    time before the first word of each step, in seconds.
    """
    await asyncio.sleep(pause)
    asked = max(index for index, message in enumerate(turn.messages) if message.role == "user")
    results = [message.text for message in turn.messages[asked:] if message.role == "tool"]
    if not results:
        yield "Let me "
        yield "look. "
        for number, city in enumerate(CITIES):
            yield ToolCall(f"call_{number}", "weather", f'{{"city": "{city}"}}')
    elif len(results) == 2:
        city = next(text.partition(":")[0] for text in results if "sun" in text)
        yield ToolCall("call_2", "book", f'{{"city": "{city}"}}')
    else:
        yield f"Booked {results[-1]}. "
        yield " ".join(map(describe, turn.messages))
    yield Usage(prompt=10, completion=4, cached=2, reasoning=1)


def describe(message: Message) -> str:
    """Return a message as its role, the ids of its tool calls and its text: `tool[call_0](Rome: sun)`."""
    ids = [call.id for call in message.tool_calls] or [message.tool_call_id or ""]
    return f"{message.role}[{','.join(ids)}]({message.text.strip()})"


async def history(turn: Turn) -> AsyncGenerator[Event, None]:
    """Say the messages of the turn."""
    yield " | ".join(f"{message.role}: {message.text}" for message in turn.messages)


async def structured(turn: Turn) -> AsyncGenerator[Event, None]:
    """Answer with an object: as the arguments of the offered tool, or as JSON if the request asks for it."""
    if turn.tools:
        yield ToolCall("call_0", turn.tools[0].name, OBJECT)
    elif "response_format" in turn.options:
        yield OBJECT[:12]
        yield OBJECT[12:]
    else:
        yield "The request asks for no format."


async def waiting(turn: Turn, folder: str) -> AsyncGenerator[Event, None]:
    """Begin, then wait until the gateway stops the answer. Create a file named like the caller's words."""
    try:
        yield "Well"
        await asyncio.sleep(600)
    finally:
        Path(folder, turn.said).touch()  # noqa: ASYNC240


async def failing(turn: Turn) -> AsyncGenerator[Event, None]:
    """Raise the error of `voicegw.errors` that the caller names."""
    raise getattr(errors, turn.said)("secret detail")
    yield


async def breaking(turn: Turn) -> AsyncGenerator[Event, None]:
    """Begin an object, then fail."""
    yield OBJECT[:12]
    await asyncio.sleep(0.1)
    raise errors.AgentError("secret detail")
