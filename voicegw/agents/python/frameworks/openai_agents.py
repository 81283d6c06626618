"""Adapts an `Agent` of the OpenAI Agents SDK, called by `Runner.run_streamed`.

It does not offer the platform's tools, because the SDK runs every tool that it calls. The turns of a call
share a group of traces.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from typing import Any

from agents import RunConfig, Runner, RunResultStreaming, StreamEvent

from voicegw.agents.model_history import valid_history
from voicegw.agents.python.frameworks.detect import reject_unknown_options
from voicegw.events import Activity, Message, Turn, Usage


def adapt(agent: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """Return the function that answers a turn by `agent`.

    The option `tracing = false` sends no traces; `max_turns` bounds the requests to models in one turn.
    Raises `ConfigError` for another option.
    """
    reject_unknown_options(options, "tracing", "max_turns")
    with_tracing = options.get("tracing", True)
    limits = {name: options[name] for name in ("max_turns",) if name in options}

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        config = RunConfig(tracing_disabled=not with_tracing, group_id=turn.call)
        items = input_items(turn.messages)
        run = Runner.run_streamed(agent, items, context=turn, run_config=config, **limits)
        events: Any = run.stream_events()  # a generator, though the SDK declares an iterator
        async with aclosing(events), cancel_on_exit(run):
            async for sdk_event in events:
                for event in convert_event(sdk_event):
                    yield event
        yield read_usage(run)
        if not isinstance(run.final_output, str):
            yield run.final_output  # `PythonAgent` raises the error: only text can be spoken

    return reply


@asynccontextmanager
async def cancel_on_exit(run: RunResultStreaming) -> AsyncGenerator[None, None]:
    """Cancel an active run at exit, and wait for its end.

    The stream of its events must be closed after that: its close waits for the run and does not cancel it.
    """
    try:
        yield
    finally:
        if not run.is_complete:
            run.cancel()
        if run.run_loop_task is not None:
            await asyncio.wait([run.run_loop_task])


def input_items(messages: Sequence[Message]) -> list[Any]:
    """Return the messages as input items of OpenAI's Responses API."""
    items: list[Any] = []
    for message in valid_history(messages):
        if message.role == "tool":
            id = message.tool_call_id or ""
            items.append({"type": "function_call_output", "call_id": id, "output": message.text})
        elif message.text:
            items.append({"role": message.role, "content": message.text})
        items += [
            {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": call.arguments}
            for call in message.tool_calls
        ]
    return items


def convert_event(event: StreamEvent) -> Iterator[Any]:
    """Yield the event that an event of the SDK stands for, if any."""
    if event.type == "raw_response_event":
        if event.data.type == "response.output_text.delta" and event.data.delta:
            yield event.data.delta
    elif event.type == "run_item_stream_event" and event.name == "tool_called":
        yield Activity(event.item.tool_name or "tool")
    elif event.type == "run_item_stream_event" and event.name == "handoff_requested":
        yield Activity("handoff")


def read_usage(run: RunResultStreaming) -> Usage:
    """Return the tokens of all requests of a run."""
    usage = run.context_wrapper.usage
    cached = usage.input_tokens_details.cached_tokens or 0
    reasoning = usage.output_tokens_details.reasoning_tokens or 0
    return Usage(usage.input_tokens, usage.output_tokens, cached, reasoning)
