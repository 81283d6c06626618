"""An agent with the settings with which callers reach it: dialect, phrases, timeouts, speech filter."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from voicegw.events import Agent, Message, ToolCall, Turn
from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import MAX_HOLD_SECONDS, SpeechOptions
from voicegw.turns.acknowledgement import AckPolicy, AckSchedule, ack_delay, pick_phrase
from voicegw.turns.bulkhead import Bulkhead
from voicegw.turns.dialects import Dialect
from voicegw.turns.own_phrases import OwnPhrase, without_acknowledgements, without_own_phrases
from voicegw.turns.phrases import Phrases, phrases_for
from voicegw.turns.speech_buffer import MAX_LANGUAGES, SpeechFilters
from voicegw.turns.timeouts import Timeouts


@dataclass(frozen=True, slots=True)
class Voice:
    """The language in which the platform speaks an answer; the caller may speak another one."""

    language: str
    """The language at the start of the answer, as a BCP 47 tag."""
    language_after: Callable[[ToolCall], str | None]
    """Returns the language after a tool call of the agent; None if the call does not switch it."""


@dataclass(frozen=True, slots=True)
class OwnWords:
    """The gateway's phrases in one language and one dialect."""

    phrases: Phrases
    """The phrases without punctuation."""
    acks: tuple[str, ...]
    """The acknowledgements as they are said, in the order of `phrases.ack`."""
    progress: tuple[str, ...]
    """The progress phrases as they are said."""


def make_own_words(phrases: Phrases, dialect: Dialect) -> OwnWords:
    """Return the phrases with the punctuation of the dialect."""
    acks, progress = (
        tuple(dialect.punctuate(text, phrases.full_stop) for text in texts)
        for texts in (phrases.ack, phrases.progress)
    )
    return OwnWords(phrases, acks, progress)


@dataclass(frozen=True, slots=True)
class ServedAgent:
    """An agent with the settings with which callers reach it (`[agents.NAME]`)."""

    name: str
    """The name in the configuration, in the log and as a model of the API."""
    agent: Agent
    """The agent that answers the turns."""
    dialect: Dialect
    """The dialect for clients whose API key names no other."""
    ack_policy: AckPolicy = field(default_factory=AckPolicy)
    """When turns are acknowledged."""
    language: str = "en"
    """The language of the gateway's phrases for requests that name none."""
    ack_phrases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Configured acknowledgements by language; they replace the built-in ones."""
    progress_phrases: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Configured progress phrases by language; they replace the built-in ones."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """How long the agent may be silent."""
    speech_filters: SpeechFilters | None = None
    """Makes the agent's text speakable; None passes it on unchanged."""
    max_hold_seconds: float = MAX_HOLD_SECONDS
    """Seconds for which text is held back while the agent pauses."""
    bulkhead: Bulkhead = field(default_factory=Bulkhead)
    """Limits the runs of this agent that are not closed yet."""
    _words: dict[tuple[str, str], OwnWords] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """The phrases by language and name of the dialect, for the first `MAX_LANGUAGES` of them."""

    @property
    def without_speech_filters(self) -> ServedAgent:
        """The same agent for clients that show text: without a speech filter."""
        return replace(self, speech_filters=None)

    def speech_filter(self, language: str) -> SpeechFilter | None:
        """Return a new speech filter for one answer, or None if the text passes unchanged."""
        return None if self.speech_filters is None else self.speech_filters.filter_for(language)

    def options_after(self, voice: Voice, call: ToolCall) -> SpeechOptions | None:
        """Return the speech filter's options after a call that switches the language, else None."""
        language = voice.language_after(call)
        filters = self.speech_filters
        return None if language is None or filters is None else filters.options_for(language)

    def phrases_in(self, language: str) -> Phrases:
        """Return the phrases for a language, with the configured ones of this agent."""
        return self._own_words(language, self.dialect).phrases

    def _own_words(self, language: str, dialect: Dialect) -> OwnWords:
        """Return the phrases as this dialect says them. They are the same in every turn, so they are kept."""
        key = (language, dialect.name)
        words = self._words.get(key)
        if words is None:
            words = make_own_words(phrases_for(language, self.ack_phrases, self.progress_phrases), dialect)
            if len(self._words) < MAX_LANGUAGES:
                self._words[key] = words
        return words

    def clean_history(
        self,
        history: Sequence[Message],
        language: str,
        own_phrases: Sequence[OwnPhrase] | None,
        dialect: Dialect,
    ) -> tuple[Message, ...]:
        """Return the history as the agent should see it, without the gateway's phrases.

        `own_phrases` are the phrases that the gateway said in this call. It is None if the request belongs to
        no call: then acknowledgements of `language` are removed at the start of messages, unless neither this
        agent nor the dialect has any.
        """
        if own_phrases is not None:
            return without_own_phrases(history, own_phrases)
        if self.ack_policy.after is None or not dialect.acknowledges:
            return tuple(history)
        return without_acknowledgements(history, self.phrases_in(language).ack)

    def ack_schedule(
        self, turn: Turn, dialect: Dialect, history: Sequence[Message], *, quiet: bool
    ) -> AckSchedule:
        """Return the schedule of the gateway's phrases for this turn; an empty one if `quiet`.

        `history` is as the platform sent it, with the gateway's phrases: the last one is not repeated.
        """
        if quiet or not dialect.acknowledges:
            return AckSchedule("", None)
        after, every = ack_delay(self.ack_policy, turn), self.ack_policy.every
        words = self._own_words(turn.language, dialect)
        ack = "" if after is None else words.acks[pick_phrase(words.phrases.ack, history)]
        return AckSchedule(ack, after, progress=words.progress if every is not None else (), every=every)
