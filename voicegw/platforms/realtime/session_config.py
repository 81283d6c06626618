"""Parses and encodes the configuration of a realtime session, and that of one response.

Source: `session.update` and `response.create` in the event types of the official `openai` library.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from voicegw.conversations.transcript import MAX_MESSAGES
from voicegw.errors import BadRequest
from voicegw.events import Message, Tool
from voicegw.platforms.realtime.events import EventWriter
from voicegw.platforms.realtime.items import ItemContent, RealtimeConversation, parse_item, to_messages
from voicegw.wire import openai
from voicegw.wire.openai import MAX_TOOLS
from voicegw.wire.validation import NULL, check_length, get_field, map_objects

ToolChoice: TypeAlias = str | Mapping[str, Any]
"""In OpenAI's Realtime form: one of `TOOL_CHOICES`, or {"type": "function", "name": str}."""

TOOL_CHOICES = ("auto", "none", "required")
MAX_METADATA_KEYS, MAX_METADATA_KEY_LENGTH, MAX_METADATA_VALUE_LENGTH = 16, 64, 512
"""OpenAI's limits; lengths in characters."""
UNLIMITED = "inf"


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """The configuration of every response, unless its response.create says otherwise."""

    instructions: str = ""
    """The system message."""
    tools: tuple[Tool, ...] = ()
    """Tools that the client runs."""
    tool_choice: ToolChoice = "auto"
    """Which tool the agent calls, in OpenAI's Realtime form."""
    max_output_tokens: int | str = UNLIMITED
    """A number of tokens from 1 on, or `UNLIMITED`."""

    def merge(self, data: Mapping[str, Any], path: str) -> SessionConfig:
        """Return this configuration with the fields of `data` replaced.

        `path` leads to the fields and ends with a dot, for the error. Audio settings are ignored. Raises
        `BadRequest` for an invalid field, and for a request for audio output.
        """
        _require_text_only(data, path)
        found = {
            "instructions": get_field(data, "instructions", str, NULL, path=path),
            "tools": _parse_tools(data, path),
            "tool_choice": _parse_tool_choice(data, path),
            "max_output_tokens": _parse_max_output_tokens(data, path),
        }
        return replace(self, **{name: value for name, value in found.items() if value is not None})

    def to_json(self) -> dict[str, Any]:
        """Return the fields of OpenAI's session object."""
        return {
            "output_modalities": ["text"],
            "instructions": self.instructions,
            "tools": [_tool_to_json(tool) for tool in self.tools],
            "tool_choice": self.tool_choice,
            "max_output_tokens": self.max_output_tokens,
        }

    @property
    def chat_tool_choice(self) -> ToolChoice | None:
        """The tool choice in the form of chat completions; None without tools."""
        if not self.tools:
            return None
        if isinstance(self.tool_choice, str):
            return self.tool_choice
        return {"type": "function", "function": {"name": self.tool_choice["name"]}}

    @property
    def chat_options(self) -> dict[str, Any]:
        """The sampling options in the form of chat completions."""
        return {} if self.max_output_tokens == UNLIMITED else {"max_tokens": self.max_output_tokens}


@dataclass(frozen=True, slots=True)
class ResponseConfig:
    """The configuration of one response, as a response.create requests it."""

    config: SessionConfig = field(default_factory=SessionConfig)
    """The session's configuration with this response's fields in place."""
    metadata: Mapping[str, str] | None = None
    """The client's metadata, which the response repeats."""
    out_of_band: bool = False
    """True for a response that is not added to the conversation (`conversation: "none"`)."""
    input: tuple[Message, ...] | None = None
    """The messages to reply to; None for the conversation."""


def parse_response_config(
    data: Mapping[str, Any],
    path: str,
    session: SessionConfig,
    conversation: RealtimeConversation,
    events: EventWriter,
) -> ResponseConfig:
    """Parse the `response` of a response.create; `session` has the values of fields that are left out.

    `path` leads to the fields and ends with a dot, for the error. `conversation` has the items that the input
    may refer to, and `events` makes ids for function calls without a call_id. Raises
    `BadRequest` for an invalid field.
    """
    target = get_field(data, "conversation", str, NULL, path=path)
    if target not in (None, "auto", "none"):
        raise BadRequest(f"'{path}conversation' must be auto or none.", param=f"{path}conversation")
    return ResponseConfig(
        session.merge(data, path),
        _parse_metadata(data, path),
        target == "none",
        _parse_input(data, path, conversation, events),
    )


def _parse_input(
    data: Mapping[str, Any], path: str, conversation: RealtimeConversation, events: EventWriter
) -> tuple[Message, ...] | None:
    given = get_field(data, "input", list, NULL, path=path)
    if given is None:
        return None

    def parse(item: dict[str, Any], path: str) -> ItemContent:
        if item.get("type") != "item_reference":
            return parse_item(item, path, events)
        return conversation.find(get_field(item, "id", str, path=path), f"{path}id").content

    path += "input"
    return tuple(to_messages(map_objects(check_length(given, path, MAX_MESSAGES), path, parse)))


def _parse_metadata(data: Mapping[str, Any], path: str) -> Mapping[str, str] | None:
    given: dict[str, Any] | None = get_field(data, "metadata", dict, NULL, path=path)
    if given is None:
        return None
    are_short = all(
        len(key) <= MAX_METADATA_KEY_LENGTH
        and isinstance(value, str)
        and len(value) <= MAX_METADATA_VALUE_LENGTH
        for key, value in given.items()
    )
    if len(given) > MAX_METADATA_KEYS or not are_short:
        raise BadRequest(
            f"'{path}metadata' must be at most {MAX_METADATA_KEYS} texts by key: keys of at most "
            f"{MAX_METADATA_KEY_LENGTH} characters, texts of at most {MAX_METADATA_VALUE_LENGTH}.",
            param=f"{path}metadata",
        )
    return given


def _require_text_only(data: Mapping[str, Any], path: str) -> None:
    if data.get("output_modalities") not in (None, ["text"]):
        path += "output_modalities"
        raise BadRequest(f"'{path}' must be [\"text\"]: the gateway makes no audio.", param=path)


def _parse_tools(data: Mapping[str, Any], path: str) -> tuple[Tool, ...] | None:
    given = get_field(data, "tools", list, NULL, path=path)
    path += "tools"
    if given is None:
        return None
    return tuple(map_objects(check_length(given, path, MAX_TOOLS), path, _parse_tool))


def _parse_tool(data: dict[str, Any], path: str) -> Tool:
    if get_field(data, "type", str, NULL, path=path) not in (None, "function"):
        raise BadRequest(
            f"'{path}type' must be function: other tools are not supported.", param=f"{path}type"
        )
    return openai.parse_tool(data, path)


def _tool_to_json(tool: Tool) -> dict[str, Any]:
    named = {"type": "function", "name": tool.name, "description": tool.description}
    return {**named, "parameters": tool.parameters}


def _parse_tool_choice(data: Mapping[str, Any], path: str) -> ToolChoice | None:
    given = get_field(data, "tool_choice", str, dict, NULL, path=path)
    if given is None or (isinstance(given, str) and given in TOOL_CHOICES):
        return given
    path += "tool_choice"
    if not isinstance(given, dict) or given.get("type") != "function":
        raise BadRequest(f"'{path}' must be one of {', '.join(TOOL_CHOICES)}, or a function.", param=path)
    return {"type": "function", "name": get_field(given, "name", str, path=f"{path}.")}


def _parse_max_output_tokens(data: Mapping[str, Any], path: str) -> int | str | None:
    given: int | str | None = get_field(data, "max_output_tokens", int, str, NULL, path=path)
    if given is None or given == UNLIMITED or (isinstance(given, int) and given >= 1):
        return given
    path += "max_output_tokens"
    raise BadRequest(f"'{path}' must be a number from 1 on, or \"{UNLIMITED}\".", param=path)
