"""The transcript of a call: the words of both sides, as far as the caller heard them. Pure.

An agent that knows what it said, but not what the caller heard, continues from words that the caller never
heard. So an interrupted reply is kept only up to the last word that the caller heard.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field, replace

from voicegw.conversations.history import count_common_words
from voicegw.events import Message, ToolCall

MAX_MESSAGES = 2000
MAX_CHARS = 1_000_000
"""Limits of one transcript, in messages and in characters. Above them, the oldest messages are dropped."""
TOOL_DONE = "Done."
TOOL_NOT_DONE = "Not done: the platform cannot do this, or the arguments make no sense."
"""The results that the agent sees for tool calls that the gateway executed, and could not execute."""

REPLAY_SECONDS, LAST_REPLAY_SECONDS = 1.0, 5.0
"""Seconds after a reconnect in which a platform may repeat any words of the caller, and the last words."""


@dataclass(slots=True)
class Transcript:
    """The conversation of one call, for platforms that do not send it with each turn."""

    messages: list[Message] = field(default_factory=list)
    """The messages of caller, agent and tools, the oldest first."""
    heard_text: str | None = None
    """The part of the last reply that the caller heard; None for all of it. The next turn carries it."""
    own_words: str = ""
    """The gateway's own words before the last reply. They are not part of the message."""
    char_count: int = 0
    """The characters of all messages."""

    def add_user(self, text: str) -> None:
        """Add words of the caller."""
        self._append(Message("user", text))

    def add_assistant(
        self,
        text: str,
        tool_calls: Sequence[ToolCall] = (),
        *,
        own_words: str = "",
        executed: Collection[str] = (),
    ) -> None:
        """Add a reply: `text` is everything that was said, with the gateway's `own_words` in front.

        `tool_calls` are the agent's calls, each followed by its result; `executed` are the ids of those that
        the gateway executed.
        """
        self.heard_text, self.own_words = None, own_words
        text = text.strip().removeprefix(own_words).strip()
        if text or tool_calls:
            self._append(Message("assistant", text, tool_calls=tuple(tool_calls)))
        for call in tool_calls:
            result = TOOL_DONE if call.id in executed else TOOL_NOT_DONE
            self._append(Message("tool", result, tool_call_id=call.id, name=call.name))

    def truncate(self, heard_text: str) -> None:
        """Cut the last reply to the words that the caller heard, as the platform reports them; "" for none.

        The platform counts the gateway's own words before the reply too. Do nothing if the report is no
        beginning of the last reply: it belongs to another one then.
        """
        index = self._last_reply_index()
        if index is None:
            return
        words = self.messages[index].text.split()
        own_words = self.own_words.split()
        count = count_common_words([*own_words, *words], heard_text.split())
        if heard_text.strip() and not count:
            return
        part = words[: max(0, count - len(own_words))]
        if len(part) == len(words):
            return
        self.heard_text = " ".join(part)
        if self.heard_text or self.messages[index].tool_calls:
            self.messages[index] = replace(self.messages[index], text=self.heard_text)
        else:
            del self.messages[index]

    def pop_unanswered(self) -> str | None:
        """Remove and return the caller's last words if no reply follows them, to ask again; else None."""
        if self.messages and self.messages[-1].role == "user":
            return self.messages.pop().text
        return None

    def _last_reply_index(self) -> int | None:
        """Return the index of the last reply; None if the caller spoke after it."""
        for index in range(len(self.messages) - 1, -1, -1):
            role = self.messages[index].role
            if role != "tool":
                return index if role == "assistant" else None
        return None

    def _append(self, message: Message) -> None:
        self.messages.append(message)
        self.char_count += len(message.text)
        while len(self.messages) > MAX_MESSAGES or (self.char_count > MAX_CHARS and len(self.messages) > 1):
            self.char_count -= len(self.messages.pop(0).text)


class ReplayDetector:
    """Detects words that a platform repeats right after it reconnected a call on a new socket.

    Platforms send the same words again, in order and at once. People repeat themselves too, but not so soon.
    """

    def __init__(self, transcript: Transcript | None = None, now: float = 0.0) -> None:
        # The time of the reconnect, in seconds.
        self.reconnected_at = now
        messages = [] if transcript is None else transcript.messages
        # The caller's words that the platform may still repeat, in order.
        self.texts = [message.text for message in messages if message.role == "user"]

    def may_repeat(self, now: float) -> bool:
        """May the next words be a repetition?"""
        return bool(self.texts) and now - self.reconnected_at <= REPLAY_SECONDS

    def is_repeated(self, text: str, now: float) -> bool:
        """Return whether the platform repeats words that the caller said before the reconnect.

        The last words count as repeated for `LAST_REPLAY_SECONDS`, older ones for `REPLAY_SECONDS`. Side
        effect: the first words that are not repeated end the detection.
        """
        age = now - self.reconnected_at
        is_last = bool(self.texts) and self.texts[-1] == text and age <= LAST_REPLAY_SECONDS
        if not is_last and not (self.may_repeat(now) and text in self.texts):
            self.texts = []
            return False
        del self.texts[: len(self.texts) if is_last else self.texts.index(text) + 1]
        return True
