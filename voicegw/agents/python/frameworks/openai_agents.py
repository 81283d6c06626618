"""An `Agent` of the OpenAI Agents SDK, asked by `Runner.run_streamed`.

Tools of the platform are not offered: what the SDK calls it also runs. A call is a group of its traces.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from agents import RunConfig, Runner, RunResultStreaming, StreamEvent

from voicegw.agents.python.frameworks.detect import only
from voicegw.events import Activity, Message, Turn, Usage


def adapt(found: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """`tracing = false` sends no traces; `max_turns` bounds how often models are asked in one turn."""
    only(options, "tracing", "max_turns")
    traced = options.get("tracing", True)
    bounds = {name: options[name] for name in ("max_turns",) if name in options}

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        config = RunConfig(tracing_disabled=not traced, group_id=turn.call)
        run = Runner.run_streamed(found, items(turn.messages), context=turn, run_config=config, **bounds)
        events: Any = run.stream_events()  # a generator, though they call it an iterator
        async with aclosing(events), stopping(run):
            async for event in events:
                for told in heard(event):
                    yield told
        yield used(run)
        if not isinstance(run.final_output, str):
            yield run.final_output  # refused by who reads it: it cannot be said

    return reply


@asynccontextmanager
async def stopping(run: RunResultStreaming) -> AsyncGenerator[None, None]:
    """At the end the run is over. Its events are closed after that: they would wait for it, not cancel it."""
    try:
        yield
    finally:
        if not run.is_complete:
            run.cancel()
        if run.run_loop_task is not None:
            await asyncio.wait([run.run_loop_task])


def items(messages: Sequence[Message]) -> list[Any]:
    """The history in the form of OpenAI's Responses."""
    told: list[Any] = []
    for message in messages:
        if message.role in ("tool", "function"):
            id = message.tool_call_id or ""
            told.append({"type": "function_call_output", "call_id": id, "output": message.text})
        elif message.text:
            told.append({"role": message.role, "content": message.text})
        told += [
            {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
            for call in message.tool_calls
        ]
    return told


def heard(event: StreamEvent) -> Iterator[Any]:
    """What an event of theirs is to us."""
    if event.type == "raw_response_event":
        if event.data.type == "response.output_text.delta" and event.data.delta:
            yield event.data.delta
    elif event.type == "run_item_stream_event" and event.name == "tool_called":
        yield Activity(event.item.tool_name or "tool")
    elif event.type == "run_item_stream_event" and event.name == "handoff_requested":
        yield Activity("handoff")


def used(run: RunResultStreaming) -> Usage:
    told = run.context_wrapper.usage
    cached = told.input_tokens_details.cached_tokens or 0
    reasoning = told.output_tokens_details.reasoning_tokens or 0
    return Usage(told.input_tokens, told.output_tokens, cached, reasoning)
