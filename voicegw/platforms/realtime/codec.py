"""Decodes the client events of a realtime session, and answers those that need no agent.

It serves the text part of OpenAI's Realtime protocol, for programs with their own speech-to-text and
text-to-speech. The client writes the caller's words as items, requests responses, and speaks their text. It
reports the heard part of an item by truncating it. An invalid event is answered with an error event; the
session goes on. Responses are encoded in `voicegw.platforms.realtime.response`.

Source: OpenAI's documentation of the Realtime API, and the event types of the official `openai` library.
"""

from __future__ import annotations

from typing import Any

from voicegw.calls.codec import CallEvent, Interrupted, ProtocolReply, TurnRequested
from voicegw.errors import BadRequest
from voicegw.events import Message, ToolCall
from voicegw.platforms.realtime.events import EventWriter, RealtimeError
from voicegw.platforms.realtime.items import (
    ROOT,
    RealtimeConversation,
    RealtimeItem,
    heard_prefix,
    item_to_json,
    parse_item,
    parse_item_id,
    words_within,
)
from voicegw.platforms.realtime.response import RealtimeResponse
from voicegw.platforms.realtime.session_config import ResponseConfig, SessionConfig, parse_response_config
from voicegw.wire.validation import NULL, check_printable, get_field, parse_object

MAX_JSON_DEPTH = 64
"""Levels to which an event may be nested."""
MAX_EVENT_ID_LENGTH = 512
AUDIO_EVENTS = ("input_audio_buffer.", "output_audio_buffer.")
"""Prefixes of the types of audio events, which are refused."""
READS_CONVERSATION = frozenset(
    {
        "conversation.item.delete",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "response.create",
    }
)
"""Events that read the conversation; before these alone, the open message is written into it."""


class RealtimeCodec:
    """Decodes the events of one session, and keeps its conversation and its configuration."""

    name = "realtime"
    end_call_is_final = False
    """The protocol has no action that ends the call."""
    names_interrupted_turn = True
    asks_again = False
    """The conversation belongs to the socket: after a reconnect, the client sends it again."""
    close_code = 1001
    """Going Away (RFC 6455)."""

    def __init__(self, call_id: str, model: str, *, prefix: str, chars_per_second: float = 15.0) -> None:
        """Make the codec of one session; `prefix`, a random token, makes its ids unique."""
        self.call_id = call_id  # the id of the session
        self.model = model  # the agent's name
        self.chars_per_second = chars_per_second  # the speed of speech, to convert `audio_end_ms` into text
        self.events = EventWriter(prefix)  # encodes the events of the session
        self.conversation = RealtimeConversation(f"conv_{prefix}")
        self.session_config = SessionConfig()  # as session.update changed it
        self.newest_request = ResponseConfig()  # the newest response.create
        self.request_count = 0  # of response.create; it is the `id` of the newest `TurnRequested`
        self.response: RealtimeResponse | None = None  # the newest one; responses never run side by side

    @property
    def active_response(self) -> RealtimeResponse | None:
        """The response that is being made, None if there is none."""
        return self.response if self.response is not None and not self.response.ended else None

    def open(self, greeting: str, *, reconnected: bool = False) -> bytes:
        """Return session.created; nothing is spoken until the client requests a response."""
        return self._encode_session("session.created")

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """Decode an event, or answer it. Never raises, for any input."""
        event_id = None
        try:
            data = _parse_event(frame)
            id = get_field(data, "event_id", str, NULL) or ""
            event_id = check_printable(id, "event_id", MAX_EVENT_ID_LENGTH) or None
            return self._decode(data)
        except BadRequest as failure:
            return ProtocolReply(self.events.encode_error(failure, event_id))

    def begin_turn(self, request: TurnRequested) -> RealtimeResponse:
        """Return the encoder of the requested response, or of words that the client did not request."""
        is_newest = request.id and request.id == self.request_count
        config = self.newest_request if is_newest else ResponseConfig(self.session_config)
        self.response = RealtimeResponse(self.events, self.conversation, config, tools=bool(request.tools))
        return self.response

    def _decode(self, data: dict[str, Any]) -> CallEvent:
        kind = get_field(data, "type", str)
        if kind in READS_CONVERSATION and (response := self.active_response) is not None:
            response.sync_conversation()
        match kind:
            case "session.update":
                return self._update_session(get_field(data, "session", dict))
            case "conversation.item.create":
                return self._create_item(data)
            case "conversation.item.retrieve":
                return self._reply("conversation.item.retrieved", item=item_to_json(self._find_item(data)))
            case "conversation.item.delete":
                return self._delete_item(self._find_item(data))
            case "conversation.item.truncate":
                return self._truncate_item(data)
            case "response.create":
                return self._request_response(get_field(data, "response", dict, NULL) or {})
            case "response.cancel":
                return self._cancel_response(get_field(data, "response_id", str, NULL))
            case _ if kind.startswith(AUDIO_EVENTS):
                message = "This session is text only: send conversation.item.create with input_text."
                raise RealtimeError("unsupported_event", message, "type")
        raise BadRequest("'type' is not the type of a known client event.", param="type")

    def _update_session(self, session: dict[str, Any]) -> ProtocolReply:
        if get_field(session, "type", str, NULL, path="session.") not in (None, "realtime"):
            raise BadRequest("'session.type' must be realtime.", param="session.type")
        self.session_config = self.session_config.merge(session, "session.")
        return ProtocolReply(self._encode_session("session.updated"))

    def _encode_session(self, kind: str) -> bytes:
        session = {
            "type": "realtime",
            "object": "realtime.session",
            "id": self.call_id,
            "model": self.model,
        }
        return self.events.encode(kind, session=session | self.session_config.to_json())

    def _create_item(self, data: dict[str, Any]) -> ProtocolReply:
        given = get_field(data, "item", dict)
        after = get_field(data, "previous_item_id", str, NULL)
        id = parse_item_id(given, "item.") or self.events.new_id("item", self.conversation.items)
        content = parse_item(given, "item.", self.events)
        if id in self.conversation.items:
            raise RealtimeError(
                "item_already_exists", "'item.id' names an item that exists already.", "item.id"
            )
        if after not in (None, ROOT):
            self.conversation.find(after, "previous_item_id")
        item = RealtimeItem(id, content)
        fields = {"previous_item_id": self.conversation.add(item, after), "item": item_to_json(item)}
        self.conversation.client_item_count += 1
        added = self.events.encode("conversation.item.added", **fields)
        return ProtocolReply(added + self.events.encode("conversation.item.done", **fields))

    def _delete_item(self, item: RealtimeItem) -> ProtocolReply:
        self.conversation.remove(item.id)
        return self._reply("conversation.item.deleted", item_id=item.id)

    def _truncate_item(self, data: dict[str, Any]) -> CallEvent:
        """Keep the heard part of an item: the words in `heard`, else those that fit into `audio_end_ms`."""
        item = self._find_item(data)
        content = item.content
        if isinstance(content, ToolCall) or content.role != "assistant":
            raise BadRequest("'item_id' must be that of a message of the assistant.", param="item_id")
        if get_field(data, "content_index", int) != 0:
            raise BadRequest("'content_index' must be 0.", param="content_index")
        audio_end_ms, heard = get_field(data, "audio_end_ms", int), get_field(data, "heard", str, NULL)
        if audio_end_ms < 0:
            raise BadRequest("'audio_end_ms' must not be negative.", param="audio_end_ms")
        max_chars = audio_end_ms * self.chars_per_second / 1000
        if heard is None:
            heard_text = words_within(content.text, max_chars)
        else:
            heard_text = heard_prefix(content.text, heard)
        return self._keep_heard(item, heard_text, audio_end_ms)

    def _keep_heard(self, item: RealtimeItem, heard_text: str, audio_end_ms: int) -> CallEvent:
        """Write the heard text into the conversation; interrupt the response to which the item belongs."""
        response = self.active_response
        if response is not None and response.open_item_id == item.id:
            response.truncate(heard_text)
        else:
            self.conversation.replace(RealtimeItem(item.id, Message("assistant", heard_text), item.status))
        frames = self.events.encode(
            "conversation.item.truncated", item_id=item.id, content_index=0, audio_end_ms=audio_end_ms
        )
        is_older_item = response is not None and not response.owns(item.id)
        return ProtocolReply(frames) if is_older_item else Interrupted(frames=frames)

    def _request_response(self, data: dict[str, Any]) -> TurnRequested:
        """Request a response; it supersedes the active one only if the client has added an item since."""
        request = parse_response_config(
            data, "response.", self.session_config, self.conversation, self.events
        )
        active = self.active_response
        if active is not None and (
            request.out_of_band or active.seen_client_items == self.conversation.client_item_count
        ):
            raise RealtimeError(
                "conversation_already_has_active_response", "Another response is active already."
            )
        config = request.config
        messages = self.conversation.messages() if request.input is None else request.input
        system = [Message("system", config.instructions)] if config.instructions else []
        self.newest_request, self.request_count = request, self.request_count + 1
        return TurnRequested(
            next((message.text for message in reversed(messages) if message.role == "user"), ""),
            "tool" if messages and messages[-1].role == "tool" else "said",
            history=(*system, *messages),
            id=self.request_count,
            tools=config.tools,
            tool_choice=config.chat_tool_choice,
            options=config.chat_options,
        )

    def _cancel_response(self, id: str | None) -> Interrupted:
        response = self.active_response
        if response is None:
            raise RealtimeError("response_cancel_not_active", "No response is active.")
        if id not in (None, response.id):
            raise RealtimeError("response_not_found", "'response_id' is not active.", "response_id")
        response.cancel_reason = "client_cancelled"
        return Interrupted()

    def _find_item(self, data: dict[str, Any]) -> RealtimeItem:
        return self.conversation.find(get_field(data, "item_id", str), "item_id")

    def _reply(self, kind: str, **fields: Any) -> ProtocolReply:
        return ProtocolReply(self.events.encode(kind, **fields))


def _parse_event(frame: str | bytes) -> dict[str, Any]:
    try:
        return parse_object(frame.encode() if isinstance(frame, str) else b"", MAX_JSON_DEPTH)
    except (BadRequest, ValueError):
        message = (
            f"An event must be a JSON object in a text frame, nested at most {MAX_JSON_DEPTH} levels deep."
        )
        raise RealtimeError("invalid_event", message) from None
