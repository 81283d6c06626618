"""Encodes the server events of a realtime session, each with its own id, and its errors.

It does not decode: client events are in `voicegw.platforms.realtime.codec`. Source: the event types of the
official `openai` library (`openai.types.realtime`).
"""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from voicegw.errors import BadRequest
from voicegw.wire.json import dumps


class RealtimeError(BadRequest):
    """An invalid client event; clients tell errors apart by `error_code`, as in OpenAI's error event."""

    def __init__(self, error_code: str, message: str, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.error_code = error_code


class EventWriter:
    """Encodes the events of one session. Ids are numbered behind a prefix that is unique to the session."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix  # a part of every id
        self.id_count = 0  # ids that `new_id` returned
        self.event_count = 0  # events that were encoded
        # The start of each event, up to its number.
        self.head = b'{"event_id":"event_%b_' % prefix.encode()

    def new_id(self, kind: str, taken: Container[str] = ()) -> str:
        """Return a new id such as "item_PREFIX_1", none of those in `taken`."""
        while True:
            self.id_count += 1
            if (id := f"{kind}_{self.prefix}_{self.id_count}") not in taken:
                return id

    def encode(self, kind: str, **fields: Any) -> bytes:
        """Return an event of this type with these fields, and a line break."""
        return self.encode_parts(b'"type":"%b",%b' % (kind.encode(), dumps(fields)[1:-1]), b"")

    def encode_parts(self, head: bytes, value: bytes) -> bytes:
        """Return an event from its encoded fields; `value` is that of the last one, b"" if `head` has it."""
        self.event_count += 1
        return b'%b%d",%b%b}\n' % (self.head, self.event_count, head, value)

    def encode_error(self, failure: BadRequest, event_id: str | None) -> bytes:
        """Return the error event for the client event with this id, None if the client gave none."""
        code = failure.error_code if isinstance(failure, RealtimeError) else "invalid_value"
        details = {"code": code, "message": failure.message, "param": failure.param, "event_id": event_id}
        return self.encode("error", error={"type": failure.type, **details})
