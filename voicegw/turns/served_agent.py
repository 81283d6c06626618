"""One agent as callers reach it: dialect, acknowledgement policy, phrases, timeouts, speech filter."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from voicegw.events import Agent, Message, Turn
from voicegw.speech.filter import Speakable
from voicegw.speech.options import HOLD_FOR
from voicegw.turns.acknowledgement import Ack, AckPolicy, choose, wait
from voicegw.turns.dialects import Dialect
from voicegw.turns.own_phrases import unsaid
from voicegw.turns.phrases import Phrases, phrases
from voicegw.turns.speech_buffer import Diction
from voicegw.turns.timeouts import Patience


@dataclass(frozen=True, slots=True)
class Line:
    """An agent as callers reach it: its manners, and the words that are said on its behalf.

    `diction` makes its text speakable, None leaves it as it is; `hold_for` is how long a pause of the
    agent is, in seconds, after which nothing of it is held back any more.
    """

    name: str
    agent: Agent
    dialect: Dialect
    ack: AckPolicy = field(default_factory=AckPolicy)
    language: str = "en"
    phrases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    progress: Mapping[str, Sequence[str]] = field(default_factory=dict)
    patience: Patience = field(default_factory=Patience)
    diction: Diction | None = None
    hold_for: float = HOLD_FOR

    @property
    def written(self) -> Line:
        """The same line for those who read: the agent's text stays as it is."""
        return replace(self, diction=None)

    def speakable(self, language: str) -> Speakable | None:
        """What makes the text of one answer speakable, or None if it stays as it is."""
        return None if self.diction is None else self.diction.speakable(language)

    def words(self, language: str) -> Phrases:
        return phrases(language, self.phrases, self.progress)

    def cleaned(self, history: Sequence[Message], language: str, said: frozenset[str]) -> tuple[Message, ...]:
        """The history as the agent should see it: without our words, at least those we know we said."""
        opening = () if self.ack.after is None else self.words(language).ack
        return unsaid(opening, said).clean(history)

    def acknowledgement(
        self, turn: Turn, dialect: Dialect, history: Sequence[Message], *, quiet: bool
    ) -> Ack:
        """What to say while the agent is silent in this turn, and when; nothing if `quiet`.

        `history` is what the platform sent, our words included: what was said last is not said again.
        """
        if quiet or not dialect.words:
            return Ack("", None)
        after, every = wait(self.ack, turn), self.ack.every
        words = self.words(turn.language)
        first = "" if after is None else dialect.close(choose(words.ack, history), words.stop)
        lines = [] if every is None else [dialect.close(line, words.stop) for line in words.progress]
        return Ack(first, after, progress=lines, every=every)
