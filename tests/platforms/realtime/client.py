"""A realtime client that validates the gateway's events with the official SDK."""

from __future__ import annotations

import json
from typing import Any

from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types import realtime as sdk
from openai.types.realtime.realtime_server_event import ConversationItemRetrieved
from pydantic import BaseModel, TypeAdapter

from voicegw.calls.codec import CallEvent, Interrupted, ProtocolReply
from voicegw.platforms.realtime.codec import RealtimeCodec

EVENT_CLASSES: dict[str, type[BaseModel]] = {
    "error": sdk.RealtimeErrorEvent,
    "session.created": sdk.SessionCreatedEvent,
    "session.updated": sdk.SessionUpdatedEvent,
    "conversation.item.added": sdk.ConversationItemAdded,
    "conversation.item.done": sdk.ConversationItemDone,
    "conversation.item.retrieved": ConversationItemRetrieved,
    "conversation.item.deleted": sdk.ConversationItemDeletedEvent,
    "conversation.item.truncated": sdk.ConversationItemTruncatedEvent,
    "response.created": sdk.ResponseCreatedEvent,
    "response.output_item.added": sdk.ResponseOutputItemAddedEvent,
    "response.content_part.added": sdk.ResponseContentPartAddedEvent,
    "response.output_text.delta": sdk.ResponseTextDeltaEvent,
    "response.output_text.done": sdk.ResponseTextDoneEvent,
    "response.content_part.done": sdk.ResponseContentPartDoneEvent,
    "response.function_call_arguments.delta": sdk.ResponseFunctionCallArgumentsDeltaEvent,
    "response.function_call_arguments.done": sdk.ResponseFunctionCallArgumentsDoneEvent,
    "response.output_item.done": sdk.ResponseOutputItemDoneEvent,
    "response.done": sdk.ResponseDoneEvent,
}
"""The SDK's class of each event that the gateway sends."""
EXTRA_FIELDS: dict[type[BaseModel], set[str]] = {sdk.RealtimeSessionCreateRequest: {"id", "object"}}
"""Fields without an attribute in the SDK, whose type of a session is that of a request for one."""
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(sdk.RealtimeServerEvent)
CONNECTION = AsyncRealtimeConnection.__new__(AsyncRealtimeConnection)


def assert_valid(frame: dict[str, Any]) -> None:
    """Assert that the SDK parses an event into the right class, and knows all its fields."""
    event = SERVER_EVENT.validate_python(frame, strict=True)
    assert type(event) is EVENT_CLASSES[frame["type"]]
    assert_known_fields(event)
    parsed = CONNECTION.parse_event(json.dumps(frame))
    assert parsed == event


def assert_known_fields(value: Any) -> None:
    if isinstance(value, BaseModel):
        assert (value.model_extra or {}).keys() == EXTRA_FIELDS.get(type(value), set())
        for name in type(value).model_fields:
            assert_known_fields(getattr(value, name))
    elif isinstance(value, list):
        for inner in value:
            assert_known_fields(inner)


def frames(data: bytes) -> list[dict[str, Any]]:
    """Return the encoded events, each of which the SDK knows."""
    assert not data or data.endswith(b"\n")
    found = [json.loads(line) for line in data.decode().split("\n")[:-1]]
    for frame in found:
        assert_valid(frame)
    return found


def event_types(data: bytes) -> list[str]:
    return [frame["type"] for frame in frames(data)]


def session(**how: Any) -> RealtimeCodec:
    return RealtimeCodec("call-1", "desk", prefix="p", **how)


def send_event(codec: RealtimeCodec, kind: str, **fields: Any) -> CallEvent | None:
    """Send one event of the client."""
    return codec.receive(json.dumps({"type": kind, **fields}))


def replies(event: CallEvent | None) -> list[dict[str, Any]]:
    """Return the events with which the codec replies."""
    if isinstance(event, Interrupted):
        return frames(event.frames)
    assert isinstance(event, ProtocolReply)
    return frames(event.frame)


def error_of(event: CallEvent | None) -> tuple[str, str | None]:
    """Return the code of the error event, and the field that it names."""
    [frame] = replies(event)
    error = frame["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    return error["code"], error["param"]


def message(role: str, *texts: str, **fields: Any) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text} for text in texts]
    return {"type": "message", "role": role, "content": content, **fields}


def add_message(codec: RealtimeCodec, text: str, role: str = "user", **fields: Any) -> None:
    """Add a message of the client to the conversation."""
    added, done = replies(send_event(codec, "conversation.item.create", item=message(role, text, **fields)))
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
