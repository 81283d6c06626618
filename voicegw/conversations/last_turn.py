"""The memory of a turn whose run is forgotten: it finds the part of the reply that was heard. Pure.

It holds no message of the turn, only a digest of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b
from sys import getsizeof

from voicegw.conversations.history import heard_part, last_reply
from voicegw.events import Event, Message
from voicegw.wire.json import dumps


@dataclass(frozen=True, slots=True)
class LastTurn:
    """The newest turn of a call."""

    message_count: int
    """The number of its messages."""
    digest: bytes
    """`digest_of` its messages."""
    reply: str
    """All text of its reply."""

    @property
    def byte_count(self) -> int:
        """The bytes of memory that it takes."""
        return getsizeof(self) + getsizeof(self.digest) + getsizeof(self.reply)

    def heard_part(self, messages: Sequence[Message]) -> str | None:
        """Return the part of the reply that the caller heard, by a history that continues the turn's.

        None if the caller heard all of it, or if `messages` does not continue the turn.
        """
        since = messages[self.message_count :]
        if not since or digest_of(messages[: self.message_count]) != self.digest:
            return None
        return heard_part(self.reply, last_reply(since) or "")


def make_last_turn(messages: Sequence[Message], events: Sequence[Event]) -> LastTurn:
    """Return what is remembered of a turn with these messages and the events of its reply."""
    reply = "".join(event for event in events if type(event) is str)
    return LastTurn(len(messages), digest_of(messages), reply)


def digest_of(messages: Sequence[Message]) -> bytes:
    """Return a digest of messages: equal messages have the same one."""
    return blake2b(dumps([encode_message(message) for message in messages]), digest_size=16).digest()


def encode_message(message: Message) -> Sequence[object]:
    """Return a message as JSON has it: its role and text, and its other fields if there are any."""
    if message.tool_call_id is None and message.name is None and not (message.parts or message.tool_calls):
        return message.role, message.text
    calls = [(call.id, call.name, call.arguments) for call in message.tool_calls]
    return message.role, message.text, message.parts, calls, message.tool_call_id, message.name
