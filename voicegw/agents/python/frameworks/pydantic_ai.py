"""Adapts an agent of Pydantic AI, called by `run_stream_events`.

The history is the turn's, so `ReinjectSystemPrompt` adds the agent's own `system_prompt` again, and the
platform's system messages become instructions. An agent with `deps_type=Turn` gets the turn.
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

from voicegw.agents.model_history import valid_history
from voicegw.agents.python.frameworks.detect import reject_unknown_options
from voicegw.events import Activity, Message, Tool, ToolCall, Turn, Usage
from voicegw.turns.prompts import CALL_START_PROMPT, SILENCE_PROMPT

SYSTEM_ROLES = ("system", "developer")


def adapt(agent: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """Return the function that answers a turn by `agent`.

    The option `tools = false` does not offer the platform's tools: an agent with output validators cannot
    have them. Raises `ConfigError` for another option.
    """
    reject_unknown_options(options, "tools")
    with_tools = options.get("tools", True)

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        platform_tools = frozenset(tool.name for tool in turn.tools) if with_tools else frozenset()
        arguments = run_arguments(agent, turn, bool(platform_tools))
        async with agent.run_stream_events(**arguments) as run_events:
            async for run_event in run_events:
                for event in convert_event(run_event, platform_tools):
                    yield event

    return reply


def run_arguments(agent: Any, turn: Turn, with_tools: bool) -> dict[str, Any]:
    """Return the keyword arguments of the agent's run for a turn."""
    instructions = "\n\n".join(m.text for m in turn.messages if m.role in SYSTEM_ROLES)
    arguments: dict[str, Any] = {
        "message_history": convert_messages(turn.messages),
        "instructions": instructions or None,
        "capabilities": [ReinjectSystemPrompt()],
    }
    if agent.deps_type is Turn:
        arguments["deps"] = turn
    if with_tools:
        output_type = agent.output_type
        outputs = [*output_type] if isinstance(output_type, (list, tuple)) else [output_type]
        tools = ExternalToolset([convert_tool(tool) for tool in turn.tools])
        arguments |= {"output_type": [*outputs, DeferredToolRequests], "toolsets": [tools]}
    return arguments


def convert_tool(tool: Tool) -> ToolDefinition:
    """Return a tool of the platform as an external tool of Pydantic AI."""
    schema = dict(tool.parameters) or {"type": "object", "properties": {}}
    return ToolDefinition(
        name=tool.name, parameters_json_schema=schema, description=tool.description, strict=tool.strict
    )


def convert_messages(messages: Sequence[Message]) -> list[ModelMessage]:
    """Return the messages, without those of the system, in Pydantic AI's form.

    They end with a request: a model that gets its own message last answers nothing.
    """
    messages = valid_history(messages)
    tool_names = {call.id: call.name for message in messages for call in message.tool_calls}
    history: list[ModelMessage] = []
    for message in messages:
        match message.role:
            case "assistant":
                texts = [TextPart(message.text)] if message.text else []
                calls = [ToolCallPart(call.name, call.arguments, call.id) for call in message.tool_calls]
                history.append(ModelResponse([*texts, *calls]))
            case "tool":
                id = message.tool_call_id or ""
                history.append(ModelRequest([ToolReturnPart(tool_names[id], message.text, id)]))
            case "user":
                history.append(ModelRequest([UserPromptPart(message.text)]))
    if not history or isinstance(history[-1], ModelResponse):
        prompt = SILENCE_PROMPT if history else CALL_START_PROMPT
        history.append(ModelRequest([UserPromptPart(prompt)]))
    return history


def convert_event(event: object, platform_tools: frozenset[str]) -> Iterator[Any]:
    """Yield the events that an event of Pydantic AI stands for, if any."""
    match event:
        case (
            PartStartEvent(part=TextPart(content=text))
            | PartDeltaEvent(delta=TextPartDelta(content_delta=text))
        ):
            if text:
                yield text
        case FunctionToolCallEvent(part=call) if call.tool_name not in platform_tools:
            yield Activity(call.tool_name)
        case AgentRunResultEvent(result=result):
            yield from convert_result(result.output, result.usage)


def convert_result(output: object, usage: Any) -> Iterator[Any]:
    """Yield the calls of platform tools and the usage. Text was already yielded while it streamed.

    Any other output is yielded as it is: `PythonAgent` raises the error, because only text can be spoken.
    """
    if isinstance(output, DeferredToolRequests):
        for call in output.calls:
            yield ToolCall(call.tool_call_id, call.tool_name, call.args_as_json_str())
    elif not isinstance(output, str):
        yield output
    reasoning = usage.details.get("reasoning_tokens", 0)
    yield Usage(usage.input_tokens, usage.output_tokens, usage.cache_read_tokens, reasoning)
