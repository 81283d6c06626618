"""The gateway's own phrases in the replies of one call, with the words around them. Pure.

`voicegw.turns.own_phrases` removes them from the histories that the platform sends.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from voicegw.turns.own_phrases import OwnPhrase, find_own_phrases
from voicegw.turns.stream import EventLog
from voicegw.wire.memory_size import deep_bytes

MAX_OWN_PHRASES = 500
MAX_BYTES = 500_000
"""Limits of the own phrases of one call, in phrases and in bytes. Above them, the oldest are forgotten."""


@dataclass(slots=True, eq=False)
class RememberedReply:
    """A reply in which the gateway spoke."""

    event_log: EventLog
    """The events of the agent's run. It may still run: the words after a phrase come later."""
    question: str
    """The caller's words that it answers."""
    own_words: list[tuple[int, str]] = field(default_factory=list)
    """The gateway's words, each with the number of the agent's events before it."""

    def find_phrases(self) -> list[OwnPhrase]:
        """Return the gateway's phrases, with the words around them as far as they are known."""
        return find_own_phrases(self._pieces(), self.question)

    def _pieces(self) -> Iterator[tuple[str, bool]]:
        position, events = 0, self.event_log.events
        for count, words in sorted(self.own_words, key=lambda own: own[0]):
            yield "".join(event for event in events[position:count] if isinstance(event, str)), False
            yield words, True
            position = count
        yield "".join(event for event in events[position:] if isinstance(event, str)), False


class ReplyMemory:
    """The memory of the gateway's own words in one call."""

    def __init__(self) -> None:
        # The phrases of replies that have ended, the oldest first.
        self._phrases: list[OwnPhrase] = []
        # The replies whose phrases were not read since they ended.
        self._replies: list[RememberedReply] = []
        # The bytes of memory of `_phrases`. A reply counts for each phrase in it.
        self.byte_count = 0

    def add(self, event_log: EventLog, question: str, words: str, event_count: int) -> None:
        """Remember that the gateway said `words` after the first `event_count` events of a run's log.

        Several clients may read one run. The same words at the same place are one phrase.
        """
        reply = next((reply for reply in self._replies if reply.event_log is event_log), None)
        if reply is None:
            self._replies.append(reply := RememberedReply(event_log, question))
        if (event_count, words) not in reply.own_words:
            reply.own_words.append((event_count, words))

    def find_phrases(self) -> tuple[OwnPhrase, ...]:
        """Return all phrases, the oldest first. Side effect: the events of ended replies are released."""
        if not self._replies:
            return tuple(self._phrases)
        running = []
        for reply in self._replies:
            if reply.event_log.has_ended:
                self._add_phrases(reply.find_phrases())
            else:
                running.append(reply)
        self._replies = running
        return (*self._phrases, *(phrase for reply in running for phrase in reply.find_phrases()))

    def _add_phrases(self, phrases: list[OwnPhrase]) -> None:
        self._phrases += phrases
        self.byte_count += sum(map(deep_bytes, phrases))
        while len(self._phrases) > MAX_OWN_PHRASES or (self._phrases and self.byte_count > MAX_BYTES):
            self.byte_count -= deep_bytes(self._phrases.pop(0))
