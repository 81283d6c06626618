"""Adapts a LangChain runnable, called by `astream`: a chat model, a chain, or anything that takes messages.

A chain that begins with a prompt gets the values of its variables: the placeholder gets the messages, and the
one text variable gets the caller's words; the placeholder then has only the messages before. A chat model
gets the platform's tools, if it can bind any.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Iterator, Mapping, Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import (
    AIMessage,
    AIMessageChunk,
    AnyMessage,
    HumanMessage,
    SystemMessage,
    ToolMessage,
)
from langchain_core.prompts import BasePromptTemplate, ChatPromptTemplate, MessagesPlaceholder
from langchain_core.runnables import RunnableSequence

from voicegw.agents.model_history import parse_arguments, valid_history
from voicegw.agents.python.frameworks.detect import reject_unknown_options
from voicegw.errors import ConfigError
from voicegw.events import Activity, Message, Tool, ToolCall, Turn, Usage
from voicegw.wire.json import dumps


def adapt(runnable: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """Return the function that answers a turn by `runnable`.

    The options are values for variables of a prompt at the beginning of a chain. Raises `ConfigError` for
    other options, and for a prompt with more variables than the turn can fill.
    """
    first = runnable.first if isinstance(runnable, RunnableSequence) else runnable
    make_input: Callable[[Turn], Any]
    if isinstance(first, BasePromptTemplate):
        make_input = partial(prompt_input, *find_variables(first, options), options)
    else:
        reject_unknown_options(options)
        make_input = messages_input

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        with_tools = turn.tools and isinstance(runnable, BaseChatModel) and can_bind_tools(runnable)
        tools = [convert_tool(tool) for tool in turn.tools] if with_tools else []
        model = runnable.bind_tools(tools, **tool_choice(turn)) if tools else runnable
        stream = MessageConverter(frozenset(tool.name for tool in turn.tools) if tools else frozenset())
        async with aclosing(model.astream(make_input(turn))) as pieces:
            async for piece in pieces:
                for event in stream.feed(piece) if isinstance(piece, AIMessage) else (piece,):
                    if event != "":
                        yield event
        for event in stream.finish():
            yield event

    return reply


def find_variables(prompt: Any, options: Mapping[str, Any]) -> tuple[str, str]:
    """Return the names of a prompt's text variable and of its placeholder, "" for one that it does not have.

    Variables that the options fill do not count. Raises `ConfigError` if more than one of either is left.
    """
    placeholders = (
        {message.variable_name for message in prompt.messages if isinstance(message, MessagesPlaceholder)}
        if isinstance(prompt, ChatPromptTemplate)
        else set()
    )
    open_placeholders = [name for name in sorted(placeholders) if name not in options]
    texts = [name for name in prompt.input_variables if name not in options and name not in placeholders]
    if len(texts) > 1 or len(open_placeholders) > 1:
        names = ", ".join([*texts, *open_placeholders])
        raise ConfigError(
            f"its prompt has several variables ({names}); fill all but the caller's words by options"
        )
    return next(iter(texts), ""), next(iter(open_placeholders), "")


def prompt_input(
    text_variable: str, placeholder: str, options: Mapping[str, Any], turn: Turn
) -> dict[str, Any]:
    """Return the values of a prompt's variables for a turn."""
    messages, text = valid_history(turn.messages), ""
    indexes = [index for index, message in enumerate(messages) if message.role == "user"]
    if text_variable and indexes:
        text = messages.pop(indexes[-1]).text
        messages = valid_history(messages)
    values = {text_variable: text, placeholder: convert_messages(messages)}
    return {**options, **{name: value for name, value in values.items() if name}}


def messages_input(turn: Turn) -> list[AnyMessage]:
    """Return the messages of a turn, for a runnable without a prompt."""
    return convert_messages(valid_history(turn.messages))


def convert_messages(messages: Sequence[Message]) -> list[AnyMessage]:
    """Return the messages in LangChain's form."""
    return [convert_message(message) for message in messages]


def convert_message(message: Message) -> AnyMessage:
    """Return a message in LangChain's form. Its content parts are left out."""
    match message.role:
        case "user":
            return HumanMessage(message.text, name=message.name)
        case "assistant":
            calls = [
                {"id": call.id, "name": call.name, "args": parse_arguments(call.arguments)}
                for call in message.tool_calls
            ]
            return AIMessage(message.text, tool_calls=calls)
        case "tool" | "function":
            return ToolMessage(message.text, tool_call_id=message.tool_call_id or "")
    return SystemMessage(message.text)


def can_bind_tools(model: Any) -> bool:
    """Whether the class of the model implements `bind_tools`."""
    return type(model).bind_tools is not BaseChatModel.bind_tools


def convert_tool(tool: Tool) -> dict[str, Any]:
    """Return a tool of the platform as `bind_tools` takes it, in OpenAI's form."""
    schema = dict(tool.parameters) or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def tool_choice(turn: Turn) -> dict[str, Any]:
    """Return the argument `tool_choice` of `bind_tools`, if the turn has one."""
    return {} if turn.tool_choice is None else {"tool_choice": turn.tool_choice}


class MessageConverter:
    """Converts the messages that stream from the models of one turn into events, and adds up their usage.

    `platform_tools` are the names of the platform's tools: their calls are events, not activities.
    """

    def __init__(self, platform_tools: frozenset[str] = frozenset()) -> None:
        self.platform_tools = platform_tools
        # The tokens so far.
        self.usage = Usage()
        # Whether any message reported its tokens.
        self.has_usage = False
        # All pieces merged, which completes tool calls; None without platform tools or before the first
        # piece.
        self.merged: AIMessageChunk | None = None

    def feed(self, message: AIMessage) -> Iterator[Any]:
        """Yield the text of a message or piece, and an activity for each call of the agent's own tools."""
        if text := str(message.text):
            yield text
        is_chunk = isinstance(message, AIMessageChunk)
        if self.platform_tools:
            piece = message if is_chunk else AIMessageChunk(**dict(message, type="AIMessageChunk"))
            self.merged = piece if self.merged is None else self.merged + piece
        # In a piece, only the first part of a call has the name.
        for call in message.tool_call_chunks if is_chunk else message.tool_calls:
            if call["name"] and call["name"] not in self.platform_tools:
                yield Activity(call["name"])
        if usage := message.usage_metadata:
            self.add_usage(usage)

    def add_usage(self, metadata: Mapping[str, Any]) -> None:
        """Add LangChain's `usage_metadata` of one message."""
        cached = metadata.get("input_token_details", {}).get("cache_read") or 0
        reasoning = metadata.get("output_token_details", {}).get("reasoning") or 0
        usage, self.has_usage = self.usage, True
        self.usage = Usage(
            usage.prompt + metadata["input_tokens"],
            usage.completion + metadata["output_tokens"],
            usage.cached + cached,
            usage.reasoning + reasoning,
        )

    def finish(self) -> Iterator[Any]:
        """Yield the calls of platform tools, which are complete only now, and the usage."""
        for call in self.merged.tool_calls if self.merged else ():
            if call["name"] in self.platform_tools:
                yield ToolCall(call["id"] or call["name"], call["name"], dumps(call["args"]).decode())
        if self.has_usage:
            yield self.usage
