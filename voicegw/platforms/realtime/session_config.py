"""What a realtime client wants of answers: for its whole session, and for one response."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from voicegw.conversations.transcript import MAX_MESSAGES
from voicegw.errors import BadRequest
from voicegw.events import Message, Tool
from voicegw.platforms.realtime.events import EventWriter
from voicegw.platforms.realtime.items import RealtimeConversation, Said, history, parse
from voicegw.wire import openai
from voicegw.wire import validation as body
from voicegw.wire.openai import MAX_TOOLS
from voicegw.wire.validation import NULL, check_length, map_objects

Choice: TypeAlias = str | Mapping[str, Any]

CHOICES = ("auto", "none", "required")
MAX_METADATA_KEYS, MAX_METADATA_KEY_LENGTH, MAX_METADATA_VALUE_LENGTH = 16, 64, 512
UNLIMITED = "inf"


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What holds for every answer unless its response says otherwise. `most` is in tokens, or `UNLIMITED`."""

    instructions: str = ""
    tools: tuple[Tool, ...] = ()
    choice: Choice = "auto"
    most: int | str = UNLIMITED

    def merged(self, data: Mapping[str, Any], path: str) -> SessionConfig:
        """These wishes with those fields replaced that a client sent. `path` leads to them, and ends with a
        dot. What has to do with audio is ignored, except the wish to hear some.
        """
        _text_only(data, path)
        found = {
            "instructions": body.field(data, "instructions", str, NULL, path=path),
            "tools": _tools(data, path),
            "choice": _choice(data, path),
            "most": _most(data, path),
        }
        return replace(self, **{name: value for name, value in found.items() if value is not None})

    def form(self) -> dict[str, Any]:
        """These wishes as a session shows them."""
        return {
            "output_modalities": ["text"],
            "instructions": self.instructions,
            "tools": [_shown(tool) for tool in self.tools],
            "tool_choice": self.choice,
            "max_output_tokens": self.most,
        }

    @property
    def tool_choice(self) -> Choice | None:
        """The choice as agents are told of it; none where there is nothing to choose from."""
        if not self.tools:
            return None
        if isinstance(self.choice, str):
            return self.choice
        return {"type": "function", "function": {"name": self.choice["name"]}}

    @property
    def options(self) -> dict[str, Any]:
        """Sampling options as agents are told of them."""
        return {} if self.most == UNLIMITED else {"max_tokens": self.most}


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """One response that the client wants. `apart`: it is none of the conversation's.

    `messages` are what it answers, None for the conversation.
    """

    wishes: SessionConfig = field(default_factory=SessionConfig)
    metadata: Mapping[str, str] | None = None
    apart: bool = False
    messages: tuple[Message, ...] | None = None


def parse_response_config(
    data: Mapping[str, Any], path: str, wishes: SessionConfig, book: RealtimeConversation, events: EventWriter
) -> ResponseConfig:
    """Read what is wanted of one response; `wishes` hold for what it leaves open."""
    where = body.field(data, "conversation", str, NULL, path=path)
    if where not in (None, "auto", "none"):
        raise BadRequest(f"'{path}conversation' must be auto or none.", param=f"{path}conversation")
    return ResponseConfig(
        wishes.merged(data, path), _metadata(data, path), where == "none", _input(data, path, book, events)
    )


def _input(
    data: Mapping[str, Any], path: str, book: RealtimeConversation, events: EventWriter
) -> tuple[Message, ...] | None:
    given = body.field(data, "input", list, NULL, path=path)
    if given is None:
        return None

    def said(item: dict[str, Any], path: str) -> Said:
        if item.get("type") != "item_reference":
            return parse(item, path, events)
        return book.find(body.field(item, "id", str, path=path), f"{path}id").said

    path += "input"
    return tuple(history(map_objects(check_length(given, path, MAX_MESSAGES), path, said)))


def _metadata(data: Mapping[str, Any], path: str) -> Mapping[str, str] | None:
    given: dict[str, Any] | None = body.field(data, "metadata", dict, NULL, path=path)
    if given is None:
        return None
    short = all(
        len(key) <= MAX_METADATA_KEY_LENGTH
        and isinstance(value, str)
        and len(value) <= MAX_METADATA_VALUE_LENGTH
        for key, value in given.items()
    )
    if len(given) > MAX_METADATA_KEYS or not short:
        raise BadRequest(
            f"'{path}metadata' must be at most {MAX_METADATA_KEYS} short texts by name.",
            param=f"{path}metadata",
        )
    return given


def _text_only(data: Mapping[str, Any], path: str) -> None:
    if data.get("output_modalities") not in (None, ["text"]):
        path += "output_modalities"
        raise BadRequest(f"'{path}' must be [\"text\"]: no audio is made here.", param=path)


def _tools(data: Mapping[str, Any], path: str) -> tuple[Tool, ...] | None:
    given = body.field(data, "tools", list, NULL, path=path)
    path += "tools"
    return None if given is None else tuple(map_objects(check_length(given, path, MAX_TOOLS), path, _tool))


def _tool(data: dict[str, Any], path: str) -> Tool:
    if body.field(data, "type", str, NULL, path=path) not in (None, "function"):
        raise BadRequest(f"'{path}type' must be function: nothing else can be run.", param=f"{path}type")
    return openai.parse_tool(data, path)


def _shown(tool: Tool) -> dict[str, Any]:
    named = {"type": "function", "name": tool.name, "description": tool.description}
    return {**named, "parameters": tool.parameters}


def _choice(data: Mapping[str, Any], path: str) -> Choice | None:
    given = body.field(data, "tool_choice", str, dict, NULL, path=path)
    if given is None or (isinstance(given, str) and given in CHOICES):
        return given
    path += "tool_choice"
    if not isinstance(given, dict) or given.get("type") != "function":
        raise BadRequest(f"'{path}' must be one of {', '.join(CHOICES)}, or a function.", param=path)
    return {"type": "function", "name": body.field(given, "name", str, path=f"{path}.")}


def _most(data: Mapping[str, Any], path: str) -> int | str | None:
    given: int | str | None = body.field(data, "max_output_tokens", int, str, NULL, path=path)
    if given is None or given == UNLIMITED or (isinstance(given, int) and given >= 1):
        return given
    path += "max_output_tokens"
    raise BadRequest(f"'{path}' must be a number from 1 on, or \"{UNLIMITED}\".", param=path)
