"""An agent of Pydantic AI, asked by `run_stream_events`.

The history is the turn's, so the agent's own `system_prompt` is put back by `ReinjectSystemPrompt`, and what
the platform's system messages say is added as instructions. An agent with `deps_type=Turn` gets the turn.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from typing import Any

from pydantic_ai import DeferredToolRequests, ExternalToolset
from pydantic_ai.capabilities import ReinjectSystemPrompt
from pydantic_ai.messages import (
    FunctionToolCallEvent,
    ModelMessage,
    ModelRequest,
    ModelResponse,
    PartDeltaEvent,
    PartStartEvent,
    TextPart,
    TextPartDelta,
    ToolCallPart,
    ToolReturnPart,
    UserPromptPart,
)
from pydantic_ai.run import AgentRunResultEvent
from pydantic_ai.tools import ToolDefinition

from voicegw.agents.python.frameworks.detect import only
from voicegw.events import Activity, Message, Tool, ToolCall, Turn, Usage
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT

SYSTEM = ("system", "developer")


def adapt(found: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """`tools = false` keeps the platform's tools from it; one with output validators cannot have them."""
    only(options, "tools")
    offering = options.get("tools", True)

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        offered = frozenset(tool.name for tool in turn.tools) if offering else frozenset()
        async with found.run_stream_events(**asked(found, turn, bool(offered))) as events:
            async for event in events:
                for told in heard(event, offered):
                    yield told

    return reply


def asked(agent: Any, turn: Turn, offering: bool) -> dict[str, Any]:
    """The arguments of a run."""
    how: dict[str, Any] = {
        "message_history": history(turn.messages),
        "instructions": "\n\n".join(m.text for m in turn.messages if m.role in SYSTEM) or None,
        "capabilities": [ReinjectSystemPrompt()],
    }
    if agent.deps_type is Turn:
        how["deps"] = turn
    if offering:
        own = agent.output_type
        outputs = [*own] if isinstance(own, (list, tuple)) else [own]
        tools = ExternalToolset([defined(tool) for tool in turn.tools])
        how |= {"output_type": [*outputs, DeferredToolRequests], "toolsets": [tools]}
    return how


def defined(tool: Tool) -> ToolDefinition:
    schema = dict(tool.parameters) or {"type": "object", "properties": {}}
    return ToolDefinition(
        name=tool.name, parameters_json_schema=schema, description=tool.description, strict=tool.strict
    )


def history(messages: Sequence[Message]) -> list[ModelMessage]:
    names = {call.id: call.name for message in messages for call in message.tool_calls}
    told: list[ModelMessage] = []
    for message in messages:
        match message.role:
            case "assistant":
                said = [TextPart(message.text)] if message.text else []
                calls = [ToolCallPart(call.name, call.arguments, call.id) for call in message.tool_calls]
                told.append(ModelResponse([*said, *calls]))
            case "tool" | "function":
                id = message.tool_call_id or ""
                name = names.get(id) or message.name or "tool"
                told.append(ModelRequest([ToolReturnPart(name, message.text, id)]))
            case "user":
                told.append(ModelRequest([UserPromptPart(message.text)]))
    if not told or isinstance(told[-1], ModelResponse):  # a model that has the last word says nothing
        told.append(ModelRequest([UserPromptPart(SILENCE_PROMPT if told else CALL_START_PROMPT)]))
    return told


def heard(event: object, offered: frozenset[str]) -> Iterator[Any]:
    """What an event of theirs is to us."""
    match event:
        case (
            PartStartEvent(part=TextPart(content=text))
            | PartDeltaEvent(delta=TextPartDelta(content_delta=text))
        ):
            if text:
                yield text
        case FunctionToolCallEvent(part=call) if call.tool_name not in offered:
            yield Activity(call.tool_name)
        case AgentRunResultEvent(result=result):
            yield from ended(result.output, result.usage)


def ended(output: object, used: Any) -> Iterator[Any]:
    """Text was told while it came; any other output but the platform's tools is refused by who reads it."""
    if isinstance(output, DeferredToolRequests):
        for call in output.calls:
            yield ToolCall(call.tool_call_id, call.tool_name, call.args_as_json_str())
    elif not isinstance(output, str):
        yield output
    reasoning = used.details.get("reasoning_tokens", 0)
    yield Usage(used.input_tokens, used.output_tokens, used.cache_read_tokens, reasoning)
