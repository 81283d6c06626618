"""The memory of a turn whose run is forgotten: it finds the part of the reply that was heard. Pure.

It holds no message of the turn, only a hash of their roles and texts, which is valid in this process alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from sys import getsizeof

from voicegw.conversations.history import heard_part, last_reply
from voicegw.events import Event, Message


@dataclass(frozen=True, slots=True)
class LastTurn:
    """The newest turn of a call."""

    message_count: int
    """The number of its messages."""
    text_hash: int
    """`hash_texts` of its messages."""
    reply: str
    """All text of its reply."""

    @property
    def byte_count(self) -> int:
        """The bytes of memory that it takes."""
        return getsizeof(self) + getsizeof(self.text_hash) + getsizeof(self.reply)

    def heard_part(self, messages: Sequence[Message]) -> str | None:
        """Return the part of the reply that the caller heard, by a history that continues the turn's.

        None if the caller heard all of it, or if `messages` does not continue the turn.
        """
        since = messages[self.message_count :]
        if not since or hash_texts(messages[: self.message_count]) != self.text_hash:
            return None
        return heard_part(self.reply, last_reply(since) or "")


def make_last_turn(messages: Sequence[Message], events: Sequence[Event]) -> LastTurn:
    """Return what is remembered of a turn with these messages and the events of its reply."""
    reply = "".join([event for event in events if type(event) is str])
    return LastTurn(len(messages), hash_texts(messages), reply)


def hash_texts(messages: Sequence[Message]) -> int:
    """Return a hash of the roles and texts of messages, and of their tool calls. Images do not count."""
    return hash(tuple([(message.role, message.text, message.tool_calls) for message in messages]))
