"""The ledger of a call: what was said on it, as far as the caller heard it.

An agent that is told what it said, and not what was heard, goes on from words that nobody knows. So
what is remembered of an interrupted reply ends where the caller's hearing ended.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from voicegw.conversations.history import common
from voicegw.events import Message, ToolCall

MAX_MESSAGES = 2000
MAX_TEXT = 1_000_000
"""Bounds of what is remembered of one call, in messages and characters; the oldest go first."""
DONE = "Done."
NOT_DONE = "Not done: the platform cannot do this, or the arguments make no sense."
"""The results of what the gateway does for an agent."""

AT_ONCE, REPLAYED = 1.0, 5.0
"""Seconds after a reconnect in which the platform may repeat anything, and the last words."""


@dataclass(slots=True)
class Transcript:
    """What was said on one call, kept for platforms that do not send it back.

    `heard` is for the next turn: what the caller heard of the last reply, None if that was all of it. `own`
    are words of ours that were said before it.
    """

    messages: list[Message] = field(default_factory=list)
    heard: str | None = None
    own_words: str = ""
    size: int = 0

    def add_user(self, said: str) -> None:
        """The caller said this."""
        self._add(Message("user", said))

    def add_assistant(
        self, said: str, calls: Sequence[ToolCall] = (), *, own: str = "", done: Collection[str] = ()
    ) -> None:
        """We said this, as far as we know: the agent's words, after `own` ones of ours.

        `calls` are what the agent wanted done, `done` the ids of those that made sense.
        """
        self.heard, self.own_words = None, own
        said = said.strip().removeprefix(own).strip()
        if said or calls:
            self._add(Message("assistant", said, tool_calls=tuple(calls)))
        for call in calls:
            result = DONE if call.id in done else NOT_DONE
            self._add(Message("tool", result, tool_call_id=call.id, name=call.name))

    def truncate(self, heard: str) -> None:
        """Of the last reply the caller heard only this, by the platform's word, "" for nothing.

        The words are counted with those of ours before them. What is no beginning of the reply belongs to
        another one, and changes nothing.
        """
        place = self._reply()
        if place is None:
            return
        words = self.messages[place].text.split()
        ours = self.own_words.split()
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

    def pop_unanswered(self) -> str | None:
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
        while len(self.messages) > MAX_MESSAGES or (self.size > MAX_TEXT and len(self.messages) > 1):
            self.size -= len(self.messages.pop(0).text)


class ReplayDetector:
    """Tells what a platform only repeats, right after its call came back on a new socket.

    Platforms send again what they sent before, in order and at once; people say the same words twice too, but
    not so soon. Times are in seconds on whatever clock `repeated` is told the time of.
    """

    def __init__(self, book: Transcript | None = None, now: float = 0.0) -> None:
        self.since = now
        messages = [] if book is None else book.messages
        self.texts = [message.text for message in messages if message.role == "user"]

    def may_repeat(self, now: float) -> bool:
        """May what comes now be a repetition?"""
        return bool(self.texts) and now - self.since <= AT_ONCE

    def is_repeated(self, said: str, now: float) -> bool:
        """Was this said before the call came back? The last words are repeated for longer than older ones."""
        last = bool(self.texts) and self.texts[-1] == said and now - self.since <= REPLAYED
        if not last and not (self.may_repeat(now) and said in self.texts):
            self.texts = []
            return False
        del self.texts[: len(self.texts) if last else self.texts.index(said) + 1]
        return True
