"""What a client of the official SDK makes of our events."""

from __future__ import annotations

import json
from typing import Any

from openai.resources.realtime.realtime import AsyncRealtimeConnection
from openai.types import realtime as sdk
from openai.types.realtime.realtime_server_event import ConversationItemRetrieved
from pydantic import BaseModel, TypeAdapter

from voicegw.calls.codec import CallEvent, Interrupted, ProtocolReply
from voicegw.platforms.realtime.codec import RealtimeCodec

CLASSES: dict[str, type[BaseModel]] = {
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
"""The events that we send, and what the SDK takes each of them for."""
UNNAMED: dict[type[BaseModel], set[str]] = {sdk.RealtimeSessionCreateRequest: {"id", "object"}}
"""What the SDK has no attribute for: its type of a session is that of a request for one."""
SERVER_EVENT: TypeAdapter[Any] = TypeAdapter(sdk.RealtimeServerEvent)
CONNECTION = AsyncRealtimeConnection.__new__(AsyncRealtimeConnection)


def judge(frame: dict[str, Any]) -> None:
    """Assert that the SDK takes an event for what it is meant to be, with every field of it known."""
    event = SERVER_EVENT.validate_python(frame, strict=True)
    assert type(event) is CLASSES[frame["type"]]
    known(event)
    parsed = CONNECTION.parse_event(json.dumps(frame))
    assert parsed == event


def known(value: Any) -> None:
    if isinstance(value, BaseModel):
        assert (value.model_extra or {}).keys() == UNNAMED.get(type(value), set())
        for name in type(value).model_fields:
            known(getattr(value, name))
    elif isinstance(value, list):
        for inner in value:
            known(inner)


def frames(data: bytes) -> list[dict[str, Any]]:
    """The events in what a codec wrote, each of them one that the SDK knows."""
    assert not data or data.endswith(b"\n")
    found = [json.loads(line) for line in data.decode().split("\n")[:-1]]
    for frame in found:
        judge(frame)
    return found


def kinds(data: bytes) -> list[str]:
    return [frame["type"] for frame in frames(data)]


def session(**how: Any) -> RealtimeCodec:
    return RealtimeCodec("call-1", "desk", prefix="p", **how)


def tell(codec: RealtimeCodec, kind: str, **fields: Any) -> CallEvent | None:
    """The client sends one event."""
    return codec.receive(json.dumps({"type": kind, **fields}))


def answers(happening: CallEvent | None) -> list[dict[str, Any]]:
    """The events that go back for what was told."""
    if isinstance(happening, Interrupted):
        return frames(happening.frames)
    assert isinstance(happening, ProtocolReply)
    return frames(happening.frame)


def fault(happening: CallEvent | None) -> tuple[str, str | None]:
    """The code of an error that was answered, and the field at fault."""
    [frame] = answers(happening)
    error = frame["error"]
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    return error["code"], error["param"]


def message(role: str, *texts: str, **fields: Any) -> dict[str, Any]:
    kind = "output_text" if role == "assistant" else "input_text"
    content = [{"type": kind, "text": text} for text in texts]
    return {"type": "message", "role": role, "content": content, **fields}


def say(codec: RealtimeCodec, text: str, role: str = "user", **fields: Any) -> None:
    """The client adds a message to the conversation."""
    added, done = answers(tell(codec, "conversation.item.create", item=message(role, text, **fields)))
    assert (added["type"], done["type"]) == ("conversation.item.added", "conversation.item.done")
