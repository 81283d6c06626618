"""The ledger of a call: what was said on it, as far as the caller heard it.

An agent that is told what it said, and not what was heard, goes on from words that nobody knows. So
what is remembered of an interrupted reply ends where the caller's hearing ended.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from voicegw.events import Message, ToolCall

MOST_MESSAGES = 2000
DONE = "Done."
"""The result of whatever the gateway does for an agent: the agent learns no more."""

CUT_ENDS = ".…-–— "
"""What platforms put behind words that were cut short."""


def same(one: str, other: str) -> bool:
    """Are these the same words, whatever the white space between them?"""
    return one.split() == other.split()


def part_heard(said: str, heard: str) -> str | None:
    """What was heard of a reply, if that is less than was said; None if all of it was, or if it is unknown.

    Only words that the reply begins with are part of it; anything else is another account of the call.
    """
    words, part = " ".join(said.split()), " ".join(heard.split())
    if not words or words == part:
        return None
    part = part if words.startswith(part) else part.rstrip(CUT_ENDS)
    return part if len(part) < len(words) and words.startswith(part) else None


def last_reply(history: Sequence[Message]) -> str | None:
    """What the assistant said last, before what the user says now; None if there is no such message."""
    for message in reversed(history):
        if message.role == "assistant" and not message.tool_calls:
            return message.text
    return None


@dataclass(slots=True)
class Ledger:
    """What was said on one call, kept for platforms that do not send it back.

    `heard` is for the next turn: what the caller heard of the last reply, None if that was all of it.
    """

    messages: list[Message] = field(default_factory=list)
    heard: str | None = None

    def asked(self, said: str) -> None:
        """The caller said this."""
        self._add(Message("user", said))

    def answered(self, said: str, calls: Sequence[ToolCall] = ()) -> None:
        """We said this, as far as we know, and did these things."""
        self.heard = None
        if said.strip() or calls:
            self._add(Message("assistant", said.strip(), tool_calls=tuple(calls)))
        for call in calls:
            self._add(Message("tool", DONE, tool_call_id=call.id, name=call.name))

    def cut(self, heard: str) -> None:
        """Of the last reply the caller heard only this, by the platform's word, "" for nothing."""
        place = self._reply()
        if place is None or same(self.messages[place].text, heard):
            return
        self.heard = " ".join(heard.split())
        if self.heard or self.messages[place].tool_calls:
            self.messages[place] = replace(self.messages[place], text=self.heard)
        else:
            del self.messages[place]

    def _reply(self) -> int | None:
        """Where our last reply stands, if nobody said anything since."""
        for place in range(len(self.messages) - 1, -1, -1):
            role = self.messages[place].role
            if role != "tool":
                return place if role == "assistant" else None
        return None

    def _add(self, message: Message) -> None:
        self.messages.append(message)
        del self.messages[:-MOST_MESSAGES]


class Replays:
    """Tells what a platform only repeats, right after its call came back on a new socket.

    It may send again what it sent before, in order. `until` is when that ends, in seconds on whatever clock
    `repeated` is told the time of.
    """

    def __init__(self, book: Ledger | None = None, until: float = 0.0) -> None:
        self.book = book or Ledger()
        self.until = until
        self.texts = [message.text for message in self.book.messages if message.role == "user"]

    def repeated(self, said: str, now: float) -> bool:
        """Was this answered already? If its answer was lost with the old socket, it is asked anew."""
        if now > self.until or said not in self.texts:
            self.texts = []
            return False
        del self.texts[: self.texts.index(said) + 1]
        if self.texts or self.book.messages[-1].role != "user":
            return True
        self.book.messages.pop()
        return False
