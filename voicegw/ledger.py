"""The ledger of a call: what was said on it, as far as the caller heard it.

An agent that is told what it said, and not what was heard, goes on from words that nobody knows. So
what is remembered of an interrupted reply ends where the caller's hearing ended.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from voicegw.events import Message, ToolCall

MOST_MESSAGES = 2000
MOST_TEXT = 1_000_000
"""Bounds of what is remembered of one call, in messages and characters; the oldest go first."""
DONE = "Done."
NOT_DONE = "Not done: the platform cannot do this, or the arguments make no sense."
"""The results of what the gateway does for an agent."""

AT_ONCE, REPLAYED = 1.0, 5.0
"""Seconds after a reconnect in which the platform may repeat anything, and the last words."""

CUT_ENDS = ".…-–— "
"""What platforms put behind words that were cut short."""


def common(words: Sequence[str], heard: Sequence[str]) -> int:
    """How many words two texts begin with in common, whatever their case and punctuation."""
    count = 0
    for one, other in zip(words, heard, strict=False):
        if bare(one) != bare(other):
            break
        count += 1
    return count


def bare(word: str) -> str:
    return "".join(char for char in word.casefold() if char.isalnum())


def part_heard(said: str, heard: str) -> str | None:
    """What was heard of a reply, if that is less than was said; None if all of it was, or if it is unknown.

    Only words that the reply begins with are part of it; anything else is another account of the call.
    """
    words, part = " ".join(said.split()), " ".join(heard.split())
    if not words or words == part:
        return None
    part = part if words.startswith(part) else part.rstrip(CUT_ENDS)
    return part if len(part) < len(words) and words.startswith(part) else None


def part_of_last(said: Sequence[Message], history: Sequence[Message]) -> str | None:
    """What was heard of our last reply in `said`, by the history that a platform sends; None as above.

    A history that ends with the reply before it has nothing of it.
    """
    replies = ["", "", *(message.text for message in said if _is_reply(message))]
    last, told = replies[-1], last_reply(history) or ""
    skipped = told.split() == replies[-2].split() != last.split()
    return part_heard(last, "" if skipped else told)


def without(own: str, history: Sequence[Message]) -> tuple[Message, ...]:
    """The history, but for a last reply that is only the beginning of `own`: words of ours before it."""
    for place in range(len(history) - 1, -1, -1):
        if _is_reply(message := history[place]):
            ours = bare(message.text) and bare(own).startswith(bare(message.text))
            if ours and not (message.parts or message.tool_calls):
                return (*history[:place], *history[place + 1 :])
            break
    return tuple(history)


def last_reply(history: Sequence[Message]) -> str | None:
    """What the assistant said last, before what the user says now; None if there is no such message."""
    for message in reversed(history):
        if _is_reply(message):
            return message.text
    return None


def _is_reply(message: Message) -> bool:
    return message.role == "assistant" and bool(message.text or not message.tool_calls)


@dataclass(slots=True)
class Ledger:
    """What was said on one call, kept for platforms that do not send it back.

    `heard` is for the next turn: what the caller heard of the last reply, None if that was all of it. `own`
    are words of ours that were said before it.
    """

    messages: list[Message] = field(default_factory=list)
    heard: str | None = None
    own: str = ""
    size: int = 0

    def asked(self, said: str) -> None:
        """The caller said this."""
        self._add(Message("user", said))

    def answered(
        self, said: str, calls: Sequence[ToolCall] = (), *, own: str = "", done: Collection[str] = ()
    ) -> None:
        """We said this, as far as we know: the agent's words, after `own` ones of ours.

        `calls` are what the agent wanted done, `done` the ids of those that made sense.
        """
        self.heard, self.own = None, own
        said = said.strip().removeprefix(own).strip()
        if said or calls:
            self._add(Message("assistant", said, tool_calls=tuple(calls)))
        for call in calls:
            result = DONE if call.id in done else NOT_DONE
            self._add(Message("tool", result, tool_call_id=call.id, name=call.name))

    def cut(self, heard: str) -> None:
        """Of the last reply the caller heard only this, by the platform's word, "" for nothing.

        The words are counted with those of ours before them. What is no beginning of the reply belongs to
        another one, and changes nothing.
        """
        place = self._reply()
        if place is None:
            return
        words = self.messages[place].text.split()
        ours = self.own.split()
        count = common([*ours, *words], heard.split())
        if heard.strip() and not count:
            return
        part = words[: max(0, count - len(ours))]
        if len(part) == len(words):
            return
        self.heard = " ".join(part)
        if self.heard or self.messages[place].tool_calls:
            self.messages[place] = replace(self.messages[place], text=self.heard)
        else:
            del self.messages[place]

    def lost(self) -> str | None:
        """The question whose answer was lost, taken out to be asked anew; None if there is none."""
        if self.messages and self.messages[-1].role == "user":
            return self.messages.pop().text
        return None

    def _reply(self) -> int | None:
        """Where our last reply stands, if nobody said anything since."""
        for place in range(len(self.messages) - 1, -1, -1):
            role = self.messages[place].role
            if role != "tool":
                return place if role == "assistant" else None
        return None

    def _add(self, message: Message) -> None:
        self.messages.append(message)
        self.size += len(message.text)
        while len(self.messages) > MOST_MESSAGES or (self.size > MOST_TEXT and len(self.messages) > 1):
            self.size -= len(self.messages.pop(0).text)


class Replays:
    """Tells what a platform only repeats, right after its call came back on a new socket.

    Platforms send again what they sent before, in order and at once; people say the same words twice too, but
    not so soon. Times are in seconds on whatever clock `repeated` is told the time of.
    """

    def __init__(self, book: Ledger | None = None, now: float = 0.0) -> None:
        self.since = now
        messages = [] if book is None else book.messages
        self.texts = [message.text for message in messages if message.role == "user"]

    def going(self, now: float) -> bool:
        """May what comes now be a repetition?"""
        return bool(self.texts) and now - self.since <= AT_ONCE

    def repeated(self, said: str, now: float) -> bool:
        """Was this said before the call came back? The last words are repeated for longer than older ones."""
        last = bool(self.texts) and self.texts[-1] == said and now - self.since <= REPLAYED
        if not last and not (self.going(now) and said in self.texts):
            self.texts = []
            return False
        del self.texts[: len(self.texts) if last else self.texts.index(said) + 1]
        return True
