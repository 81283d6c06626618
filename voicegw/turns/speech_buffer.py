"""What an agent writes, on its way to being spoken: how a line speaks, and what one run holds back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import replace

from voicegw.speech.filter import SpeechFilter
from voicegw.speech.options import SpeechOptions
from voicegw.turns.phrases import phrases_for


class SpeechFilters:
    """How answers are spoken, in every language: one style for each set of our own words.

    `code` are configured sentences by language; they replace ours, "" with silence.
    """

    def __init__(self, options: SpeechOptions, code: Mapping[str, str]) -> None:
        self.options = options
        self.code = code
        self._styles: dict[tuple[str, str], SpeechOptions] = {}  # by sentences: callers may name any language

    def filter_for(self, language: str) -> SpeechFilter:
        """A new machine, for one answer."""
        words = phrases_for(language, code=self.code)
        own = (words.code, words.nothing)
        style = self._styles.get(own)
        if style is None:
            style = replace(self.options, code=words.code, yes=words.yes, no=words.no, nothing=words.nothing)
            self._styles[own] = style
        return SpeechFilter(style)


class SpeechBuffer:
    """The text of one run, which goes to `append` once it can be spoken.

    What is still held back when the agent pauses for `hold_for` seconds is let go, and then `tell` is
    called. There is one timer at a time; if the agent went on meanwhile, it notices and rings later.
    """

    def __init__(
        self,
        speech: SpeechFilter,
        max_hold_seconds: float,
        append: Callable[[str], None],
        tell: Callable[[], None],
        now: Callable[[], float],
    ) -> None:
        self.speech = speech
        self.max_hold_seconds = max_hold_seconds
        self.append = append
        self.tell = tell
        self.now = now
        self.loop = asyncio.get_running_loop()
        self.last = 0.0
        self.open = False
        self._timer: asyncio.TimerHandle | None = None

    def feed(self, text: str, now: float) -> None:
        """The agent goes on."""
        speech = self.speech
        self.open = True
        if said := speech.feed(text):
            self.append(said)
        if speech.held:
            self.last = now
            if self._timer is None:
                self._arm()

    def release(self, *, over: bool) -> None:
        """Hold nothing back: what comes next is no text, or, if the text is `over`, nothing at all."""
        if not self.open:
            return
        self.open = not over
        if said := self.speech.flush() if over else self.speech.release():
            self.append(said)

    def stop(self) -> None:
        """Say nothing more when the agent pauses."""
        if self._timer is not None:
            self._timer.cancel()

    def _arm(self) -> None:
        self._timer = self.loop.call_at(self.last + self.max_hold_seconds, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if not self.speech.held:
            return
        if self.now() < self.last + self.max_hold_seconds:
            return self._arm()
        self.release(over=False)
        self.tell()
