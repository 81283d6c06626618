"""One agent as callers reach it: dialect, acknowledgement policy, phrases, timeouts, speech filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from voicegw.events import Agent, Message, Turn
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import MAX_HOLD_SECONDS
from voicegw.turns.acknowledgement import AckPolicy, AckSchedule, ack_delay, pick_phrase
from voicegw.turns.dialects import Dialect
from voicegw.turns.own_phrases import own_phrase_filter
from voicegw.turns.phrases import Phrases, phrases_for
from voicegw.turns.speech_buffer import SpeechFilters
from voicegw.turns.timeouts import Timeouts


@dataclass(frozen=True, slots=True)
class ServedAgent:
    """An agent as callers reach it: its manners, and the words that are said on its behalf.

    `diction` makes its text speakable, None leaves it as it is; `hold_for` is how long a pause of the
    agent is, in seconds, after which nothing of it is held back any more.
    """

    name: str
    agent: Agent
    dialect: Dialect
    ack_policy: AckPolicy = field(default_factory=AckPolicy)
    language: str = "en"
    phrases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    progress: Mapping[str, Sequence[str]] = field(default_factory=dict)
    timeouts: Timeouts = field(default_factory=Timeouts)
    speech_filters: SpeechFilters | None = None
    max_hold_seconds: float = MAX_HOLD_SECONDS

    @property
    def for_reading(self) -> ServedAgent:
        """The same line for those who read: the agent's text stays as it is."""
        return replace(self, speech_filters=None)

    def speech_filter(self, language: str) -> SpeechFilter | None:
        """What makes the text of one answer speakable, or None if it stays as it is."""
        return None if self.speech_filters is None else self.speech_filters.filter_for(language)

    def phrases_in(self, language: str) -> Phrases:
        return phrases_for(language, self.phrases, self.progress)

    def clean_history(
        self, history: Sequence[Message], language: str, said: frozenset[str]
    ) -> tuple[Message, ...]:
        """The history as the agent should see it: without our words, at least those we know we said."""
        opening = () if self.ack_policy.after is None else self.phrases_in(language).ack
        return own_phrase_filter(opening, said).clean(history)

    def ack_schedule(
        self, turn: Turn, dialect: Dialect, history: Sequence[Message], *, quiet: bool
    ) -> AckSchedule:
        """What to say while the agent is silent in this turn, and when; nothing if `quiet`.

        `history` is what the platform sent, our words included: what was said last is not said again.
        """
        if quiet or not dialect.acknowledges:
            return AckSchedule("", None)
        after, every = ack_delay(self.ack_policy, turn), self.ack_policy.every
        words = self.phrases_in(turn.language)
        first = "" if after is None else dialect.punctuate(pick_phrase(words.ack, history), words.stop)
        lines = [] if every is None else [dialect.punctuate(line, words.stop) for line in words.progress]
        return AckSchedule(first, after, progress=lines, every=every)
