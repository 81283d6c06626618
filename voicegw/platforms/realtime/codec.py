"""OpenAI's realtime websocket, as far as it is text: for bridges that hear and speak themselves.

The client writes what the caller said as items, asks for responses, and speaks their text. What was heard
of an item is told by truncating it. Whatever is wrong with an event is told in an error event; the session
stays.
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
    item_json,
    parse,
    parse_id,
    words_within,
)
from voicegw.platforms.realtime.response import RealtimeResponse
from voicegw.platforms.realtime.session_config import ResponseConfig, SessionConfig, parse_response_config
from voicegw.wire.validation import NULL, field, parse_object, printable

MAX_JSON_DEPTH = 64
"""How deep an event may be nested."""
MAX_EVENT_ID_LENGTH = 512
AUDIO = ("input_audio_buffer.", "output_audio_buffer.")
OUTPUT = "response."
LOOKING = frozenset(
    {
        "conversation.item.delete",
        "conversation.item.retrieve",
        "conversation.item.truncate",
        "response.create",
    }
)
"""Events that look at what was said; for others, nobody puts the pieces of a message together."""


class RealtimeCodec:
    """One session, of the call `call`.

    `prefix` makes its ids unique: a random token. `pace` is how many characters are spoken in a second, to
    tell from a time how much of an item was heard. One response is made at a time, those outside of the
    conversation among them.
    """

    name = "realtime"
    ends = False
    close_code = 1001

    def __init__(self, call: str, model: str, *, prefix: str, chars_per_second: float = 15.0) -> None:
        self.call = call
        self.model = model
        self.chars_per_second = chars_per_second
        self.events = EventWriter(prefix)
        self.book = RealtimeConversation(f"conv_{prefix}")
        self.wishes = SessionConfig()
        self.order = ResponseConfig()
        self.orders = 0
        self.answer: RealtimeResponse | None = None

    @property
    def active(self) -> RealtimeResponse | None:
        """The response that is being made, if there is one."""
        return self.answer if self.answer is not None and not self.answer.over else None

    def open(self, greeting: str, *, again: bool = False) -> bytes:
        """The session. Nobody is greeted: the client asks for the first words."""
        return self._session("session.created")

    def receive(self, frame: str | bytes) -> CallEvent | None:
        """What an event tells. Never raises, whatever came."""
        cause = None
        try:
            data = _event(frame)
            cause = (
                printable(field(data, "event_id", str, NULL) or "", "event_id", MAX_EVENT_ID_LENGTH) or None
            )
            return self._read(data)
        except BadRequest as wrong:
            return ProtocolReply(self.events.error(wrong, cause))

    def turn(self, asked: TurnRequested) -> RealtimeResponse:
        """The codec of the answer to this, or of words of ours that the client did not ask for."""
        wanted = self.order if asked.id and asked.id == self.orders else ResponseConfig(self.wishes)
        self.answer = RealtimeResponse(self.events, self.book, wanted, tools=bool(asked.tools))
        return self.answer

    def _read(self, data: dict[str, Any]) -> CallEvent:
        kind = field(data, "type", str)
        if kind in LOOKING and (answer := self.active) is not None:
            answer.settle()
        match kind:
            case "session.update":
                return self._updated(field(data, "session", dict))
            case "conversation.item.create":
                return self._created(data)
            case "conversation.item.retrieve":
                return self._say("conversation.item.retrieved", item=item_json(self._item(data)))
            case "conversation.item.delete":
                return self._deleted(self._item(data))
            case "conversation.item.truncate":
                return self._truncated(data)
            case "response.create":
                return self._asked(field(data, "response", dict, NULL) or {})
            case "response.cancel":
                return self._cancelled(field(data, "response_id", str, NULL))
            case _ if kind.startswith(AUDIO):
                message = "This session is text only: send conversation.item.create with input_text."
                raise RealtimeError("unsupported_event", message, "type")
        raise BadRequest("'type' is no event that is known here.", param="type")

    def _updated(self, session: dict[str, Any]) -> ProtocolReply:
        if field(session, "type", str, NULL, path="session.") not in (None, "realtime"):
            raise BadRequest("'session.type' must be realtime.", param="session.type")
        self.wishes = self.wishes.merged(session, "session.")
        return ProtocolReply(self._session("session.updated"))

    def _session(self, kind: str) -> bytes:
        session = {"type": "realtime", "object": "realtime.session", "id": self.call, "model": self.model}
        return self.events.say(kind, session=session | self.wishes.form())

    def _created(self, data: dict[str, Any]) -> ProtocolReply:
        given = field(data, "item", dict)
        after = field(data, "previous_item_id", str, NULL)
        id = parse_id(given, "item.") or self.events.name("item", self.book.items)
        said = parse(given, "item.", self.events)
        if id in self.book.items:
            raise RealtimeError(
                "item_already_exists", "'item.id' names an item that exists already.", "item.id"
            )
        if after not in (None, ROOT):
            self.book.find(after, "previous_item_id")
        item = RealtimeItem(id, said)
        place = {"previous_item_id": self.book.add(item, after), "item": item_json(item)}
        self.book.told += 1
        added = self.events.say("conversation.item.added", **place)
        return ProtocolReply(added + self.events.say("conversation.item.done", **place))

    def _deleted(self, item: RealtimeItem) -> ProtocolReply:
        self.book.drop(item.id)
        return self._say("conversation.item.deleted", item_id=item.id)

    def _truncated(self, data: dict[str, Any]) -> CallEvent:
        """What was heard of an item: as the client tells it in `heard`, or as the time lets us guess."""
        item = self._item(data)
        said = item.said
        if isinstance(said, ToolCall) or said.role != "assistant":
            raise BadRequest("'item_id' must be that of a message of the assistant.", param="item_id")
        if field(data, "content_index", int) != 0:
            raise BadRequest("'content_index' must be 0.", param="content_index")
        lasted, heard = field(data, "audio_end_ms", int), field(data, "heard", str, NULL)
        if lasted < 0:
            raise BadRequest("'audio_end_ms' must not be negative.", param="audio_end_ms")
        most = lasted * self.chars_per_second / 1000
        kept = words_within(said.text, most) if heard is None else heard_prefix(said.text, heard)
        return self._cut(item, kept, lasted)

    def _cut(self, item: RealtimeItem, kept: str, lasted: int) -> CallEvent:
        """An item is now as it was heard. The response that it is of ends; another one goes on."""
        answer = self.active
        if answer is not None and answer.item == item.id:
            answer.cut(kept)
        else:
            self.book.put(RealtimeItem(item.id, Message("assistant", kept), item.status))
        frames = self.events.say(
            "conversation.item.truncated", item_id=item.id, content_index=0, audio_end_ms=lasted
        )
        other = answer is not None and not answer.owns(item.id)
        return ProtocolReply(frames) if other else Interrupted(frames=frames)

    def _asked(self, response: dict[str, Any]) -> TurnRequested:
        """A response is wanted. One that is being made gives way only if there is something new to answer."""
        wanted = parse_response_config(response, OUTPUT, self.wishes, self.book, self.events)
        answer = self.active
        if answer is not None and (wanted.apart or answer.told == self.book.told):
            raise RealtimeError(
                "conversation_already_has_active_response", "A response is being made already."
            )
        wishes = wanted.wishes
        messages = self.book.history() if wanted.messages is None else wanted.messages
        system = [Message("system", wishes.instructions)] if wishes.instructions else []
        self.order, self.orders = wanted, self.orders + 1
        return TurnRequested(
            next((message.text for message in reversed(messages) if message.role == "user"), ""),
            history=(*system, *messages),
            id=self.orders,
            tools=wishes.tools,
            tool_choice=wishes.tool_choice,
            options=wishes.options,
        )

    def _cancelled(self, id: str | None) -> Interrupted:
        answer = self.active
        if answer is None:
            raise RealtimeError("response_cancel_not_active", "No response is being made.")
        if id not in (None, answer.id):
            raise RealtimeError("response_not_found", "'response_id' is not being made.", "response_id")
        answer.reason = "client_cancelled"
        return Interrupted()

    def _item(self, data: dict[str, Any]) -> RealtimeItem:
        return self.book.find(field(data, "item_id", str), "item_id")

    def _say(self, kind: str, **fields: Any) -> ProtocolReply:
        return ProtocolReply(self.events.say(kind, **fields))


def _event(frame: str | bytes) -> dict[str, Any]:
    try:
        return parse_object(frame.encode() if isinstance(frame, str) else b"", MAX_JSON_DEPTH)
    except (BadRequest, ValueError):
        message = (
            f"An event must be a JSON object in a text frame, nested at most {MAX_JSON_DEPTH} levels deep."
        )
        raise RealtimeError("invalid_event", message) from None
