"""Filters the agent's text before it enters the event log, and releases held text after a pause.

The rules that make text speakable are in `voicegw.speech` (docs/speech.md).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping
from dataclasses import asdict, replace

from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions
from voicegw.turns.phrases import phrases_for
from voicegw.turns.speech_phrases import SpeechPhrases, speech_phrases_for

MAX_LANGUAGES = 64
"""Language tags whose options an agent keeps; the options of further tags are looked up by their phrases."""


class SpeechFilters:
    """Creates the speech filters of one agent, with the phrases of each caller's language."""

    def __init__(
        self,
        options: SpeechOptions,
        code: Mapping[str, str],
        nothing: Mapping[str, str] | None = None,
        output: Mapping[str, str] | None = None,
        spell_languages: Collection[str] = (),
    ) -> None:
        # The options without phrases.
        self.options = options
        # Configured sentences by language, in place of code, of an answer without words, and of the output
        # of programs; they replace the built-in ones, "" means silence.
        self.code, self.nothing, self.output = code, nothing, output
        # The languages in which `options.spell` counts; all, if there are none.
        self.spell_languages = frozenset(map(str.lower, spell_languages))
        # The options by language tag, for the first `MAX_LANGUAGES` tags: callers may name any number.
        self._options_by_language: dict[str, SpeechOptions] = {}
        # The options by their phrases, which many tags share.
        self._options_by_phrases: dict[tuple[str, str, SpeechPhrases], SpeechOptions] = {}

    def filter_for(self, language: str) -> SpeechFilter:
        """Return a new speech filter for one answer in this language."""
        return SpeechFilter(self.options_for(language))

    def options_for(self, language: str) -> SpeechOptions:
        """Return the options with the phrases of this language."""
        options = self._options_by_language.get(language)
        if options is None:
            options = self._make_options(language)
            if len(self._options_by_language) < MAX_LANGUAGES:
                self._options_by_language[language] = options
        return options

    def _make_options(self, language: str) -> SpeechOptions:
        phrases = phrases_for(language, code=self.code, nothing=self.nothing)
        signs = speech_phrases_for(language, self.output)
        spell = self.options.spell if self._spells(language) else frozenset()
        key = (phrases.code, phrases.nothing, signs)
        options = None if spell else self._options_by_phrases.get(key)
        if options is None:
            options = replace(
                self.options,
                code=phrases.code,
                yes=phrases.yes,
                no=phrases.no,
                nothing=phrases.nothing,
                spell=spell,
                language=language,
                **asdict(signs),
            )
            if not spell:
                self._options_by_phrases[key] = options
        return options

    def _spells(self, language: str) -> bool:
        """Whether written forms are spelled in this language."""
        tag = language.lower().replace("_", "-")
        return not self.spell_languages or bool({tag, tag.split("-")[0]} & self.spell_languages)


class SpeechBuffer:
    """The text of one run: it goes to `on_text` as soon as it can be spoken.

    Text that is still held when the agent pauses for `max_hold_seconds` is released, then `on_pause` is
    called. There is at most one timer: if more text was held meanwhile, it starts again when it fires.
    """

    def __init__(
        self,
        speech_filter: SpeechFilter,
        max_hold_seconds: float,
        on_text: Callable[[str], None],
        on_pause: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        # The filter that makes text speakable and holds undecided text.
        self.speech_filter = speech_filter
        # Seconds after which held text is released.
        self.max_hold_seconds = max_hold_seconds
        # Called with each piece of speakable text.
        self.on_text = on_text
        # Called after a pause released held text.
        self.on_pause = on_pause
        # The clock, in seconds, as in `Run`.
        self.now = now
        # The event loop of the timer.
        self.loop = asyncio.get_running_loop()
        # The time of the last delta after which text was held.
        self.last_held_at = 0.0
        # True while a passage of text is open: from its first delta until `release` with `at_end`.
        self.has_open_text = False
        # The timer of the release; None while none runs.
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, text: str, now: float) -> str:
        """Take a text delta of the agent that arrived at `now`. Return the text that can be spoken now."""
        speech_filter = self.speech_filter
        self.has_open_text = True
        speakable = speech_filter.feed(text)
        if speech_filter.has_held_words:
            self.last_held_at = now
            if self._timer is None:
                self._start_timer()
        return speakable

    def release(self, *, at_end: bool) -> None:
        """Pass the held text on. `at_end` ends the passage; otherwise its text may go on. Idempotent."""
        if not self.has_open_text:
            return
        self.has_open_text = not at_end
        if speakable := self.speech_filter.flush() if at_end else self.speech_filter.release():
            self.on_text(speakable)

    def stop(self) -> None:
        """Cancel the timer, so that no held text is passed on any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _start_timer(self) -> None:
        self._timer = self.loop.call_at(self.last_held_at + self.max_hold_seconds, self._on_timer)

    def _on_timer(self) -> None:
        self._timer = None
        if not self.speech_filter.has_held_words:
            return
        if self.now() < self.last_held_at + self.max_hold_seconds:
            return self._start_timer()
        self.release(at_end=False)
        self.on_pause()
