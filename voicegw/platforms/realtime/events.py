"""Events of a realtime session on their way out: each with an id of its own, errors among them."""

from __future__ import annotations

from collections.abc import Container
from typing import Any

from voicegw.errors import BadRequest
from voicegw.wire.json import dumps


class RealtimeError(BadRequest):
    """What is wrong with an event that came. `tag` is the code by which clients tell faults apart."""

    def __init__(self, tag: str, message: str, param: str | None = None) -> None:
        super().__init__(message, param=param)
        self.tag = tag


class EventWriter:
    """Writes the events of one session. Ids are counted behind `prefix`, so they are as unique as that is."""

    def __init__(self, prefix: str) -> None:
        self.prefix = prefix
        self.named = 0
        self.written = 0
        self.head = b'{"event_id":"event_%b_' % prefix.encode()

    def name(self, kind: str, taken: Container[str] = ()) -> str:
        """A new id, none of those that are `taken`."""
        while True:
            self.named += 1
            if (id := f"{kind}_{self.prefix}_{self.named}") not in taken:
                return id

    def say(self, kind: str, **fields: Any) -> bytes:
        """One event."""
        return self.write(b'"type":"%b",%b' % (kind.encode(), dumps(fields)[1:-1]), b"")

    def write(self, head: bytes, value: bytes) -> bytes:
        """One event out of two pieces: its fields, the last of which may lack its `value`."""
        self.written += 1
        return b'%b%d",%b%b}\n' % (self.head, self.written, head, value)

    def error(self, wrong: BadRequest, cause: str | None) -> bytes:
        """What was wrong with the event that the client calls `cause`."""
        tag = wrong.tag if isinstance(wrong, RealtimeError) else "invalid_value"
        about = {"code": tag, "message": wrong.message, "param": wrong.param, "event_id": cause}
        return self.say("error", error={"type": wrong.type, **about})
