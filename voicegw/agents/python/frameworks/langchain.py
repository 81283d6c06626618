"""A LangChain runnable, asked by `astream`: a chat model, a chain, or anything that takes messages.

A chain that begins with a prompt gets what the prompt asks for: its placeholder the messages, its one text
variable what the caller said (and then the placeholder has only what came before). A chat model is offered
the platform's tools, if it can bind any.
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

from voicegw.agents.python.frameworks.detect import only
from voicegw.errors import ConfigError
from voicegw.events import Activity, Message, Tool, ToolCall, Turn, Usage
from voicegw.wire.json import dumps, loads


def adapt(found: Any, options: Mapping[str, Any]) -> Callable[[Turn], AsyncGenerator[Any, None]]:
    """The options fill variables of a prompt at the chain's beginning."""
    first = found.first if isinstance(found, RunnableSequence) else found
    asked: Callable[[Turn], Any]
    if isinstance(first, BasePromptTemplate):
        asked = partial(filled, *variables(first, options), options)
    else:
        only(options)
        asked = history

    async def reply(turn: Turn) -> AsyncGenerator[Any, None]:
        able = turn.tools and isinstance(found, BaseChatModel) and can_bind(found)
        asking = found.bind_tools([offered(tool) for tool in turn.tools], **choice(turn)) if able else found
        answer = GraphStream(frozenset(tool.name for tool in turn.tools) if able else frozenset())
        async with aclosing(asking.astream(asked(turn))) as pieces:
            async for piece in pieces:
                for told in answer.hear(piece) if isinstance(piece, AIMessage) else (piece,):
                    if told != "":
                        yield told
        for told in answer.end():
            yield told

    return reply


def variables(prompt: Any, options: Mapping[str, Any]) -> tuple[str, str]:
    """The names of a prompt's text variable and of its placeholder, "" for one that it has not."""
    asks = (
        {message.variable_name for message in prompt.messages if isinstance(message, MessagesPlaceholder)}
        if isinstance(prompt, ChatPromptTemplate)
        else set()
    )
    open_asks = [name for name in sorted(asks) if name not in options]
    texts = [name for name in prompt.input_variables if name not in options and name not in asks]
    if len(texts) > 1 or len(open_asks) > 1:
        names = ", ".join([*texts, *open_asks])
        raise ConfigError(
            f"its prompt has several variables ({names}); fill all but the caller's words by options"
        )
    return next(iter(texts), ""), next(iter(open_asks), "")


def filled(text: str, placeholder: str, options: Mapping[str, Any], turn: Turn) -> dict[str, Any]:
    """What a prompt is filled with."""
    messages = turn.messages
    if text:
        last = max(
            (at for at, message in enumerate(messages) if message.role == "user"), default=len(messages)
        )
        messages = messages[:last] + messages[last + 1 :]
    given = {text: turn.said, placeholder: converted(messages)}
    return {**options, **{name: value for name, value in given.items() if name}}


def history(turn: Turn) -> list[AnyMessage]:
    return converted(turn.messages)


def converted(messages: Sequence[Message]) -> list[AnyMessage]:
    """Our messages as theirs."""
    return [theirs(message) for message in messages]


def theirs(message: Message) -> AnyMessage:
    match message.role:
        case "user":
            return HumanMessage(message.text, name=message.name)
        case "assistant":
            calls = [
                {"id": call.id, "name": call.name, "args": given(call.arguments)}
                for call in message.tool_calls
            ]
            return AIMessage(message.text, tool_calls=calls)
        case "tool" | "function":
            return ToolMessage(message.text, tool_call_id=message.tool_call_id or "")
    return SystemMessage(message.text)


def given(arguments: str) -> dict[str, Any]:
    """The arguments of a call that some model made up: a message takes nothing but an object."""
    try:
        found = loads(arguments.encode("utf-8", "replace"))
    except ValueError:
        return {}
    return found if type(found) is dict else {}


def can_bind(model: Any) -> bool:
    return type(model).bind_tools is not BaseChatModel.bind_tools


def offered(tool: Tool) -> dict[str, Any]:
    schema = dict(tool.parameters) or {"type": "object", "properties": {}}
    function = {"name": tool.name, "description": tool.description, "parameters": schema}
    return {"type": "function", "function": function}


def choice(turn: Turn) -> dict[str, Any]:
    return {} if turn.tool_choice is None else {"tool_choice": turn.tool_choice}


class GraphStream:
    """Adds up what the models of one turn say."""

    def __init__(self, offered: frozenset[str] = frozenset()) -> None:
        self.offered = offered
        self.used = Usage()
        self.counted = False
        self.whole: AIMessageChunk | None = None

    def hear(self, message: AIMessage) -> Iterator[Any]:
        """Text as it comes, and work as soon as its name is known; offered tools are told at the end."""
        if text := str(message.text):
            yield text
        if self.offered:
            piece = (
                message
                if isinstance(message, AIMessageChunk)
                else AIMessageChunk(**dict(message, type="AIMessageChunk"))
            )
            self.whole = piece if self.whole is None else self.whole + piece
        calls = message.tool_call_chunks if isinstance(message, AIMessageChunk) else message.tool_calls
        for call in calls:
            if call["name"] and call["name"] not in self.offered:
                yield Activity(call["name"])
        if told := message.usage_metadata:
            self.count(told)

    def count(self, told: Mapping[str, Any]) -> None:
        cached = told.get("input_token_details", {}).get("cache_read") or 0
        reasoning = told.get("output_token_details", {}).get("reasoning") or 0
        used, self.counted = self.used, True
        self.used = Usage(
            used.prompt + told["input_tokens"],
            used.completion + told["output_tokens"],
            used.cached + cached,
            used.reasoning + reasoning,
        )

    def end(self) -> Iterator[Any]:
        for call in self.whole.tool_calls if self.whole else ():
            if call["name"] in self.offered:
                yield ToolCall(call["id"] or call["name"], call["name"], dumps(call["args"]).decode())
        if self.counted:
            yield self.used
