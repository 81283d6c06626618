"""The machine: deltas in, speakable text out."""

from __future__ import annotations

import re

from voicegw.speech import blocks, fences, formula, inline, tags
from voicegw.speech import skipped as skips
from voicegw.speech.characters import SPECIAL, SURROGATE, joined
from voicegw.speech.options import SpeechOptions
from voicegw.speech.pronunciation import PronunciationList
from voicegw.speech.prose import BLANK, NONE, REST, TAIL
from voicegw.speech.state import WAIT, FilterState, Rule

MODES: dict[str, Rule] = {
    "line": blocks.line,
    "inline": inline.inline,
    "code": inline.code,
    "formula": formula.formula,
    "fence": fences.within,
    "fenced": fences.fenced,
    "ruler": skips.ruler,
    "indented": fences.indented,
    "skip": skips.skip,
    "comment": skips.comment,
    "target": skips.target,
    "url": skips.url,
    "silent": tags.silent,
    "long": tags.long,
}


STYLE = SpeechOptions()
WORDS = re.compile(r"[\[$][^\[$\\]*[^\W\d_]{2}\s")
"""A mark that may be decided early, and words behind it."""


class SpeechFilter:
    """Makes one answer speakable while it streams.

    The concatenation of what `feed` and the final `flush` return is the same for every cut of the text into
    deltas. Any string is fine; nothing here raises. `pending` are the characters that are held back because
    they are undecided, at most `Style.hold`.
    """

    def __init__(self, options: SpeechOptions = STYLE) -> None:
        self.options = options
        self.pending = ""
        self._half = ""
        self._state = FilterState(options)
        self._prose = self._state.speech
        self._words = PronunciationList(options.words) if options.words else None
        self._plain = False

    @property
    def held(self) -> bool:
        """Is something held back that `release` would let go?"""
        if self._words is not None and self._words.pending:
            return True
        if self._plain:
            return False
        state, prose = self._state, self._prose
        return (prose.gap == REST and bool(prose.tail)) or state.keeps_words or self._waits

    @property
    def _waits(self) -> bool:
        """Are there words among the undecided characters, behind a mark that may be dropped or said early?"""
        return self._state.mode in ("line", "inline") and WORDS.match(self.pending) is not None

    def feed(self, text: str) -> str:
        """What can be spoken now that `text` came."""
        if not self._plain or not text:
            return self._work(text)
        word = text[1:] if text[0] == " " else text
        if word.isalnum() and word.isascii() and word[0] not in "hHwW":  # a word, as most deltas are
            special = None
        else:
            special = SPECIAL.search(text)
        if special is None:
            said = self._go_on(text)
        elif special.end() == len(text) > 1 and text[-1] == " ":
            said = self._go_on(text[:-1])
            if said:
                self._prose.blank()
                self._state.prev, self._state.spaces = " ", 1
                said += self._prose.take()
        else:
            said = ""
        if not said:
            return self._work(text)
        return said if self._words is None else self._words.feed(said)

    def _go_on(self, text: str) -> str:
        """Plain text in the middle of prose, without any of the machinery; "" if there is more to it."""
        prose = self._prose
        if text[0] == " ":
            if prose.gap or prose.tail[-1] == " ":
                return ""
        elif prose.gap:
            if prose.dropped:
                return ""
            prose.gap = NONE
            text = " " + text
        prose.tail = (prose.tail + text)[-TAIL:]
        self._state.prev = text[-1]
        self._state.width += len(text) - text.count(" ")
        return text

    def release(self) -> str:
        """The words that are held, for nothing comes for a while; the text may go on.

        A mark without words is not worth hearing early: it stays undecided.
        """
        state = self._state
        while self._waits:
            if self.pending[0] == "[":
                state.open_bracket("maybe")
            else:
                state.prose.say(self.pending[0])
            state.prev, state.mode = self.pending[0], "inline"
            self._decide(self.pending[1:])
        if state.keeps_words:
            state.speak_cells()
        if self._prose.gap == REST:
            self._prose.settle()
        return self._last()

    def flush(self) -> str:
        """The rest, for the text is over: with the stop of the item, heading or row that ends it.

        What is fed afterwards is a text of its own, a blank after this one.
        """
        self._half = ""
        self._decide(self.pending, final=True)
        self._state.end()
        said, shown, tail = self._last(), self._state.shown, self._prose.tail
        if shown and not tail:
            said = tail = self.options.nothing
        self._state = FilterState(self.options)
        self._prose = self._state.speech
        self._prose.tail, self._prose.gap = tail, BLANK if tail else NONE
        self._plain = False
        return said

    def _last(self) -> str:
        """What is ready, and the words that were still looked at."""
        said = self._take()
        return said if self._words is None else said + self._words.flush()

    def _work(self, text: str) -> str:
        text = self.pending + self._half + text
        self._half = ""
        if SURROGATE.search(text):
            if "\ud800" <= text[-1] <= "\udbff":
                self._half = text[-1]
            text = joined(text)
        self._decide(text)
        return self._take()

    def _decide(self, text: str, *, final: bool = False) -> None:
        state, hold, at, size = self._state, self.options.max_held_chars, 0, len(text)
        while at < size:
            end = min(size, at + hold)
            place = MODES[state.mode](state, text, at, end, final or end - at == hold)
            if place == WAIT:
                break
            if place > at:
                state.prev = text[place - 1]
                at = place
        self.pending = text[at:]
        self._plain = (
            at == size
            and state.mode == "inline"
            and state.prose is self._prose
            and self._prose.gap <= BLANK
            and not self._prose.lead
            and bool(self._prose.tail)
            and not self._half
        )

    def _take(self) -> str:
        said = self._prose.take()
        return said if self._words is None or not said else self._words.feed(said)
